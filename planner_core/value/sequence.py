"""An A/B that may be looked at every day: a confidence sequence of the difference between two arms.

A 95 % interval that is computed afresh each day and acted upon the first time it excludes 0 is wrong far more often
than one time in twenty. A confidence sequence holds the truth at *all* looks together with the stated probability.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05
BURN_IN = 30
"""Units in the smaller arm before the first interval: the sequence is asymptotic and says nothing earlier."""
TIGHT_AT = 500
"""Units at which the sequence is narrowest; it holds at every number of units, and is a little wider elsewhere."""

Floats = NDArray[np.float64]


class Sequence(NamedTuple):
    """After each unit: the difference of the means and its interval, float64 [n]; infinite ends before the burn-in."""

    estimate: Floats
    low: Floats
    high: Floats

    @property
    def excludes_zero(self) -> NDArray[np.bool_]:
        """Whether the interval after each unit lies on one side of 0, bool [n]."""
        return (self.low > 0) | (self.high < 0)


def ab_sequence(
    outcome: Floats,
    treated: NDArray[np.bool_],
    share: Floats,
    *,
    level: float = LEVEL,
    burn_in: int = BURN_IN,
    tight_at: int = TIGHT_AT,
) -> Sequence:
    """The difference treated - untreated in the mean of ``outcome`` [n], units in the order in which they entered.

    ``share`` [n] is the known probability with which each unit was treated, in (0, 1). A unit's contribution is its
    inverse-probability difference, (y - c)(t / share - (1 - t) / (1 - share)), with c the mean of the earlier units'
    outcomes: c is fixed before the unit enters, so the contribution has the mean of the difference whatever c is, and
    only its variance falls; the first unit gives the first c and nothing else. With S^2 the variance of the first n
    contributions (the larger of two estimates, see below) and r^2 fixed beforehand, the interval is

        mean +- S sqrt(2 (n r^2 + 1) / (n^2 r^2) log(sqrt(n r^2 + 1) / level))

    (Robbins' normal mixture as an asymptotic confidence sequence: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
    Time-uniform central limit theory and asymptotic confidence sequences, 2021), where
    r^2 = (-2 log level + log(1 - 2 log level)) / ``tight_at`` makes it narrowest about there (the approximation given
    there and by Howard, Ramdas, McAuliffe and Sekhon, 2021).
    Nothing is said before ``burn_in`` units are in the smaller arm. Raises ValueError for a share outside (0, 1).
    """
    outcome, share = np.asarray(outcome, np.float64), np.asarray(share, np.float64)
    if len(share) and not (share.min() > 0 and share.max() < 1):
        raise ValueError("the share of an A/B lies between 0 and 1, both excluded")
    if len(outcome) < 2:
        none = np.full(len(outcome), np.inf)
        return Sequence(np.full(len(outcome), np.nan), -none, none)
    arm = np.asarray(treated, bool)
    smaller = np.minimum(np.cumsum(arm), np.cumsum(~arm))[1:]
    before = np.cumsum(outcome)[:-1] / np.arange(1.0, len(outcome))
    away, arm, share = outcome[1:] - before, arm[1:], share[1:]
    n = np.arange(1.0, len(away) + 1)
    contribution = away * np.where(arm, 1 / share, -1 / (1 - share))
    mean = np.cumsum(contribution) / n
    # About a fixed number near the mean, so that the difference of two large sums does not lose the variance.
    centre = float(contribution.mean())
    square = np.cumsum((contribution - centre) ** 2) / n - (mean - centre) ** 2
    # Where good or dear units are rare, a small arm sees none for long, and its variance looks small just while its
    # mean is off. What both arms show of a unit's spread does not have that hole, so the larger of the two is taken.
    spread = np.cumsum(away**2 * (1 / share + 1 / (1 - share))) / n
    deviation = np.sqrt(np.maximum(square, spread) * n / np.maximum(n - 1, 1))
    reach = deviation * _reach(n, level, tight_at)
    reach = np.where(smaller >= burn_in, reach, np.inf)
    first = [math.nan], [-math.inf], [math.inf]
    ends = zip(first, (mean, mean - reach, mean + reach), strict=True)
    return Sequence(*(np.concatenate([start, rest]) for start, rest in ends))


def units_to_exclude_zero(
    difference: float, reach: float, units: int, *, level: float = LEVEL, tight_at: int = TIGHT_AT
) -> int | None:
    """Units after which an interval that reaches ``reach`` to either side after ``units`` would exclude 0.

    If the mean were ``difference`` then, and the spread as it is; None where that is beyond a thousand million.
    """
    if not (difference > 0 and math.isfinite(reach) and units > 0):
        return None
    deviation = reach / float(_reach(np.array([float(units)]), level, tight_at)[0])
    tried = np.geomspace(1, 1e9, 2_000)  # a hundredth apart
    enough = np.flatnonzero(deviation * _reach(tried, level, tight_at) < difference)
    return math.ceil(tried[enough[0]]) if len(enough) else None


def _reach(n: Floats, level: float, tight_at: int) -> Floats:
    """Half the width of the interval after ``n`` units [k], in standard deviations of a contribution."""
    ratio = (-2 * math.log(level) + math.log(1 - 2 * math.log(level))) / tight_at
    reach: Floats = np.sqrt(2 * (n * ratio + 1) / (n * n * ratio) * np.log(np.sqrt(n * ratio + 1) / level))
    return reach
