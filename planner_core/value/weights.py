"""What a run says of a target action, and with which weight.

With replay (SPEC section 13): for a target of the run's own family and budget m', and the run's own time T,
s = min(T, m'). The run, of budget m, is evidence iff m >= s, and its weight is one over the probability, under the
logging policy, of all actions of that family with a budget >= s: exactly those whose run would have told the same.
So the weight has mean 1 whatever T is, although it depends on the outcome. Pass and minutes have one T, USD another,
hence two weights; utility is the sum of its parts, each with its own.

Where USD does not go with minutes, a run tells its USD under its own budget only, and the weight for USD is plain.

Plain weights are those of importance sampling: 1 / p where the run's action *is* the target, else 0.

A target has *support* on a row iff the logging policy might have run its family with a budget >= m' (with plain
weights: exactly it). The weights of the runs that happen to be there do not show it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_core.value.actions import BUDGETS, Target, classes
from planner_core.value.propensity import LoggingPolicy
from planner_core.value.replay import Replay

SUPPORT_EPSILON = 1e-9
"""Mass of a stochastic target that may lack support before its row does."""


@dataclass(frozen=True)
class Evidence:
    """One budget of a target within each run's own family.

    ``budget`` float64 [n] minutes; ``mass`` float64 [n] the target's probability of it, 0 in another family;
    ``column`` int64 [n] the canonical class of that action (meaningless where mass is 0); ``for_pass``, ``for_cost``
    and ``plain`` float64 [n] weights, 0 where the run is no evidence.
    """

    budget: NDArray[np.float64]
    mass: NDArray[np.float64]
    column: NDArray[np.int64]
    for_pass: NDArray[np.float64]
    for_cost: NDArray[np.float64]
    plain: NDArray[np.float64]


def evidence(
    target: Target, job_type: NDArray[np.int64], logging: LoggingPolicy, runs: Replay, replayed: NDArray[np.bool_]
) -> Iterator[Evidence]:
    """The budgets of the target in each run's family: one for an action a row, up to six for a distribution.

    ``replayed`` bool [n]: rows whose budgets may be replayed; on the others both replay weights are the plain ones.
    """
    for budget, mass, column in _parts(target, job_type, logging.family):
        of_family = mass > 0
        plain = np.zeros(len(mass))
        exact = of_family & (logging.budget == budget) & (logging.own > 0)
        plain[exact] = 1.0 / logging.own[exact]
        for_pass = _weight(of_family, runs.time_pass, budget, logging)
        for_cost = _weight(of_family, runs.time_cost, budget, logging)
        if not runs.usd_by_minutes:
            for_cost = plain
        yield Evidence(
            budget, mass, column, np.where(replayed, for_pass, plain), np.where(replayed, for_cost, plain), plain
        )


def _weight(
    of_family: NDArray[np.bool_], time: NDArray[np.float64], budget: NDArray[np.float64], logging: LoggingPolicy
) -> NDArray[np.float64]:
    needed = np.minimum(time, budget)
    chance = logging.at_least(needed)
    told = of_family & (logging.budget >= needed) & (chance > 0)
    return np.where(told, 1.0 / np.where(told, chance, 1.0), 0.0)


def _parts(
    target: Target, job_type: NDArray[np.int64], family: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]]:
    table = classes()
    if target.action is not None:
        at = (job_type, target.action)
        yield (
            table.resolved[..., 2][at].astype(np.float64),
            (table.family[at] == family).astype(np.float64),
            table.canonical[at],
        )
        return
    assert target.probabilities is not None
    own = table.family[job_type] == family[:, None]
    minutes = table.resolved[..., 2][job_type]
    for budget in BUDGETS:
        member = own & (minutes == budget)
        mass = (target.probabilities * member).sum(axis=1)
        yield np.full(len(mass), float(budget)), mass, table.canonical[job_type, np.argmax(member, axis=1)]


def support(
    target: Target, job_type: NDArray[np.int64], logging: LoggingPolicy, longer_tells: bool, several: bool
) -> NDArray[np.bool_]:
    """bool [n]: rows where the log could have shown what the target does.

    ``longer_tells``: whether a longer budget tells all of a shorter one, ``several``: also with more than one
    candidate. Rows of which only the probability of the executed action is known are supported where any such row of
    the job type ran the action: their own distribution cannot be asked.
    """
    column = target.action
    if column is None:
        column = np.broadcast_to(np.arange(classes().family.shape[1]), (len(job_type), classes().family.shape[1]))
    job = job_type if column.ndim == 1 else job_type[:, None]
    longer = logging.longest_of(job_type, column) >= classes().resolved[job, column, 2]
    allowed = longer_tells & (several | (classes().resolved[job, column, 1] == 1))
    possible = np.where(allowed, longer, logging.exactly(job_type, column) > 0)
    scalar = ~logging.whole & (logging.own > 0)
    if scalar.any():
        possible[scalar] = _seen(job_type, logging, scalar)[job, column][scalar]
    if target.probabilities is None:
        return possible
    lacking: NDArray[np.float64] = (target.probabilities * ~possible).sum(axis=1)
    return lacking <= SUPPORT_EPSILON


def _seen(job_type: NDArray[np.int64], logging: LoggingPolicy, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bool [4, 150]: classes that some of the rows of that job type ran."""
    table = classes()
    out = np.zeros(table.family.shape, bool)
    for job in range(len(out)):
        of_job = rows & (job_type == job)
        runs = set(zip(logging.family[of_job].tolist(), logging.budget[of_job].tolist(), strict=True))
        minutes = table.resolved[job, :, 2]
        out[job] = [pair in runs for pair in zip(table.family[job].tolist(), minutes.tolist(), strict=True)]
    return out


def told_in_full(parts: list[Evidence], logging: LoggingPolicy, longer_tells: bool) -> NDArray[np.bool_]:
    """bool [n]: runs that tell all of the target: of its family, with its budget or, if such tell it, a longer one."""
    out = np.zeros(len(logging.own), bool)
    for part in parts:
        same = logging.budget == part.budget
        out |= (part.mass > 0) & (same | ((logging.budget > part.budget) & longer_tells))
    return out


def chance_of(target: Target, job_type: NDArray[np.int64], logging: LoggingPolicy) -> NDArray[np.float64]:
    """Probability that the logging policy does what a deterministic target does, float64 [n]; NaN where unknown."""
    if target.action is None:
        return np.zeros(len(logging.own))
    return np.where(logging.whole, logging.exactly(job_type, target.action), np.nan)
