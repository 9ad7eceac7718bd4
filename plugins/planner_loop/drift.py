"""Whether inputs are still those of the training, and whether the error of the predictions changed."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct

from planner_core import InputCounts, MissingExtra, holm
from planner_loop.findings import predicted_runs
from planner_loop.intervals import ENOUGH, Interval, passes_by_issue, plain_mean
from planner_loop.tables import Decisions, Floats, Runs

LARGE_SHIFT = 0.2
"""Population stability index from which a group of inputs counts as shifted: the customary mark of a large shift."""
LEVEL = 0.01
"""Level of the tests of all groups together (Holm)."""
LEAST_EXPECTED = 5.0
"""Issues expected of a value below which it is counted together with other rare ones, as the chi-square test needs."""
LEAST_DAYS = 7.0
"""Days of inputs below which nothing is concluded: what comes in on a morning is not what comes in in a week."""
ADWIN_DELTA = 0.002
"""ADWIN's bound on the chance to see a change where there is none, its authors' default."""


class ValueShare(Struct):
    """The share of a value in the training and now."""

    value: str
    trained: float
    now: float


class GroupShift(Struct):
    """One group of inputs: its stability index and p-value against the training, and whether both say it shifted.

    ``values`` are those that add most to the index, at most three.
    """

    group: str
    stability_index: float
    p_value: float
    shifted: bool
    values: list[ValueShare]


class InputDrift(Struct):
    """``issues`` of ``days`` days of the log against ``trained`` issues of the training, the largest shift first."""

    trained: int
    issues: int
    days: float
    groups: list[GroupShift]

    @property
    def enough(self) -> bool:
        """Whether there are enough issues of enough days for a shift to be one."""
        return min(self.trained, self.issues) >= ENOUGH and self.days >= LEAST_DAYS

    @property
    def shifted(self) -> list[str]:
        """Groups that shifted."""
        return [shift.group for shift in self.groups if shift.shifted]


def input_drift(trained: InputCounts, now: InputCounts, days: float) -> InputDrift:
    """Compare the groups of inputs that both counts have; ``now`` is of issues of so many ``days``.

    The population stability index is sum (q - p) ln(q / p) over the values of a group, half a count added to each. The
    p-value is that of the chi-square test of homogeneity, rare values counted together. Both are needed: large numbers
    alone make any difference significant, and small ones any index large. An issue has several tags; their counts are
    scaled to the number of issues, as if all tags of an issue came together, which can only hide a shift.
    """
    found = []
    for group in trained.groups.keys() & now.groups.keys():
        sides = trained.groups[group], now.groups[group]
        names = list(dict.fromkeys([*sides[0], *sides[1]]))
        counts = np.array([[side.get(name, 0) for name in names] for side in sides], np.float64)
        totals = counts.sum(axis=1)
        if len(names) < 2 or (totals == 0).any():
            continue
        counts *= (np.minimum(totals, [trained.issues, now.issues]) / totals)[:, None]
        smoothed = counts + 0.5
        p, q = smoothed / smoothed.sum(axis=1, keepdims=True)
        terms = (q - p) * np.log(q / p)
        plain = counts / counts.sum(axis=1, keepdims=True)
        most = [
            ValueShare(_shown(group, names[i]), float(plain[0, i]), float(plain[1, i]))
            for i in np.argsort(-terms, kind="stable")[:3].tolist()
        ]
        found.append((group, float(terms.sum()), _homogeneity(counts), most))
    found.sort(key=lambda row: (-row[1], row[0]))
    holds = holm([row[2] for row in found], LEVEL)
    drift = InputDrift(trained.issues, now.issues, days, [])
    drift.groups = [
        GroupShift(group, index, p_value, bool(held and drift.enough and index >= LARGE_SHIFT), values)
        for (group, index, p_value, values), held in zip(found, holds, strict=True)
    ]
    return drift


def _shown(group: str, value: str) -> str:
    """A value as a reader is told it: a tag by the number of its bucket."""
    return f"#{value}" if group == "tags" and value.isdigit() else value


def _homogeneity(counts: Floats) -> float:
    """p-value of the chi-square test that two rows of counts [2, k] are of one distribution."""
    from scipy.special import chdtrc

    share = counts.sum(axis=1) / counts.sum()
    rare = counts.sum(axis=0) * share.min() < LEAST_EXPECTED
    if rare.any():
        counts = np.concatenate([counts[:, ~rare], counts[:, rare].sum(axis=1, keepdims=True)], axis=1)
    if counts.shape[1] < 2:
        return 1.0
    expected = share[:, None] * counts.sum(axis=0)
    return float(chdtrc(counts.shape[1] - 1, ((counts - expected) ** 2 / expected).sum()))


class CalibrationDrift(Struct):
    """Whether the error of the predicted passes changed: when, and its mean before and since."""

    runs: int
    changed: bool
    changed_at_ms: int | None
    before: float | None
    since_issues: int
    since: Interval


def calibration_drift(decisions: Decisions, runs: Runs) -> CalibrationDrift:
    """Passed minus predicted, run by run in the order in which they ended.

    Whether it changed says ADWIN (Bifet and Gavalda, Learning from time-changing data with adaptive windowing, 2007),
    as river has it: made for a stream that is looked at all the time, and of the same opinion of the same beginning of
    a log. It forgets what it saw when it has seen a change; when that was says the least-squares fit of one change to
    what it had seen since it last forgot, for its own window goes back in steps that double.
    """
    try:
        from river.drift import ADWIN
    except ModuleNotFoundError as problem:
        raise MissingExtra("planner watch", "watch", str(problem.name)) from None
    kept = predicted_runs(decisions, runs)
    issue = decisions.issue[runs.decision[kept]]
    passed, predicted = runs.outcome[kept, 0], decisions.expected[runs.decision[kept], 0]
    errors = passed - predicted
    detector: Any = ADWIN(delta=ADWIN_DELTA)  # type: ignore[no-untyped-call]  # river is typed in part
    begin = forgot = 0
    for i, error in enumerate(errors.tolist(), 1):
        detector.update(error)
        if detector.drift_detected:
            begin, forgot = forgot + _change_point(errors[forgot:i]), i
    return CalibrationDrift(
        len(kept),
        begin > 0,
        int(runs.ended_ms[kept[begin]]) if begin else None,
        plain_mean(errors[:begin]),
        len(np.unique(issue[begin:])),
        passes_by_issue(passed[begin:], predicted[begin:], issue[begin:]),
    )


def _change_point(values: Floats) -> int:
    """Where one change of the mean fits best: the largest |S_i - i/n S_n| / sqrt(i (n - i)), S the cumulative sum."""
    n = len(values)
    i = np.arange(1, n)
    away = np.cumsum(values)[:-1] - i * values.mean()
    return int(np.argmax(np.abs(away) / np.sqrt(i * (n - i)))) + 1
