"""The value of a policy from logs: read a log once, then ask it about any number of policies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planner_core.errors import ConfigError
from planner_core.examples import Executed
from planner_core.value.actions import Target, classes
from planner_core.value.check import ReplayCheck, check_replay
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
from planner_core.value.intervals import Clusters, Mean
from planner_core.value.propensity import LoggingPolicy, estimate_propensities, logging_policy
from planner_core.value.replay import Replay, replay
from planner_core.value.result import Figures, Partial, Range, Value, ValueFigures, Weights, finite
from planner_core.value.verdict import AB_SHARE, Grounds, decide
from planner_core.value.weights import Evidence, chance_of, evidence, support, told_in_full

NOT_CHECKED = "assumed, not checked"
PARTIAL_LABEL = "the policy where supported, the reference elsewhere"

ReplayUse = Literal["checked", "assumed", "off"]

Array = NDArray[np.integer[Any]] | NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Log:
    """Runs ready to judge policies by: n rows that are evidence, of ``given`` rows.

    ``rows`` int64 [n] their places among the given ones; ``job_type`` int64 [n]; ``utility_weights`` float64 [n, 3];
    ``ran`` int64 [n] joint class of the executed action, -1 unknown; ``replayed`` bool [n]: runs whose budgets are
    replayed, ``budgets_replayed`` whether any are; ``asserted`` whether somebody vouches for replay.
    """

    given: int
    rows: NDArray[np.int64]
    job_type: NDArray[np.int64]
    utility_weights: NDArray[np.float64]
    ran: NDArray[np.int64]
    clusters: Clusters
    logging: LoggingPolicy
    runs: Replay
    check: ReplayCheck
    replay_state: str
    asserted: bool
    replayed: NDArray[np.bool_]
    budgets_replayed: bool
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def longer_tells(self) -> bool:
        """Whether a run with a longer budget tells all of a shorter one, USD included."""
        return self.budgets_replayed and self.runs.usd_by_minutes


@dataclass(frozen=True)
class Side:
    """One target with its evidence on the rows of a log. ``full`` bool [n]: runs that tell all of it."""

    target: Target
    parts: list[Evidence]
    terms: TargetTerms
    supported: NDArray[np.bool_]
    full: NDArray[np.bool_]


def read_log(
    executed: Executed,
    job_type: NDArray[np.integer],
    utility_weights: NDArray[np.floating],
    *,
    strata: NDArray[np.integer] | None = None,
    use: ReplayUse = "checked",
) -> Log:
    """Prepare n runs to judge policies by.

    ``job_type`` int [n] indexes JOB_TYPES; ``utility_weights`` float [n, (pass, hour, USD)]. Where the log gives no
    probability it is estimated within ``strata`` int [n], if given. Runs that are no evidence are left out.

    ``use`` of replay: ``checked`` gives no verdict that rests on replay unless runs of different budgets could be
    compared and behave alike; ``assumed`` does so too where the log has no such runs to compare (for somebody who knows
    that the agents do not know their budget); ``off`` replays nothing.
    """
    if np.shape(utility_weights) != (len(executed), 3) or len(job_type) != len(executed):
        raise ConfigError(
            f"value: found job types {list(np.shape(job_type))} and utility weights {list(np.shape(utility_weights))}; "
            f"expected [{len(executed)}] and [{len(executed)}, 3]"
        )
    rows = np.flatnonzero(executed.evidence)
    runs_of = executed.take(rows) if len(rows) < len(executed) else executed
    jobs = np.asarray(job_type, np.int64)[rows]
    notes = [f"{len(executed) - len(rows)} runs ended for reasons that are not the agent's"] * (
        len(rows) < len(executed)
    )
    estimated = 0
    if strata is not None:
        before = int((np.diff(runs_of.propensity_starts) > 0).sum())
        runs_of = estimate_propensities(runs_of, np.asarray(strata)[rows])
        estimated = int((np.diff(runs_of.propensity_starts) > 0).sum()) - before
        if estimated:
            notes.append(f"the log gives no probability of {estimated:,} runs: estimated by frequency within strata")
    logging = logging_policy(runs_of, estimated=estimated)
    replays = replay(runs_of, logging.budget)
    clusters = Clusters(runs_of.issue)
    usable = logging.whole & replays.replayable
    check = check_replay(logging, replays, clusters.of_row, usable)
    state: str = check.state
    if use == "off":
        state = "off: not asked for"
    elif not usable.any():
        state = "off: the log does not give the whole distribution of its choices"
    elif state == NOT_CHECKED:
        notes.append("too few runs of different budgets to see whether agents work alike under them: replay is assumed")
    on = state in ("holds", NOT_CHECKED)
    replayed = usable & on
    if check.state == "contradicted":
        notes.append(f"replay is contradicted: {check.worst} (p = {check.p_value:.2g})")
    return Log(
        given=len(executed),
        rows=rows,
        job_type=jobs,
        utility_weights=np.asarray(utility_weights, np.float64)[rows],
        ran=runs_of.action,
        clusters=clusters,
        logging=logging,
        runs=replays,
        check=check,
        replay_state=state,
        asserted=use == "assumed",
        replayed=replayed,
        budgets_replayed=on,
        notes=(*notes, *replays.notes),
    )


def estimate_value(
    log: Log,
    target: Array,
    *,
    against: Array | None = None,
    predictions: Predictions | None = None,
    name: str = "the policy",
    against_name: str | None = None,
    coverage: float | None = None,
    ab_share: float = AB_SHARE,
    ab_difference: float | None = None,
) -> Value:
    """The value of ``target`` and of its difference to ``against``, what was run where that is None.

    Both are joint classes int [given] or probabilities float [given, 150], on the rows given to :func:`read_log`, as
    are the ``predictions`` of an outcome model that has not seen the issues it predicts. ``coverage`` is the share of
    the rows there are that are judged, by default of the rows given.
    """
    if predictions is not None:
        predictions = predictions.take(log.rows)
    one = look(log, target, predictions, "target")
    other = None if against is None else look(log, against, predictions, "against")
    against_name = against_name or ("what was run" if other is None else "the reference")
    differing = differs(log, one, other)
    # Where both decide alike the difference is 0 and needs no evidence.
    supported = one.supported if other is None else (one.supported & other.supported) | ~differing
    notes = list(log.notes)
    if predictions is None:
        notes.append("no outcome model: its predictions count as 0, which widens the intervals")
    judge = _Judge(log, one, other, differing, name, against_name, ab_share, ab_difference)
    main = judge.figures(bool(one.supported.all()), bool(supported.all()))
    partial = judge.partial(supported) if supported.any() and not supported.all() else None
    chosen = "augmented_replay" if log.replayed.any() else "dr"
    return Value(
        known="executed",
        rows=len(log),
        issues=log.clusters.count,
        coverage=coverage if coverage is not None else len(log) / max(log.given, 1),
        estimator=chosen,
        value=main[chosen],
        estimators={key: figures for key, figures in main.items() if key != chosen},
        as_run=Figures(*(Range.of(mean) for mean in judge.as_run_means())),
        n_full=judge.n_full(differing),
        ess=judge.ess(one, differing),
        ess_plain=judge.effective(one.terms.plain, differing),
        support=float(one.supported.mean()) if len(log) else 0.0,
        differing=float(judge.changed().mean()) if len(log) else 0.0,
        weights=judge.weights(),
        propensities=log.logging.source,
        replay=log.replay_state,
        predictions="model" if predictions is not None else "none",
        verdict=decide(judge.grounds(differing, differing & ~supported), ab_share, ab_difference),
        partial=partial,
        notes=notes,
    )


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


@dataclass(frozen=True)
class _Judge:
    """The figures of one target against one reference."""

    log: Log
    one: Side
    other: Side | None
    differing: NDArray[np.bool_]
    name: str
    against: str
    ab_share: float
    ab_difference: float | None

    def figures(self, value_known: bool, difference_known: bool) -> dict[str, ValueFigures]:
        """Every estimator. A row without support leaves no figure: a prediction in its place is no evidence."""
        df, df_difference = self._df(np.ones(len(self.log), bool)), self._df(self.differing)
        out = {}
        mine = values(self.one.terms)
        theirs = None if self.other is None else values(self.other.terms)
        was = self._as_run()
        for key in ESTIMATORS:
            reference = was if theirs is None else theirs[key]
            figures = [self._range(mine[key][i], df) for i in range(len(METRICS))]
            gaps = [self._range(difference(mine[key][i], reference[i]), df_difference) for i in range(len(METRICS))]
            out[key] = _value_figures(figures if value_known else None, gaps if difference_known else None)
        return out

    def partial(self, supported: NDArray[np.bool_]) -> Partial:
        """The policy on supported rows, the reference on the others."""
        mine = self.one.terms.expected + self.one.terms.replayed
        was = as_it_was(self.log.runs, self.log.utility_weights)
        reference = was if self.other is None else self.other.terms.expected + self.other.terms.replayed
        differing = self.differing & supported
        df, df_difference = self._df(supported), self._df(differing)
        gaps = [self._mean(mean_of(row), df_difference) for row in np.where(supported, mine - reference, 0.0)]
        known = self.other is None or bool(np.where(supported, self.one.supported, self.other.supported).all())
        figures = [Range.of(self._mean(mean_of(row), df)) for row in np.where(supported, mine, reference)]
        value = _value_figures(figures if known else None, [Range.of(gap) for gap in gaps])
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
        gaps = [self._mean(row, self._df(differing)) for row in self._gaps()]
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
        return [self._mean(estimate, self.log.clusters.count - 1) for estimate in self._as_run()]

    def _as_run(self) -> tuple[Estimate, ...]:
        return tuple(mean_of(row) for row in as_it_was(self.log.runs, self.log.utility_weights))

    def _gaps(self) -> list[Estimate]:
        mine = values(self.one.terms)["augmented_replay"]
        theirs = self._as_run() if self.other is None else values(self.other.terms)["augmented_replay"]
        return [difference(a, b) for a, b in zip(mine, theirs, strict=True)]

    def _df(self, rows: NDArray[np.bool_]) -> int:
        """Degrees of freedom: issues that tell all of the target, less one; for a stochastic one those with weight."""
        full = self.n_full(rows)
        told = rows & (self.one.terms.for_cost > 0)
        return max((self.log.clusters.distinct(told) if full is None else full) - 1, 0)

    def _mean(self, estimate: Estimate, df: int) -> Mean:
        if math.isnan(estimate.value):
            return Mean(math.nan, math.nan, 0)
        return Mean(estimate.value, self.log.clusters.error(estimate.influence), df)

    def _range(self, estimate: Estimate, df: int) -> Range:
        return Range.of(self._mean(estimate, df))


def _value_figures(value: list[Range] | None, gaps: list[Range] | None) -> ValueFigures:
    nothing = [Range()] * len(METRICS)
    passes, minutes, usd, utility = value or nothing
    return ValueFigures(passes, minutes, usd, utility, Figures(*(gaps or nothing)))


def _odder_mean(side: Side, rows: NDArray[np.bool_]) -> float:
    """Of the means of both replay weights on ``rows`` the one farther from 1, as a ratio."""
    means = [_mean_on(weights, rows) for weights in (side.terms.for_pass, side.terms.for_cost)]
    return max(means, key=lambda mean: abs(math.log(mean)) if mean > 0 else math.inf)


def _mean_on(weights: NDArray[np.float64], rows: NDArray[np.bool_]) -> float:
    return float(weights[rows].mean()) if rows.any() else math.nan
