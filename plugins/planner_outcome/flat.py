"""The other form, for a world the structural one does not fit: each quantity linear in features and action.

    logit passed, log minutes, log USD = x . w + effect of the action

It says nothing of an action nobody tried beyond its parts' effects, and needs more runs; but it cannot be misled by
what a candidate, a minute or a try is supposed to do. A quantity takes this form only where it predicts held-out
runs better (:func:`better`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from planner_outcome.actions import ActionTable
from planner_outcome.compose import Expected
from planner_outcome.residuals import EDGE, MIN_DISPERSION, Effects, Family, Observed, damped, fit_effects, run_loss
from planner_outcome.state import Floats

FAMILIES: tuple[Family, ...] = ("binomial", "gamma", "gamma")
TAU, BACKFITS, NEWTON_STEPS, KEEP_AT = 0.3, 3, 6, 2.0


def flat_expected(heads: Floats, n_actions: int) -> Expected:
    """What the flat ``heads`` float64 [n, (logit passed, log minutes, log USD)] expect, the same of every action."""
    wide = np.repeat(heads[:, None], n_actions, axis=1)
    return Expected(0.5 * (1 + np.tanh(0.5 * wide[..., 0])), np.exp(wide[..., 1]), np.exp(wide[..., 2]))


def fit_flat(x: Floats, seen: Observed, table: ActionTable) -> tuple[Floats, Floats, Effects]:
    """Weights [features, 3], biases [3] and effects: features and actions fitted in turns."""
    n_actions = len(table.cell)
    weights, biases = np.zeros((x.shape[1], 3)), np.zeros(3)
    effects = Effects(*(np.zeros((table.resolved.shape[0], n_actions)) for _ in range(3)))
    columns = (seen.passed, seen.minutes, seen.cost_usd)
    for _ in range(BACKFITS):
        for i, (y, family) in enumerate(zip(columns, FAMILIES, strict=True)):
            there = ~np.isnan(y) & ((y > 0) | (family == "binomial"))
            if there.any():
                offset = effects[i][seen.job_type, seen.action][there]
                weights[:, i], biases[i] = _linear(x[there], y[there], offset, family)
        base = flat_expected(x @ weights + biases, n_actions)
        effects, _ = fit_effects(base, seen, table, checked=False)
    return weights, biases, effects


def _linear(x: Floats, y: Floats, offset: Floats, family: Family) -> tuple[Floats, float]:
    """Weights and bias of a generalised linear model with an offset and a prior N(0, TAU^2) on the weights."""
    full = np.column_stack([x, np.ones(len(x))])
    precision = np.append(np.full(x.shape[1], 1 / TAU**2), 1e-6)
    w = np.zeros(full.shape[1])
    if family == "gamma":
        w[-1] = math.log(float((y * np.exp(-offset)).mean()))
    dispersion = 1.0
    for _ in range(NEWTON_STEPS):
        eta = offset + full @ w
        if family == "binomial":
            mu = 0.5 * (1 + np.tanh(0.5 * eta))
            gradient, curvature = y - mu, np.maximum(mu * (1 - mu), EDGE)
        else:
            ratio = y * np.exp(-eta)
            dispersion = max(float(((ratio - 1) ** 2).mean()), MIN_DISPERSION)
            gradient, curvature = (ratio - 1) / dispersion, np.full(len(y), 1 / dispersion)
        hessian = (full * curvature[:, None]).T @ full + np.diag(precision)

        def penalised(v: Floats, dispersion: float = dispersion) -> float:
            return float(run_loss(y, offset + full @ v, family).sum() / dispersion + 0.5 * (precision * v * v).sum())

        w = damped(w, np.linalg.solve(hessian, full.T @ gradient - precision * w), penalised)
    return w[:-1], float(w[-1])


def better(flat: Expected, structural: Expected, seen: Observed) -> NDArray[np.bool_]:
    """bool [3]: which quantities of held-out runs the flat form predicts better, by two standard errors over issues."""
    at = np.arange(len(seen.action)), seen.action
    issues, issue = np.unique(seen.issue, return_inverse=True)
    out = np.zeros(3, bool)
    columns = (seen.passed, seen.minutes, seen.cost_usd)
    for i, (y, family) in enumerate(zip(columns, FAMILIES, strict=True)):
        there = ~np.isnan(y) & ((y > 0) | (family == "binomial"))
        losses = []
        for form in (structural, flat):
            mu = np.maximum(form[i][at][there], EDGE)
            if family == "binomial":
                mu = np.minimum(mu, 1 - EDGE)
                losses.append(-np.log(np.where(y[there] > 0.5, mu, 1 - mu)))
            else:
                losses.append((np.log(np.maximum(y[there], EDGE) / mu)) ** 2)
        gain = np.bincount(issue[there], losses[0] - losses[1], len(issues))
        if len(issues) > 1:
            out[i] = gain.mean() > KEEP_AT * gain.std(ddof=1) / math.sqrt(len(issues))
    return out
