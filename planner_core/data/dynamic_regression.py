"""Regression on coefficients that drift, updated by one observation at a time.

A response is ``sum of x_j (theta_j1 + theta_j2 + ...)``: each coefficient is a sum of independent components, one a
half-life. A component is a stationary Ornstein-Uhlenbeck process in the number of observations: after ``g`` of them its
mean is ``2^(-g / half-life)`` of what it was and its variance is on the way back to the prior's. The posterior is kept
Gaussian and diagonal; an observation moves it by a Kalman step, for a binary one on the linearised logit (the dynamic
generalised linear model of West, Harrison and Migon, 1985). An observation costs what its own coefficients cost,
however many have been seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

MIN_BERNOULLI_VARIANCE = 1e-3
"""Least p (1 - p) of the linearisation: one surprise must not throw a coefficient anywhere."""


class Coefficient(msgspec.Struct):
    """A coefficient by number: means and variances of its components as they were after ``at`` observations."""

    key: int
    at: int
    means: list[float]
    variances: list[float]


class Term(NamedTuple):
    """A coefficient of an observation: its number and x, its value in the sum."""

    key: int
    x: float


class DynamicRegression:
    """Coefficients by number; one that was never observed is its prior, mean 0."""

    def __init__(self, half_lives: Sequence[float], known: Iterable[Coefficient] = ()) -> None:
        self._rates = [math.log(2.0) / half_life for half_life in half_lives]  # an infinite half-life: rate 0
        self.coefficients = {coefficient.key: coefficient for coefficient in known}

    def at(self, key: int, now: int, prior: float) -> Coefficient:
        """As :meth:`moved`, a copy; nothing is kept."""
        size, each = len(self._rates), prior / len(self._rates)
        known = self.coefficients.get(key)
        if known is None:
            return Coefficient(key, now, [0.0] * size, [each] * size)
        kept = [math.exp(-rate * (now - known.at)) for rate in self._rates]
        variances = [each + (own - each) * k * k for own, k in zip(known.variances, kept, strict=True)]
        return Coefficient(key, now, [mean * k for mean, k in zip(known.means, kept, strict=True)], variances)

    def moved(self, key: int, now: int, prior: float) -> Coefficient:
        """The coefficient, kept, moved on to ``now``; ``prior`` is the variance of all its components together."""
        moved = self.coefficients[key] = self.at(key, now, prior)
        return moved


class Involved(NamedTuple):
    """A coefficient of an observation, moved on to it, and its x."""

    coefficient: Coefficient
    x: float


def predicted(involved: Sequence[Involved]) -> tuple[float, float]:
    """Mean and variance of the response."""
    mean = sum(x * sum(c.means) for c, x in involved)
    return mean, sum(x * x * sum(c.variances) for c, x in involved)


def update(involved: Sequence[Involved], residual: float, variance: float) -> None:
    """One Kalman step: ``residual`` is observed minus predicted, ``variance`` that of both together."""
    for coefficient, x in involved:
        share = x / variance
        for i, own in enumerate(coefficient.variances):
            coefficient.means[i] += own * share * residual
            coefficient.variances[i] = own - own * share * x * own


def observe_binary(involved: Sequence[Involved], happened: bool) -> None:
    """Whether something ``happened``, its logit being the response."""
    mean, variance = predicted(involved)
    p = 1.0 / (1.0 + math.exp(-mean)) if mean >= 0.0 else math.exp(mean) / (1.0 + math.exp(mean))
    weight = max(p * (1.0 - p), MIN_BERNOULLI_VARIANCE)
    update(involved, (happened - p) / weight, variance + 1.0 / weight)


def observe_number(involved: Sequence[Involved], value: float, noise: float, most: float) -> None:
    """A number that is the response but for noise of that variance; it counts as at most ``most`` off the mean."""
    mean, variance = predicted(involved)
    update(involved, max(-most, min(most, value - mean)), variance + noise)
