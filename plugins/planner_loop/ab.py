"""The A/B between a model and the baseline, judged so that it may be looked at every day (SPEC section 15).

The unit is an issue with all its attempts, in the arm of its first decision whatever happened later (intention to
treat). Units stand in the order of those decisions, and one enters when the longest time it can take has passed: so
neither its place nor the moment when it enters depends on what came of it, and what came of it is fixed when it enters.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from planner_core import ab_sequence, units_to_exclude_zero
from planner_loop.intervals import Interval
from planner_loop.tables import PARTS, Decisions, Floats, Runs

HOUR_MS = 3_600_000
LONGEST_RUN_MS = 5 * HOUR_MS
"""From the last start that counts to the end of that run: the longest budget is four hours, and a vote takes time."""
LEAST_DIFFERENCE = 0.05
"""Utility an issue: to show a smaller one nobody waits."""
COURSE_POINTS = 60


class Units(NamedTuple):
    """The issues of an A/B that have entered, in their order.

    ``decision`` int64 [u] the place of the first decision; ``totals`` float64 [u, 3] passes, minutes and USD of all
    attempts; ``attempts`` int64 [u]; ``priced`` whether every run that counts says what it cost. Of the others:
    ``waiting`` may still be worked on, ``undivided`` were decided while every issue went the same way, ``earlier`` were
    decided by another model before.
    """

    decision: NDArray[np.int64]
    totals: Floats
    attempts: NDArray[np.int64]
    priced: bool
    waiting: int
    undivided: int
    earlier: int


def units(decisions: Decisions, runs: Runs, window_ms: int, as_of_ms: int) -> Units:
    """The units as of a moment: a run counts that started within ``window_ms`` of its issue's first decision.

    An issue without any such run counts with nothing gained and nothing spent. Runs that ended for reasons that are
    not the agent's count too: they were paid for, and a plan may bring more of them.
    """
    first = np.unique(decisions.issue, return_index=True)[1]
    first = first[np.argsort(first)]  # decisions stand in the order of their time
    share, earlier = decisions.share[first], decisions.earlier[first]
    divided = (share > 0) & (share < 1) & ~earlier
    over = decisions.at_ms[first] + window_ms + LONGEST_RUN_MS <= as_of_ms
    entered = first[divided & over]
    unit_of_issue = np.full(int(decisions.issue.max()) + 1 if len(decisions) else 0, -1, np.int64)
    unit_of_issue[decisions.issue[entered]] = np.arange(len(entered))
    unit = unit_of_issue[decisions.issue[runs.decision]]
    rows = np.flatnonzero(unit >= 0)
    unit, begin = unit[rows], decisions.at_ms[entered][unit[rows]]
    within = (
        (runs.started_ms[rows] >= begin)
        & (runs.started_ms[rows] < begin + window_ms)
        & (runs.ended_ms[rows] <= begin + window_ms + LONGEST_RUN_MS)
    )
    unit, outcome = unit[within], runs.outcome[rows[within]]
    totals = np.zeros((len(entered), len(PARTS)))
    np.add.at(totals, unit, np.nan_to_num(outcome))
    return Units(
        entered,
        totals,
        np.bincount(unit, minlength=len(entered)).astype(np.int64),
        not np.isnan(outcome[:, 2]).any(),
        int((divided & ~over).sum()),
        int((~divided & ~earlier).sum()),
        int(earlier.sum()),
    )


def utility_of(found: Units, decisions: Decisions, weights: Floats) -> Floats:
    """Utility of each unit, float64 [u]; ``weights`` float64 [4, (pass, time, cost)] by priority.

    Without the cost of every run USD count as nothing, in both arms.
    """
    worth = weights[decisions.priority[found.decision]]
    spent = worth[:, 1] * found.totals[:, 1] / 60
    if found.priced:
        spent = spent + worth[:, 2] * found.totals[:, 2]
    return worth[:, 0] * found.totals[:, 0] - spent


class Point(Struct):
    """How the A/B stood when the unit entered whose issue was first decided ``at_ms``."""

    at_ms: int
    issues: int
    utility: Interval


class AB(Struct):
    """The difference model - baseline in an issue's utility, all attempts within ``window_hours`` summed.

    ``issues`` of each arm that have entered; the other counts as of :class:`Units`; ``without_run`` those that count as
    nothing. The 95 % interval of ``utility`` holds at all looks together. ``parts`` are differences an issue, ``arms``
    the means an issue of each arm. ``course`` is how it went, in at most 60 points. ``more_issues`` would
    show the difference that is seen if it stays, or one of 0.05 if that is smaller.
    """

    window_hours: float
    issues: dict[str, int]
    waiting: int
    undivided: int
    earlier: int
    without_run: int
    utility: Interval
    parts: dict[str, float | None]
    arms: dict[str, dict[str, float | None]]
    answer: Literal["better", "worse", "cannot_tell"]
    more_issues: int | None
    course: list[Point]


def ab(decisions: Decisions, runs: Runs, weights: Floats, window_ms: int, as_of_ms: int) -> AB:
    """Judge the arms as of a moment, which may be any moment and as many as one likes."""
    found = units(decisions, runs, window_ms, as_of_ms)
    treated, share = decisions.arm[found.decision] > 0, decisions.share[found.decision]
    utility = utility_of(found, decisions, weights)
    sequence = ab_sequence(utility, treated, share)
    course = [
        Point(int(decisions.at_ms[found.decision[i]]), i + 1, _interval(*(float(ends[i]) for ends in sequence)))
        for i in _spread_out(len(utility))
    ]
    last = course[-1].utility if course else Interval()
    answer: Literal["better", "worse", "cannot_tell"] = "cannot_tell"
    if last.beyond(0.0):
        answer = "better" if last.low is not None and last.low > 0 else "worse"
    shown = PARTS if found.priced else PARTS[:2]
    parts = {name: _difference(found.totals[:, i], treated, share) for i, name in enumerate(shown)}
    more = None
    if answer == "cannot_tell" and last.estimate is not None and last.high is not None:
        wanted = max(abs(last.estimate), LEAST_DIFFERENCE)
        needed = units_to_exclude_zero(wanted, last.high - last.estimate, len(utility))
        more = None if needed is None else max(1, needed - len(utility))
    return AB(
        window_hours=window_ms / HOUR_MS,
        issues={"model": int(treated.sum()), "baseline": int((~treated).sum())},
        waiting=found.waiting,
        undivided=found.undivided,
        earlier=found.earlier,
        without_run=int((found.attempts == 0).sum()),
        utility=last,
        parts={name: parts.get(name) for name in PARTS},
        arms={
            arm: {
                name: float(found.totals[rows, i].mean()) if name in shown and rows.any() else None
                for i, name in enumerate(PARTS)
            }
            for arm, rows in (("model", treated), ("baseline", ~treated))
        },
        answer=answer,
        more_issues=more,
        course=course,
    )


def _interval(estimate: float, low: float, high: float) -> Interval:
    bounded = bool(np.isfinite(low) and np.isfinite(high))
    return Interval(estimate if np.isfinite(estimate) else None, low if bounded else None, high if bounded else None)


def _spread_out(count: int) -> list[int]:
    """At most :data:`COURSE_POINTS` places of ``count``, evenly, the last among them."""
    if count <= COURSE_POINTS:
        return list(range(count))
    return [int(place) for place in np.linspace(0, count - 1, COURSE_POINTS).round()]


def _difference(values: Floats, treated: NDArray[np.bool_], share: Floats) -> float | None:
    """The inverse-probability difference of the arms' means; None without a unit in both arms."""
    if not treated.any() or treated.all():
        return None
    away = values - values.mean()
    return float((away * np.where(treated, 1 / share, -1 / (1 - share))).mean())
