"""Similar earlier runs: which parts of the log a planner input shows as its history.

A run is eligible when it has the query's job type and started strictly earlier; for ``fab-world`` it must also share
the world and the objective, where both name one. Eligible runs are ranked by

    score = 0.6 x Jaccard(tags) + 0.3 x Jaccard(failure signals) + 0.1 x recency

then by later start, then by run id; the best N are listed most recent first. Failure signals of a run are its fail
codes and gate names, those of a query are the ones of its issue's own latest earlier run (none at a first attempt).
Two empty sets have a Jaccard similarity of 0.

Two forms give the same answer. :func:`similar_runs` is the readable one. :func:`retrieve_all` answers a whole log at
once on integer columns. Both compute a score in float64 from the same integers, in the same order of operations, so
that they agree on ties too.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_core.contracts import RunSummary
from planner_core.encoder import RECENCY_EDGES_MS

TAG_WEIGHT, SIGNAL_WEIGHT, RECENCY_WEIGHT = 0.6, 0.3, 0.1
RECENCY = (1.0, 1 / 2, 1 / 3, 1 / 4)  # an age of < 1 day, < 7, < 30, older
WORLD_JOB_TYPE = "fab-world"  # the job type whose runs are compared within one world and objective only

_RECENCY_SCORES = np.array([RECENCY_WEIGHT * value for value in RECENCY])
_QUERIES_AT_ONCE, _FIRST_BLOCK, _BLOCK = 64, 256, 2048  # one block of scores stays in a core's cache


@dataclass(frozen=True)
class Query:
    """What retrieval reads of a planner input: its time in Unix milliseconds, job type, tags, issue and world."""

    at_ms: int
    job_type: str
    tags: Sequence[str]
    issue_id: str | None = None
    universe_id: str | None = None
    objective_id: str | None = None


def failure_signals(run: RunSummary) -> frozenset[str]:
    """The fail codes and the gate names of a run."""
    return frozenset(run.outcome.fail_codes) | {gate.name for gate in run.outcome.gates}


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Size of the intersection over the size of the union; 0 for two empty sets."""
    union = len(a | b)
    return len(a & b) / union if union else 0.0


def recency_level(age_ms: int) -> int:
    """Position in :data:`RECENCY` of an age in milliseconds."""
    return bisect.bisect_right(RECENCY_EDGES_MS, age_ms)


def similar_runs(query: Query, runs: Iterable[RunSummary], n: int = 8) -> list[RunSummary]:
    """The ``n`` runs most similar to ``query``, most recent first. The reference form: one pass over all ``runs``."""
    earlier = [run for run in runs if run.started_ms < query.at_ms]
    own = [run for run in earlier if query.issue_id is not None and run.issue_id == query.issue_id]
    signals = failure_signals(min(own, key=_most_recent_first)) if own else frozenset()
    tags = frozenset(query.tags)

    def score(run: RunSummary) -> float:
        by_tags = TAG_WEIGHT * jaccard(tags, frozenset(run.tags or ()))
        by_signals = SIGNAL_WEIGHT * jaccard(signals, failure_signals(run))
        return by_tags + by_signals + RECENCY_WEIGHT * RECENCY[recency_level(query.at_ms - run.started_ms)]

    eligible = [run for run in earlier if run.job_type == query.job_type and _same_world(query, run)]
    best = sorted(eligible, key=lambda run: (-score(run), *_most_recent_first(run)))[:n]
    return sorted(best, key=_most_recent_first)


def _most_recent_first(run: RunSummary) -> tuple[int, str]:
    return -run.started_ms, run.run_id


def _same_world(query: Query, run: RunSummary) -> bool:
    if query.job_type != WORLD_JOB_TYPE:
        return True
    pairs = ((query.universe_id, run.universe_id), (query.objective_id, run.objective_id))
    return all(wanted is None or given is None or wanted == given for wanted, given in pairs)


