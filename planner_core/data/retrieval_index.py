"""Retrieval by an inverted index: a question looks at a few runs of a few lists, however long the log is.

For every subset U of the tags of a run, every number r of tags and every set of failure signals g there is a list of
the runs that have all of U, r tags and signals g, newest first; and one of those with any signals. Let a question have
the tags T and let a run R share exactly U with it. Every run in R's list L(U, r, g) shares at least U and has as many
tags, so its Jaccard similarities to the question are at least R's; one that is newer has no less recency and wins a
tie. So if N eligible runs of that list are newer than R, R is not among the best N: **the N newest eligible runs of
each list are enough**. Where the signals of R are not like the question's at all, the list of any signals does.

The lists of one question are visited by falling upper bound of what they can add (Fagin's threshold algorithm), and
the rest is left out once the n-th best score is beyond that bound.

A set of r tags has 2^r subsets, so runs and questions of many tags are left to a scan, and so are a few questions
with many lists to visit in a short log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from planner_core.data.retrieval_log import (
    RECENCY_SCORES,
    Best,
    EligibleRuns,
    Questions,
    Sets,
    recency_levels,
    similarity,
)
from planner_core.data.similarity import SIGNAL_WEIGHT, TAG_WEIGHT

MAX_TAGS = 6
ENTRIES_PER_RUN = 16
"""Mean number of subsets a run may cost; what is beyond has its runs of most tags scanned instead."""

VISIT_COST = 12_500
"""Pairs of question and run that a scan scores in the time of one visit (0.1 ms); visits are made for many at once."""

_QUESTIONS_AT_ONCE = 4096
_ENTRIES_AT_ONCE = 1 << 18
_ANY = 0  # in place of a signal set, whose numbers begin at 1


class SubsetIndex:
    """The lists of one log. ``left_out``: positions of the runs with more than ``max_tags`` tags, ascending."""

    def __init__(self, log: EligibleRuns) -> None:
        self.log = log
        self.max_tags = _affordable(log)
        self.left_out = np.flatnonzero(log.tags.sizes > self.max_tags)
        self._base = 64 * log.tags.masks.shape[1] + 1  # of the number that names a subset of tags
        masks, sets = np.unique(log.signals.masks, axis=0, return_inverse=True)
        self._signal_sets = Sets(masks)
        kinds, counts, positions = self._entries()
        # Entries are many: what follows makes the numbers of lists out of those of subsets in their place.
        self._subsets = np.unique(kinds)
        _number(kinds, self._subsets)
        kinds *= self.max_tags + 1
        kinds += counts
        del counts
        self._any = _Lists(kinds.copy(), positions, len(log))
        kinds *= len(masks) + 1
        kinds += sets.reshape(-1).astype(np.int32)[positions]
        kinds += 1
        self._by_signals = _Lists(kinds, positions, len(log))
        self.counts = np.unique(log.tags.sizes[log.tags.sizes <= self.max_tags]).tolist()

    def _entries(self) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.int32]]:
        """One entry a run and subset of its tags: the subset's number, how many tags the run has, its position.

        The empty subset stands for no similarity, whatever the number of tags, and goes under 0 of them.
        """
        by_size = [np.flatnonzero(self.log.tags.sizes == size).astype(np.int32) for size in range(self.max_tags + 1)]
        total = sum(len(rows) << size for size, rows in enumerate(by_size))
        codes, counts, positions = np.empty(total, np.int64), np.empty(total, np.int8), np.empty(total, np.int32)
        begin = 0
        for size, rows in enumerate(by_size):
            members = self.log.tags.members(rows, size)
            for chosen in _subsets(size):
                part = slice(begin, begin + len(rows))
                codes[part] = _code(members[:, chosen], self._base)
                counts[part], positions[part] = size if chosen else 0, rows
                begin = part.stop
        return codes, counts, positions

    def answer(self, questions: Questions, best: Best, tell: Callable[[int], None]) -> NDArray[np.bool_]:
        """Offer to ``best`` what the index knows; which questions were answered, bool [q].

        ``tell`` is called with how many more questions are done.
        """
        answered = np.zeros(len(questions), bool)
        if not self.counts:  # every run has too many tags
            return answered
        masks, kind = np.unique(questions.signals.masks, axis=0, return_inverse=True)
        asked, most = Sets(masks), self.max_tags + 1
        group = kind.reshape(-1) * (most + 1) + np.minimum(questions.tags.sizes, most)
        groups, group = np.unique(group, return_inverse=True)
        order = np.argsort(group.reshape(-1), kind="stable")
        ends = np.cumsum(np.bincount(group.reshape(-1), minlength=len(groups)))
        for number, rows in zip(groups.tolist(), np.split(order, ends[:-1]), strict=True):
            which, size = divmod(number, most + 1)
            if size == most:
                continue
            affordable = len(rows) * len(self.log) // max(VISIT_COST, 1)
            visits = _visits(size, self.counts, self._alike(asked, which), affordable)
            if visits is None:
                continue
            answered[rows] = True
            for begin in range(0, len(rows), _QUESTIONS_AT_ONCE):
                chunk = rows[begin : begin + _QUESTIONS_AT_ONCE]
                self._visit(questions, chunk, size, visits, best)
                tell(len(chunk))
        return answered

    def _alike(self, asked: Sets, which: int) -> list[tuple[int, float]]:
        """(number, similarity) of every signal set, or kind of sets, to be visited for one set of signals."""
        if not asked.sizes[which]:
            return [(_ANY, 0.0)]
        alike = similarity(asked[which : which + 1], self._signal_sets)[0]
        like = np.flatnonzero(alike)
        return [(_ANY, 0.0), *zip((like + 1).tolist(), alike[like].tolist(), strict=True)]

    def _visit(
        self, questions: Questions, rows: NDArray[np.int64], size: int, visits: list[_Visit], best: Best
    ) -> None:
        """Visit lists for questions that have ``size`` tags and the same signals."""
        members = questions.tags.members(rows, size)
        subsets = {
            shared: np.stack(
                [self._subset(_code(members[:, chosen], self._base)) for chosen in combinations(range(size), shared)], 1
            )
            for shared in range(size + 1)
        }
        active = np.arange(len(rows))
        for visit in visits:
            # Rounding keeps order, so this bounds the score in float64 too. On a tie a list may still hold a newer run.
            active = active[best.score[rows[active], -1] <= visit.bound + RECENCY_SCORES[0]]
            if not active.size:
                return
            kinds = subsets[visit.shared][active] * (self.max_tags + 1) + visit.count
            if visit.signals == _ANY:
                lists, keys = self._any, kinds
            else:
                lists, keys = self._by_signals, kinds * (len(self._signal_sets.sizes) + 1) + visit.signals
            asking = rows[active]
            places = lists.newest(keys, questions.first[asking], best.score.shape[1]).reshape(len(active), -1)
            score, places = self._score(questions, asking, visit, places)
            changed = np.flatnonzero((score >= best.score[asking, -1, None]).any(axis=1))
            if changed.size:
                best.offer(asking[changed], score[changed], places[changed])

    def _subset(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of subsets of tags; one past the last for a subset that no run has."""
        place = np.minimum(np.searchsorted(self._subsets, codes), len(self._subsets) - 1)
        return np.where(self._subsets[place] == codes, place, len(self._subsets))

    def _score(
        self, questions: Questions, asking: NDArray[np.int64], visit: _Visit, places: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Scores of the runs at ``places`` [asking, any], -1 for those that belong to another visit."""
        log, nowhere = self.log, len(self.log)
        there = places < nowhere
        run = np.where(there, places, 0)
        shared = np.zeros(places.shape, np.uint8)
        for block in range(log.tags.masks.shape[1]):
            shared += np.bitwise_count(questions.tags.masks[asking, None, block] & log.tags.masks[run, block])
        there &= shared == visit.shared
        if visit.signals == _ANY:
            for block in range(log.signals.masks.shape[1]):
                there &= (questions.signals.masks[asking, None, block] & log.signals.masks[run, block]) == 0
        age = questions.at_ms[asking, None] - log.start_ms[run]
        score = np.where(there, visit.bound + RECENCY_SCORES[recency_levels(age)], -1.0)
        return score, np.where(there, places, nowhere)


@dataclass(frozen=True)
class _Visit:
    """Lists to be visited together: tags shared, tags of the run, number of its signal set, and score but recency."""

    shared: int
    count: int
    signals: int
    bound: float


def _visits(size: int, counts: list[int], by_signals: list[tuple[int, float]], affordable: int) -> list[_Visit] | None:
    """Every visit of a question with ``size`` tags, by falling bound; None where they are more than is affordable.

    ``by_signals``: (number, similarity) of the signal sets to be visited.
    """
    by_tags = [(0, 0, 0.0)]
    by_tags += [(i, r, i / (size + r - i)) for r in counts for i in range(1, min(size, r) + 1)]
    if len(by_tags) * len(by_signals) > affordable:
        return None
    visits = [
        _Visit(i, r, g, TAG_WEIGHT * tags + SIGNAL_WEIGHT * signals)
        for i, r, tags in by_tags
        for g, signals in by_signals
    ]
    return sorted(visits, key=lambda visit: -visit.bound)


class _Lists:
    """Ascending lists of positions below ``limit``, each under its own key."""

    def __init__(self, keys: NDArray[np.int64], positions: NDArray[np.int32], limit: int) -> None:
        """``keys`` is used up."""
        self.keys = np.unique(keys)
        self.limit = limit
        # All lists as one ascending array, so that one search finds a place in one of them.
        _number(keys, self.keys)
        keys *= limit
        keys += positions
        keys.sort()
        self.places = keys

    def newest(self, keys: NDArray[np.int64], first: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """The first ``n`` positions from ``first`` [q] on in each list of ``keys`` [q, k]: int64 [q, k, n].

        Filled up with ``limit``, which is what a key without a list gives too.
        """
        number = np.searchsorted(self.keys, keys)
        number[number == len(self.keys)] = 0
        known = self.keys[number] == keys
        begin = np.searchsorted(self.places, number * self.limit + first[:, None])
        at = begin[:, :, None] + np.arange(n)
        place = self.places[np.minimum(at, len(self.places) - 1)] - number[:, :, None] * self.limit
        fits = known[:, :, None] & (at < len(self.places)) & (place < self.limit)
        return np.where(fits, place, self.limit)


def _number(values: NDArray[np.int64], known: NDArray[np.int64]) -> None:
    """Puts the place of each value among the ascending ``known`` where the value is."""
    for begin in range(0, len(values), _ENTRIES_AT_ONCE):
        part = values[begin : begin + _ENTRIES_AT_ONCE]
        part[:] = np.searchsorted(known, part)


def _subsets(size: int) -> list[list[int]]:
    return [list(chosen) for k in range(size + 1) for chosen in combinations(range(size), k)]


def _code(members: NDArray[np.int64], base: int) -> NDArray[np.int64]:
    """A number for each row of ascending members [rows, size], 0 for none; no two sets share one."""
    code = np.zeros(len(members), np.int64)
    for column in range(members.shape[1]):
        code = code * base + members[:, column] + 1
    return code


def _affordable(log: EligibleRuns) -> int:
    """The largest number of tags whose subsets are few enough, in total and to be numbered in 63 bits."""
    runs = np.bincount(log.tags.sizes, minlength=MAX_TAGS + 1)
    base = 64 * log.tags.masks.shape[1] + 1
    most = 0
    for size in range(1, MAX_TAGS + 1):
        entries = sum(int(runs[k]) << k for k in range(size + 1))
        if entries > ENTRIES_PER_RUN * len(log) or base**size >= 1 << 62:
            break
        most = size
    return most
