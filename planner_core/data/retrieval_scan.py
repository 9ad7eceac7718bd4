"""Retrieval by scanning: earlier runs in blocks from the newest, until no older one can be among the best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner_core.data.retrieval_log import RECENCY_SCORES, Best, EligibleRuns, Questions, recency_levels, similarity
from planner_core.data.similarity import SIGNAL_WEIGHT, TAG_WEIGHT
from planner_core.encoder import RECENCY_EDGES_MS

_QUESTIONS_AT_ONCE, _FIRST_BLOCK, _BLOCK = 64, 256, 2048  # one block of scores stays in a core's cache


def scan(
    log: EligibleRuns,
    positions: NDArray[np.int64],
    questions: Questions,
    rows: NDArray[np.int64],
    best: Best,
    at_least_tags: int = 0,
) -> None:
    """Merge the runs at ``positions`` (ascending) of ``log`` into ``best`` for the questions ``rows``.

    A question is finished once no older run can beat its n-th best; as equal scores go to the later start, a run older
    than that one has to be strictly better. ``at_least_tags``: what every run scanned has, which bounds its similarity.
    """
    if not len(positions):
        return
    part = EligibleRuns(positions, log.start_ms[positions], log.tags.masks[positions], log.signals.masks[positions])
    for begin in range(0, len(rows), _QUESTIONS_AT_ONCE):
        _scan(part, questions, rows[begin : begin + _QUESTIONS_AT_ONCE], best, at_least_tags)


def _scan(part: EligibleRuns, questions: Questions, rows: NDArray[np.int64], best: Best, at_least_tags: int) -> None:
    """As :func:`scan`, for a few questions; ``part.rows`` are the positions in the whole log."""
    at_ms, tags, signals = questions.at_ms[rows], questions.tags[rows], questions.signals[rows]
    first = np.searchsorted(part.rows, questions.first[rows])
    sizes = np.maximum(tags.sizes, 1)
    most_alike = np.where(tags.sizes > 0, sizes / np.maximum(sizes, at_least_tags), 0.0)
    limit_of_sets = TAG_WEIGHT * most_alike + SIGNAL_WEIGHT * (signals.sizes > 0)

    active = np.arange(len(rows))
    low, width = int(first.min()), _FIRST_BLOCK
    while active.size and low < len(part):
        newest = np.maximum(first[active], low)
        there = newest < len(part)
        active, newest = active[there], newest[there]
        limit = limit_of_sets[active] + RECENCY_SCORES[recency_levels(at_ms[active] - part.start_ms[newest])]
        last, last_position = best.score[rows[active], -1], best.position[rows[active], -1]
        active = active[(limit > last) | ((limit == last) & (part.rows[newest] < last_position))]
        if not active.size:
            return
        low = max(low, int(first[active].min()))
        block = slice(low, min(low + width, len(part)))
        score = TAG_WEIGHT * similarity(tags[active], part.tags[block])
        with_signals = np.flatnonzero(signals.sizes[active])
        if with_signals.size:
            score[with_signals] += SIGNAL_WEIGHT * similarity(signals[active[with_signals]], part.signals[block])
        score += _recency_scores(at_ms[active], part.start_ms[block])
        if low < first.max():
            score[np.arange(block.start, block.stop) < first[active, None]] = -1.0
        _offer(best, rows[active], score, part.rows[block])
        low, width = block.stop, _BLOCK


def _recency_scores(at_ms: NDArray[np.int64], start_ms: NDArray[np.int64]) -> NDArray[np.float64] | np.float64:
    """Recency term of every (question, run); one number where all pairs fall into one level, as in most old blocks."""
    extremes = recency_levels(np.array([at_ms.min() - start_ms[0], at_ms.max() - start_ms[-1]]))
    if extremes[0] == extremes[1]:
        return np.float64(RECENCY_SCORES[extremes[0]])
    age = at_ms[:, None] - start_ms
    level = np.zeros(age.shape, np.int8)
    for edge in RECENCY_EDGES_MS:
        level += age >= edge
    return RECENCY_SCORES[level]


def _offer(best: Best, rows: NDArray[np.int64], score: NDArray[np.float64], positions: NDArray[np.int64]) -> None:
    """Offer a block of scores [rows, positions]: only what beats a row's n-th best, which is little."""
    last, last_position = best.score[rows, -1, None], best.position[rows, -1, None]
    better = score > last
    if (last_position > positions[0]).any():  # an index found something older, which loses a tie
        better |= (score == last) & (positions < last_position) & (score >= 0.0)
    at, columns = np.nonzero(better)
    if not at.size:
        return
    counts = np.bincount(at, minlength=len(rows))
    changed = np.flatnonzero(counts)
    slot = np.arange(at.size) - (np.cumsum(counts) - counts)[at]
    compact = np.cumsum(counts > 0)[at] - 1
    scores = np.full((changed.size, int(counts.max())), -1.0)
    places = np.full(scores.shape, best.nowhere, np.int64)
    scores[compact, slot] = score[at, columns]
    places[compact, slot] = positions[columns]
    best.offer(rows[changed], scores, places)
