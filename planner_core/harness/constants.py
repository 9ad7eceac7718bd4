"""Constant decisions: one action a job type, the best of which a policy that learnt anything must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.decision import Decision, decide, temperatures_for
from planner_core.examples import Examples
from planner_core.features import Batch
from planner_core.harness.evaluate import Decider
from planner_core.utility import utilities
from planner_core.value import estimate_value, read_log

CONSTANT = "best_constant"
MIN_KNOWN = 0.5
"""A constant is a candidate for the best where its outcome is known on this share of its job type's training rows."""
MIN_ISSUES = 20
"""On logs, a constant is a candidate where so many issues had a run with its swarm, candidates and enough budget."""


def constant_decider(actions: dict[int, int], space: ActionSpace) -> Decider:
    """Always the joint class ``actions[job type]``; for a job type without one, the one of the first that is valid."""

    def run(batch: Batch) -> tuple[Decision, Decision | None]:
        action = np.zeros(len(batch), np.int64)
        for job in np.unique(batch.job_type):
            action[batch.job_type == job] = actions.get(int(job), _any_valid(actions, int(job), space))
        logits = np.full((len(batch), len(space.actions)), -50.0, np.float32)
        logits[np.arange(len(batch)), action] = 0.0
        return decide({"joint": logits}, batch.job_type, temperatures_for("joint"), space), None

    return run


def _any_valid(actions: dict[int, int], job: int, space: ActionSpace) -> int:
    """A class for a job type that training never saw: a chosen one that is valid there, else the first valid one."""
    valid = space.joint_masks[job]
    return next((action for action in actions.values() if valid[action]), int(np.flatnonzero(valid)[0]))


def best_constants(train: Examples, space: ActionSpace, weights: NDArray[np.float64]) -> dict[int, int] | None:
    """The best action of each job type on the training rows, as joint classes; None where nothing is known.

    Where the outcomes of many actions are known, it has the highest mean utility of those known on half the rows. On
    logs it has the highest value by augmented replay, among those with :data:`MIN_ISSUES` issues of evidence.
    """
    ranked = ranked_constants(train, space, weights)
    return {job: actions[0] for job, actions in ranked.items()} or None


def ranked_constants(
    train: Examples, space: ActionSpace, weights: NDArray[np.float64], count: int = 1
) -> dict[int, list[int]]:
    """Up to ``count`` best actions of each job type as of :func:`best_constants`, best first; twins count once."""
    out: dict[int, list[int]] = {}
    if not len(train) or train.known == "none":
        return out
    for job in np.unique(train.job_type):
        rows = np.flatnonzero(train.job_type == job)
        score = _mean_utilities(train, rows, weights) if train.outcomes else _replayed(train.take(rows), space, weights)
        score = np.where(space.joint_masks[job], score, -np.inf)
        best = [int(i) for i in np.argsort(-score, kind="stable") if np.isfinite(score[i])]
        distinct = dict.fromkeys(int(space.canonical[job][i]) for i in best)
        if best:
            out[int(job)] = [best[0], *[i for i in distinct if i != space.canonical[job][best[0]]][: count - 1]]
    return out


def _mean_utilities(train: Examples, rows: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean utility of every action over the rows where it is known, float64 [n_joint]; -inf where that is too few."""
    assert train.outcomes is not None
    total, count = np.zeros(0), np.zeros(0)
    for part in np.array_split(rows, max(1, len(rows) // 4096)):
        known = train.outcomes
        utility = utilities(
            known.passed[part], known.minutes[part], known.cost_usd[part], train.priority[part], weights
        )
        sums, seen = np.nansum(utility, axis=0), (~np.isnan(utility)).sum(axis=0)
        total, count = (sums, seen) if not len(total) else (total + sums, count + seen)
    enough = count >= max(1.0, MIN_KNOWN * len(rows))
    return np.where(enough, total / np.maximum(count, 1), -np.inf)


def _replayed(train: Examples, space: ActionSpace, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimated utility of every action as a constant, float64 [n_joint]; -inf where there is too little evidence."""
    assert train.executed is not None
    log = read_log(train.executed, train.job_type, weights[train.priority], strata=train.job_type)
    out = np.full(len(space.actions), -np.inf)
    job = int(train.job_type[0])
    for action in np.unique(space.canonical[job][space.joint_masks[job]]):
        value = estimate_value(log, np.full(len(train), action))
        estimate = value.value.utility.estimate
        if estimate is not None and value.support == 1.0 and (value.n_full or 0) >= MIN_ISSUES:
            out[action] = estimate
    return out
