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
    """Higher-is-better score of every outcome under an objective, float64 [n, n_joint]."""
    if objective == "utility":
        return utility
    return -(outcomes.minutes if objective == "duration" else outcomes.cost_usd).astype(np.float64)


def evaluate_outcomes(
    chosen: NDArray[np.int64],
    examples: Examples,
    space: ActionSpace,
    weights: NDArray[np.float64],
    objective: Objective = "utility",
) -> OutcomeMetrics | None:
    """Outcome metrics of ``chosen`` int64 [n] joint classes; None where no chosen action has a known outcome.

    ``weights`` as of :func:`planner_core.data.utility.weight_table`. Regret and oracle match are against the best known
    valid action of each row under ``objective``; regret is in utility.
    """
    outcomes = examples.outcomes
    if outcomes is None:
        return None
    utility = utilities(outcomes.passed, outcomes.minutes, outcomes.cost_usd, examples.priority, weights)
    rows = np.arange(len(chosen))
    known = ~np.isnan(utility[rows, chosen])
    if not known.any():
        return None
    valid = space.joint_masks[examples.job_type]
    best = best_actions(outcomes.passed, objective_scores(outcomes, objective, utility), valid, tie_order(space))
    rows, picks, best = rows[known], chosen[known], best[known]
    passed = outcomes.passed[rows, picks].astype(np.float64)
    minutes = outcomes.minutes[rows, picks].astype(np.float64)
    cost = outcomes.cost_usd[rows, picks].astype(np.float64)
    passes = passed.sum()
    return OutcomeMetrics(
        outcome_coverage=float(known.mean()),
        pass_rate=float(passed.mean()),
        mean_time_to_pass_min=float((passed * minutes).sum() / passes) if passes else None,
        minutes_per_pass=float(minutes.sum() / passes) if passes else None,
        cost_per_pass_usd=float(cost.sum() / passes) if passes else None,
        mean_utility=float(utility[rows, picks].mean()),
        mean_regret=float((utility[rows, best] - utility[rows, picks]).mean()),
        oracle_match_rate=float((picks == best).mean()),
    )


def gap_closed(mean_utility: float, floor: float, ceiling: float) -> float | None:
    """(policy - floor) / (ceiling - floor) of mean utility; None where the two coincide."""
    return (mean_utility - floor) / (ceiling - floor) if ceiling != floor else None
