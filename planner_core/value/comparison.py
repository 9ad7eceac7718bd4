"""A policy beside a reference on the rows of a log: what each row says of either, before it is summed up."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.value.actions import Target, classes
from planner_core.value.estimators import (
    ESTIMATORS,
    METRICS,
    Estimate,
    Predictions,
    TargetTerms,
    as_it_was,
    difference,
    mean_of,
    target_terms,
    values,
)
from planner_core.value.intervals import Mean
from planner_core.value.log import NOT_CHECKED, Log
from planner_core.value.result import Figures, Partial, Range, ValueFigures, Weights, finite
from planner_core.value.verdict import AB_SHARE, Grounds, decide
from planner_core.value.weights import Evidence, chance_of, evidence, support, told_in_full

_USD = METRICS.index("cost_usd")

PARTIAL_LABEL = "the policy where supported, the reference elsewhere"

Array = NDArray[np.integer[Any]] | NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Side:
    """One target with its evidence on the rows of a log. ``full`` bool [n]: runs that tell all of it."""

    target: Target
    parts: list[Evidence]
    terms: TargetTerms
    supported: NDArray[np.bool_]
    full: NDArray[np.bool_]


def look(log: Log, target: Array, predictions: Predictions | None, what: str) -> Side:
    """A target on the rows of a log; ``predictions`` already are on those rows."""
    read = Target.of(target, log.given, what).take(log.rows)
    parts = list(evidence(read, log.job_type, log.logging, log.runs, log.replayed))
    terms = target_terms(read, parts, log.runs, log.job_type, log.ran, log.utility_weights, predictions)
    supported = support(read, log.job_type, log.logging, log.longer_tells, bool(log.runs.replayable.all()))
    return Side(read, parts, terms, supported, told_in_full(parts, log.logging, log.longer_tells))


def differs(log: Log, one: Side, other: Side | None) -> NDArray[np.bool_]:
    """Rows on which the target may do another thing than the reference, bool [n].

    What was run is a draw of the logging policy: it differs unless that always does what the target does.
    """
    if other is None:
        chance = chance_of(one.target, log.job_type, log.logging)
        same = one.terms.plain * np.nan_to_num(log.logging.own) > 0.5  # what was run is the target
        only = np.where(np.isnan(chance), same & (log.logging.own >= 1 - 1e-6), chance >= 1 - 1e-6)
        return ~np.asarray(only, bool)
    canonical = classes().canonical[log.job_type]
    if one.target.action is not None and other.target.action is not None:
        row = np.arange(len(log))
        return np.asarray(canonical[row, one.target.action] != canonical[row, other.target.action])
    gap = _masses(one.target, canonical) - _masses(other.target, canonical)
    return np.asarray(np.abs(gap).sum(axis=1) > 1e-9)


def _masses(target: Target, canonical: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probability of each canonical class, float64 [n, 150]."""
    out = np.zeros(canonical.shape)
    row = np.arange(len(canonical))
    if target.action is not None:
        out[row, canonical[row, target.action]] = 1.0
    else:
        assert target.probabilities is not None
        np.add.at(out, (row[:, None], canonical), target.probabilities)
    return out


def comparison(
    log: Log,
    target: Array,
    *,
    against: Array | None = None,
    predictions: Predictions | None = None,
    name: str = "the policy",
    against_name: str | None = None,
    ab_share: float = AB_SHARE,
    ab_difference: float | None = None,
) -> Comparison:
    """A target beside a reference, as :func:`estimate_value` takes them, before it is summed up."""
    if predictions is not None:
        predictions = predictions.take(log.rows)
        if not log.runs.usd_known:  # USD count as 0, so that a guess of them would only add noise
            predictions = replace(predictions, cost_usd=np.zeros_like(predictions.cost_usd))
    one = look(log, target, predictions, "target")
    other = None if against is None else look(log, against, predictions, "against")
    differing = differs(log, one, other)
    # Where both decide alike the difference is 0 and needs no evidence.
    supported = one.supported if other is None else (one.supported & other.supported) | ~differing
    against_name = against_name or ("what was run" if other is None else "the reference")
    return Comparison(log, one, other, differing, supported, name, against_name, ab_share, ab_difference)


