"""What the chosen actions achieve, on rows whose outcome is known."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.data.dataset import Examples, Outcomes
from planner_core.data.utility import Objective, best_actions, tie_order, utilities


class OutcomeMetrics(msgspec.Struct, kw_only=True):
    """Outcome metrics; ratios are None where nothing passed.

    ``mean_time_to_pass_min`` weighs each row's minutes by its pass probability; ``minutes_per_pass`` and
    ``cost_per_pass_usd`` divide everything spent by the passes. ``outcome_coverage`` is the share of rows whose chosen
    action has a known outcome; the others are left out.
    """

    outcome_coverage: float
    pass_rate: float
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
) -> dict[str, NDArray[np.float64]] | None:
    """Per-row quantities of ``chosen`` int64 [n] joint classes, float64 [n] each; NaN where the outcome is unknown.

    ``weights`` as of :func:`planner_core.data.utility.weight_table`. Regret and oracle match are against the best known
    valid action of each row under ``objective``; regret is in utility. None where the dataset has no outcomes.
    """
    outcomes = examples.outcomes
    if outcomes is None:
        return None
    utility = utilities(outcomes.passed, outcomes.minutes, outcomes.cost_usd, examples.priority, weights)
    rows = np.arange(len(chosen))
    valid = space.joint_masks[examples.job_type]
    best = best_actions(outcomes.passed, objective_scores(outcomes, objective, utility), valid, tie_order(space))
    columns = {
        "passed": outcomes.passed[rows, chosen].astype(np.float64),
        "minutes": outcomes.minutes[rows, chosen].astype(np.float64),
        "cost": outcomes.cost_usd[rows, chosen].astype(np.float64),
        "utility": utility[rows, chosen],
        # best is -1 where nothing is known; those rows are unknown for every choice
        "regret": utility[rows, best] - utility[rows, chosen],
        "oracle": (chosen == best).astype(np.float64),
        "exact": (chosen == examples.action).astype(np.float64),
        "one": np.ones(len(chosen)),
    }
    columns["passed_minutes"] = columns["passed"] * columns["minutes"]
    unknown = np.isnan(columns["utility"])
    for values in columns.values():
        values[unknown] = np.nan
    return columns


def evaluate_outcomes(columns: dict[str, NDArray[np.float64]] | None) -> OutcomeMetrics | None:
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
        mean_time_to_pass_min=total["passed_minutes"] / passes if passes else None,
        minutes_per_pass=total["minutes"] / passes if passes else None,
        cost_per_pass_usd=total["cost"] / passes if passes else None,
        mean_utility=total["utility"] / n,
        mean_regret=total["regret"] / n,
        oracle_match_rate=total["oracle"] / n,
    )


def gap_closed(mean_utility: float, floor: float, ceiling: float) -> float | None:
    """(policy - floor) / (ceiling - floor) of mean utility; None where the two coincide."""
    return (mean_utility - floor) / (ceiling - floor) if ceiling != floor else None
