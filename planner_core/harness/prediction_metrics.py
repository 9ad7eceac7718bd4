"""How honest an outcome policy's predictions are: predicted against what happened, on the runs of a split.

The prediction is that of the action that was run, and the policy had no say in what that was, so no rows are selected.
A prediction is still a prediction: these figures say whether to believe it, not what a policy saves.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from planner_core.decision import Scores
from planner_core.examples import OUTCOME_ARRAYS, Examples
from planner_core.harness.metrics import reliability
from planner_core.harness.prediction_intervals import LEVEL, Group, judge_intervals, runs_of
from planner_core.value import Clusters

_SMALLEST = 1e-6


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


class PredictionMetrics(msgspec.Struct, kw_only=True):
    """Predicted pass, minutes and cost against ``rows`` runs.

    Brier score and log loss (nats) of the pass probability, its expected calibration error over 10 bins, and what the
    same would be for the overall pass rate; ``pass_reliability``: the bins of
    :func:`pass_bins`; mean absolute error and bias (predicted minus actual) of minutes and USD.

    Of the central intervals of a single run, which are to hold ``interval_level`` of the runs: the share that they do
    hold, their mean width in minutes and USD, and what they are (:mod:`planner_core.harness.prediction_intervals`);
    ``interval_source`` says which runs they were made of. None where the runs of too few issues are known.
    """

    rows: int
    brier: float
    brier_of_the_mean: float
    log_loss: float
    ece: float
    pass_bias: float
    minutes_mae: float | None
    minutes_bias: float | None
    cost_mae: float | None
    cost_bias: float | None
    pass_reliability: list[PassBin]
    interval_level: float = LEVEL
    interval_source: str | None = None
    minutes_interval_coverage: float | None = None
    minutes_interval_width: float | None = None
    cost_interval_coverage: float | None = None
    cost_interval_width: float | None = None
    minutes_interval: list[Group] | None = None
    cost_interval: list[Group] | None = None


OTHER_ISSUES = "the other issues of the split"


def prediction_metrics(
    outcomes: Scores | None,
    examples: Examples,
    calibration: tuple[str, Scores, Examples] | None = None,
) -> PredictionMetrics | None:
    """Judge predictions of every action on what was run; None without predictions, and where nothing is known.

    ``calibration``: what intervals are made of: the name of another split, that the policy did not learn from, its
    predictions and its examples. Without it each run is judged by the other issues of its own split.
    """
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
    took = executed.duration_minutes[rows].astype(np.float64)
    minutes_off = (minutes - took)[~np.isnan(took)]
    cost_off = (cost - spent)[priced]
    clipped = np.clip(p, _SMALLEST, 1.0 - _SMALLEST)
    return PredictionMetrics(
        rows=len(rows),
        brier=float(((p - happened) ** 2).mean()),
        brier_of_the_mean=float(happened.mean() * (1.0 - happened.mean())),
        log_loss=float(-(happened * np.log(clipped) + (1.0 - happened) * np.log(1.0 - clipped)).mean()),
        ece=reliability(p, happened == 1.0).ece,
        pass_bias=float(p.mean() - happened.mean()),
        minutes_mae=float(np.abs(minutes_off).mean()) if len(minutes_off) else None,
        minutes_bias=float(minutes_off.mean()) if len(minutes_off) else None,
        cost_mae=float(np.abs(cost_off).mean()) if len(cost_off) else None,
        cost_bias=float(cost_off.mean()) if len(cost_off) else None,
        pass_reliability=pass_bins(outcomes, examples),
        interval_source=OTHER_ISSUES if calibration is None else calibration[0],
        **_intervals(outcomes, examples, calibration),
    )


def _intervals(
    outcomes: Scores, examples: Examples, calibration: tuple[str, Scores, Examples] | None
) -> dict[str, Any]:
    """The fields about intervals."""
    out: dict[str, Any] = {}
    for short, name in (("minutes", "minutes"), ("cost", "cost_usd")):
        made_of = None if calibration is None else runs_of(*calibration[1:], name)
        found = judge_intervals(runs_of(outcomes, examples, name), made_of)
        if found is not None:
            out[f"{short}_interval_coverage"] = found.coverage
            out[f"{short}_interval_width"] = found.width if np.isfinite(found.width) else None
            out[f"{short}_interval"] = found.groups
    return out
