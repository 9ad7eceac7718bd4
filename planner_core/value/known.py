"""The value of a policy where the outcome of what it decides is known: no estimate of what might have been."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.value.estimators import mean_of
from planner_core.value.intervals import Clusters, Mean
from planner_core.value.result import Figures, Range, ValueFigures, Verdict
from planner_core.value.verdict import decide_known


class KnownValue(msgspec.Struct, frozen=True):
    """Means over ``rows`` rows of ``issues`` issues, ``coverage`` of those there are, on which both sides are known.

    Intervals are by issue; ``differing`` is the share of rows on which the policy and the reference lead to different
    outcomes.
    """

    known: str
    rows: int
    issues: int
    coverage: float
    value: ValueFigures
    differing: float
    verdict: Verdict | None = None


def known_value(
    outcome: NDArray[np.float64],
    issue: NDArray[np.integer] | None,
    *,
    against: NDArray[np.float64] | None = None,
    name: str = "the policy",
    against_name: str = "the reference",
) -> KnownValue:
    """Judge decisions by what they lead to; float64 [4, n] in the order of ``METRICS``, NaN where it is unknown.

    ``issue`` int [n] says which rows belong together, each to itself where it is None. Without ``against`` there is
    neither difference nor verdict.
    """
    both = ~np.isnan(outcome).any(axis=0)
    if against is not None:
        both &= ~np.isnan(against).any(axis=0)
    given = outcome.shape[1]
    clusters = Clusters((np.arange(given) if issue is None else np.asarray(issue))[both])

    def means(rows: NDArray[np.float64]) -> list[Mean]:
        estimates = [mean_of(row[both]) for row in rows]
        return [
            Mean(math.nan, math.nan, 0)
            if math.isnan(estimate.value)
            else Mean(estimate.value, clusters.error(estimate.influence), clusters.count - 1)
            for estimate in estimates
        ]

    of_pass, of_minutes, of_usd, of_utility = map(Range.of, means(outcome))
    differing, gaps, verdict = 0.0, Figures(), None
    rows = int(both.sum())
    if against is not None:
        unlike = (outcome != against).any(axis=0)[both]
        differing = float(unlike.mean()) if rows else 0.0
        passed, minutes, usd, utility = means(outcome - against)
        gaps = Figures(*map(Range.of, (passed, minutes, usd, utility)))
        verdict = decide_known(
            (passed, minutes, usd, utility), rows, clusters.count, int(unlike.sum()), against_name, name
        )
    value = ValueFigures(of_pass, of_minutes, of_usd, of_utility, gaps)
    return KnownValue("all", rows, clusters.count, rows / max(given, 1), value, differing, verdict)
