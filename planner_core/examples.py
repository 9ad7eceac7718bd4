"""Examples as arrays: what a policy learns from and is judged by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, Self, overload

import numpy as np
from numpy.typing import NDArray

from planner_core.contracts import PlannerInput
from planner_core.features import Batch, SparseFeatures

OUTCOME_ARRAYS = ("passed", "minutes", "cost_usd")
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class Outcomes:
    """Known outcomes of every joint class, float32 [n, n_joint] each, NaN where unknown.

    ``passed`` is a probability or 0/1, ``minutes`` wall-clock minutes, ``cost_usd`` US dollars.
    """

    passed: NDArray[np.float32]
    minutes: NDArray[np.float32]
    cost_usd: NDArray[np.float32]

    @cached_property
    def kind(self) -> Literal["expected", "realised"]:
        """Whether they are expectations (some ``passed`` lies strictly between 0 and 1) or what came of real runs.

        A label that is the best of expected outcomes is the best action; the best of realised ones is partly luck.
        """
        for begin in range(0, len(self.passed), _ROWS_AT_ONCE):
            block = self.passed[begin : begin + _ROWS_AT_ONCE]
            if ((block > 0.0) & (block < 1.0)).any():
                return "expected"
        return "realised"

    @cached_property
    def any_several(self) -> bool:
        """Whether any row knows the outcomes of two or more actions."""
        blocks = (self.passed[i : i + _ROWS_AT_ONCE] for i in range(0, len(self.passed), _ROWS_AT_ONCE))
        return any(bool(((~np.isnan(block)).sum(axis=1) >= 2).any()) for block in blocks)


@dataclass(frozen=True)
class Executed:
    """What was run of n examples, and what came of it. Actions are resolved (:func:`planner_core.resolve`).

    ``swarm`` int64 [n], -1 where it is none we know. ``candidates``, ``minutes``, ``iterations`` float32 [n]: as
    executed, raw numbers (90 stays 90). ``minutes_limited`` bool [n]: whether minutes were limited at all (240
    stand for no limit). ``action`` int64 [n]: the canonical joint class nearest to it, -1 where there is none.
    ``passed`` float32 [n], 0 or 1; ``status`` int8 [n] indexes success, failed, timeout; ``duration_minutes`` float32
    [n], the vote included; ``cost_usd`` float32 [n], NaN where unknown. ``propensity`` float32 [n] of the executed
    action, NaN where unknown. The whole logging distribution, where it is known: row i has the resolved actions
    ``propensity_actions[propensity_starts[i] : propensity_starts[i + 1]]`` int64 [total, 4] with the probabilities
    ``propensity_values`` float32 [total]. ``candidate_passed`` int8 [n, 3] is 1, 0, or -1 where there is no such
    candidate or nothing is known of it; ``candidate_minutes`` and ``candidate_cost_usd`` float32 [n, 3] are its own,
    the vote excluded, NaN where unknown. ``issue`` int64 [n]: rows of one issue have one number. ``started_ms`` int64
    [n]. ``evidence`` bool [n]: False where the run ended for reasons that are not the agent's, and where the example
    does not say what was run; there ``swarm``, ``action`` and ``status`` are -1 and every quantity is NaN.
    """

    swarm: NDArray[np.int64]
    candidates: NDArray[np.float32]
    minutes: NDArray[np.float32]
    iterations: NDArray[np.float32]
    minutes_limited: NDArray[np.bool_]
    action: NDArray[np.int64]
    passed: NDArray[np.float32]
    status: NDArray[np.int8]
    duration_minutes: NDArray[np.float32]
    cost_usd: NDArray[np.float32]
    propensity: NDArray[np.float32]
    propensity_starts: NDArray[np.int64]
    propensity_actions: NDArray[np.int64]
    propensity_values: NDArray[np.float32]
    candidate_passed: NDArray[np.int8]
    candidate_minutes: NDArray[np.float32]
    candidate_cost_usd: NDArray[np.float32]
    issue: NDArray[np.int64]
    started_ms: NDArray[np.int64]
    evidence: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.swarm)

    def take(self, rows: NDArray[np.integer] | slice) -> Executed:
        """The given rows, in the given order; those of a slice of step 1 are on the same memory."""
        arrays: dict[str, NDArray[Any]] = {f.name: getattr(self, f.name) for f in fields(self)}
        taken = {name: values[rows] for name, values in arrays.items() if not name.startswith("propensity_")}
        starts = self.propensity_starts
        within: slice | NDArray[np.int64]
        if isinstance(rows, slice) and rows.step in (None, 1):
            begin, end, _ = rows.indices(len(self))
            end = max(begin, end)
            within = slice(int(starts[begin]), int(starts[end]))
            starts = starts[begin : end + 1] - starts[begin]
        else:
            numbers = np.arange(len(self))[rows]
            counts = np.diff(starts)[numbers]
            first = starts[numbers]
            starts = np.zeros(len(numbers) + 1, np.int64)
            np.cumsum(counts, out=starts[1:])
            within = np.arange(starts[-1]) - np.repeat(starts[:-1] - first, counts)
        taken |= {name: arrays[name][within] for name in ("propensity_actions", "propensity_values")}
        return Executed(propensity_starts=starts, **taken)


Known = Literal["all", "executed", "none"]
"""What is known of outcomes: of several actions a row, of the one that was run, or nothing."""


Evidence = Literal["auto", "all", "executed"]
"""What of the outcomes a training may use; "auto" is the most there is."""


class Inputs(Sequence[PlannerInput], ABC):
    """The validated planner inputs of n examples, perhaps read only when they are asked for."""

    @overload
    def __getitem__(self, row: int) -> PlannerInput: ...
    @overload
    def __getitem__(self, row: slice) -> Self: ...
    @abstractmethod
    def __getitem__(self, row: int | slice) -> PlannerInput | Self: ...

    @abstractmethod
    def take(self, rows: NDArray[np.integer]) -> Self:
        """The inputs of the given rows, in the given order."""


@dataclass(frozen=True)
class Examples:
    """n examples as arrays.

    ``job_type`` int64 [n] indexes JOB_TYPES; ``labels`` int64 [n, 4] head classes; ``action`` int64 [n] joint class
    of the label; ``priority`` int64 [n] indexes P0..P3; ``outcomes`` None where the dataset has none; ``executed`` None
    where it does not say what was run.
    """

    features: SparseFeatures
    job_type: NDArray[np.int64]
    labels: NDArray[np.int64]
    action: NDArray[np.int64]
    priority: NDArray[np.int64]
    outcomes: Outcomes | None = None
    inputs: Inputs | None = None
    executed: Executed | None = None

    def __len__(self) -> int:
        return len(self.job_type)

    @property
    def issue(self) -> NDArray[np.int64] | None:
        """int64 [n]: rows of one issue have one number; None where the dataset does not say what was run."""
        return None if self.executed is None else self.executed.issue

    @property
    def known(self) -> Known:
        """What is known of outcomes."""
        if self.outcomes is not None and self.outcomes.any_several:
            return "all"
        return "executed" if self.executed is not None else "none"

    def with_evidence(self, evidence: Evidence) -> Examples:
        """What a training may use: all there is, or ("executed") of outcomes only those of what was run.

        ValueError where what is asked for is not known.
        """
        if evidence == "all" and self.outcomes is None:
            raise ValueError("evidence=all asks for the outcomes of several actions of each example")
        if evidence == "executed" and self.executed is None:
            raise ValueError("evidence=executed asks for what was run of each example")
        return replace(self, outcomes=None) if evidence == "executed" else self

    def batch(self, rows: NDArray[np.integer] | None = None) -> Batch:
        """The given rows (all by default) as a policy sees them."""
        if rows is None:
            return Batch(self.features, self.job_type, self.inputs)
        inputs = self.inputs.take(rows) if self.inputs is not None else None
        return Batch(self.features.take(rows), self.job_type[rows], inputs)

    def take(self, rows: NDArray[np.integer]) -> Examples:
        """A copy of the given rows, in the given order."""
        return self._pick(rows, _take(self.features, rows))

    def between(self, begin: int, end: int) -> Examples:
        """The rows from ``begin`` to ``end``, on the same memory."""
        return self._pick(slice(begin, end), _slice(self.features, begin, end))

    def _pick(self, rows: Any, features: SparseFeatures) -> Examples:
        outcomes, inputs = self.outcomes, self.inputs
        return Examples(
            features,
            self.job_type[rows],
            self.labels[rows],
            self.action[rows],
            self.priority[rows],
            Outcomes(*(getattr(outcomes, name)[rows] for name in OUTCOME_ARRAYS)) if outcomes else None,
            None if inputs is None else inputs[rows] if isinstance(rows, slice) else inputs.take(rows),
            None if self.executed is None else self.executed.take(rows),
        )


def _slice(features: SparseFeatures, begin: int, end: int) -> SparseFeatures:
    """Rows ``begin`` to ``end``, on the same memory."""
    starts = features.starts[begin : end + 1]
    figures = None if features.figures is None else features.figures[begin:end]
    return SparseFeatures(features.indices[starts[0] : starts[-1]], starts - starts[0], features.d_in, figures)


def _take(features: SparseFeatures, rows: NDArray[np.integer]) -> SparseFeatures:
    """As :meth:`SparseFeatures.take`, some rows at a time: its positions are eight bytes a feature that is on."""
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum((features.starts[1:] - features.starts[:-1])[rows], out=starts[1:])
    indices = np.empty(starts[-1], features.indices.dtype)
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        end = min(begin + _ROWS_AT_ONCE, len(rows))
        indices[starts[begin] : starts[end]] = features.take(rows[begin:end]).indices
    figures = None if features.figures is None else features.figures[rows]
    return SparseFeatures(indices, starts, features.d_in, figures)
