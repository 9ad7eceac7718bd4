"""What an outcome is worth: utility = w_pass x pass - w_time x hours - w_cost x USD, by priority."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace, bin_key
from planner_core.encoder import PRIORITIES

Objective = Literal["utility", "duration", "cost"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

UTILITY_WEIGHTS: dict[str, dict[str, float]] = {
    "P0": {"pass": 4.0, "time": 1.0, "cost": 0.10},
    "P1": {"pass": 3.0, "time": 0.8, "cost": 0.15},
    "P2": {"pass": 2.0, "time": 0.6, "cost": 0.20},
    "P3": {"pass": 1.2, "time": 0.3, "cost": 0.30},
}


def weight_table(weights: Mapping[str, Mapping[str, float]] | None = None) -> NDArray[np.float64]:
    """Weights as float64 [4 priorities, (pass, time, cost)]; the defaults where ``weights`` is None."""
    chosen = weights or UTILITY_WEIGHTS
    return np.array([[chosen[p][key] for key in ("pass", "time", "cost")] for p in PRIORITIES], np.float64)


def utilities(
    passed: NDArray[np.floating],
    minutes: NDArray[np.floating],
    cost_usd: NDArray[np.floating],
    priority: NDArray[np.integer],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Utility of every known outcome, float64 [examples, actions]; NaN where the outcome is unknown.

    ``passed`` is a probability or 0/1; ``priority`` int [examples] indexes P0..P3; ``weights`` as of
    :func:`weight_table`.
    """
    return weighted(passed, minutes, cost_usd, weights[priority])


def weighted(
    passed: NDArray[np.floating],
    minutes: NDArray[np.floating],
    cost_usd: NDArray[np.floating],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """:func:`utilities` of rows with weights of their own, float64 [examples, (pass, time, cost)]."""
    out: NDArray[np.float64] = weights[:, :1] * passed.astype(np.float64)
    out -= weights[:, 1:2] * (minutes.astype(np.float64) / 60.0)
    out -= weights[:, 2:] * cost_usd.astype(np.float64)
    return out


def tie_order(space: ActionSpace) -> NDArray[np.int64]:
    """Joint classes from the one a tie prefers to the one it prefers least: fewer candidates, minutes, then order."""
    keys = [(bin_key(a.candidates), bin_key(a.minutes), i) for i, a in enumerate(space.actions)]
    return np.array([key[2] for key in sorted(keys)], np.int64)


def best_actions(
    passed: NDArray[np.floating],
    score: NDArray[np.floating],
    valid: NDArray[np.bool_],
    order: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The winning joint class of each row, int64 [examples]; -1 where no valid outcome is known.

    ``score`` is higher-is-better [examples, actions]. An action that passed all gates beats one that did not; where
    ``passed`` holds probabilities strictly between 0 and 1 the row has expected outcomes, and the score alone decides.
    """
    known = valid & ~np.isnan(passed) & ~np.isnan(score)
    certain = (~known | (passed == 0.0) | (passed == 1.0)).all(axis=1, keepdims=True)
    eligible = known & (~certain | (passed == 1.0))
    none_passed = ~eligible.any(axis=1)
    eligible[none_passed] = known[none_passed]
    ranked = np.where(eligible, score, -np.inf)[:, order]
    best = order[np.argmax(ranked, axis=1)]
    return np.where(known.any(axis=1), best, -1)
