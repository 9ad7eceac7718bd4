"""Similar earlier runs for a whole log at once: which parts of it each planner input shows as its history.

:mod:`planner_core.data.similarity` says what similar means and has the readable form, one pass over the log a query.
Here the log is integer columns, and a query looks at a few hundred runs however long the log is: by
:mod:`planner_core.data.retrieval_index` where tags are few, by the newest-first scan of
:mod:`planner_core.data.retrieval_scan` elsewhere. Every form computes a score in float64 from the same integers, in
the same order of operations, so that all agree on ties too.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_core.contracts import RunSummary
from planner_core.data.retrieval_index import SubsetIndex
from planner_core.data.retrieval_log import Best, EligibleRuns, Questions, pack_bits
from planner_core.data.retrieval_scan import scan
from planner_core.data.similarity import (
    WORLD_JOB_TYPE,
    Query,
    failure_signals,
    jaccard,
    recency_level,
    similar_runs,
)

__all__ = [
    "WORLD_JOB_TYPE",
    "Columns",
    "Query",
    "QueryColumns",
    "RunColumns",
    "failure_signals",
    "jaccard",
    "pack_bits",
    "recency_level",
    "retrieve_all",
    "similar_runs",
    "to_columns",
]


_QUESTIONS_AT_ONCE = 1 << 18  # the best of so many are kept beside the log; fewer would make more visits of the index


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


def to_columns(queries: Iterable[Query], runs: Iterable[RunSummary]) -> tuple[QueryColumns, RunColumns]:
    """Queries and runs as columns under one numbering of their strings."""
    columns = Columns()
    for run in runs:
        columns.add_run(run)
    for query in queries:
        columns.add_query(query)
    return columns.packed()


class Columns:
    """Queries and runs on their way into columns, one at a time, so that nobody need hold all of them."""

    def __init__(self) -> None:
        self._jobs, self._issues, self._worlds, self._objectives = (_Numbering() for _ in range(4))
        self._tags, self._signals = _Numbering(), _Numbering()
        # (time, job type, issue, world, objective) of each
        self._runs, self._queries = array("q"), array("q")
        self._run_tags, self._query_tags, self._run_signals = _Members(), _Members(), _Members()
        self._ids: list[str] = []

    def add_run(self, run: RunSummary) -> None:
        """One more run."""
        named = self._named(run.job_type, run.issue_id, run.universe_id, run.objective_id)
        self._runs.extend((run.started_ms, *named))
        self._run_tags.add(map(self._tags, run.tags or ()))
        self._run_signals.add(map(self._signals, sorted(failure_signals(run))))
        self._ids.append(run.run_id)

    def add_query(self, query: Query) -> None:
        """One more query."""
        named = self._named(query.job_type, query.issue_id, query.universe_id, query.objective_id)
        self._queries.extend((query.at_ms, *named))
        self._query_tags.add(map(self._tags, query.tags))

    def _named(
        self, job_type: str, issue: str | None, world: str | None, objective: str | None
    ) -> tuple[int, int, int, int]:
        within = job_type == WORLD_JOB_TYPE
        return (
            self._jobs(job_type),
            self._issues(issue),
            self._worlds(world) if within else -1,
            self._objectives(objective) if within else -1,
        )

    def packed(self) -> tuple[QueryColumns, RunColumns]:
        """The columns of what was added."""
        rank = np.empty(len(self._ids), np.int64)
        rank[sorted(range(len(self._ids)), key=self._ids.__getitem__)] = np.arange(len(self._ids))
        start_ms, job_type, issue, world, objective = _columns(self._runs)
        tags, signals = self._run_tags.packed(len(self._tags)), self._run_signals.packed(len(self._signals))
        runs = RunColumns(start_ms, job_type, tags, signals, issue, world, objective, rank)
        at_ms, job_type, issue, world, objective = _columns(self._queries)
        tags = self._query_tags.packed(len(self._tags))
        return QueryColumns(at_ms, job_type, tags, issue, world, objective), runs


def _columns(rows: array[int]) -> NDArray[np.int64]:
    """int64 [5, rows], each row of it on its own in memory."""
    return np.ascontiguousarray(np.array(rows, np.int64).reshape(-1, 5).T)


class _Members:
    """Sets of numbers, one after another."""

    def __init__(self) -> None:
        self._members, self._sizes = array("q"), array("q")

    def add(self, members: Iterable[int]) -> None:
        before = len(self._members)
        self._members.extend(members)
        self._sizes.append(len(self._members) - before)

    def packed(self, size: int) -> NDArray[np.uint64]:
        """As of :func:`pack_bits`."""
        sizes, members = np.array(self._sizes, np.int64), np.array(self._members, np.int64)
        masks = np.zeros((len(sizes), max(1, -(-size // 64))), np.uint64)
        rows = np.repeat(np.arange(len(sizes)), sizes)
        np.bitwise_or.at(masks, (rows, members >> 6), np.uint64(1) << (members & 63).astype(np.uint64))
        return masks


class _Numbering(dict[str, int]):
    """Numbers strings in the order they come; None is -1."""

    def __call__(self, name: str | None) -> int:
        return -1 if name is None else self.setdefault(name, len(self))


def retrieve_all(
    queries: QueryColumns,
    runs: RunColumns,
    n: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:
    """Rows of the ``n`` runs most similar to each query, int64 [queries, n], most recent first, padded with -1.

    Exact, ties included. ``progress`` is called with (queries done, all).
    """
    total = len(queries.at_ms)
    found = np.full((total, n), -1, np.int64)
    if not n or not total:
        return found
    signals = _query_signals(queries, runs)
    newest_first = np.lexsort((runs.id_rank, -runs.start_ms))
    asked = np.stack([queries.job_type, queries.world, queries.objective], axis=1)
    kinds, kind_of = np.unique(asked, axis=0, return_inverse=True)
    # Queries in order of time look at neighbouring parts of the log, which then stay in a core's cache.
    in_time = np.argsort(queries.at_ms, kind="stable")
    kind_in_time = kind_of.reshape(-1)[in_time]
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    for kind, (job_type, world, objective) in enumerate(kinds.tolist()):
        rows = in_time[kind_in_time == kind]
        eligible = newest_first[_eligible(runs, job_type, world, objective)[newest_first]]
        if not eligible.size:
            tell(len(rows))
            continue
        log = EligibleRuns(eligible, runs.start_ms[eligible], runs.tags[eligible], runs.signals[eligible])
        index = SubsetIndex(log)
        for begin in range(0, len(rows), _QUESTIONS_AT_ONCE):
            some = rows[begin : begin + _QUESTIONS_AT_ONCE]
            questions = Questions.of(log, queries.at_ms[some], queries.tags[some], signals[some])
            found[some] = _answer(log, index, questions, n, tell)
    return found


def _eligible(runs: RunColumns, job_type: int, world: int, objective: int) -> NDArray[np.bool_]:
    """Runs of a job type that share the world and the objective where both name one."""
    same: NDArray[np.bool_] = runs.job_type == job_type
    for wanted, given in ((world, runs.world), (objective, runs.objective)):
        if wanted >= 0:
            same &= (given == wanted) | (given < 0)
    return same


def _answer(
    log: EligibleRuns, index: SubsetIndex, questions: Questions, n: int, tell: Callable[[int], None]
) -> NDArray[np.int64]:
    """Answers as rows of the original columns; all questions are about runs of this log."""
    best = Best(len(questions), n, len(log))
    answered = index.answer(questions, best, tell)
    everything = np.arange(len(log))
    scan(log, everything, questions, np.flatnonzero(~answered), best)
    tell(int((~answered).sum()))
    scan(log, index.left_out, questions, np.flatnonzero(answered), best, at_least_tags=index.max_tags + 1)
    # Positions count from the newest run, so ascending means most recent first; the missing ones go last.
    return np.append(log.rows, -1)[np.sort(best.position, axis=1)]


def _query_signals(queries: QueryColumns, runs: RunColumns) -> NDArray[np.uint64]:
    """Signals of the latest earlier run of each query's own issue; empty where there is none."""
    signals = np.zeros((len(queries.at_ms), runs.signals.shape[1]), np.uint64)
    named = np.flatnonzero(runs.issue >= 0)
    if not named.size:
        return signals
    # Of equal starts the smaller run id counts as the more recent, so it comes last.
    own = named[np.lexsort((-runs.id_rank[named], runs.start_ms[named], runs.issue[named]))]
    times, time = np.unique(runs.start_ms[own], return_inverse=True)
    issues, issue = np.unique(runs.issue[own], return_inverse=True)
    keys = issue * (len(times) + 1) + time
    wanted = np.minimum(np.searchsorted(issues, queries.issue), len(issues) - 1)
    last = np.searchsorted(keys, wanted * (len(times) + 1) + np.searchsorted(times, queries.at_ms)) - 1
    there = (issues[wanted] == queries.issue) & (last >= 0)
    there &= issue[np.maximum(last, 0)] == wanted
    signals[there] = runs.signals[own[last[there]]]
    return signals
