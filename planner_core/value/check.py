"""Does replay hold? It assumes that agents do not know their budget; this compares runs of different budgets.

Under the assumption, the rate of passing by minute b is the same for every budget >= b of one family. For a budget m of
a family, with p1 the probability of m and p2 that of all longer ones on the same row, the run counts

    + p2 / (p1 + p2) (y - c)   if its budget is m,        - p1 / (p1 + p2) (y - c)   if it is longer

with y = 1 where its first candidate passed by b <= m (also when outvoted) and c the mean of y. These are inverse
propensity weights times p1 p2 / (p1 + p2), the overlap weights of Li, Morgan and Zaslavsky (2018): the expectation is
0 under the assumption whatever c is, no weight exceeds 1, and rows where one of the two could not have happened count
nothing. Sums are clustered by issue and compared with Student's t.

Two kinds of tests share the level: every family and budget at b = m, and all families together at every b and m.
Each kind is corrected by Bonferroni.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner_core.value.actions import BUDGETS
from planner_core.value.propensity import LoggingPolicy
from planner_core.value.replay import Replay
from planner_core.value.student import two_sided_p

LEVEL = 0.01
FEWEST_ISSUES = 20
"""Issues that the weights of either side of a comparison must amount to for it to be made."""

State = Literal["holds", "contradicted", "assumed, not checked"]


@dataclass(frozen=True)
class ReplayCheck:
    """``state``; how many comparisons were made; the smallest corrected p-value and what it compares, "" if none."""

    state: State
    comparisons: int
    p_value: float
    worst: str


def check_replay(
    logging: LoggingPolicy, runs: Replay, issue: NDArray[np.int64], usable: NDArray[np.bool_]
) -> ReplayCheck:
    """Compare pass-by-b rates across budgets; ``issue`` int64 [n] in 0..issues-1, ``usable`` bool [n] rows to use."""
    groups: list[tuple[float, str]] = []
    pooled: list[tuple[float, str]] = []
    families, of_family = np.unique(np.where(usable & logging.whole, logging.family, -1), return_inverse=True)
    for budget in BUDGETS[:-1]:
        sides = _sides(logging, budget, usable)
        for by in (b for b in BUDGETS if b <= budget):
            passed = (runs.first_pass <= by).astype(np.float64)
            p = _compare(*sides, passed, issue, of_family)
            if p is not None:
                pooled.append((p, f"passes by minute {by} at {budget} minutes against longer budgets"))
        passed = (runs.first_pass <= budget).astype(np.float64)
        for number, family in enumerate(families):
            if family < 0:
                continue
            mine = of_family == number
            p = _compare(sides[0] & mine, sides[1] & mine, sides[2], passed, issue, of_family)
            if p is not None:
                groups.append(
                    (p, f"passes by minute {budget} at that budget against longer ones, {_name(int(family))}")
                )
    corrected = [(p * len(kind), what) for kind in (groups, pooled) for p, what in kind]
    if not corrected:
        return ReplayCheck("assumed, not checked", 0, float("nan"), "")
    smallest, what = min(corrected)
    # The two kinds share the level.
    state: State = "contradicted" if smallest < LEVEL / 2 else "holds"
    return ReplayCheck(state, len(corrected), min(1.0, 2 * smallest), what)


def _sides(
    logging: LoggingPolicy, budget: int, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]:
    """(runs of that budget, runs of longer ones, p2 / (p1 + p2)) on rows where both could have happened."""
    rows = len(logging.own)
    same = np.bincount(logging.row, logging.p * (logging.minutes == budget), minlength=rows)
    longer = np.bincount(logging.row, logging.p * (logging.minutes > budget), minlength=rows)
    both = usable & (same > 0) & (longer > 0)
    share = np.where(both, longer / np.where(both, same + longer, 1.0), 0.0)
    return both & (logging.budget == budget), both & (logging.budget > budget), share


def _compare(
    short: NDArray[np.bool_],
    long: NDArray[np.bool_],
    share: NDArray[np.float64],
    passed: NDArray[np.float64],
    issue: NDArray[np.int64],
    family: NDArray[np.int64],
) -> float | None:
    """p-value of one comparison; None where a side has too few issues or nothing varies."""
    fewest = min(_issues(np.where(short, share, 0.0), issue), _issues(np.where(long, 1.0 - share, 0.0), issue))
    if fewest < FEWEST_ISSUES:
        return None
    weight = np.where(short, share, 0.0) - np.where(long, 1.0 - share, 0.0)
    size = np.abs(weight)
    count = np.bincount(family, size)
    mean = np.bincount(family, size * passed) / np.where(count > 0, count, 1.0)
    sums = np.bincount(issue, weight * (passed - mean[family]))
    sums = sums[np.bincount(issue[short | long], minlength=len(sums)) > 0]
    total, spread = float(sums.sum()), float(np.sqrt(len(sums) * sums.var(ddof=1)))
    if spread <= 1e-12:
        return None
    return two_sided_p(total / spread, fewest - 1)


def _issues(weight: NDArray[np.float64], issue: NDArray[np.int64]) -> float:
    """How many issues the overlap weights [n] of one side amount to: an issue counts by its weights, 1 at most.

    A run that was nearly sure to have its budget weighs next to nothing, however many there are of its kind.
    """
    return float(np.minimum(np.bincount(issue, weight), 1.0).sum())


def _name(family: int) -> str:
    swarm, rest = divmod(family, 1_000_000)
    candidates, iterations = divmod(rest, 1_000)
    return f"{('serial', 'vote')[swarm] if swarm < 2 else swarm}, {candidates} candidates, {iterations} iterations"
