"""The value of a policy from logs: read a log once, then ask it about any number of policies."""

from __future__ import annotations

from planner_core.value.comparison import Array, comparison
from planner_core.value.estimators import Predictions
from planner_core.value.log import Log
from planner_core.value.result import Figures, Range, Value
from planner_core.value.verdict import AB_SHARE, decide


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
    judge = comparison(
        log,
        target,
        against=against,
        predictions=predictions,
        name=name,
        against_name=against_name,
        ab_share=ab_share,
        ab_difference=ab_difference,
    )
    one, differing, supported = judge.one, judge.differing, judge.supported
    notes = list(log.notes)
    if predictions is None:
        notes.append("no outcome model: its predictions count as 0, which widens the intervals")
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
        verdict=decide(judge.grounds(differing, judge.unsupported), ab_share, ab_difference),
        partial=partial,
        notes=notes,
    )
