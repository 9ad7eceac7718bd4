"""Learning the model from examples: parts, prices, effects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from planner_outcome.actions import MINUTES, ActionTable
from planner_outcome.additive import as_good, contradicted, fit_additive, no_additive
from planner_outcome.config import OutcomeConfig
from planner_outcome.core import ActionSpace, EncoderConfig, Examples, Executed, best_constants, read_log, weight_table
from planner_outcome.cost import Prices, fit_prices
from planner_outcome.evidence import GAVE_UP, MAX_MINUTES, Evidence, read_evidence
from planner_outcome.features import feature_map
from planner_outcome.fit import NAMES, Parts, as_scalars, fit_parts
from planner_outcome.likelihood import Likelihood
from planner_outcome.model import OutcomeModel
from planner_outcome.residuals import NEAR_BIN, Observed, fit_effects, no_effects
from planner_outcome.state import REFERENCE_MINUTES, Floats, Physics

PRICE_STEPS, USUAL_RIDGE = 30, 0.1


def learn(
    examples: Examples,
    executed: Executed,
    encoder: EncoderConfig,
    table: ActionTable,
    config: OutcomeConfig,
    tell: Callable[[int, float], None],
    space: ActionSpace,
    worth: Floats,
) -> OutcomeModel:
    """The model of what ``executed`` shows of ``examples``; ``tell`` is called with (round, loss a run).

    ``worth`` float64 [priorities, (pass, hour, USD)] says which constant is the best one, where that matters.
    """
    features = feature_map(examples.features, encoder)
    x = features.features(examples.features, examples.job_type)
    evidence = read_evidence(executed, table.iterates[examples.job_type])
    c = evidence.candidates
    usual = _usual_budget(x, executed)
    likelihood = Likelihood(c, evidence.runs, evidence.vote.accuracy, len(examples), x @ usual.weights + usual.bias)
    parts = fit_parts(x, features.slices, likelihood, config, tell)
    prices = fit_prices(x, evidence.costs, PRICE_STEPS)
    weights, biases = _heads(parts, prices, usual)
    silent = no_additive(x.shape[1], table)
    composed = OutcomeModel(features, weights, biases, _physics(parts, prices, evidence), no_effects(table), silent)
    if not config.residuals:
        return composed
    seen, rows = observed(executed, examples.job_type)
    structural = composed.structural(examples.features.take(rows), examples.job_type[rows], table)
    effects, kept = fit_effects(structural, seen, table)
    corrected = replace(composed, effects=effects)
    if not contradicted(kept, seen):
        return corrected
    chance = _chances(executed, examples)[rows]
    if not as_good(x[rows], seen, chance, structural, table):
        return corrected
    constants = best_constants(replace(examples, executed=executed, outcomes=None), space, worth)
    return replace(corrected, additive=fit_additive(x[rows], seen, chance, table, constants=constants))


def _chances(executed: Executed, examples: Examples) -> np.ndarray:
    """The probability with which each run's action was chosen, from the log or estimated by frequency; NaN unknown."""
    log = read_log(executed, examples.job_type, weight_table()[examples.priority], strata=examples.job_type)
    out = np.full(len(executed), np.nan)
    out[log.rows] = log.logging.own
    return out


class _Usual(NamedTuple):
    """The log budget over the reference, linear in the features."""

    weights: np.ndarray
    bias: float


def _usual_budget(x: np.ndarray, executed: Executed) -> _Usual:
    """What budget the features let one expect: least squares with a slight ridge."""
    limit = np.where(executed.minutes_limited, executed.minutes, MAX_MINUTES)
    y = np.log(limit / REFERENCE_MINUTES)
    centre, mean = x.mean(axis=0), float(y.mean())
    centred = x - centre
    weights = np.linalg.solve(centred.T @ centred + USUAL_RIDGE * np.eye(x.shape[1]), centred.T @ (y - mean))
    return _Usual(weights, mean - float(centre @ weights))


def observed(executed: Executed, job_type: np.ndarray) -> tuple[Observed, np.ndarray]:
    """The runs whose action is (nearly) one of the space, and which rows they are."""
    limit = np.where(executed.minutes_limited, executed.minutes, MAX_MINUTES)
    off = np.abs(limit[:, None] / np.array(MINUTES) - 1).min(axis=1)
    rows = np.flatnonzero(executed.evidence & (executed.action >= 0) & (executed.swarm >= 0) & (off <= NEAR_BIN))
    return (
        Observed(
            executed.action[rows],
            job_type[rows],
            executed.passed[rows].astype(np.float64),
            executed.duration_minutes[rows].astype(np.float64),
            executed.cost_usd[rows].astype(np.float64),
            executed.issue[rows],
        ),
        rows,
    )


def _heads(parts: Parts, prices: Prices, usual: _Usual) -> tuple[np.ndarray, np.ndarray]:
    """Weights [features, 4] and biases [4]; b's share of a and its budget are worked into its own weights."""
    slope = parts.scalars[NAMES.index("slope")]
    quality, minutes = parts.weights
    fill = parts.scalars[NAMES.index("fill")]
    minutes = minutes - slope * quality - fill * usual.weights
    weights = np.column_stack([quality, minutes, *prices.weights])
    return weights, np.concatenate([parts.biases - [0.0, fill * usual.bias], prices.biases])


def _physics(parts: Parts, prices: Prices, evidence: Evidence) -> Physics:
    s = as_scalars(torch.from_numpy(parts.scalars))
    sigma, rho, kappa, retry, psi, give_up, give_up_sigma, fill = (float(v) for v in s[:8])
    if not ((evidence.candidates.kind == GAVE_UP).any() or (evidence.runs.kind == GAVE_UP).any()):
        psi = 0.0  # nobody was ever seen to give up: the graph is smaller without it
    return Physics(
        sigma,
        rho,
        kappa,
        retry,
        psi,
        give_up,
        give_up_sigma,
        fill,
        s.quality.numpy().copy(),
        prices.offsets,
        evidence.vote.accuracy,
        evidence.vote.minutes,
    )
