"""The estimators of SPEC section 13, each as a mean over rows with an influence a row.

With u the outcome of a run, u_t what it replays to under the target t, m the model's prediction, w_t the replay weight
and v_t the plain one:

    as run             mean of u
    ips                mean of v_t u
    snips              sum of v_t u / sum of v_t
    dr                 mean of m(x, t) + v_t (u - m(x, t))
    augmented replay   mean of m(x, t) + w_t (u_t - m(x, t))

and of the difference to a reference h the same with the figure of h subtracted row by row; against what was run the
terms of h are u itself. Augmented replay is unbiased where the propensities are right, whatever m is; it is not doubly
robust, since w_t depends on the outcome.

Outcomes are stacked in the order of :data:`METRICS`: float64 [4, n].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner_core.value.actions import Target, classes
from planner_core.value.replay import Replay
from planner_core.value.weights import Evidence

METRICS = ("pass_rate", "minutes", "cost_usd", "utility")
ESTIMATORS = ("ips", "snips", "dr", "augmented_replay")


@dataclass(frozen=True)
class Predictions:
    """What a model expects of every joint class: ``passed``, ``minutes``, ``cost_usd``, float [n, 150] each.

    They must come from a model that was not fitted on the issue of the row it predicts.
    """

    passed: NDArray[np.floating]
    minutes: NDArray[np.floating]
    cost_usd: NDArray[np.floating]

    def take(self, rows: NDArray[np.int64]) -> Predictions:
        """The predictions on some rows."""
        return Predictions(self.passed[rows], self.minutes[rows], self.cost_usd[rows])


class Estimate(NamedTuple):
    """``value`` of a mean (or ratio of means) and the centred ``influence`` [n] of each row on it."""

    value: float
    influence: NDArray[np.float64]


def with_utility(outcome: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(passed, minutes, USD) [3, n] and their utility: [4, n]; ``weights`` [n, (pass, hour, USD)]."""
    utility = weights[:, 0] * outcome[0] - weights[:, 1] * outcome[1] / 60.0 - weights[:, 2] * outcome[2]
    return np.concatenate([outcome, utility[None]])


@dataclass(frozen=True)
class TargetTerms:
    """A target on n rows, as the estimators need it; float64 [4, n] in the order of :data:`METRICS`.

    ``expected`` m(x, t); ``replayed`` and ``matched`` the sums over the target's budgets of w (u_t - m) and v (u - m);
    ``matched_outcome`` of v u. ``plain``, ``for_pass``, ``for_cost`` float64 [n]: total weight of each row.
    """

    expected: NDArray[np.float64]
    replayed: NDArray[np.float64]
    matched: NDArray[np.float64]
    matched_outcome: NDArray[np.float64]
    plain: NDArray[np.float64]
    for_pass: NDArray[np.float64]
    for_cost: NDArray[np.float64]


def target_terms(
    target: Target,
    parts: list[Evidence],
    runs: Replay,
    job_type: NDArray[np.int64],
    ran: NDArray[np.int64],
    utility_weights: NDArray[np.float64],
    predictions: Predictions | None,
) -> TargetTerms:
    """Everything the estimators need of one target. ``ran`` int64 [n]: a class of the executed action, -1 unknown."""
    rows = len(job_type)
    shape = (len(METRICS), rows)
    expected = _expected(target, job_type, utility_weights, predictions, rows)
    replayed, matched, matched_outcome = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    plain, for_pass, for_cost = np.zeros(rows), np.zeros(rows), np.zeros(rows)
    as_run = as_it_was(runs, utility_weights)
    for part in parts:
        model = with_utility(_at(predictions, part.column, rows), utility_weights)
        if predictions is None:
            model = np.zeros(shape)
        outcome = with_utility(runs.under(part.budget, usd_ratio(predictions, part.column, ran)), utility_weights)
        weights = np.stack([part.for_pass, part.for_pass, part.for_cost]) * part.mass
        # Utility is the sum of its parts, each with the weight of its own time.
        told = np.where(weights > 0, weights * (outcome - model)[:3], 0.0)
        replayed += with_utility(told, utility_weights)
        # With plain weights the run is the target's own: nothing is replayed.
        mass = part.plain * part.mass
        matched += np.where(mass > 0, mass * (as_run - model), 0.0)
        matched_outcome += mass * as_run
        plain += mass
        for_pass += weights[0]
        for_cost += weights[2]
    return TargetTerms(expected, replayed, matched, matched_outcome, plain, for_pass, for_cost)


