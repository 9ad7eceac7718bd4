"""What a decision log and its runs say of a model: realised against predicted, and fallbacks.

Every interval has the issue as its unit. Nothing here is chosen by what was decided.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from msgspec import Struct

from planner_loop.intervals import Interval, mean_by_issue, passes_by_issue, plain_mean, share_by_issue
from planner_loop.tables import PARTS, Decisions, Runs

PERIODS = 8


class Realised(Struct):
    """One figure of ``runs`` runs of ``issues`` issues: what came, what was predicted, the mean difference."""

    runs: int
    issues: int
    realised: float | None
    predicted: float | None
    difference: Interval


class Period(Struct):
    """Passes of a part of the runs, in the order in which they ended."""

    until_ms: int
    runs: int
    realised: float
    predicted: float
    difference: Interval


class Predictions(Struct):
    """Realised against predicted, over the runs that were run as decided and whose decision says what to expect."""

    passed: Realised
    minutes: Realised
    cost_usd: Realised
    course: list[Period]


def predicted_runs(decisions: Decisions, runs: Runs) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The runs a prediction can be held against, int64 [k]: of the plan that was decided, and ended by the agent."""
    told = ~np.isnan(decisions.expected[runs.decision, 0])
    return np.flatnonzero(told & runs.as_decided & runs.evidence).astype(np.int64)


def realised_against_predicted(decisions: Decisions, runs: Runs) -> Predictions:
    """What the model expected of the action that was executed, in any arm, beside what came of it."""
    kept = predicted_runs(decisions, runs)
    expected, issue = decisions.expected[runs.decision[kept]], decisions.issue[runs.decision[kept]]
    outcome, found = runs.outcome[kept], {}
    for part, name in enumerate(PARTS):
        rows = ~np.isnan(outcome[:, part]) & ~np.isnan(expected[:, part])
        realised, predicted = outcome[rows, part], expected[rows, part]
        found[name] = Realised(
            int(rows.sum()),
            len(np.unique(issue[rows])),
            plain_mean(realised),
            plain_mean(predicted),
            (
                passes_by_issue(realised, predicted, issue[rows])
                if name == "passed"
                else mean_by_issue(realised - predicted, issue[rows])
            ),
        )
    course = []
    for part_of in np.array_split(np.arange(len(kept)), min(PERIODS, len(kept) // 50) or 1) if len(kept) else []:
        realised, predicted = outcome[part_of, 0], expected[part_of, 0]
        gap = passes_by_issue(realised, predicted, issue[part_of])
        until = int(runs.ended_ms[kept[part_of[-1]]])
        course.append(Period(until, len(part_of), float(realised.mean()), float(predicted.mean()), gap))
    return Predictions(**found, course=course)


class Fallbacks(Struct):
    """How many decisions in the model's arms were not the model's, by reason, and the share of them by issue."""

    decisions: int
    issues: int
    fallbacks: int
    share: Interval
    by_reason: dict[str, int]


def fallbacks(decisions: Decisions) -> Fallbacks:
    """Of the decisions in the arms of the model, explored ones included."""
    asked = np.flatnonzero(decisions.arm > 0)
    reasons = [decisions.reason[i] for i in asked.tolist()]
    fell = np.array([reason is not None for reason in reasons], np.float64)
    issue = decisions.issue[asked]
    counted = Counter(reason.split(":")[0] for reason in reasons if reason is not None)
    return Fallbacks(
        len(asked), len(np.unique(issue)), int(fell.sum()), share_by_issue(fell, issue), dict(counted.most_common())
    )