@dataclass(frozen=True)
class Comparison:
    """One target against one reference (None: what was run) on the n rows of a log.

    ``differing`` bool [n]: rows on which they may do another thing; ``supported`` bool [n]: rows on which the log can
    tell their difference.
    """

    log: Log
    one: Side
    other: Side | None
    differing: NDArray[np.bool_]
    supported: NDArray[np.bool_]
    name: str
    against: str
    ab_share: float
    ab_difference: float | None

    @property
    def unsupported(self) -> NDArray[np.bool_]:
        """Rows that differ and of which the log cannot tell, bool [n]."""
        return self.differing & ~self.supported

    def target_rows(self) -> NDArray[np.float64]:
        """Each row's share of the target's figures, float64 [4, n]: the means are those of augmented replay."""
        return self.one.terms.expected + self.one.terms.replayed

    def reference_rows(self) -> NDArray[np.float64]:
        """The same of the reference: what was run as it went, or its replay, float64 [4, n]."""
        if self.other is None:
            return as_it_was(self.log.runs, self.log.utility_weights)
        return self.other.terms.expected + self.other.terms.replayed

    def degrees(self, rows: NDArray[np.bool_]) -> int:
        """Degrees of freedom of an interval on ``rows`` bool [n].

        Issues that tell all of the target, less one; for a stochastic one those with weight.
        """
        full = self.n_full(rows)
        told = rows & (self.one.terms.for_cost > 0)
        return max((self.log.clusters.distinct(told) if full is None else full) - 1, 0)

    def figures(self, value_known: bool, difference_known: bool) -> dict[str, ValueFigures]:
        """Every estimator. A row without support leaves no figure: a prediction in its place is no evidence."""
        df, df_difference = self.degrees(np.ones(len(self.log), bool)), self.degrees(self.differing)
        out = {}
        mine = values(self.one.terms)
        theirs = None if self.other is None else values(self.other.terms)
        was = self._as_run()
        for key in ESTIMATORS:
            reference = was if theirs is None else theirs[key]
            figures = [self._range(mine[key][i], df) for i in range(len(METRICS))]
            gaps = [self._range(difference(mine[key][i], reference[i]), df_difference) for i in range(len(METRICS))]
            out[key] = self._value_figures(figures if value_known else None, gaps if difference_known else None)
        return out

    def partial(self, supported: NDArray[np.bool_]) -> Partial:
        """The policy on supported rows, the reference on the others."""
        mine, reference = self.target_rows(), self.reference_rows()
        differing = self.differing & supported
        df, df_difference = self.degrees(supported), self.degrees(differing)
        gaps = self._priced(
            [self._mean(mean_of(row), df_difference) for row in np.where(supported, mine - reference, 0.0)]
        )
        known = self.other is None or bool(np.where(supported, self.one.supported, self.other.supported).all())
        figures = [Range.of(self._mean(mean_of(row), df)) for row in np.where(supported, mine, reference)]
        value = self._value_figures(figures if known else None, [Range.of(gap) for gap in gaps])
        grounds = replace(
            self.grounds(differing, np.zeros(len(self.log), bool)),
            difference=(gaps[0], gaps[1], gaps[2], gaps[3]),
            name=f"{self.name} on the {100 * supported.mean():.0f} % of runs where the log supports it",
        )
        return Partial(
            PARTIAL_LABEL,
            value,
            decide(grounds, self.ab_share, self.ab_difference),
            self.n_full(differing),
            self.ess(self.one, differing),
        )

    def grounds(self, differing: NDArray[np.bool_], unsupported: NDArray[np.bool_]) -> Grounds:
        """What the verdict rests on, from the rows of ``differing``."""
        unidentified = bool(unsupported.any())
        gaps = self._priced([self._mean(row, self.degrees(differing)) for row in self._gaps()])
        if unidentified:
            gaps = [Mean(math.nan, math.nan, 0)] * len(METRICS)
        spread = self.log.clusters.error(self._as_run()[3].influence) ** 2 * len(self.log) if len(self.log) else 0.0
        return Grounds(
            difference=(gaps[0], gaps[1], gaps[2], gaps[3]),
            rows=len(self.log),
            issues=self.log.clusters.count,
            differing=int(differing.sum()),
            changed=int((self.changed() & differing).sum()),
            unsupported=int(unsupported.sum()),
            n_full=self.n_full(differing),
            ess=self.ess(self.one, differing),
            ess_reference=None if self.other is None else self.ess(self.other, differing),
            mean_weight=_odder_mean(self.one, differing),
            mean_weight_reference=None if self.other is None else _odder_mean(self.other, differing),
            replay=self.log.replay_state,
            on_trust=self.on_trust(differing),
            propensities=self.log.logging.source,
            spread=spread,
            against=self.against,
            name=self.name,
            usd_assumed=self.log.runs.usd_assumed,
        )

    def on_trust(self, rows: NDArray[np.bool_]) -> bool:
        """Whether figures on ``rows`` rest on replay that nothing checked and nobody vouches for."""
        if self.log.asserted or self.log.replay_state != NOT_CHECKED:
            return False
        sides = [self.one] if self.other is None else [self.one, self.other]
        weights = [
            w
            for side in sides
            for w in (side.terms.for_pass - side.terms.plain, side.terms.for_cost - side.terms.plain)
        ]
        return any(bool((np.abs(weight[rows]) > 1e-6).any()) for weight in weights)

    def changed(self) -> NDArray[np.bool_]:
        """Rows on which the action itself is another one; against what was run, other than the executed action."""
        if self.other is not None or self.one.target.action is None:
            return self.differing
        part = self.one.parts[0]
        return ~np.asarray((part.mass > 0) & (part.budget == self.log.logging.budget))

    def weights(self) -> Weights:
        """Weights on the rows that differ."""
        terms, rows = self.one.terms, self.differing
        heaviest = np.maximum(terms.for_cost, terms.for_pass)[rows]
        return Weights(
            finite(_mean_on(terms.for_cost, rows)),
            finite(_mean_on(terms.for_pass, rows)),
            finite(_mean_on(terms.plain, rows)),
            None if self.other is None else finite(_mean_on(self.other.terms.for_cost, rows)),
            float(heaviest.max()) if heaviest.size else None,
        )

    def n_full(self, rows: NDArray[np.bool_]) -> int | None:
        """Issues with a run of the target's family and a budget at least as long, among ``rows``, or None."""
        return None if self.one.target.action is None else self.log.clusters.distinct(self.one.full & rows)

    def ess(self, side: Side, rows: NDArray[np.bool_]) -> float:
        """Effective sample size in issues of the replay weights on ``rows``: the smaller of both."""
        return min(self.effective(side.terms.for_pass, rows), self.effective(side.terms.for_cost, rows))

    def effective(self, weights: NDArray[np.float64], rows: NDArray[np.bool_]) -> float:
        """Effective sample size in issues of any weights on ``rows``."""
        return self.log.clusters.effective_size(np.where(rows, weights, 0.0))

    def as_run_means(self) -> list[Mean]:
        """What was run, by plain means."""
        return self._priced([self._mean(estimate, self.log.clusters.count - 1) for estimate in self._as_run()])

    def _as_run(self) -> tuple[Estimate, ...]:
        return tuple(mean_of(row) for row in as_it_was(self.log.runs, self.log.utility_weights))

    def _gaps(self) -> list[Estimate]:
        mine = values(self.one.terms)["augmented_replay"]
        theirs = self._as_run() if self.other is None else values(self.other.terms)["augmented_replay"]
        return [difference(a, b) for a, b in zip(mine, theirs, strict=True)]

    def _mean(self, estimate: Estimate, df: int) -> Mean:
        if math.isnan(estimate.value):
            return Mean(math.nan, math.nan, 0)
        return Mean(estimate.value, self.log.clusters.error(estimate.influence), df)

    def _range(self, estimate: Estimate, df: int) -> Range:
        return Range.of(self._mean(estimate, df))

    def _priced(self, means: list[Mean]) -> list[Mean]:
        """Means by metric; none of USD where no run says what it cost: the 0 that utility takes is no figure."""
        if self.log.runs.usd_known:
            return means
        return [*means[:_USD], Mean(math.nan, math.nan, 0), *means[_USD + 1 :]]

    def _value_figures(self, value: list[Range] | None, gaps: list[Range] | None) -> ValueFigures:
        nothing = [Range()] * len(METRICS)
        passes, minutes, usd, utility = value or nothing
        of_gap = Figures(*(gaps or nothing))
        if not self.log.runs.usd_known:
            usd, of_gap = Range(), Figures(of_gap.pass_rate, of_gap.minutes, Range(), of_gap.utility)
        return ValueFigures(passes, minutes, usd, utility, of_gap)


def _odder_mean(side: Side, rows: NDArray[np.bool_]) -> float:
    """Of the means of both replay weights on ``rows`` the one farther from 1, as a ratio."""
    means = [_mean_on(weights, rows) for weights in (side.terms.for_pass, side.terms.for_cost)]
    return max(means, key=lambda mean: abs(math.log(mean)) if mean > 0 else math.inf)


def _mean_on(weights: NDArray[np.float64], rows: NDArray[np.bool_]) -> float:
    return float(weights[rows].mean()) if rows.any() else math.nan
