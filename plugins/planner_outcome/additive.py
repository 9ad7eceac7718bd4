"""What the runs say without the structural form: each outcome as a sum of a part of the issue and a part of the action.

    passed, minutes, USD  =  bias + features . weights + effects of the action        (linear, each for itself)

Confounding is what makes such a model weak (rules run long budgets on hard issues), so it has no say unless the
structural form is contradicted by the runs in every one of its parts and does not predict, where the log explored, any
better than this does. Then no composition of tries is to be trusted, and the means of the actions count for more.

Of many such means the highest is partly luck. So every action but one is expected to be worse than it looks by
:data:`MARGIN` standard errors of its difference to that one: the best constant, which the log speaks of most plainly.

Ridge regression, every group of columns with a width of its own by MacKay's fixed point. A run counts 1 / root of its
probability under the logging policy: between 1 (what the rules do all the time drowns what was explored) and the
inverse probability (a few explored runs are all there is).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from planner_outcome.actions import ActionTable
from planner_outcome.compose import Expected
from planner_outcome.residuals import FOLDS, Effects, Observed, design, no_effects
from planner_outcome.state import Floats

SHARE = 0.75
"""Of the prediction, where the form is contradicted; the form still orders issues better than nothing does."""
AS_GOOD = -1.0
"""Standard errors by which the form may predict explored runs better and still be contradicted."""
MARGIN = 0.5
"""Standard errors by which what is expected of an action falls short of its mean, beside that of the constant."""
LEAST_CHANCE = 1e-4
FIRST_TAU, MIN_TAU, MAX_TAU, PSEUDO, ROUNDS = 0.3, 1e-3, 5.0, 1e-4, 12
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Additive:
    """``weights`` float64 [features, 3] and ``biases`` float64 [3] of passed, minutes and USD; ``effects`` of the
    action, added to them; ``share`` of the prediction that is this model's, 0 where it has no say."""

    weights: Floats
    biases: Floats
    effects: Effects
    share: float

    def blend(self, structural: Expected, x: Floats, job_type: NDArray[np.int64]) -> Expected:
        """Expected outcomes of rows with the features ``x`` [n, features], this model's share among them."""
        if self.share == 0.0:
            return structural
        level = x @ self.weights + self.biases
        own = [level[:, [i]] + table[job_type] for i, table in enumerate(self.effects)]
        bounded = (np.clip(own[0], 0.0, 1.0), np.maximum(own[1], 0.0), np.maximum(own[2], 0.0))
        return Expected(*((1 - self.share) * s + self.share * a for s, a in zip(structural, bounded, strict=True)))


def no_additive(n_features: int, table: ActionTable) -> Additive:
    """One without a say."""
    return Additive(np.zeros((n_features, 3)), np.zeros(3), no_effects(table), 0.0)


def contradicted(kept: tuple[str, ...], seen: Observed) -> bool:
    """Whether every part of the outcome that is known wants effects of the actions beside the form."""
    known = [name for name in Expected._fields if not np.isnan(getattr(seen, name)).all()]
    return len(known) > 1 and set(known) == set(kept)


def fit_additive(
    x: Floats,
    seen: Observed,
    chance: Floats,
    table: ActionTable,
    share: float = SHARE,
    constants: Mapping[int, int] | None = None,
) -> Additive:
    """Fit the runs ``seen``; ``x`` float64 [n, features] of the same rows, ``chance`` float64 [n] the probability
    with which each run's action was chosen, NaN (counts as 1) where unknown.

    ``constants`` {job type: action} are what the other actions of the job type have to be better than by
    :data:`MARGIN` standard errors; without one the effects are their means.
    """
    solved = [part.solve() for part in _Sums.of(x, seen, chance, table)]
    n_features = x.shape[1]
    columns, _ = design(table)
    weights = np.column_stack([w[1 : n_features + 1] for w, _ in solved])
    biases = np.array([w[0] for w, _ in solved]) - x.mean(axis=0) @ weights
    effects = []
    for worse, (w, covariance) in zip((-1.0, 1.0, 1.0), solved, strict=True):
        of_action = covariance[n_features + 1 :, n_features + 1 :]
        effects.append(columns @ w[n_features + 1 :] + worse * MARGIN * _errors(columns, of_action, constants or {}))
    return Additive(weights, biases, Effects(*effects), share)


def _errors(columns: Floats, covariance: Floats, constants: Mapping[int, int]) -> Floats:
    """Standard error of each effect minus that of the job type's constant, float64 [job types, 150]; 0 without one."""
    out = np.zeros(columns.shape[:2])
    for job, action in constants.items():
        off = columns[job] - columns[job, action]
        out[job] = np.sqrt(np.maximum(((off @ covariance) * off).sum(axis=1), 0.0))
    return out


