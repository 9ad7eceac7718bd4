"""From which worth of a pass on is a policy better than its reference?

The utility difference of a row is f a + b, with a the worth of its passes, b that of its minutes and USD, and f the
multiple of the given worth of a pass. So the mean and its variance at any f follow from those of a and b:

    d(f) = f A + B          var(f) = f^2 var(A) + 2 f cov(A, B) + var(B)

with variances and covariance by issue. The break-even is -B / A, and its 95 % interval holds every f at which d(f) does
not differ from 0: d(f)^2 <= t^2 var(f) (Fieller, 1954). Where A itself may be 0 that set has no end, and none is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.value.comparison import Comparison
from planner_core.value.estimators import Estimate, mean_of
from planner_core.value.intervals import CONFIDENCE, Clusters, Mean
from planner_core.value.result import Answer, Range, finite
from planner_core.value.student import quantile
from planner_core.value.verdict import capital, decide

MULTIPLES = tuple(2.0 ** (half / 2) for half in range(-6, 7))
"""Of the given worth of a pass, 1/8 to 8."""


class Worth(msgspec.Struct, frozen=True):
    """One worth of a pass: ``multiple`` of the given one, mean utility ``pass_worth`` over the rows, and the USD that
    are worth as much (None where USD weigh nothing); the utility difference a run, and what it says."""

    multiple: float
    pass_worth: float | None
    pass_usd: float | None
    difference: Range
    answer: Answer


class Sensitivity(msgspec.Struct, frozen=True):
    """What becomes of a difference as the worth of a pass varies.

    ``break_even`` is the multiple at which the difference is 0, ``break_even_usd`` the same in USD a pass; null where
    there is none, bounds null where they cannot be told. ``text`` says it in a sentence.
    """

    against: str
    rows: list[Worth]
    break_even: Range
    break_even_usd: Range
    text: str


def sensitivity(judged: Comparison, multiples: Sequence[float] = MULTIPLES) -> Sensitivity:
    """The difference of a policy to its reference on a log, at ``multiples`` of the worth of a pass."""
    log, differing = judged.log, judged.differing
    grounds = judged.grounds(differing, judged.unsupported)
    told = bool(judged.supported.all()) and len(log) > 0
    gaps = judged.target_rows()[:3] - judged.reference_rows()[:3] if told else np.full((3, len(log)), math.nan)

    def answer(mean: Mean) -> Answer:
        passes, minutes, usd, _ = grounds.difference
        return decide(replace(grounds, difference=(passes, minutes, usd, mean))).answer

    parts = _Parts.of(gaps, log.utility_weights, log.clusters, judged.degrees(differing))
    return _table(parts, judged.name, judged.against, multiples, answer)


def known_sensitivity(
    gaps: NDArray[np.float64],
    weights: NDArray[np.float64],
    issue: NDArray[np.integer] | None,
    *,
    name: str = "the policy",
    against: str,
    multiples: Sequence[float] = MULTIPLES,
) -> Sensitivity:
    """The same where outcomes are known: ``gaps`` float64 [3, n] of pass, minutes and USD, policy minus reference.

    ``weights`` float64 [n, (pass, hour, USD)]; ``issue`` int [n], each row an issue of its own where it is None.
    """
    clusters = Clusters(np.arange(gaps.shape[1]) if issue is None else issue)
    parts = _Parts.of(gaps, weights, clusters, max(clusters.count - 1, 0))
    return _table(parts, name, against, multiples, known_answer)


def known_mean(values: NDArray[np.float64], issue: NDArray[np.integer] | None) -> Mean:
    """The mean of [n] known quantities, with its error by issue; each row an issue of its own where that is None."""
    clusters = Clusters(np.arange(len(values)) if issue is None else issue)
    found = mean_of(values)
    if math.isnan(found.value):
        return Mean(math.nan, math.nan, 0)
    return Mean(found.value, clusters.error(found.influence), max(clusters.count - 1, 0))


def known_answer(difference: Mean) -> Answer:
    """What the 95 % interval of a difference of known outcomes says."""
    if difference.estimate - difference.reach > 0:
        return "better"
    return "worse" if difference.estimate + difference.reach < 0 else "cannot_tell"


@dataclass(frozen=True)
class _Parts:
    """The two parts of a utility difference: of passes at the given worth, and of minutes and USD."""

    passes: Estimate
    rest: Estimate
    clusters: Clusters
    df: int
    pass_worth: float
    usd_worth: float

    @classmethod
    def of(cls, gaps: NDArray[np.float64], weights: NDArray[np.float64], clusters: Clusters, df: int) -> _Parts:
        spent = -weights[:, 1] * gaps[1] / 60.0 - weights[:, 2] * gaps[2]
        worth = [float(weights[:, i].mean()) if len(weights) else math.nan for i in (0, 2)]
        return cls(mean_of(weights[:, 0] * gaps[0]), mean_of(spent), clusters, df, *worth)

    def at(self, multiple: float) -> Mean:
        """The utility difference a run at a multiple of the worth of a pass."""
        value = multiple * self.passes.value + self.rest.value
        if math.isnan(value):
            return Mean(math.nan, math.nan, 0)
        return Mean(value, self.clusters.error(multiple * self.passes.influence + self.rest.influence), self.df)

    def usd(self, multiple: float | None) -> float | None:
        """The USD that are worth a pass at a multiple."""
        return None if multiple is None or not self.usd_worth > 0 else multiple * self.pass_worth / self.usd_worth

    def break_even(self) -> Range:
        """The multiple at which the difference is 0, with the interval of Fieller, cut at 0."""
        a, b = self.passes.value, self.rest.value
        if math.isnan(a + b) or a == 0.0 or -b / a <= 0.0:
            return Range()
        return Range(-b / a, *self._fieller(a, b))

    def _fieller(self, a: float, b: float) -> tuple[float | None, float | None]:
        if self.df < 1 or self.clusters.count < 2:
            return None, None
        t2 = quantile(0.5 + CONFIDENCE / 2, self.df) ** 2
        var_a, var_b = (self.clusters.error(part.influence) ** 2 for part in (self.passes, self.rest))
        both = self.clusters.error(self.passes.influence + self.rest.influence) ** 2
        square, half, constant = a * a - t2 * var_a, a * b - t2 * (both - var_a - var_b) / 2, b * b - t2 * var_b
        if not square > 0:
            return None, None
        reach = math.sqrt(max(half * half - square * constant, 0.0))
        return max((-half - reach) / square, 0.0), max((-half + reach) / square, 0.0)


def _table(
    parts: _Parts, name: str, against: str, multiples: Sequence[float], answer: Callable[[Mean], Answer]
) -> Sensitivity:
    rows = []
    for multiple in multiples:
        mean = parts.at(multiple)
        worth = finite(multiple * parts.pass_worth)
        rows.append(Worth(multiple, worth, parts.usd(multiple), Range.of(mean), answer(mean)))
    even = parts.break_even()
    in_usd = Range(parts.usd(even.estimate), parts.usd(even.low), parts.usd(even.high))
    return Sensitivity(against, rows, even, in_usd, _text(parts, name, against, even, in_usd))


def _text(parts: _Parts, name: str, against: str, even: Range, in_usd: Range) -> str:
    a, b = parts.passes.value, parts.rest.value
    if math.isnan(a + b):
        return f"There is no estimate of {name} against {against} at any worth of a pass."
    if even.estimate is None:
        if a == 0.0 and b == 0.0:
            return f"{capital(name)} and {against} are estimated alike, whatever a pass is worth."
        sign = "better" if a > 0 or (a == 0.0 and b > 0) else "worse"
        return f"{capital(name)} is estimated to be {sign} than {against}, whatever a pass is worth."
    side = "more" if a > 0 else "less"
    interval = "no interval can be told: passes may not differ"
    if even.low is not None and even.high is not None:
        interval = f"95 % interval {_times(even.low)} to {_times(even.high)} times"
    worth = f"{_times(even.estimate)} times what it is taken to be worth"
    if in_usd.estimate is not None:
        worth = f"${in_usd.estimate:,.2f}, {worth}"
    return (
        f"{capital(name)} is estimated to be better than {against} where a pass is worth {side} than {worth} "
        f"({interval})."
    )


def _times(multiple: float) -> str:
    """A multiple in two digits, as people write numbers: no exponent above 1."""
    return f"{float(f'{multiple:.2g}'):,.6g}" if multiple < 1e6 else f"{multiple:.2g}"
