"""Judging a policy on one split: its decisions, and every metric that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS, ActionSpace
from planner_core.data.dataset import Dataset
from planner_core.decision import Decision, decide, row_weights, temperatures_for
from planner_core.errors import NothingLater
from planner_core.examples import OUTCOME_ARRAYS, Examples
from planner_core.features import Batch
from planner_core.harness.extra_metrics import compute_extra
from planner_core.harness.metrics import (
    EvalMetrics,
    ReliabilityTable,
    evaluate_decision,
    head_reliability,
    risk_coverage,
)
from planner_core.harness.outcome_metrics import (
    Columns,
    OutcomeMetrics,
    evaluate_outcomes,
    gap_closed,
    outcome_columns,
    regret_by_confidence,
)
from planner_core.policy import BasePolicy, PolicyContext
from planner_core.utility import Objective, weight_table

CHUNK = 1024

Decider = Callable[[Batch], tuple[Decision, Decision | None]]
"""A batch to its decisions, and to what they would be without temperature scaling (None where there is none)."""


@dataclass(frozen=True)
class Judged:
    """One policy on one split: its metrics, the decisions they follow from, and what each row would have led to.

    ``columns`` is None where the dataset knows no outcome but that of what was run; ``extra`` holds the metrics that
    plugins add.
    """

    diagnostic: EvalMetrics
    outcome: OutcomeMetrics | None
    risk_coverage: dict[str, Any]
    reliability: dict[str, ReliabilityTable]
    decision: Decision
    columns: Columns | None
    extra: dict[str, float | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The metrics as they stand in ``results.json`` and ``--json``: flat, and without those that do not apply."""
        out = {key: value for key, value in msgspec.to_builtins(self.diagnostic).items() if value is not None}
        out["risk_coverage"] = self.risk_coverage
        out["reliability"] = {name: table.to_dict() for name, table in self.reliability.items()}
        if self.columns is not None:
            out["regret_by_confidence"] = regret_by_confidence(self.decision.confidence, self.columns)
        return out | (msgspec.to_builtins(self.outcome) if self.outcome else {}) | self.extra


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
        self._outcomes: tuple[str, ...] = ()

    def put(self, begin: int, part: Decision) -> None:
        """Keep the decisions of the rows from ``begin`` on."""
        values: dict[str, NDArray[Any]] = {**part.heads, "action": part.action, "confidence": part.confidence}
        values["probs"] = part.action_probs if self._with_probs else part.action_probs[:, :0]
        if self._with_probs:
            self._outcomes = tuple(part.outcomes or ())
            values |= {f"outcome {name}": rows for name, rows in (part.outcomes or {}).items()}
        for name, rows in values.items():
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._n, *rows.shape[1:]), rows.dtype)
            self._arrays[name][begin : begin + len(rows)] = rows

    def decision(self) -> Decision:
        """All of them."""
        found = self._arrays
        heads = {name: found[name] for name in HEADS}
        outcomes = {name: found[f"outcome {name}"] for name in self._outcomes} or None
        return Decision(heads, found["probs"], found["action"], found["confidence"], outcomes)


def judge(
    decider: Decider,
    dataset: Dataset,
    split: str,
    *,
    threshold: float | None = None,
    objective: Objective = "utility",
    utility: NDArray[np.float64] | None = None,
) -> Judged:
    """All metrics of one policy on a split.

    ``threshold``: decisions of lower confidence count as abstentions (``abstain_rate``); the other metrics are over
    all decisions. ``utility`` as of :func:`planner_core.utility.weight_table`: what outcomes are worth, the dataset's
    own weights where it is None. Raises :class:`NothingLater` for an empty split.
    """
    examples = dataset.split(split)
    if not len(examples):
        raise NothingLater(f"{dataset.directory}: the split '{split}' is empty, so there is nothing to evaluate")
    decision, before = decide_split(decider, examples)
    space = dataset.action_space
    diagnostic = evaluate_decision(decision, examples.labels, examples.action, examples.job_type, space, before)
    if threshold is not None:
        diagnostic.abstain_rate = float((decision.confidence < threshold).mean())
    weights = weight_table(dataset.meta.utility) if utility is None else utility
    columns = outcome_columns(among_known(decision, examples, space), examples, space, weights, objective)
    outcome = evaluate_outcomes(columns)
    if outcome is not None and utility is None:  # floor and ceiling are those of the dataset's own weights
        floor, ceiling = ((bound or {}).get("mean_utility") for bound in bounds(dataset, split).values())
        if floor is not None and ceiling is not None:
            outcome.gap_closed = gap_closed(outcome.mean_utility, floor, ceiling)
    return Judged(
        diagnostic,
        outcome,
        risk_coverage(decision.confidence, decision.action == examples.action),
        head_reliability(decision, examples.labels, examples.job_type, space),
        decision,
        columns,
        compute_extra(decision, examples, space),
    )


def among_known(decision: Decision, examples: Examples, space: ActionSpace) -> NDArray[np.int64]:
    """The most probable of the actions whose outcome is known, int64 [n]; -1 where that leaves no choice.

    Where all outcomes are known it is the decision. To keep only the rows on which the decision happens to be among the
    known would choose rows by what the policy does, and flatter it or do it wrong.
    """
    chosen = decision.action.copy()
    if examples.known != "all" or examples.outcomes is None:
        return np.full_like(chosen, -1)
    for begin in range(0, len(chosen), CHUNK):
        rows = slice(begin, begin + CHUNK)
        valid = space.joint_masks[examples.job_type[rows]]
        arrays = (getattr(examples.outcomes, name)[rows] for name in OUTCOME_ARRAYS)
        known = ~np.any([np.isnan(array) for array in arrays], axis=0) & valid
        among = np.where(known, decision.action_probs[rows], -1.0).argmax(axis=1)
        own = known[np.arange(len(known)), chosen[rows]]
        chosen[rows] = np.where(known.sum(axis=1) < 2, -1, np.where(own, chosen[rows], among))
    return chosen


def bounds(dataset: Dataset, split: str) -> dict[str, dict[str, float] | None]:
    """``floor`` and ``ceiling`` of a split where the dataset records them, else None for each."""
    return {name: (getattr(dataset.meta, name) or {}).get(split) for name in ("floor", "ceiling")}
