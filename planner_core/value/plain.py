"""Plain off-policy estimates of one reward, without budgets to replay: for logged feedback of any kind."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.errors import DataError
from planner_core.value.estimators import Estimate, mean_of, ratio_of
from planner_core.value.intervals import Clusters, Mean
from planner_core.value.result import Range
from planner_core.value.verdict import FEWEST_EFFECTIVE, MEAN_WEIGHT


class PlainValue(msgspec.Struct, frozen=True):
    """Mean reward of a target on n logged rows: ``value``, and every estimator with its 95 % interval.

    ``value`` is SNIPS: it does not move with the mean weight, as IPS does where rewards are far from 0 or weights from
    1. ``known`` is False, with ``reasons``, where the logs cannot tell. ``ess`` counts issues (rows, without issues).
    """

    known: bool
    reasons: list[str]
    rows: int
    value: Range
    ips: Range
    snips: Range
    dr: Range
    as_run: Range
    ess: float
    mean_weight: float
    largest_weight: float


def plain_value(
    reward: NDArray[np.floating],
    propensity: NDArray[np.floating],
    target_probability: NDArray[np.floating],
    *,
    issue: NDArray[np.integer] | None = None,
    expected: NDArray[np.floating] | None = None,
    expected_executed: NDArray[np.floating] | None = None,
) -> PlainValue:
    """Estimate the mean reward of a target policy from logs; all arrays are [n].

    ``propensity`` and ``target_probability`` are those of the logged action under either policy. For DR, ``expected``
    is a model's reward under the target and ``expected_executed`` that of the logged action, both 0 by default, which
    makes DR equal IPS. Degrees of freedom are the effective sample size less one. A propensity that is not positive is
    a :class:`DataError`.
    """
    r, p, q = (np.asarray(values, np.float64) for values in (reward, propensity, target_probability))
    wrong = ~(p > 0)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise DataError("propensity", path=f"$[{at}]", found=f"{p[at]:.4g}", expected="a positive probability")
    clusters = Clusters(np.arange(len(r)) if issue is None else issue)
    weight = q / p
    under_target = np.zeros(len(r)) if expected is None else np.asarray(expected, np.float64)
    of_executed = np.zeros(len(r)) if expected_executed is None else np.asarray(expected_executed, np.float64)
    ess = clusters.effective_size(weight)
    df = max(int(ess) - 1, 0)
    mean_weight = float(weight.mean()) if len(r) else math.nan

    def interval(estimate: Estimate, freedom: int) -> Range:
        if math.isnan(estimate.value):
            return Range()
        return Range.of(Mean(estimate.value, clusters.error(estimate.influence), freedom))

    reasons = []
    if ess < FEWEST_EFFECTIVE:
        reasons.append(f"the evidence is worth {ess:.1f} issues (at least {FEWEST_EFFECTIVE:.0f} are needed)")
    if not MEAN_WEIGHT[0] <= mean_weight <= MEAN_WEIGHT[1]:
        reasons.append(f"the mean weight is {mean_weight:.2f} where 1 is expected")
    snips = interval(ratio_of(weight * r, weight), df)
    return PlainValue(
        known=not reasons,
        reasons=reasons,
        rows=len(r),
        value=snips,
        ips=interval(mean_of(weight * r), df),
        snips=snips,
        dr=interval(mean_of(under_target + weight * (r - of_executed)), df),
        as_run=interval(mean_of(r), clusters.count - 1),
        ess=ess,
        mean_weight=mean_weight,
        largest_weight=float(weight.max()) if len(r) else math.nan,
    )
