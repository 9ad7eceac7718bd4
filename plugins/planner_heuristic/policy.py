"""The heuristic as a policy and as the plain baseline."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from planner_core import (
    ACTION_SCHEMA,
    HEADS,
    JOB_TYPES,
    RISKS,
    SIZES,
    Action,
    ActionSpace,
    Batch,
    PlannerError,
    PlannerInput,
    PolicyContext,
    ScoreKind,
    Scores,
    action_dict,
    convert,
    default_action,
    nearest_action,
    nearest_bin,
    now,
    request_actions,
    valid_actions,
)
from planner_heuristic.config import HeuristicConfig
from planner_heuristic.kernel_rules import kernel_action

if TYPE_CHECKING:
    import onnx

REFUSED = np.float32(-50.0)
"""Logit of every class the rules did not choose; exp(-50) vanishes beside 1 in float32."""


class HeuristicPolicy:
    """The rules as a policy: logit 0 for the chosen class of each head, -50 for the others."""

    score_kind: ClassVar[ScoreKind] = "heads"

    def __init__(self, config: HeuristicConfig, context: PolicyContext) -> None:
        self.config, self.context = config, context
        self.table = logit_table(context.action_space)

    def predict(self, batch: Batch) -> Scores:
        """One row of head logits an input. The kernel rules need ``batch.inputs``."""
        if self.config.rules == "kernel":
            return self._predict_kernel(batch)
        rows = np.repeat(np.arange(len(batch)), np.diff(batch.features.starts))
        risk, size = np.zeros(len(batch), np.int64), np.zeros(len(batch), np.int64)
        for values, name in ((risk, "risk"), (size, "size")):
            group = self.context.encoder.group(name)
            on = (batch.features.indices >= group.start) & (batch.features.indices < group.stop)
            values[rows[on]] = batch.features.indices[on] - group.start
        key = (batch.job_type * len(RISKS) + risk) * len(SIZES) + size
        return {name: table[key] for name, table in self.table.items()}

    def _predict_kernel(self, batch: Batch) -> Scores:
        if batch.inputs is None:
            raise PlannerError("the kernel rules read the planner inputs themselves, and here are only features")
        space = self.context.action_space
        scores = {name: np.full((len(batch), n), REFUSED) for name, n in zip(HEADS, space.head_sizes, strict=True)}
        for row, x in enumerate(batch.inputs):
            action = kernel_action(x, self.config)
            _choose(scores, row, action, x.job_type, space)
        return scores

    def export_scorer(self) -> onnx.ModelProto:
        """The default rules as a graph; refused for the kernel rules."""
        if self.config.rules == "kernel":
            raise PlannerError(
                "the kernel rules cannot be exported: they read dk_speculate, on_critical_path, force_speculate, "
                "action_rate and tags, which are no features of the graph; export with rules=default"
            )
        from planner_heuristic.graph import build_scorer

        return build_scorer(self.table, self.context)


@lru_cache(maxsize=8)
def logit_table(space: ActionSpace) -> Scores:
    """The rule table as head logits, float32 [job types x risks x sizes, classes] a head."""
    keys = [(job, risk, size) for job in JOB_TYPES for risk in RISKS for size in SIZES]
    table = {name: np.full((len(keys), n), REFUSED) for name, n in zip(HEADS, space.head_sizes, strict=True)}
    for row, (job, risk, size) in enumerate(keys):
        _choose(table, row, default_action(job, risk, size), job, space)
    for values in table.values():
        values.flags.writeable = False  # every policy of this action space shares it
    return table


@lru_cache(maxsize=64)
def _valid(job_type: str, space: ActionSpace) -> tuple[Action, ...]:
    """The valid actions of a job type: the table asks for the same few many times, when a planner is loaded."""
    return valid_actions(job_type, space)


def _choose(scores: Scores, row: int, action: Action, job_type: str, space: ActionSpace) -> None:
    """Set the logits of one row, on the valid action of ``space`` nearest to ``action``."""
    chosen = nearest_action(_on_bins(action, space), _valid(job_type, space))
    for name, bins, value in zip(HEADS, space.head_bins, chosen, strict=True):
        scores[name][row, bins.index(value)] = 0.0


def _on_bins(action: Action, space: ActionSpace) -> Action:
    """Numbers that are no bins (a parallelism of 4, say) on their nearest bin."""
    pairs = zip(space.head_bins[1:], action[1:], strict=True)
    return Action(action.swarm, *(v if v in bins or v == "NA" else nearest_bin(int(v), bins) for bins, v in pairs))


class HeuristicBaseline:
    """The rules without a harness: one input, one plan, inside the request's own action space."""

    def __init__(self, action_space: ActionSpace | None = None, config: HeuristicConfig | None = None) -> None:
        self.action_space = action_space or ActionSpace()
        self.config = config or HeuristicConfig()

    def predict(self, planner_input: Mapping[str, Any] | PlannerInput) -> dict[str, Any]:
        """A ``planner_action.v1`` as a dict: the rules' action, or the nearest one that the request allows.

        Raises :class:`planner_core.DataError` for an input that does not fit its contract and
        :class:`planner_core.PlannerError` where the request's rules leave no action at all.
        """
        x = planner_input
        if not isinstance(x, PlannerInput):
            x = convert(x, PlannerInput, "planner_input")
        if self.config.rules == "kernel":
            wanted = kernel_action(x, self.config)
        else:
            wanted = default_action(x.job_type, x.issue.dk_risk, x.issue.dk_size)
        allowed = request_actions(x.job_type, x.action_space)
        if not allowed:
            raise PlannerError("the request's action space and validity rules leave no action to choose")
        action = nearest_action(_on_bins(wanted, self.action_space), allowed)
        return {
            "schema_version": ACTION_SCHEMA,
            "created_at": now(),
            **action_dict(action),
            "confidence": 1.0,
            "abstain_to_default": False,
            "reason": f"heuristic rules: {self.config.rules}",
        }
