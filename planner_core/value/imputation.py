"""Utilities of all actions of each row of a log: an outcome model's expectation, corrected by what was run.

Doubly robust pseudo-outcomes (Dudik, Langford and Li, ICML 2011) with replay weights, to learn from. They are no
estimate of anybody's value: the weights are shrunk, which trades a bias for much less noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner_core.utility import weighted
from planner_core.value.actions import Target, classes
from planner_core.value.estimators import Predictions, usd_ratio, with_utility
from planner_core.value.log import Log
from planner_core.value.weights import evidence

SHRINKAGE = 0.1
"""The weight at which a correction counts half of what it would without shrinkage (Su et al., ICML 2020)."""


def imputed_utilities(log: Log, predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Utility of every joint class of each row given to the log, float32 [given, 150].

    ``predictions`` are of a model that did not learn from the issue of the row it predicts; ``weights`` float64
    [given, (pass, hour, USD)]. A row that is no evidence keeps the model's expectation.
    """
    out = weighted(predictions.passed, predictions.minutes, predictions.cost_usd, weights)
    predicted = predictions.take(log.rows)
    row = np.arange(len(log))
    all_classes = Target(None, np.ones((len(log), out.shape[1])))
    canonical = classes().canonical[log.job_type]
    for part in evidence(all_classes, log.job_type, log.logging, log.runs, log.replayed):
        ratio = usd_ratio(predicted, part.column, log.ran)
        happened = with_utility(log.runs.under(part.budget, ratio), log.utility_weights)[-1]
        told = (part.mass > 0) & (part.for_cost > 0)
        shrunk = part.for_cost / (1.0 + part.for_cost / SHRINKAGE)
        correction = np.where(told, shrunk * (np.where(told, happened, 0.0) - out[log.rows, part.column]), 0.0)
        twins = canonical == part.column[:, None]
        out[log.rows] += np.where(twins & told[:, None], correction[row, None], 0.0)
    return out.astype(np.float32)
