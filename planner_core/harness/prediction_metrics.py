"""How honest an outcome policy's predictions are: predicted against what happened, on the runs of a split.

The prediction is that of the action that was run, and the policy had no say in what that was, so no rows are selected.
A prediction is still a prediction: these figures say whether to believe it, not what a policy saves.
"""

from __future__ import annotations

import msgspec
import numpy as np

from planner_core.decision import Scores
from planner_core.examples import OUTCOME_ARRAYS, Examples
from planner_core.harness.metrics import reliability
from planner_core.value import Clusters

_SMALLEST = 1e-6


class PredictionMetrics(msgspec.Struct, kw_only=True):
    """Predicted pass, minutes and cost against ``rows`` runs.

    Brier score and log loss (nats) of the pass probability, its expected calibration error over 10 bins, and what the
    same would be for the overall pass rate; mean absolute error and bias (predicted minus actual) of minutes and USD.
    """

    rows: int
    brier: float
    brier_of_the_mean: float
    log_loss: float
    ece: float
    pass_bias: float
    minutes_mae: float
    minutes_bias: float
    cost_mae: float | None
    cost_bias: float | None


class PassBin(msgspec.Struct):
    """Runs of like predicted pass probability: how many, of how many issues, the means of what was predicted and of
    what happened, and Wilson's 95 % interval (1927) of the latter, which counts issues and not runs."""

    rows: int
    issues: int
    predicted: float
    realised: float
    low: float
    high: float


def pass_bins(outcomes: Scores | None, examples: Examples) -> list[PassBin]:
    """Predicted against realised pass rate in up to ten bins of equal width; none where there is nothing to compare."""
    executed = examples.executed
    if executed is None or outcomes is None:
        return []
    rows = np.flatnonzero(executed.evidence & (executed.action >= 0))
    p = outcomes["passed"][rows, executed.action[rows]].astype(np.float64)
    happened = executed.passed[rows] == 1.0
    table = reliability(p, happened)
    place = np.clip(np.ceil(p * len(table.count)).astype(np.int64) - 1, 0, len(table.count) - 1)
    found = []
    for i in np.flatnonzero(table.count):
        issues = Clusters(executed.issue[rows[place == i]]).count
        realised = float(table.accuracy[i])
        low, high = wilson(realised, issues)
        found.append(PassBin(int(table.count[i]), issues, float(table.confidence[i]), realised, low, high))
    return found


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share seen among ``n`` >= 1."""
    z = 1.959963984540054
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(middle - reach, 0.0), min(middle + reach, 1.0)


def prediction_metrics(outcomes: Scores | None, examples: Examples) -> PredictionMetrics | None:
    """Judge predictions of every action on what was run; None without predictions, and where nothing is known."""
    executed = examples.executed
    if executed is None or outcomes is None:
        return None
    rows = np.flatnonzero(executed.evidence & (executed.action >= 0))
    if not len(rows):
        return None
    chosen = rows, executed.action[rows]
    p, minutes, cost = (outcomes[name][chosen].astype(np.float64) for name in OUTCOME_ARRAYS)
    happened = executed.passed[rows].astype(np.float64)
    spent = executed.cost_usd[rows].astype(np.float64)
    priced = ~np.isnan(spent)
    minutes_off = minutes - executed.duration_minutes[rows].astype(np.float64)
    cost_off = (cost - spent)[priced]
    clipped = np.clip(p, _SMALLEST, 1.0 - _SMALLEST)
    return PredictionMetrics(
        rows=len(rows),
        brier=float(((p - happened) ** 2).mean()),
        brier_of_the_mean=float(happened.mean() * (1.0 - happened.mean())),
        log_loss=float(-(happened * np.log(clipped) + (1.0 - happened) * np.log(1.0 - clipped)).mean()),
        ece=reliability(p, happened == 1.0).ece,
        pass_bias=float(p.mean() - happened.mean()),
        minutes_mae=float(np.abs(minutes_off).mean()),
        minutes_bias=float(minutes_off.mean()),
        cost_mae=float(np.abs(cost_off).mean()) if len(cost_off) else None,
        cost_bias=float(cost_off.mean()) if len(cost_off) else None,
    )
