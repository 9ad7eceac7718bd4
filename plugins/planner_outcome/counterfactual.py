"""Outcomes of several actions a row as runs, a row each, where nothing says what was run itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner_outcome.core import ActionSpace, Executed, Outcomes

PER_ROW, RUNS = 8, 24_000
"""Actions of a row that are learnt from, of which more say ever less; and how many in all, for the time it takes."""


def runs_of(
    outcomes: Outcomes, job_type: NDArray[np.int64], space: ActionSpace, seed: int
) -> tuple[NDArray[np.int64], Executed]:
    """The row of each run int64 [m], and the runs: up to :data:`PER_ROW` known actions of a row, fewer of many rows,
    drawn by ``seed``.

    Of twins one counts. A probability strictly between 0 and 1 is an expectation: whether the run passed is drawn from
    it, and when is not known, since an expected duration is no time of a pass.
    """
    rng = np.random.default_rng(seed)
    known = ~np.isnan(outcomes.passed) & space.joint_masks[job_type]
    of_twins = space.canonical[job_type]
    known &= of_twins == np.arange(known.shape[1])
    order = np.argsort(np.where(known, rng.random(known.shape), 2.0), axis=1, kind="stable")[
        :, : max(1, min(PER_ROW, RUNS // max(len(known), 1)))
    ]
    row = np.repeat(np.arange(len(job_type)), order.shape[1])
    action = order.ravel().astype(np.int64)
    there = known[row, action]
    row, action = row[there], action[there]
    n = len(row)
    p = outcomes.passed[row, action]
    passed = (rng.random(n) < p).astype(np.float32)
    expectation = (p > 0.0) & (p < 1.0)
    swarm, k, m, i = space.resolved[job_type[row], action].T
    unknown = np.full((n, 3), np.nan, np.float32)
    return row, Executed(
        swarm=swarm,
        candidates=k.astype(np.float32),
        minutes=m.astype(np.float32),
        iterations=i.astype(np.float32),
        minutes_limited=np.ones(n, bool),
        action=action,
        passed=passed,
        status=np.where(passed > 0, 0, 1).astype(np.int8),
        duration_minutes=np.where(expectation, np.nan, outcomes.minutes[row, action]).astype(np.float32),
        cost_usd=outcomes.cost_usd[row, action],
        propensity=np.full(n, np.nan, np.float32),
        propensity_starts=np.zeros(n + 1, np.int64),
        propensity_actions=np.zeros((0, 4), np.int64),
        propensity_values=np.zeros(0, np.float32),
        candidate_passed=np.full((n, 3), -1, np.int8),
        candidate_minutes=unknown,
        candidate_cost_usd=unknown,
        issue=row,
        started_ms=np.zeros(n, np.int64),
        evidence=np.ones(n, bool),
    )