def as_it_was(runs: Replay, utility_weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outcomes of the runs themselves, float64 [4, n]."""
    return with_utility(np.stack([runs.passed, runs.minutes, runs.usd]), utility_weights)


def values(terms: TargetTerms) -> Mapping[str, tuple[Estimate, ...]]:
    """Every estimator of a target: four :class:`Estimate`, in the order of :data:`METRICS`."""
    means = {
        "ips": terms.matched_outcome,
        "dr": terms.expected + terms.matched,
        "augmented_replay": terms.expected + terms.replayed,
    }
    out = {name: tuple(mean_of(rows) for rows in contributions) for name, contributions in means.items()}
    out["snips"] = tuple(ratio_of(rows, terms.plain) for rows in terms.matched_outcome)
    return out


def mean_of(contributions: NDArray[np.float64]) -> Estimate:
    """The mean of [n] contributions."""
    if not len(contributions):
        return Estimate(math.nan, contributions)
    value = float(contributions.mean())
    return Estimate(value, contributions - value)


def ratio_of(weighted: NDArray[np.float64], weights: NDArray[np.float64]) -> Estimate:
    """sum of ``weighted`` [n] / sum of ``weights`` [n], with the influence of a ratio of means; NaN without weight."""
    total = float(weights.sum())
    if total <= 0.0:
        return Estimate(math.nan, np.zeros(len(weights)))
    value = float(weighted.sum()) / total
    return Estimate(value, (weighted - value * weights) / (total / len(weights)))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """``one`` - ``other``, on the same rows."""
    return Estimate(one.value - other.value, one.influence - other.influence)


def _expected(
    target: Target,
    job_type: NDArray[np.int64],
    utility_weights: NDArray[np.float64],
    predictions: Predictions | None,
    rows: int,
) -> NDArray[np.float64]:
    if predictions is None:
        return np.zeros((len(METRICS), rows))
    if target.action is not None:
        return with_utility(_at(predictions, classes().canonical[job_type, target.action], rows), utility_weights)
    assert target.probabilities is not None
    arrays = (predictions.passed, predictions.minutes, predictions.cost_usd)
    canonical, row = classes().canonical[job_type], np.arange(rows)[:, None]
    # The columns a target never takes may hold anything, NaN included.
    taken = target.probabilities > 0
    mixed = [(np.where(taken, array[row, canonical], 0.0) * target.probabilities).sum(axis=1) for array in arrays]
    return with_utility(np.stack(mixed), utility_weights)


def _at(predictions: Predictions | None, column: NDArray[np.int64], rows: int) -> NDArray[np.float64]:
    if predictions is None:
        return np.zeros((3, rows))
    row = np.arange(rows)
    arrays = (predictions.passed, predictions.minutes, predictions.cost_usd)
    return np.stack([array[row, column].astype(np.float64) for array in arrays])


def usd_ratio(
    predictions: Predictions | None, column: NDArray[np.int64], ran: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Modelled USD of the class ``column`` over that of the class that was run; None without a model."""
    if predictions is None:
        return None
    row = np.arange(len(ran))
    wanted = predictions.cost_usd[row, column].astype(np.float64)
    was = predictions.cost_usd[row, np.maximum(ran, 0)].astype(np.float64)
    return np.where((ran >= 0) & (was > 1e-9), wanted / np.where(was > 1e-9, was, 1.0), 1.0)
