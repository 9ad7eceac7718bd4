"""What both exact ways of retrieval share: a log as columns, questions about it, sets as bits, and the best so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_core.data.similarity import RECENCY, RECENCY_WEIGHT
from planner_core.encoder import RECENCY_EDGES_MS

RECENCY_SCORES = np.array([RECENCY_WEIGHT * value for value in RECENCY])


def pack_bits(sets: Sequence[Iterable[int]], size: int) -> NDArray[np.uint64]:
    """Sets of numbers below ``size`` as bit masks, uint64 [sets, blocks]."""
    masks = np.zeros((len(sets), max(1, -(-size // 64))), np.uint64)
    for mask, members in zip(masks, sets, strict=True):
        for member in members:
            mask[member >> 6] |= np.uint64(1 << (member & 63))
    return masks


class Sets:
    """Bit masks uint64 [rows, blocks] and the sizes of the sets."""

    def __init__(self, masks: NDArray[np.uint64]) -> None:
        self.masks = masks
        self.sizes = np.bitwise_count(masks).sum(axis=1, dtype=np.int64)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Sets:
        return Sets(self.masks[rows])

    def members(self, rows: NDArray[np.int64] | NDArray[np.int32], size: int) -> NDArray[np.int64]:
        """Members of sets that all have ``size`` of them, int64 [rows, size], ascending."""
        out = np.empty((len(rows), size), np.int64)
        if not size:
            return out
        step = max(1, (1 << 24) // (64 * self.masks.shape[1]))  # at most 16 MiB of single bits at a time
        for begin in range(0, len(rows), step):
            masks = np.ascontiguousarray(self.masks[rows[begin : begin + step]]).astype("<u8", copy=False)
            bits = np.unpackbits(masks.view(np.uint8), axis=1, bitorder="little")
            out[begin : begin + step] = np.nonzero(bits)[1].reshape(-1, size)
        return out


def similarity(a: Sets, b: Sets) -> NDArray[np.float64]:
    """Jaccard similarity of every pair, float64 [a, b]."""
    both = np.bitwise_count(a.masks[:, None, 0] & b.masks[None, :, 0]).astype(np.int32)
    for block in range(1, a.masks.shape[1]):
        both += np.bitwise_count(a.masks[:, None, block] & b.masks[None, :, block])
    union = a.sizes.astype(np.int32)[:, None] + b.sizes.astype(np.int32) - both
    out: NDArray[np.float64] = both / np.maximum(union, 1)
    return out


def recency_levels(age_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions in :data:`RECENCY_SCORES` of ages in milliseconds."""
    return np.searchsorted(RECENCY_EDGES_MS, age_ms, side="right")


class EligibleRuns:
    """The runs a question may be answered with, newest first: of equal starts, the smaller run id.

    ``rows`` int64 [runs] are the rows of the original columns; a *position* counts from the newest run.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        start_ms: NDArray[np.int64],
        tags: NDArray[np.uint64],
        signals: NDArray[np.uint64],
    ) -> None:
        self.rows, self.start_ms = rows, start_ms
        self.tags, self.signals = Sets(tags), Sets(signals)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Questions:
    """Questions about one log: times int64 [q], sets, and the position of the newest run that started earlier."""

    at_ms: NDArray[np.int64]
    tags: Sets
    signals: Sets
    first: NDArray[np.int64]

    @classmethod
    def of(
        cls, log: EligibleRuns, at_ms: NDArray[np.int64], tags: NDArray[np.uint64], signals: NDArray[np.uint64]
    ) -> Questions:
        """Questions at ``at_ms`` about ``log``."""
        first = len(log) - np.searchsorted(log.start_ms[::-1], at_ms, side="left")
        return cls(at_ms, Sets(tags), Sets(signals), first)

    def __len__(self) -> int:
        return len(self.at_ms)


class Best:
    """The best runs of each question so far, best first: ``score`` float64 and ``position`` int64, both [q, n].

    An empty place has score -1 and the position ``nowhere``, which is behind every run.
    """

    def __init__(self, questions: int, n: int, nowhere: int) -> None:
        self.nowhere = nowhere
        self.score = np.full((questions, n), -1.0)
        self.position = np.full((questions, n), nowhere, np.int64)

    def offer(self, rows: NDArray[np.int64], score: NDArray[np.float64], position: NDArray[np.int64]) -> None:
        """Merge candidates [rows, any] of the questions ``rows``; a run may be offered once only."""
        n = self.score.shape[1]
        scores = np.concatenate([self.score[rows], score], axis=1)
        positions = np.concatenate([self.position[rows], position], axis=1)
        order = np.lexsort((positions, -scores), axis=1)[:, :n]
        self.score[rows] = np.take_along_axis(scores, order, axis=1)
        self.position[rows] = np.take_along_axis(positions, order, axis=1)