def as_good(x: Floats, seen: Observed, chance: Floats, structural: Expected, table: ActionTable) -> bool:
    """Whether runs of other issues are predicted as well as by the form, ``structural`` float64 [n, 150] being its
    expectation of the same rows; by squared error over the variance, each run weighing 1 / its probability."""
    issues, issue = np.unique(seen.issue, return_inverse=True)
    if len(issues) < 2 * FOLDS:
        return False
    fold = issue % FOLDS
    weight = 1 / np.maximum(np.nan_to_num(chance, nan=1.0), LEAST_CHANCE)
    each, gain = np.arange(len(fold)), np.zeros(len(fold))
    for name, form in structural._asdict().items():
        y = getattr(seen, name)
        there = ~np.isnan(y)
        if not there.any() or np.ptp(y[there]) == 0.0:
            continue
        error = np.zeros(len(y))
        for i in range(FOLDS):
            learn, here = there & (fold != i), there & (fold == i)
            if learn.any() and here.any():
                error[here] = y[here] - _Sums.one(x, y, learn, seen, chance, table).predict(x, here, seen, table)
        of_form = y - form[each, seen.action]
        gain += np.where(there, weight * (of_form**2 - error**2) / y[there].var(), 0.0)
    by_issue = np.bincount(issue, gain)
    spread = by_issue.std(ddof=1) / math.sqrt(len(issues))
    return bool(by_issue.mean() > AS_GOOD * spread)


@dataclass(frozen=True)
class _Sums:
    """Sums over runs of the products of the columns and the outcome, in units of the outcome's spread."""

    gram: Floats
    force: Floats
    square: float
    rows: float
    scale: float
    centre: Floats
    groups: tuple[slice, ...]

    @classmethod
    def of(cls, x: Floats, seen: Observed, chance: Floats, table: ActionTable) -> list[_Sums]:
        """Those of passed, minutes and USD."""
        return [cls.one(x, y, ~np.isnan(y), seen, chance, table) for y in (seen.passed, seen.minutes, seen.cost_usd)]

    @classmethod
    def one(
        cls, x: Floats, y: Floats, chosen: NDArray[np.bool_], seen: Observed, chance: Floats, table: ActionTable
    ) -> _Sums:
        """Those of one outcome over the ``chosen`` runs."""
        _, ends = design(table)
        n_features, centre = x.shape[1], x.mean(axis=0)
        starts = [0, 1, 1 + n_features, *(1 + n_features + e for e in ends)]
        groups = tuple(slice(a, b) for a, b in pairwise(starts))
        width = starts[-1]
        rows = np.flatnonzero(chosen)
        scale = float(y[rows].std()) or 1.0 if len(rows) else 1.0
        weight = 1 / np.sqrt(np.maximum(np.nan_to_num(chance[rows], nan=1.0), LEAST_CHANCE))
        weight /= weight.mean() if len(rows) else 1.0
        # What the weighted runs are worth as evidence: their effective number.
        worth = weight.sum() ** 2 / (weight**2).sum() / len(rows) if len(rows) else 1.0
        gram, force, square = np.zeros((width, width)), np.zeros(width), 0.0
        for part, w in _parts(rows, worth * weight):
            columns, z = _columns(x[part] - centre, seen, part, table), y[part] / scale
            weighted = columns * w[:, None]
            gram += weighted.T @ columns
            force += weighted.T @ z
            square += float(w @ z**2)
        return cls(gram, force, square, worth * len(rows), scale, centre, groups)

    def solve(self) -> tuple[Floats, Floats]:
        """Coefficients [columns] and their covariance [columns, columns], in units of the outcome."""
        taus, noise = np.full(len(self.groups), FIRST_TAU), max(self.square / max(self.rows, 1.0), PSEUDO)
        w: Floats = np.zeros(len(self.force))
        covariance: Floats = np.zeros_like(self.gram)
        for _ in range(ROUNDS if self.rows else 0):
            sizes = [g.stop - g.start for g in self.groups]
            precision = np.repeat(1 / taus**2, sizes)
            covariance = np.asarray(np.linalg.inv(self.gram / noise + np.diag(precision)), np.float64)
            w = covariance @ self.force / noise
            variance = np.diag(covariance)
            inverse = np.array([variance[g].sum() for g in self.groups])
            squares = np.array([(w[g] ** 2).sum() for g in self.groups])
            used = np.maximum(sizes - inverse / taus**2, 0.0)
            taus = np.clip(np.sqrt((squares + PSEUDO) / (used + 0.2)), MIN_TAU, MAX_TAU)
            left = max(self.square - 2 * float(w @ self.force) + float(w @ self.gram @ w), PSEUDO)
            noise = left / max(self.rows - used.sum(), self.rows / 2)
        return w * self.scale, covariance * self.scale**2

    def predict(self, x: Floats, chosen: NDArray[np.bool_], seen: Observed, table: ActionTable) -> Floats:
        """What other runs are predicted to show, float64 [chosen]."""
        w, _ = self.solve()
        parts = [_columns(x[part] - self.centre, seen, part, table) @ w for part, _ in _parts(np.flatnonzero(chosen))]
        return np.concatenate(parts)


def _parts(rows: NDArray[np.int64], weight: Floats | None = None) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Some rows at a time, with their weights."""
    weight = np.ones(len(rows)) if weight is None else weight
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        here = slice(begin, begin + ROWS_AT_ONCE)
        yield rows[here], weight[here]


def _columns(centred: Floats, seen: Observed, rows: NDArray[np.int64], table: ActionTable) -> Floats:
    """One, the features, the columns of the action."""
    of_action = design(table)[0][seen.job_type[rows], seen.action[rows]]
    return np.concatenate([np.ones((len(rows), 1)), centred, of_action], axis=1)
