"""What the structural form misses, by action: effects of swarm, candidates, minutes, tries and job type.

    logit passed += e,   log minutes += e,   log cost += e      (each with effects of its own)

An effect is estimated from the runs of the actions it stands for, and shrunk to zero by evidence: every group of
effects has a prior N(0, tau^2) whose tau is that of the marginal likelihood. Where the form is right the taus vanish;
in a world of another form each action's mean is right at least, so that no constant action looks better than it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
HALVINGS, MIN_DISPERSION = 12, 0.02
FOLDS, KEEP_AT = 5, 2.0
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
    pairs = (cell, way * len(TRIES) + tries, minutes * len(TRIES) + tries)
    by_job = (jobs * 4 + way, jobs * len(MINUTES) + minutes, jobs * len(TRIES) + tries, jobs * cells + cell)
    labels = (jobs, way, minutes, tries, *pairs, *by_job)
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
    """Runs on an action of the space: joint class int64 [n], job type, passed, minutes and USD
    (NaN unknown), and the issue."""

    action: NDArray[np.int64]
    job_type: NDArray[np.int64]
    passed: Floats
    minutes: Floats
    cost_usd: Floats
    issue: NDArray[np.int64]


def fit_effects(expected: Expected, seen: Observed, table: ActionTable) -> tuple[Effects, tuple[str, ...]]:
    """Effects from runs, ``expected`` being the structural expectation float64 [n, 150] of the same rows.

    Each of the three is kept only where it predicts the runs of other issues better, by :data:`KEEP_AT` standard
    errors. Returns the effects and the names of those that were kept.
    """
    each = np.arange(len(seen.action))
    p = np.clip(expected.passed[each, seen.action], EDGE, 1 - EDGE)
    cases: tuple[tuple[str, Floats, Floats, Family], ...] = (
        ("passed", seen.passed, np.log(p / (1 - p)), "binomial"),
        ("minutes", seen.minutes, np.log(np.maximum(expected.minutes[each, seen.action], EDGE)), "gamma"),
        ("cost_usd", seen.cost_usd, np.log(np.maximum(expected.cost_usd[each, seen.action], EDGE)), "gamma"),
    )
    columns, ends = design(table)
    n_actions = columns.shape[1]
    where = seen.job_type * n_actions + seen.action
    cells = columns.reshape(-1, columns.shape[-1])
    out, kept = no_effects(table)._asdict(), []
    for name, values, offset, family in cases:
        there = ~np.isnan(values) & ((values > 0) | (family == "binomial"))
        runs = _Runs(where[there], values[there], offset[there], seen.issue[there])
        if _predicts(runs, cells, ends, family):
            out[name] = columns @ _ridge(runs, cells, ends, family)
            kept.append(name)
    return Effects(**out), tuple(kept)


class _Runs(NamedTuple):
    """Which row of the design each run has, what it showed, the logit or logarithm of the expectation, its issue."""

    cell: NDArray[np.int64]
    y: Floats
    offset: Floats
    issue: NDArray[np.int64]

    def take(self, rows: NDArray[np.bool_]) -> _Runs:
        return _Runs(self.cell[rows], self.y[rows], self.offset[rows], self.issue[rows])


def _predicts(runs: _Runs, cells: Floats, ends: tuple[int, ...], family: Family) -> bool:
    """Whether effects learnt from some issues predict the runs of the others better than none do."""
    issues, issue = np.unique(runs.issue, return_inverse=True)
    if len(issues) < 2 * FOLDS:
        return False
    fold = issue % FOLDS  # issues are numbered in order: every fold has all times
    gain = np.zeros(len(runs.y))
    for i in range(FOLDS):
        others, here = runs.take(fold != i), runs.take(fold == i)
        eta = here.offset + (cells @ _ridge(others, cells, ends, family))[here.cell]
        gain[fold == i] = run_loss(here.y, here.offset, family) - run_loss(here.y, eta, family)
    by_issue = np.bincount(issue, gain)
    error = by_issue.std(ddof=1) / math.sqrt(len(issues))
    return bool(by_issue.mean() > KEEP_AT * error)


def run_loss(y: Floats, eta: Floats, family: Family) -> Floats:
    """Minus the log-likelihood of each run, up to what does not depend on ``eta``."""
    return np.logaddexp(0.0, eta) - y * eta if family == "binomial" else eta + y * np.exp(-eta)


def damped(w: Floats, step: Floats, loss: Callable[[Floats], float]) -> Floats:
    """``w`` after the step, halved until the loss does not rise: where an offset is extreme, Newton overshoots."""
    before = loss(w)
    for _ in range(HALVINGS):
        if loss(w + step) <= before:
            return w + step
        step = step / 2
    return w


def _ridge(runs: _Runs, cells: Floats, ends: tuple[int, ...], family: Family) -> Floats:
    """Effects float64 [n_effects] of a generalised linear model with an offset, the taus by MacKay's fixed point.

    Runs of one job type and action have the same row of the design, so sums over runs are sums over those cells.
    """
    w = np.zeros(cells.shape[1])
    if not len(runs.y):
        return w
    used, cell = np.unique(runs.cell, return_inverse=True)
    x, n = cells[used], len(used)
    bounds = [slice(a, b) for a, b in zip((0, *ends[:-1]), ends, strict=True)]
    taus, dispersion = np.full(len(bounds), FIRST_TAU), 1.0
    for _ in range(ROUNDS):
        precision = np.concatenate([np.full(b.stop - b.start, 1 / t**2) for b, t in zip(bounds, taus, strict=True)])
        for _ in range(NEWTON_STEPS):
            eta = runs.offset + (x @ w)[cell]
            if family == "binomial":
                mu = 0.5 * (1 + np.tanh(0.5 * eta))
                gradient, curvature = runs.y - mu, np.maximum(mu * (1 - mu), EDGE)
            else:
                ratio = runs.y * np.exp(-eta)
                dispersion = max(float(((ratio - 1) ** 2).mean()), MIN_DISPERSION)
                gradient, curvature = (ratio - 1) / dispersion, np.full(len(eta), 1 / dispersion)
            hessian = (x * np.bincount(cell, curvature, n)[:, None]).T @ x + np.diag(precision)
            force = x.T @ np.bincount(cell, gradient, n) - precision * w
            step = np.linalg.solve(hessian, force).astype(np.float64)

            def penalised(v: Floats, precision: Floats = precision, dispersion: float = dispersion) -> float:
                loss = run_loss(runs.y, runs.offset + (x @ v)[cell], family).sum() / dispersion
                return float(loss + 0.5 * (precision * v * v).sum())

            w = damped(w, step, penalised)
        variance = np.diag(np.linalg.inv(hessian))
        for i, b in enumerate(bounds):
            effective = max(b.stop - b.start - variance[b].sum() / taus[i] ** 2, 0.0)
            taus[i] = math.sqrt(((w[b] ** 2).sum() + PSEUDO) / (effective + 1.0))
        taus = np.clip(taus, MIN_TAU, MAX_TAU)
    return w
