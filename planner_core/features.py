"""What a policy sees of planner inputs: the positions of the features that are on, and the batch around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import job_type_index
from planner_core.contracts import PlannerInput
from planner_core.encoder import PlannerInputEncoder


@dataclass(frozen=True)
class SparseFeatures:
    """Features of n rows: ``indices[starts[i]:starts[i + 1]]`` are the positions of the bits that are on in row i.

    ``figures`` float32 [n, k], where the encoder has them, are the last k of the ``d_in`` features: numbers, not bits.
    """

    indices: NDArray[np.integer]
    starts: NDArray[np.int64]
    d_in: int
    figures: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: NDArray[np.integer]) -> SparseFeatures:
        """The given rows, in the given order."""
        counts = (self.starts[1:] - self.starts[:-1])[rows]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        # Position of every kept index in the old array: the row's old start plus the place within the row.
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
        indices = self.indices[np.repeat(self.starts[rows], counts) + within]
        return SparseFeatures(indices, starts, self.d_in, None if self.figures is None else self.figures[rows])

    def dense(self) -> NDArray[np.float32]:
        """float32 [n, d_in], each 0 or 1 but for the figures."""
        out = np.zeros((len(self), self.d_in), np.float32)
        rows = np.repeat(np.arange(len(self)), np.diff(self.starts))
        out[rows, self.indices] = 1.0
        if self.figures is not None:
            out[:, self.d_in - self.figures.shape[1] :] = self.figures
        return out

    @classmethod
    def from_dense(cls, dense: NDArray[np.float32], figures: int = 0) -> SparseFeatures:
        """The sparse form of a matrix [n, d_in] of 0 and 1 but for its last ``figures`` columns."""
        bits = dense.shape[1] - figures
        rows, indices = np.nonzero(dense[:, :bits])
        starts = np.searchsorted(rows, np.arange(len(dense) + 1)).astype(np.int64)
        return cls(indices.astype(np.int32), starts, dense.shape[1], dense[:, bits:] if figures else None)


@dataclass(frozen=True)
class Batch:
    """What a policy sees of n inputs.

    ``job_type`` int64 [n] indexes :data:`planner_core.action_space.JOB_TYPES`. ``inputs`` holds the validated inputs
    themselves where the caller has them; a policy that reads them cannot be exported, since a graph sees only features.
    """

    features: SparseFeatures
    job_type: NDArray[np.int64]
    inputs: Sequence[PlannerInput] | None = None

    def __len__(self) -> int:
        return len(self.job_type)

    @classmethod
    def from_inputs(cls, inputs: Sequence[PlannerInput], encoder: PlannerInputEncoder) -> Batch:
        """Encode validated inputs."""
        indices, starts = encoder.encode_indices_batch(inputs)
        jobs = np.array([job_type_index(x.job_type) for x in inputs], np.int64)
        figures = encoder.figures_batch(inputs)
        return cls(SparseFeatures(indices, starts, encoder.config.d_in, figures), jobs, inputs)
