"""How alike a run is to what is to be planned: the score, and the readable form of retrieval by it.

A run is eligible when it has the query's job type and started strictly earlier; for ``fab-world`` it must also share
the world and the objective, where both name one. Eligible runs are ranked by

    score = 0.6 x Jaccard(tags) + 0.3 x Jaccard(failure signals) + 0.1 x recency

then by later start, then by run id; the best N are listed most recent first. Failure signals of a run are its fail
codes and gate names, those of a query are the ones of its issue's own latest earlier run (none at a first attempt).
Two empty sets have a Jaccard similarity of 0.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner_core.contracts import RunSummary
from planner_core.encoder import RECENCY_EDGES_MS

TAG_WEIGHT, SIGNAL_WEIGHT, RECENCY_WEIGHT = 0.6, 0.3, 0.1
RECENCY = (1.0, 1 / 2, 1 / 3, 1 / 4)  # an age of < 1 day, < 7, < 30, older
WORLD_JOB_TYPE = "fab-world"  # the job type whose runs are compared within one world and objective only


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
