"""Judging a policy: metrics of section 7 on one split, beside the heuristic's on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS
from planner_core.data.dataset import Dataset
from planner_core.decision import Decision, decide, row_weights, temperatures_for
from planner_core.errors import PlannerError
from planner_core.examples import Examples
from planner_core.features import Batch
from planner_core.harness.bootstrap import intervals
from planner_core.harness.extra_metrics import compute_extra
from planner_core.harness.metrics import evaluate_decision, head_reliability, risk_coverage
from planner_core.harness.outcome_metrics import evaluate_outcomes, gap_closed, outcome_columns
from planner_core.plugins.guard import make_policy
from planner_core.plugins.registry import Registry
from planner_core.policy import BasePolicy, PolicyContext
from planner_core.utility import Objective, weight_table

BASELINE = "heuristic"
CHUNK = 1024

Decider = Callable[[Batch], tuple[Decision, Decision | None]]
"""A batch to its decisions, and to what they would be without temperature scaling (None where there is none)."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one policy on one split, and the raw decisions they were computed from."""

    metrics: dict[str, Any]
    decision: Decision
    outcomes: dict[str, NDArray[np.float64]] | None


def policy_decider(
    policy: BasePolicy,
    context: PolicyContext,
    temperatures: Mapping[str, float] | None = None,
    utility: NDArray[np.float64] | None = None,
) -> Decider:
    """Decide by the Python policy. Without ``temperatures`` there is no *before*.

    ``utility`` float64 [4 priorities, (pass, time, cost)]: what an outcome policy's predictions are worth; the default
    weights where it is None.
    """
    plain = temperatures_for(policy.score_kind)

    def run(batch: Batch) -> tuple[Decision, Decision | None]:
        scores = policy.predict(batch)
        weights = row_weights(batch.features, utility)

        def at(chosen: Mapping[str, float]) -> Decision:
            return decide(scores, batch.job_type, chosen, context.action_space, weights)

        return at(temperatures or plain), at(plain) if temperatures else None

    return run


def decide_split(decider: Decider, examples: Examples, chunk: int = CHUNK) -> tuple[Decision, Decision | None]:
    """Decisions of all examples, in chunks, so that dense policies stay within memory.

    What is before temperature scaling comes without ``action_probs`` (float32 [n, 0]): nothing reads them.
    """
    after, before = _Collected(len(examples)), _Collected(len(examples), with_probs=False)
    scaled = True
    for begin in range(0, len(examples), chunk):
        rows = np.arange(begin, min(begin + chunk, len(examples)))
        decision, plain = decider(examples.batch(rows))
        after.put(begin, decision)
        scaled = scaled and plain is not None
        if plain is not None:
            before.put(begin, plain)
    return after.decision(), before.decision() if scaled else None


class _Collected:
    """The decisions of n rows, put together from parts without a second copy of all of them."""

    def __init__(self, n: int, with_probs: bool = True) -> None:
        self._n, self._with_probs = n, with_probs
        self._arrays: dict[str, NDArray[Any]] = {}

    def put(self, begin: int, part: Decision) -> None:
        """Keep the decisions of the rows from ``begin`` on."""
        values: dict[str, NDArray[Any]] = {**part.heads, "action": part.action, "confidence": part.confidence}
        values["probs"] = part.action_probs if self._with_probs else part.action_probs[:, :0]
        for name, rows in values.items():
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._n, *rows.shape[1:]), rows.dtype)
            self._arrays[name][begin : begin + len(rows)] = rows

    def decision(self) -> Decision:
        """All of them."""
        found = self._arrays
        return Decision({name: found[name] for name in HEADS}, found["probs"], found["action"], found["confidence"])


