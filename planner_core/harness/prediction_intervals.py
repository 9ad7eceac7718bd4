"""Predictive intervals of what a single run takes and costs, around an outcome policy's predictions.

Split-conformal with issues as the unit (Dunn, Wasserman and Ramdas, JASA 2023): the ratio actual / predicted of runs
that the policy did not learn from, each weighing one over the number of runs of its issue, has quantiles; the interval
of a new run of a new issue is its prediction times those. They are taken apart by the predicted probability of passing,
since what passes ends early and what fails uses its budget up.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.decision import Scores
from planner_core.examples import Examples, Executed

LEVEL = 0.8
"""Of the central interval: a tenth of the runs below it, a tenth above."""
GROUPS, FOLDS = 3, 5
MIN_ISSUES = 20
"""A group of runs has quantiles of its own from so many issues on."""
_SMALLEST = 1e-9

Floats = NDArray[np.float64]


class Group(msgspec.Struct, kw_only=True):
    """Runs with a predicted probability of passing up to ``passed_up_to`` (and above the group before): the interval
    is the prediction times ``low`` to ``high``. ``high`` is None where too few issues bound it."""

    passed_up_to: float
    low: float
    high: float | None
    issues: int


class Runs(msgspec.Struct, frozen=True):
    """Predicted and actual of n runs, float64 [n]: probability of passing, a quantity (NaN unknown); the issue."""

    passed: Floats
    predicted: Floats
    actual: Floats
    issue: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> Runs:
        """The chosen runs."""
        return Runs(self.passed[rows], self.predicted[rows], self.actual[rows], self.issue[rows])


class Coverage(msgspec.Struct, kw_only=True):
    """How many of ``runs`` runs lay within their interval, its mean width, and the groups it was made of."""

    coverage: float
    width: float
    runs: int
    groups: list[Group]


def runs_of(outcomes: Scores, examples: Examples, name: str) -> Runs:
    """The runs of ``examples`` whose ``name`` (``minutes`` or ``cost_usd``) is known, beside what is predicted."""
    executed = examples.executed
    if executed is None:
        nothing = np.zeros(0)
        return Runs(nothing, nothing, nothing, np.zeros(0, np.int64))
    actual = _actual(executed, name)
    rows = np.flatnonzero(executed.evidence & (executed.action >= 0) & ~np.isnan(actual))
    chosen = rows, executed.action[rows]
    passed, predicted = (outcomes[key][chosen].astype(np.float64) for key in ("passed", name))
    return Runs(passed, np.maximum(predicted, _SMALLEST), actual[rows], executed.issue[rows])


def _actual(executed: Executed, name: str) -> Floats:
    column = executed.duration_minutes if name == "minutes" else executed.cost_usd
    return column.astype(np.float64)


def fit_intervals(runs: Runs, level: float = LEVEL) -> list[Group]:
    """The groups of ``runs``, ascending; none where no group has :data:`MIN_ISSUES` issues."""
    issues = len(np.unique(runs.issue))
    if issues < MIN_ISSUES:
        return []
    count = max(1, min(GROUPS, issues // MIN_ISSUES))
    cuts = np.unique([*np.quantile(runs.passed, np.arange(1, count) / count), 1.0])
    ratio, place = runs.actual / runs.predicted, np.searchsorted(cuts, runs.passed)
    out = []
    for i, cut in enumerate(cuts):
        here = place == i
        if not here.any():
            continue
        low, high = _quantiles(ratio[here], runs.issue[here], level)
        found = len(np.unique(runs.issue[here]))
        out.append(Group(passed_up_to=float(cut), low=low, high=high if np.isfinite(high) else None, issues=found))
    return out


def _quantiles(ratio: Floats, issue: NDArray[np.int64], level: float) -> tuple[float, float]:
    """The ends for a run of one more issue, which may lie anywhere: its weight stands at both ends."""
    _, of, count = np.unique(issue, return_inverse=True, return_counts=True)
    order = np.argsort(ratio, kind="stable")
    mass = np.cumsum((1.0 / count[of])[order])
    total, tail = len(count) + 1.0, (1 - level) / 2
    sorted_ratio = ratio[order]
    below = int(np.searchsorted(mass, tail * total - 1.0, side="right"))
    above = int(np.searchsorted(mass, (1 - tail) * total - 1e-9))
    low = 0.0 if tail * total < 1.0 else float(sorted_ratio[min(below, len(ratio) - 1)])
    return low, float(sorted_ratio[above]) if above < len(ratio) else float("inf")


def ends(groups: list[Group], runs: Runs) -> tuple[Floats, Floats]:
    """Lower and upper end of each run's interval, float64 [n]; the upper end infinite where nothing bounds it."""
    cuts = np.array([group.passed_up_to for group in groups[:-1]])
    place = np.searchsorted(cuts, runs.passed)
    low = np.array([group.low for group in groups])
    high = np.array([np.inf if group.high is None else group.high for group in groups])
    return runs.predicted * low[place], runs.predicted * high[place]


def judge_intervals(judged: Runs, calibration: Runs | None) -> Coverage | None:
    """Coverage of ``judged`` by intervals made of ``calibration``; where that is None, of the other issues of
    ``judged`` themselves, in :data:`FOLDS` parts. None where there are too few issues."""
    if not len(judged.actual):
        return None
    low, high = np.full(len(judged.actual), np.nan), np.full(len(judged.actual), np.nan)
    groups = fit_intervals(judged if calibration is None else calibration)
    if calibration is not None and groups:
        low, high = ends(groups, judged)
    elif groups:
        _, issue = np.unique(judged.issue, return_inverse=True)
        for i in range(FOLDS):
            here = issue % FOLDS == i
            part = fit_intervals(judged.take(~here))
            if part and here.any():
                low[here], high[here] = ends(part, judged.take(here))
    known = ~np.isnan(low)
    if not known.any():
        return None
    inside = (judged.actual >= low) & (judged.actual <= high)
    bounded = known & np.isfinite(high)
    return Coverage(
        coverage=float(inside[known].mean()),
        width=float((high - low)[bounded].mean()) if bounded.any() else float("nan"),
        runs=int(known.sum()),
        groups=groups,
    )
