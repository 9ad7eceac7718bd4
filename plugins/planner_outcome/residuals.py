"""What the structural form misses, by action: effects of swarm, candidates, minutes, tries and job type.

    logit passed += e,   log minutes += e,   log cost += e      (each with effects of its own)

An effect is estimated from the runs of the actions it stands for, and shrunk to zero by evidence: every group of
effects has a prior N(0, tau^2) whose tau is that of the marginal likelihood. Where the form is right the taus vanish;
in a world of another form each action's mean is right at least, so that no constant action looks better than it is.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner_outcome.actions import MINUTES, TRIES, ActionTable
from planner_outcome.compose import Expected
from planner_outcome.state import Floats

Family = Literal["binomial", "gamma"]
FIRST_TAU, MIN_TAU, MAX_TAU, PSEUDO = 0.3, 1e-3, 3.0, 1e-3
ROUNDS, NEWTON_STEPS = 8, 4
NEAR_BIN = 0.1
"""A run whose budget is further than this share from its bin says nothing exact about the bin."""
MAX_STEP, MIN_DISPERSION = 2.0, 0.02
EDGE = 1e-6


class Effects(NamedTuple):
    """Float64 [job types, 150] each, on the logit of passing and on the logarithms of minutes and USD."""

    passed: Floats
    minutes: Floats
    cost_usd: Floats


@lru_cache(maxsize=2)
def _design(key: bytes, shape: tuple[int, ...]) -> tuple[Floats, tuple[int, ...]]:
    """0/1 float64 [job types, 150, effects] and where each group of effects ends."""
    resolved = np.frombuffer(key, np.int64).reshape(shape)
    jobs = np.broadcast_to(np.arange(shape[0])[:, None], shape[:2])
    way = np.where(resolved[..., 0] == 1, resolved[..., 1], 0)
    minutes = np.searchsorted(MINUTES, resolved[..., 2])
    tries = np.searchsorted(TRIES, resolved[..., 3])
    cell = way * len(MINUTES) + minutes
    cells = 4 * len(MINUTES)
    labels = (jobs, way, minutes, tries, cell, jobs * 4 + way, jobs * len(MINUTES) + minutes, jobs * cells + cell)
    groups = []
    for label in labels:
        groups.append(np.eye(int(label.max()) + 1)[label])
    ends = np.cumsum([group.shape[-1] for group in groups])
    return np.concatenate(groups, axis=-1), tuple(ends.tolist())


def design(table: ActionTable) -> tuple[Floats, tuple[int, ...]]:
    """0/1 float64 [job types, 150, effects] and where each group of effects ends."""
    return _design(table.resolved.tobytes(), table.resolved.shape)


def no_effects(table: ActionTable) -> Effects:
    """Effects of nothing."""
    return Effects(*(np.zeros(table.resolved.shape[:2]) for _ in range(3)))


def adjust(expected: Expected, job_type: NDArray[np.int64], effects: Effects) -> Expected:
    """``expected`` with the effects added."""
    p = np.clip(expected.passed, EDGE, 1 - EDGE)
    logit = np.log(p / (1 - p)) + effects.passed[job_type]
    return Expected(
        0.5 * (1 + np.tanh(0.5 * logit)),
        expected.minutes * np.exp(effects.minutes[job_type]),
        expected.cost_usd * np.exp(effects.cost_usd[job_type]),
    )


class Observed(NamedTuple):
    """Runs on an action of the space: joint class int64 [n], job type, passed, minutes and USD (NaN unknown)."""

    action: NDArray[np.int64]
    job_type: NDArray[np.int64]
    passed: Floats
    minutes: Floats
    cost_usd: Floats


def fit_effects(expected: Expected, seen: Observed, table: ActionTable) -> Effects:
    """Effects from runs, ``expected`` being the structural expectation float64 [n, 150] of the same rows."""
    each = np.arange(len(seen.action))
    columns, ends = design(table)
    x = columns[seen.job_type, seen.action]
    p = np.clip(expected.passed[each, seen.action], EDGE, 1 - EDGE)
    out = []
    cases: tuple[tuple[Floats, Floats, Family], ...] = (
        (seen.passed, np.log(p / (1 - p)), "binomial"),
        (seen.minutes, np.log(expected.minutes[each, seen.action]), "gamma"),
        (seen.cost_usd, np.log(np.maximum(expected.cost_usd[each, seen.action], EDGE)), "gamma"),
    )
    for values, offset, family in cases:
        there = ~np.isnan(values)
        if family == "gamma":
            there &= values > 0
        out.append(columns @ _ridge(x[there], values[there], offset[there], ends, family))
    return Effects(*out)


def _ridge(x: Floats, y: Floats, offset: Floats, ends: tuple[int, ...], family: Family) -> Floats:
    """Effects float64 [n_effects] of a generalised linear model with an offset, the taus by MacKay's fixed point."""
    w = np.zeros(x.shape[1])
    if not len(y):
        return w
    bounds = [slice(a, b) for a, b in zip((0, *ends[:-1]), ends, strict=True)]
    taus = np.full(len(bounds), FIRST_TAU)
    dispersion = 1.0
    for _ in range(ROUNDS):
        precision = np.concatenate([np.full(b.stop - b.start, 1 / t**2) for b, t in zip(bounds, taus, strict=True)])
        for _ in range(NEWTON_STEPS):
            eta = offset + x @ w
            if family == "binomial":
                mu = 0.5 * (1 + np.tanh(0.5 * eta))
                gradient, curvature = y - mu, np.maximum(mu * (1 - mu), EDGE)
            else:
                ratio = y / np.exp(eta)
                dispersion = max(float(((ratio - 1) ** 2).mean()), MIN_DISPERSION)
                gradient, curvature = (ratio - 1) / dispersion, np.full(len(y), 1 / dispersion)
            hessian = (x * curvature[:, None]).T @ x + np.diag(precision)
            step = np.linalg.solve(hessian, x.T @ gradient - precision * w)
            w = w + np.clip(step, -MAX_STEP, MAX_STEP)
        variance = np.diag(np.linalg.inv(hessian))
        for i, b in enumerate(bounds):
            effective = max(b.stop - b.start - variance[b].sum() / taus[i] ** 2, 0.0)
            taus[i] = math.sqrt(((w[b] ** 2).sum() + PSEUDO) / (effective + 1.0))
        taus = np.clip(taus, MIN_TAU, MAX_TAU)
    return w
