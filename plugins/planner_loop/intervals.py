"""The form in which every figure of a watch has its interval."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from planner_core import clustered_mean
from planner_loop.tables import Floats

ENOUGH = 30
"""Issues below which nothing is concluded: no interval of fewer is to be trusted, and none makes a model stale."""

NORMAL_95 = 1.959963984540054


class Interval(Struct):
    """A mean with its 95 % interval by issue; null where there is too little for one."""

    estimate: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def bounded(self) -> bool:
        """Whether there are ends."""
        return self.low is not None and self.high is not None

    def beyond(self, reach: float) -> bool:
        """Whether the whole interval lies farther from 0 than ``reach``."""
        return self.low is not None and self.high is not None and (self.low > reach or self.high < -reach)


def mean_by_issue(values: Floats, issue: NDArray[np.int64]) -> Interval:
    """The mean of ``values`` [n], its interval clustered by ``issue`` [n]."""
    return Interval(*clustered_mean(values, issue))


def passes_by_issue(passed: Floats, predicted: Floats, issue: NDArray[np.int64]) -> Interval:
    """The mean of passed less predicted, its interval no narrower than that of a model whose predictions are right.

    Where nearly all runs pass, or nearly none, those that are seen may all have ended alike, and their spread says that
    the mean is known exactly. A run that passes with the probability p has the variance p (1 - p), seen or not.
    """
    found = mean_by_issue(passed - predicted, issue)
    if found.estimate is None or found.low is None or found.high is None:
        return found
    honest = NORMAL_95 * float(np.sqrt((predicted * (1 - predicted)).sum())) / len(predicted)
    reach = max(found.high - found.estimate, honest)
    return Interval(found.estimate, found.estimate - reach, found.estimate + reach)


def share_by_issue(happened: Floats, issue: NDArray[np.int64]) -> Interval:
    """The share of decisions in which something ``happened`` [n], 0 or 1 each, its interval by ``issue``.

    The interval lies within 0 to 1. Where it happened in none or in all, the spread is 0 and says nothing; then the far
    end is that of Clopper and Pearson (Biometrika 1934) for the share of issues in which it happens at all, which is no
    smaller.
    """
    found = mean_by_issue(happened, issue)
    if found.estimate is None or found.low is None or found.high is None:
        return found
    if found.estimate not in (0.0, 1.0):
        return Interval(found.estimate, max(0.0, found.low), min(1.0, found.high))
    reach = 1 - float(0.025 ** (1 / len(np.unique(issue))))
    return Interval(found.estimate, max(0.0, found.estimate - reach), min(1.0, found.estimate + reach))


def plain_mean(values: Floats) -> float | None:
    """The mean, None of nothing."""
    return float(values.mean()) if len(values) else None
