"""Intervals whose unit is the issue: rows of one issue are not independent."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner_core.value.student import quantile

CONFIDENCE = 0.95


class Mean(NamedTuple):
    """An estimate, its standard error by issue, and the degrees of freedom of its interval; NaN, 0 where unknown."""

    estimate: float
    error: float
    df: int

    @property
    def reach(self) -> float:
        """Half the width of the 95 % interval; infinite without degrees of freedom, 0 where nothing varies."""
        if math.isnan(self.estimate):
            return math.nan
        if self.error == 0.0:
            return 0.0
        return quantile(0.5 + CONFIDENCE / 2, self.df) * self.error if self.df > 0 else math.inf


class Clusters:
    """Rows by issue; a negative issue number is an issue of its own."""

    def __init__(self, issue: NDArray[np.integer]) -> None:
        issue = np.asarray(issue, np.int64)
        alone = issue < 0
        names = np.where(alone, -1 - np.arange(len(issue)), issue)
        _, of_row = np.unique(names, return_inverse=True)
        self.of_row: NDArray[np.int64] = of_row.astype(np.int64)
        self.count = int(self.of_row.max()) + 1 if len(issue) else 0

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum of ``values`` [n] over the rows of each issue, float64 [issues]."""
        return np.bincount(self.of_row, values, minlength=self.count).astype(np.float64)

    def distinct(self, rows: NDArray[np.bool_]) -> int:
        """Number of issues with at least one of ``rows`` bool [n]."""
        return len(np.unique(self.of_row[rows]))

    def error(self, influence: NDArray[np.float64]) -> float:
        """Standard error of a mean whose rows have these centred influences [n]; NaN for a single issue.

        The variance of the issues' sums, with the usual factor C / (C - 1) for C issues.
        """
        if self.count < 2:
            return math.nan if len(influence) else 0.0
        sums = self.sums(influence)
        return math.sqrt(float((sums * sums).sum()) * self.count / (self.count - 1)) / len(influence)

    def effective_size(self, weights: NDArray[np.float64]) -> float:
        """Kish's effective sample size in issues: (sum W)^2 / sum W^2, with W the weight of an issue; 0 without any."""
        sums = self.sums(weights)
        square = float((sums * sums).sum())
        return float(sums.sum()) ** 2 / square if square > 0 else 0.0


def clustered_mean(
    values: NDArray[np.float64], issue: NDArray[np.integer]
) -> tuple[float | None, float | None, float | None]:
    """Mean of ``values`` [n] and the ends of its 95 % interval, whose unit is the ``issue`` [n]; None where unknown."""
    if not len(values):
        return None, None, None
    clusters = Clusters(issue)
    estimate = float(values.mean())
    mean = Mean(estimate, clusters.error(values - estimate), clusters.count - 1)
    reach = mean.reach
    return (estimate, estimate - reach, estimate + reach) if math.isfinite(reach) else (estimate, None, None)
