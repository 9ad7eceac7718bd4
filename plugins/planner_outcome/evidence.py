"""What each logged run says about one try of one candidate, as flat arrays for the likelihood.

A run with candidate detail is a row a candidate: it passed at t, or it was still at work at t (cut by its budget, or
stopped because another one had passed), or it gave up at t. A run without is one row of the run's own; a single
candidate's run is a candidate row all the same. What a run does not tell gives no row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PASSED, CUT, GAVE_UP = 0, 1, 2
PASSED_SOMETIME, NOT_PASSED = 3, 4
"""Kinds of candidate rows; the last two are of runs that do not tell their minutes."""

AT_BUDGET = 0.97
"""From this share of its budget on, a candidate that has not passed was cut by it."""

MAX_MINUTES = 240.0
MIN_MINUTES = 1.0 / 60.0
MAX_CANDIDATES = 3


@dataclass(frozen=True)
class CandidateRows:
    """``run`` int64 [m] is the row of the run, ``place`` which candidate 0..2, ``kind`` as above, ``minutes`` > 0,
    ``budget`` the minutes it was given."""

    run: Ints
    place: Ints
    kind: Ints
    minutes: Floats
    tries: Ints
    budget: Floats


@dataclass(frozen=True)
class RunRows:
    """Runs of several candidates that tell only how the run went: ``kind`` PASSED, CUT, GAVE_UP (ended early without
    a pass), PASSED_SOMETIME or NOT_PASSED (within the budget, which then is ``minutes``)."""

    run: Ints
    candidates: Ints
    kind: Ints
    minutes: Floats
    tries: Ints
    budget: Floats


@dataclass(frozen=True)
class CostRows:
    """USD of candidates: ``run``, ``place``, busy ``minutes`` and ``usd`` > 0; ``share`` is how many candidates the
    row is the mean of (1 where each one's cost is known)."""

    run: Ints
    place: Ints
    minutes: Floats
    usd: Floats
    share: Floats


@dataclass(frozen=True)
class Vote:
    """Of runs that show it: how often a passing candidate was picked, and the minutes beyond the first pass."""

    accuracy: float
    minutes: float


@dataclass(frozen=True)
class Evidence:
    """All that the runs show. ``vote`` is estimated here, before anything else."""

    candidates: CandidateRows
    runs: RunRows
    costs: CostRows
    vote: Vote

    def __len__(self) -> int:
        return len(np.unique(np.concatenate([self.candidates.run, self.runs.run])))


def read_evidence(executed: Any, job_iterates: NDArray[np.bool_]) -> Evidence:
    """The evidence of ``executed``; ``job_iterates`` bool [n] says whether the run's job type has further tries."""
    x = executed
    usable = np.asarray(x.evidence, bool) & (x.swarm >= 0)
    k = np.clip(np.rint(np.asarray(x.candidates, np.float64)), 1, MAX_CANDIDATES).astype(np.int64)
    # More candidates than are modelled: the run says little that could be compared.
    usable &= np.asarray(x.candidates) <= MAX_CANDIDATES
    tries = np.where(job_iterates, np.clip(np.rint(np.asarray(x.iterations, np.float64)), 1, 5), 1).astype(np.int64)
    limit = np.where(x.minutes_limited, np.asarray(x.minutes, np.float64), MAX_MINUTES)
    detail = np.asarray(x.candidate_passed) >= 0
    complete = detail.sum(axis=1) == k
    vote = _vote(x, usable & complete)
    wall = np.asarray(x.duration_minutes, np.float64) - np.where(x.swarm == 1, vote.minutes, 0.0)
    wall = np.maximum(wall, MIN_MINUTES)
    candidates = [_with_detail(x, usable & complete, limit, tries)]
    single = usable & ~complete & (k == 1)
    candidates.append(_without_detail(x, single & (x.swarm == 0), wall, limit, tries))
    several = usable & ~complete & ~(single & (x.swarm == 0))
    rows = np.flatnonzero(several)
    kind, minutes = _kinds(np.asarray(x.passed)[rows] > 0.5, wall[rows], limit[rows])
    columns = [np.concatenate(parts) for parts in zip(*candidates, strict=True)]
    return Evidence(
        CandidateRows(*columns),
        RunRows(rows, k[rows], kind, minutes, tries[rows], limit[rows]),
        _costs(x, usable, complete, k, wall, limit),
        vote,
    )


def _kinds(passed: NDArray[np.bool_], minutes: Floats, limit: Floats) -> tuple[Ints, Floats]:
    """Kind of each row and the minutes that go with it."""
    unknown = np.isnan(minutes)
    kind = np.where(passed, PASSED, np.where(minutes >= AT_BUDGET * limit, CUT, GAVE_UP))
    kind = np.where(unknown, np.where(passed, PASSED_SOMETIME, NOT_PASSED), kind)
    return kind.astype(np.int64), np.where(unknown, limit, np.maximum(minutes, MIN_MINUTES))


def _with_detail(x: Any, chosen: NDArray[np.bool_], limit: Floats, tries: Ints) -> tuple[Any, ...]:
    passed = np.asarray(x.candidate_passed)
    minutes = np.asarray(x.candidate_minutes, np.float64)
    run, place = np.nonzero(chosen[:, None] & (passed >= 0))
    won, at = passed[run, place] == 1, minutes[run, place]
    kind, t = _kinds(won, at, limit[run])
    # Stopped when another one passed: it was still at work then.
    first = np.where(passed == 1, np.where(np.isnan(minutes), np.inf, minutes), np.inf).min(axis=1)[run]
    stopped = (kind == GAVE_UP) & np.isfinite(first) & (np.abs(at - first) <= 0.02 * first + 0.05)
    return run, place, np.where(stopped, CUT, kind), t, tries[run], limit[run]


def _without_detail(x: Any, chosen: NDArray[np.bool_], wall: Floats, limit: Floats, tries: Ints) -> tuple[Any, ...]:
    run = np.flatnonzero(chosen)
    kind, minutes = _kinds(np.asarray(x.passed)[run] > 0.5, wall[run], limit[run])
    return run, np.zeros(len(run), np.int64), kind, minutes, tries[run], limit[run]


def _vote(x: Any, chosen: NDArray[np.bool_]) -> Vote:
    """Means shrunk towards 0.97 by 20 runs and towards one minute by one run."""
    passed = np.asarray(x.candidate_passed)
    shows = chosen & (x.swarm == 1) & (passed == 1).any(axis=1)
    won = np.asarray(x.passed)[shows] > 0.5
    first = np.where(passed == 1, np.asarray(x.candidate_minutes, np.float64), np.inf).min(axis=1)
    over = (np.asarray(x.duration_minutes, np.float64) - first)[shows]
    over = over[np.isfinite(over) & (over >= 0)]
    middle = np.sort(over)[len(over) // 10 : len(over) - len(over) // 10]  # a mean that one stuck run does not move
    return Vote(float((won.sum() + 0.97 * 20) / (len(won) + 20)), float((middle.sum() + 1.0) / (len(middle) + 1)))


def _costs(
    x: Any, usable: NDArray[np.bool_], complete: NDArray[np.bool_], k: Ints, wall: Floats, limit: Floats
) -> CostRows:
    """Candidates with their own USD and minutes; else runs, their USD shared evenly."""
    usd, minutes = np.asarray(x.candidate_cost_usd, np.float64), np.asarray(x.candidate_minutes, np.float64)
    known = (usable & complete)[:, None] & ~np.isnan(usd) & ~np.isnan(minutes) & (usd > 0)
    run, place = np.nonzero(known)
    total = np.asarray(x.cost_usd, np.float64)
    rest = np.flatnonzero(usable & ~known.any(axis=1) & ~np.isnan(total) & (total > 0))
    # The minutes of the losers are not told: they are taken to have worked as long as the run did.
    own = np.where(np.isnan(minutes), wall[:, None], minutes)
    busy = np.where(np.arange(MAX_CANDIDATES) < k[:, None], own, 0.0).sum(axis=1)[rest] / k[rest]
    there = ~np.isnan(busy)
    rest, busy = rest[there], busy[there]
    return CostRows(
        np.concatenate([run, rest]),
        np.concatenate([place, np.full(len(rest), -1)]),
        np.maximum(np.concatenate([minutes[run, place], np.minimum(busy, limit[rest])]), MIN_MINUTES),
        np.concatenate([usd[run, place], total[rest] / k[rest]]),
        np.concatenate([np.ones(len(run)), k[rest].astype(np.float64)]),
    )
