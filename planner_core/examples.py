"""Examples as arrays: what a policy learns from and is judged by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, overload

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
    of the label; ``priority`` int64 [n] indexes P0..P3; ``outcomes`` None where the dataset has none.
    """

    features: SparseFeatures
    job_type: NDArray[np.int64]
    labels: NDArray[np.int64]
    action: NDArray[np.int64]
    priority: NDArray[np.int64]
    outcomes: Outcomes | None = None
    inputs: Inputs | None = None

    def __len__(self) -> int:
        return len(self.job_type)

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
        )


def _slice(features: SparseFeatures, begin: int, end: int) -> SparseFeatures:
    """Rows ``begin`` to ``end``, on the same memory."""
    starts = features.starts[begin : end + 1]
    return SparseFeatures(features.indices[starts[0] : starts[-1]], starts - starts[0], features.d_in)


def _take(features: SparseFeatures, rows: NDArray[np.integer]) -> SparseFeatures:
    """As :meth:`SparseFeatures.take`, some rows at a time: its positions are eight bytes a feature that is on."""
    starts = np.zeros(len(rows) + 1, np.int64)
    np.cumsum((features.starts[1:] - features.starts[:-1])[rows], out=starts[1:])
    indices = np.empty(starts[-1], features.indices.dtype)
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        end = min(begin + _ROWS_AT_ONCE, len(rows))
        indices[starts[begin] : starts[end]] = features.take(rows[begin:end]).indices
    return SparseFeatures(indices, starts, features.d_in)