def evaluate(
    decider: Decider, dataset: Dataset, split: str, *, threshold: float | None = None, objective: Objective = "utility"
) -> Evaluation:
    """All metrics of one policy on a split.

    ``threshold``: decisions of lower confidence count as abstentions (``abstain_rate``); the other metrics are over
    all decisions. Raises :class:`PlannerError` for an empty split.
    """
    examples = dataset.split(split)
    if not len(examples):
        raise PlannerError(f"{dataset.directory}: the split '{split}' is empty, so there is nothing to evaluate")
    decision, before = decide_split(decider, examples)
    space = dataset.action_space
    diagnostic = evaluate_decision(decision, examples.labels, examples.action, examples.job_type, space, before)
    if threshold is not None:
        diagnostic.abstain_rate = float((decision.confidence < threshold).mean())
    metrics = {key: value for key, value in msgspec.to_builtins(diagnostic).items() if value is not None}
    metrics["risk_coverage"] = risk_coverage(decision.confidence, decision.action == examples.action)
    tables = head_reliability(decision, examples.labels, examples.job_type, space)
    metrics["reliability"] = {
        name: {"count": t.count.tolist(), "confidence": t.confidence.tolist(), "accuracy": t.accuracy.tolist()}
        for name, t in tables.items()
    }
    columns = outcome_columns(decision.action, examples, space, weight_table(dataset.meta.utility), objective)
    outcome = evaluate_outcomes(columns)
    if outcome is not None:
        floor, ceiling = ((getattr(dataset.meta, n) or {}).get(split, {}).get("mean_utility") for n in _BOUNDS)
        if floor is not None and ceiling is not None:
            outcome.gap_closed = gap_closed(outcome.mean_utility, floor, ceiling)
        metrics |= msgspec.to_builtins(outcome)
    metrics |= compute_extra(decision, examples, space)
    return Evaluation(metrics, decision, columns)


_BOUNDS = ("floor", "ceiling")


def bounds(dataset: Dataset, split: str) -> dict[str, Any]:
    """``floor`` and ``ceiling`` of a split where the dataset records them, else None for each."""
    return {name: (getattr(dataset.meta, name) or {}).get(split) for name in _BOUNDS}


def baseline_decider(registry: Registry, context: PolicyContext) -> Decider:
    """The heuristic with its default configuration."""
    spec = registry.spec(BASELINE)
    return policy_decider(make_policy(spec, spec.config_type(), context), context)


def evaluation_document(
    policy: str,
    decider: Decider,
    dataset: Dataset,
    split: str,
    registry: Registry,
    context: PolicyContext,
    **options: Any,
) -> dict[str, Any]:
    """The JSON of ``evaluate``: the policy's metrics, the heuristic's on the same rows, floor, ceiling, intervals."""
    own = evaluate(decider, dataset, split, **options)
    objective = options.get("objective", "utility")
    baseline = evaluate(baseline_decider(registry, context), dataset, split, objective=objective)
    document = {
        "policy": policy,
        "split": split,
        "dataset_hash": dataset.meta.dataset_hash,
        **own.metrics,
        BASELINE: baseline.metrics,
        **bounds(dataset, split),
    }
    found = paired_intervals(own, baseline)
    if found is not None:
        limits = [(document[name] or {}).get("mean_utility") for name in _BOUNDS]
        document["intervals"] = with_gap(found, *limits)
    return document


def paired_intervals(own: Evaluation, baseline: Evaluation) -> dict[str, dict[str, Any]] | None:
    """Bootstrap intervals on the rows whose outcome is known for both; None where there is none."""
    if own.outcomes is None or baseline.outcomes is None:
        return None
    both = ~np.isnan(own.outcomes["utility"]) & ~np.isnan(baseline.outcomes["utility"])
    if not both.any():
        return None
    return intervals(*({k: v[both] for k, v in side.outcomes.items()} for side in (own, baseline) if side.outcomes))


def with_gap(found: dict[str, dict[str, Any]], floor: float | None, ceiling: float | None) -> dict[str, dict[str, Any]]:
    """The intervals with ``gap_closed`` added, which is mean utility on another scale."""
    if floor is None or ceiling is None or floor == ceiling:
        return found
    scaled = {
        name: None
        if ends is None
        else [(end - (0.0 if name == "difference" else floor)) / (ceiling - floor) for end in ends]
        for name, ends in found["mean_utility"].items()
    }
    return {**found, "gap_closed": scaled}