@dataclass(frozen=True)
class RunColumns:
    """A log as columns, one row a run, in any order.

    ``start_ms``, ``job_type``, ``issue``, ``world``, ``objective``, ``id_rank``: int64 [runs]. The ids are any
    numbering shared with the queries; -1 stands for none, and a job type whose world does not matter has -1 there.
    ``id_rank`` orders the run ids. ``tags`` and ``signals``: sets as bit masks, uint64 [runs, blocks of 64].
    """

    start_ms: NDArray[np.int64]
    job_type: NDArray[np.int64]
    tags: NDArray[np.uint64]
    signals: NDArray[np.uint64]
    issue: NDArray[np.int64]
    world: NDArray[np.int64]
    objective: NDArray[np.int64]
    id_rank: NDArray[np.int64]


@dataclass(frozen=True)
class QueryColumns:
    """Queries as columns, one row a query, in any order; numbered and packed as in :class:`RunColumns`."""

    at_ms: NDArray[np.int64]
    job_type: NDArray[np.int64]
    tags: NDArray[np.uint64]
    issue: NDArray[np.int64]
    world: NDArray[np.int64]
    objective: NDArray[np.int64]


def to_columns(queries: Sequence[Query], runs: Sequence[RunSummary]) -> tuple[QueryColumns, RunColumns]:
    """Queries and runs as columns under one numbering of their strings."""
    jobs, issues, worlds, objectives = _Numbering(), _Numbering(), _Numbering(), _Numbering()
    tags, signals = _Numbering(), _Numbering()

    def world(job_type: str, name: str | None, numbering: _Numbering) -> int:
        return numbering(name) if job_type == WORLD_JOB_TYPE else -1

    run_tags = [[tags(tag) for tag in run.tags or ()] for run in runs]
    query_tags = [[tags(tag) for tag in query.tags] for query in queries]
    run_signals = [[signals(signal) for signal in sorted(failure_signals(run))] for run in runs]
    rank = np.empty(len(runs), np.int64)
    rank[sorted(range(len(runs)), key=lambda i: runs[i].run_id)] = np.arange(len(runs))
    run_columns = RunColumns(
        start_ms=_ints(run.started_ms for run in runs),
        job_type=_ints(jobs(run.job_type) for run in runs),
        tags=pack_bits(run_tags, len(tags)),
        signals=pack_bits(run_signals, len(signals)),
        issue=_ints(issues(run.issue_id) for run in runs),
        world=_ints(world(run.job_type, run.universe_id, worlds) for run in runs),
        objective=_ints(world(run.job_type, run.objective_id, objectives) for run in runs),
        id_rank=rank,
    )
    query_columns = QueryColumns(
        at_ms=_ints(query.at_ms for query in queries),
        job_type=_ints(jobs(query.job_type) for query in queries),
        tags=pack_bits(query_tags, len(tags)),
        issue=_ints(issues(query.issue_id) for query in queries),
        world=_ints(world(query.job_type, query.universe_id, worlds) for query in queries),
        objective=_ints(world(query.job_type, query.objective_id, objectives) for query in queries),
    )
    return query_columns, run_columns


class _Numbering(dict[str, int]):
    """Numbers strings in the order they come; None is -1."""

    def __call__(self, name: str | None) -> int:
        return -1 if name is None else self.setdefault(name, len(self))


def _ints(values: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64)


