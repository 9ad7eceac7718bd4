"""What the chosen actions achieve, on rows whose outcome is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.examples import Examples, Outcomes
from planner_core.utility import Objective, best_actions, tie_order, utilities

Columns = Mapping[str, NDArray[np.float64]]
"""What each of n decisions leads to, float64 [n] by name (:data:`COLUMNS`); NaN where it is unknown."""


class OutcomeMetrics(msgspec.Struct, kw_only=True):
    """Outcome metrics; ratios are None where nothing passed.

    ``mean_time_to_pass_min`` weighs each row's minutes by its pass probability; ``minutes_per_pass`` and
    ``cost_per_pass_usd`` divide everything spent by the passes. ``outcome_coverage`` is the share of rows that
    are judged: those where the outcomes of several actions are known.
    """

    outcome_coverage: float
    pass_rate: float
    mean_minutes: float
    mean_cost_usd: float
    mean_time_to_pass_min: float | None
    minutes_per_pass: float | None
    cost_per_pass_usd: float | None
    mean_utility: float
    mean_regret: float
    oracle_match_rate: float
    gap_closed: float | None = None


def objective_scores(outcomes: Outcomes, objective: Objective, utility: NDArray[np.float64]) -> NDArray[np.float64]:
    """Higher-is-better score of every outcome under an objective, float64 [n, n_joint]; NaN where the utility is."""
    if objective == "utility":
        return utility
    score = -(outcomes.minutes if objective == "duration" else outcomes.cost_usd).astype(np.float64)
    return np.where(np.isnan(utility), np.nan, score)


def outcome_columns(
    chosen: NDArray[np.int64],
    examples: Examples,
    space: ActionSpace,
    weights: NDArray[np.float64],
    objective: Objective = "utility",
) -> Columns | None:
    """Per-row quantities of ``chosen`` int64 [n] joint classes, float64 [n] each; NaN where the outcome is unknown.

    A row whose ``chosen`` is -1 is left out.

    ``weights`` as of :func:`planner_core.utility.weight_table`. Regret and oracle match are against the best known
    valid action of each row under ``objective``; regret is in utility. None where the dataset has no outcomes.
    """
    outcomes = examples.outcomes
    if outcomes is None:
        return None
    n = len(chosen)
    columns = {name: np.empty(n) for name in COLUMNS}
    order = tie_order(space)
    for begin in range(0, n, _ROWS_AT_ONCE):
        rows = slice(begin, begin + _ROWS_AT_ONCE)
        known = Outcomes(outcomes.passed[rows], outcomes.minutes[rows], outcomes.cost_usd[rows])
        valid = space.joint_masks[examples.job_type[rows]]
        part = _columns(chosen[rows], known, valid, examples.priority[rows], weights, objective, order)
        part["exact"] = chosen[rows] == examples.action[rows]
        part["one"] = np.ones(len(part["exact"]))
        unknown = np.isnan(part["utility"]) | (chosen[rows] < 0)
        for name, values in columns.items():
            values[rows] = np.where(unknown, np.nan, part[name])
    return columns


COLUMNS = ("passed", "minutes", "cost", "utility", "regret", "oracle", "exact", "one", "passed_minutes")
_ROWS_AT_ONCE = 4096  # some 5 MB an array of all their actions


def _columns(
    chosen: NDArray[np.int64],
    outcomes: Outcomes,
    valid: NDArray[np.bool_],
    priority: NDArray[np.int64],
    weights: NDArray[np.float64],
    objective: Objective,
    order: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    """Those of the columns that follow from the outcomes of some rows."""
    utility = utilities(outcomes.passed, outcomes.minutes, outcomes.cost_usd, priority, weights)
    best = best_actions(outcomes.passed, objective_scores(outcomes, objective, utility), valid, order)
    rows = np.arange(len(chosen))
    passed = outcomes.passed[rows, chosen].astype(np.float64)
    minutes = outcomes.minutes[rows, chosen].astype(np.float64)
    return {
        "passed": passed,
        "minutes": minutes,
        "cost": outcomes.cost_usd[rows, chosen].astype(np.float64),
        "utility": utility[rows, chosen],
        # best is -1 where nothing is known; those rows are unknown for every choice
        "regret": utility[rows, best] - utility[rows, chosen],
        "oracle": chosen == best,
        "passed_minutes": passed * minutes,
    }


def evaluate_outcomes(columns: Columns | None) -> OutcomeMetrics | None:
    """Outcome metrics of the rows of :func:`outcome_columns` that are known; None where none is."""
    if columns is None:
        return None
    known = ~np.isnan(columns["utility"])
    if not known.any():
        return None
    total = {name: float(values[known].sum()) for name, values in columns.items()}
    passes, n = total["passed"], total["one"]
    return OutcomeMetrics(
        outcome_coverage=float(known.mean()),
        pass_rate=passes / n,
        mean_minutes=total["minutes"] / n,
        mean_cost_usd=total["cost"] / n,
        mean_time_to_pass_min=total["passed_minutes"] / passes if passes else None,
        minutes_per_pass=total["minutes"] / passes if passes else None,
        cost_per_pass_usd=total["cost"] / passes if passes else None,
        mean_utility=total["utility"] / n,
        mean_regret=total["regret"] / n,
        oracle_match_rate=total["oracle"] / n,
    )


def regret_by_confidence(confidence: NDArray[np.floating], columns: Columns, parts: int = 4) -> list[float] | None:
    """Mean regret of equal parts of the known rows, the surest first: what a confidence is worth.

    Rows of equal confidence keep their order; None where fewer rows than ``parts`` are known.
    """
    known = np.flatnonzero(~np.isnan(columns["regret"]))
    if len(known) < parts:
        return None
    order = known[np.argsort(-confidence[known], kind="stable")]
    return [float(columns["regret"][part].mean()) for part in np.array_split(order, parts)]


def gap_closed(mean_utility: float, floor: float, ceiling: float) -> float | None:
    """(policy - floor) / (ceiling - floor) of mean utility; None where the two coincide."""
    return (mean_utility - floor) / (ceiling - floor) if ceiling != floor else None
