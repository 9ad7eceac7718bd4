"""From the parts of one try to the expected outcome of all 150 actions, in NumPy; the graph computes the same.

For k candidates, a budget of m minutes and i tries, with S_k(t) = E_u prod_j (1 - G_j(t)) (no pass by t) and
A_k(t) = E_u prod_j H_j(t) (all gave up by t), G and H as in :mod:`planner_outcome.likelihood`:

    passed  = v (1 - S_k(m)), v = 1 for the serial swarm
    minutes = integral of S_k - A_k from 0 to m, plus the vote's
    cost    = sum over j of c0 + e^(c + c_j) times the integral of E_u (1 - G_j - H_j) from 0 to m

The integrals are Gauss-Legendre in the root of t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner_outcome.actions import CANDIDATES, MINUTES, TRIES, ActionTable
from planner_outcome.state import REFERENCE_MINUTES, Floats, Physics, hermite

MOST_TRIES = max(TRIES)
ROWS_AT_ONCE = 256
TIME_NODES = 10


class Expected(NamedTuple):
    """Expected outcomes, float64 [n, 150] each."""

    passed: Floats
    minutes: Floats
    cost_usd: Floats


@dataclass(frozen=True)
class TimeGrid:
    """Points of time, the nodes of one budget after the other and then the budgets themselves.

    ``log_t`` float64 [points]; ``log_budget`` float64 [points]: log of each point's budget over the reference;
    ``integral`` float64 [points, budgets] turns values at the points into integrals from 0 to each budget; ``ends`` is
    the slice of the budgets.
    """

    log_t: Floats
    log_budget: Floats
    integral: Floats
    ends: slice


@lru_cache(maxsize=1)
def time_grid() -> TimeGrid:
    """The grid of all budgets: each is integrated for itself, since how long a try takes may depend on it."""
    x, w = np.polynomial.legendre.leggauss(TIME_NODES)
    s, ds = (x + 1) / 2, w / 2  # t = m s^2 puts more nodes where tries end
    budgets = np.array(MINUTES)
    total = TIME_NODES * len(budgets)
    integral = np.zeros((total + len(budgets), len(budgets)))
    for i, m in enumerate(MINUTES):
        integral[i * TIME_NODES : (i + 1) * TIME_NODES, i] = 2 * m * s * ds
    log_t = np.log(np.concatenate([(budgets[:, None] * s**2).ravel(), budgets]))
    log_budget = np.log(np.concatenate([np.repeat(budgets, TIME_NODES), budgets]) / REFERENCE_MINUTES)
    return TimeGrid(log_t, log_budget, integral, slice(total, total + len(budgets)))


def try_masks(iterates: NDArray[np.bool_]) -> Floats:
    """float64 [job types, tries i, MOST_TRIES]: 1 where the l-th try is among the i that a job type makes of it."""
    several = (np.arange(MOST_TRIES) < np.array(TRIES)[:, None]).astype(np.float64)
    one = np.zeros_like(several)
    one[:, 0] = 1.0
    return np.stack([several if it else one for it in iterates])


def compose(heads: Floats, job_type: NDArray[np.int64], physics: Physics, table: ActionTable) -> Expected:
    """Expected outcomes of ``heads`` float64 [n, (a, b, log c0, c)]."""
    parts = [
        _compose(heads[i : i + ROWS_AT_ONCE], job_type[i : i + ROWS_AT_ONCE], physics, table)
        for i in range(0, len(heads), ROWS_AT_ONCE)
    ]
    if not parts:
        return Expected(*(np.zeros((0, len(table.cell))) for _ in range(3)))
    return Expected(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _compose(heads: Floats, job_type: NDArray[np.int64], p: Physics, table: ActionTable) -> Expected:
    """Axes of the arrays: rows n, nodes u, candidates j, tries i (or l), points t."""
    u, weights = hermite()
    grid = time_grid()
    a, b, fixed, rate = heads.T
    logit = a[:, None, None] + p.rho * u[:, None] + p.quality  # n u j
    q = _sigmoid(logit)
    each = q[..., None] * (1 - q)[..., None] ** np.arange(MOST_TRIES)  # n u j l
    masks = try_masks(table.iterates)[job_type]  # n i l
    shares = each[:, :, :, None, :] * masks[:, None, None]  # n u j i l
    x = grid.log_t - p.fill * grid.log_budget - (b[:, None] + p.kappa * u)[..., None]  # n u t
    stretch = np.log1p(p.retry * np.arange(MOST_TRIES))
    ended = normal_cdf((x[:, :, None] - stretch[:, None]) / p.sigma)  # n u l t
    n, nodes = q.shape[:2]
    flat = shares.reshape(n, nodes, -1, MOST_TRIES)
    passed = (flat @ ended).reshape(n, nodes, len(CANDIDATES), len(TRIES), -1)  # n u j i t
    last = (masks.sum(axis=2) - 1).astype(np.int64)  # n i
    late = normal_cdf((x[:, :, None] - stretch[last][:, None, :, None] - p.give_up) / p.give_up_sigma)  # n u i t
    gone = (p.psi * (1 - shares.sum(axis=-1)))[..., None] * late[:, :, None]  # n u j i t
    none, all_gone = np.cumprod(1 - passed, axis=2), np.cumprod(gone, axis=2)
    mean = np.tensordot(weights, np.concatenate([none, none - all_gone, 1 - passed - gone], axis=2), (0, 1))
    k = len(CANDIDATES)
    by_budget = (1 - mean[:, :k, :, grid.ends]).reshape(n, -1)
    minutes = (mean[:, k : 2 * k] @ grid.integral).reshape(n, -1)
    busy = mean[:, 2 * k :] @ grid.integral  # n j i m
    usd = np.exp(fixed)[:, None, None, None] + np.exp(rate)[:, None, None, None] * busy
    cost = np.cumsum(np.exp(p.cost)[:, None, None] * usd, axis=1).reshape(n, -1)
    return Expected(
        by_budget[:, table.cell] * np.where(table.vote, p.vote_accuracy, 1.0),
        minutes[:, table.cell] + np.where(table.vote, p.vote_minutes, 0.0),
        cost[:, table.cell],
    )


def _sigmoid(x: Floats) -> Floats:
    out: Floats = 0.5 * (1.0 + np.tanh(0.5 * x))
    return out


_STEP, _LIMIT = 1 / 128, 8.5
_X = np.arange(-_LIMIT, _LIMIT + _STEP / 2, _STEP)
_CDF = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in _X.tolist()])
_PDF = np.exp(-0.5 * _X**2) / math.sqrt(2 * math.pi)


def normal_cdf(x: Floats) -> Floats:
    """Standard normal distribution function by a table and a cubic Taylor step; absolute error below 1e-10."""
    x = np.clip(x, -_LIMIT, _LIMIT)
    entry = np.rint((x + _LIMIT) / _STEP).astype(np.int64)
    at = _X[entry]
    d = x - at
    out: Floats = _CDF[entry] + _PDF[entry] * d * (1 - at * d / 2 + (at * at - 1) * d * d / 6)
    return out