def pack_bits(sets: Sequence[Iterable[int]], size: int) -> NDArray[np.uint64]:
    """Sets of numbers below ``size`` as bit masks, uint64 [sets, blocks]."""
    masks = np.zeros((len(sets), max(1, -(-size // 64))), np.uint64)
    for mask, members in zip(masks, sets, strict=True):
        for member in members:
            mask[member >> 6] |= np.uint64(1 << (member & 63))
    return masks


def retrieve_all(
    queries: QueryColumns,
    runs: RunColumns,
    n: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:
    """Rows of the ``n`` runs most similar to each query, int64 [queries, n], most recent first, padded with -1.

    Exact. Earlier runs are scanned from the newest in blocks; a query is finished once no older run can beat its
    n-th best score. As equal scores go to the later start, an older run has to be strictly better. ``progress`` is
    called with (queries done, all).
    """
    total = len(queries.at_ms)
    found = np.full((total, n), -1, np.int64)
    if not n:
        return found
    signals = _query_signals(queries, runs)
    newest_first = np.lexsort((runs.id_rank, -runs.start_ms))
    in_time = np.argsort(queries.at_ms, kind="stable")
    done = 0
    for job_type in np.unique(queries.job_type):
        log = _JobLog(runs, newest_first[runs.job_type[newest_first] == job_type])
        rows = in_time[queries.job_type[in_time] == job_type]
        for begin in range(0, len(rows), _QUERIES_AT_ONCE):
            chunk = rows[begin : begin + _QUERIES_AT_ONCE]
            found[chunk] = _retrieve(log, queries, signals, chunk, n)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    return found


def _query_signals(queries: QueryColumns, runs: RunColumns) -> NDArray[np.uint64]:
    """Signals of the latest earlier run of each query's own issue; empty where there is none."""
    signals = np.zeros((len(queries.at_ms), runs.signals.shape[1]), np.uint64)
    by_issue: dict[int, tuple[list[int], list[int]]] = {}
    for row in np.lexsort((-runs.id_rank, runs.start_ms)).tolist():
        starts, own = by_issue.setdefault(int(runs.issue[row]), ([], []))
        starts.append(int(runs.start_ms[row]))
        own.append(row)
    by_issue.pop(-1, None)
    for i, (issue, at_ms) in enumerate(zip(queries.issue.tolist(), queries.at_ms.tolist(), strict=True)):
        if issue in by_issue:
            starts, own = by_issue[issue]
            earlier = bisect.bisect_left(starts, at_ms)
            if earlier:
                signals[i] = runs.signals[own[earlier - 1]]
    return signals


class _JobLog:
    """The runs of one job type, newest first."""

    def __init__(self, runs: RunColumns, rows: NDArray[np.int64]) -> None:
        self.rows = rows
        self.start_ms = runs.start_ms[rows]
        self.tags = _Sets(runs.tags[rows])
        self.signals = _Sets(runs.signals[rows])
        self.world, self.objective = runs.world[rows], runs.objective[rows]
        self.has_worlds = bool((self.world >= 0).any() or (self.objective >= 0).any())

    def __len__(self) -> int:
        return len(self.rows)


class _Sets:
    """Bit masks uint64 [rows, blocks] and the sizes of the sets."""

    def __init__(self, masks: NDArray[np.uint64]) -> None:
        self.masks = masks
        self.sizes = np.bitwise_count(masks).sum(axis=1, dtype=np.int64)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> _Sets:
        return _Sets(self.masks[rows])


def _similarity(a: _Sets, b: _Sets) -> NDArray[np.float64]:
    """Jaccard similarity of every pair, float64 [a, b]."""
    both = np.bitwise_count(a.masks[:, None, 0] & b.masks[None, :, 0]).astype(np.int32)
    for block in range(1, a.masks.shape[1]):
        both += np.bitwise_count(a.masks[:, None, block] & b.masks[None, :, block])
    union = a.sizes.astype(np.int32)[:, None] + b.sizes.astype(np.int32) - both
    similarity: NDArray[np.float64] = both / np.maximum(union, 1)
    return similarity


def _retrieve(
    log: _JobLog, queries: QueryColumns, all_signals: NDArray[np.uint64], chunk: NDArray[np.int64], n: int
) -> NDArray[np.int64]:
    """Answers of the queries in ``chunk``, all of the job type of ``log``, as rows of the original columns."""
    at_ms = queries.at_ms[chunk]
    tags, signals = _Sets(queries.tags[chunk]), _Sets(all_signals[chunk])
    # Position of each query's newest eligible run: behind all those that start at the query's time or later.
    first = len(log) - np.searchsorted(log.start_ms[::-1], at_ms, side="left")
    best_score = np.full((len(chunk), n), -1.0)
    best = np.full((len(chunk), n), -1, np.int64)
    best_set_score = TAG_WEIGHT * (tags.sizes > 0) + SIGNAL_WEIGHT * (signals.sizes > 0)

    active = np.arange(len(chunk))
    low, width = int(first.min()), _FIRST_BLOCK
    while active.size and low < len(log):
        block = slice(low, min(low + width, len(log)))
        score = TAG_WEIGHT * _similarity(tags[active], log.tags[block])
        with_signals = np.flatnonzero(signals.sizes[active])
        if with_signals.size:
            score[with_signals] += SIGNAL_WEIGHT * _similarity(signals[active[with_signals]], log.signals[block])
        score += _recency_scores(at_ms[active], log.start_ms[block])
        if low < first.max():
            score[np.arange(block.start, block.stop) < first[active, None]] = -1.0
        if log.has_worlds:
            for wanted, given in ((queries.world, log.world), (queries.objective, log.objective)):
                query, run = wanted[chunk[active], None], given[None, block]
                score[(query >= 0) & (run >= 0) & (query != run)] = -1.0
        _keep_best(best_score, best, active, score, low)
        low, width = block.stop, _BLOCK
        if low < len(log):
            limit = best_set_score[active] + _RECENCY_SCORES[_levels(at_ms[active] - log.start_ms[low])]
            active = active[limit > best_score[active, -1]]

    # Positions count from the newest run, so ascending means most recent first; the missing ones go last.
    best[best < 0] = len(log)
    best.sort(axis=1)
    return np.append(log.rows, -1)[best]


def _levels(age_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.searchsorted(RECENCY_EDGES_MS, age_ms, side="right")


def _recency_scores(at_ms: NDArray[np.int64], start_ms: NDArray[np.int64]) -> NDArray[np.float64] | np.float64:
    """Recency term of every (query, run); one number where all pairs fall into one level, as in most old blocks."""
    extremes = _levels(np.array([at_ms.min() - start_ms[0], at_ms.max() - start_ms[-1]]))
    if extremes[0] == extremes[1]:
        return np.float64(_RECENCY_SCORES[extremes[0]])
    age = at_ms[:, None] - start_ms
    level = np.zeros(age.shape, np.int8)
    for edge in RECENCY_EDGES_MS:
        level += age >= edge
    return _RECENCY_SCORES[level]


def _keep_best(
    best_score: NDArray[np.float64],
    best: NDArray[np.int64],
    active: NDArray[np.int64],
    score: NDArray[np.float64],
    low: int,
) -> None:
    """Merge a block of scores (columns newest first, from position ``low``) into the best of the active queries."""
    rows, columns = np.nonzero(score > best_score[active, -1][:, None])
    if not rows.size:
        return
    counts = np.bincount(rows, minlength=len(active))
    changed = np.flatnonzero(counts)
    slot = np.arange(rows.size) - (np.cumsum(counts) - counts)[rows]
    compact = np.cumsum(counts > 0)[rows] - 1
    kept = best.shape[1]
    targets = active[changed]
    # What is kept already is newer than the block: standing first, it wins ties under the stable sort.
    scores = np.full((changed.size, kept + int(counts.max())), -1.0)
    positions = np.full(scores.shape, -1, np.int64)
    scores[:, :kept], positions[:, :kept] = best_score[targets], best[targets]
    scores[compact, kept + slot] = score[rows, columns]
    positions[compact, kept + slot] = low + columns
    order = np.argsort(-scores, axis=1, kind="stable")[:, :kept]
    best_score[targets] = np.take_along_axis(scores, order, axis=1)
    best[targets] = np.take_along_axis(positions, order, axis=1)
