"""One bundle measured: its stages, history, batches and threads, its start, memory and files, and the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from planner_bench.coldstart import cold_start, file_sizes, memory
from planner_bench.environment import environment
from planner_bench.results import SCHEMA, BenchResult, Place, PolicyResult, Table, make_table
from planner_bench.stages import (
    BARE_DENSE,
    HISTORY_RUNS,
    JSON,
    SESSION,
    STAGES,
    Inputs,
    MeasuredBundle,
    bare_sessions,
    batch_of,
    check_decisions,
    decision_stages,
    dense_feed,
    make_inputs,
    new_runs_stage,
    open_subject,
    plugin_stages,
    python_stage,
)
from planner_bench.subjects import Measured
from planner_bench.targets import judge_targets, promises_kept
from planner_bench.timing import REFERENCE, WARM_UP, Call, Timed, interleave, reference_call
from planner_core import BasePolicy, bundle_decider, now
from planner_core.runtime.session import Feed, open_session

REPEATS, QUICK_REPEATS = 5000, 500
HISTORIES = (0, 1, HISTORY_RUNS)
THREADS = (1, 2)
THREADS_BATCH = 64
MOST_TRIES = 3
"""Of the main table, where a promise is broken on a noisy machine: other work only adds to a latency."""
MOST_CALLS, MOST_CALLS_THREADS = 1000, 500
"""In the tables beside the main one, which are about medians."""

BATCHES = (1, 8, 64, 1024)
FEATURES, JSON_BATCH = "features to decisions", "JSON to actions"
MOST_CALLS, FEWEST_CALLS = 500, 10

Counted = Callable[[int, int], None]
Tell = Callable[[str, int, int], None]
"""Gets what is being done, how much of it is done, and of how much; not called while the clock runs."""


def bench(measured: Iterable[Measured], *, repeats: int, seed: int, tell: Tell) -> BenchResult:
    """Measure bundles one after the other."""
    at = now()
    found = environment()
    policies = [bench_bundle(path, repeats=repeats, seed=seed, policy=policy, tell=tell) for path, policy in measured]
    return BenchResult(SCHEMA, at, repeats, seed, found, policies)


def bench_bundle(
    path: Path,
    *,
    repeats: int = REPEATS,
    seed: int = 0,
    policy: BasePolicy | None = None,
    tell: Tell = lambda what, done, total: None,
) -> PolicyResult:
    """Measure one bundle; ``policy`` adds the Python policy it was exported from, scoring the same rows.

    Raises :class:`BundleError` for a bundle that cannot be used, :class:`PlannerError` for one that does not decide.
    """
    subject = open_subject(path, policy)
    name = str(subject.bundle.metadata["policy"])
    inputs = make_inputs(seed)
    fallbacks = check_decisions(subject, inputs)

    def step(what: str) -> Counted:
        return lambda done, total: tell(f"{name}: {what}", done, total)

    tries = [_stages(subject, inputs, repeats, seed, step("stages"))]
    while len(tries) < MOST_TRIES and not tries[-1].noise.quiet and not promises_kept(judge_targets(tries[-1])):
        tries.append(_stages(subject, inputs, repeats, seed, step(f"stages, try {len(tries) + 1}")))
    stages = min(tries, key=lambda table: table[JSON].p99)
    others, notes = _others(subject, inputs, repeats, seed, step("other stages"))
    if len(tries) > 1:
        notes.append(f"the stages are the best of {len(tries)} tries: a promise was broken, but the machine was noisy")
    tables = [
        stages,
        others,
        _history(subject, inputs, min(repeats, MOST_CALLS), seed, step("history")),
        *(batch_table(subject, inputs, size, repeats, seed, step(f"batch {size}")) for size in BATCHES),
        _threads(subject, inputs, min(repeats, MOST_CALLS_THREADS), seed, step("threads")),
    ]
    start = cold_start(path, inputs.raw[0], 3 if repeats < REPEATS else 7, step("cold start"))
    return PolicyResult(
        policy=name,
        version=str(subject.bundle.metadata["version"]),
        bundle=str(path) if policy is None else None,
        input_bytes=float(np.mean([len(document) for document in inputs.raw])),
        fallbacks=fallbacks,
        tables=tables,
        cold_start=start,
        memory=memory(path, inputs.raw),
        files=file_sizes(path),
        targets=judge_targets(stages),
        notes=notes,
    )


def _stages(subject: MeasuredBundle, inputs: Inputs, repeats: int, seed: int, tell: Counted) -> Table:
    """What a decision is made of, and the bare session of the graph that serves it."""
    calls = {**decision_stages(subject, inputs), subject.bare: bare_sessions(subject, inputs)[subject.bare]}
    contestants = {Place(name): call for name, call in calls.items()}
    timed = _in_turns(contestants, repeats, seed, tell)
    return make_table("stages", timed, bare=subject.bare, curves=True)


def _others(subject: MeasuredBundle, inputs: Inputs, repeats: int, seed: int, tell: Counted) -> tuple[Table, list[str]]:
    """Other forms of the model, and the stages of plugins; and remarks.

    In turns of their own, since weights that a decision does not read would push out of the caches those that it does.
    """
    calls = {
        **bare_sessions(subject, inputs),
        **python_stage(subject, inputs),
        **new_runs_stage(subject, inputs),
    }
    extra, notes = plugin_stages(subject, inputs, {REFERENCE, *STAGES, *calls})
    contestants = {Place(name): call for name, call in {**calls, **extra}.items()}
    return make_table("others", _in_turns(contestants, repeats, seed, tell), bare=subject.bare, curves=True), notes


def _history(subject: MeasuredBundle, inputs: Inputs, repeats: int, seed: int, tell: Counted) -> Table:
    contestants = {}
    for runs in HISTORIES:
        those = inputs if runs == HISTORY_RUNS else make_inputs(seed, runs)
        for name, call in decision_stages(subject, those).items():
            contestants[Place(name, history_runs=runs)] = call
    return make_table("history", _in_turns(contestants, repeats, seed, tell))


def calls_of(batch: int, repeats: int) -> int:
    """How often a batch is timed: as often as a single row, but for less where a call takes long."""
    return min(MOST_CALLS, repeats, max(FEWEST_CALLS, 2 * repeats // batch))


def batch_table(
    subject: MeasuredBundle,
    inputs: Inputs,
    batch: int,
    repeats: int,
    seed: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Table:
    """One size of batch: the bare session of the dense graph, evaluation's way, and ``decide_batch``."""
    n = len(inputs.raw)
    picks = [[(begin + i) % n for i in range(batch)] for begin in range(0, n, batch)]
    feeds = [dense_feed(subject, inputs, rows) for rows in picks]
    batches = [batch_of(subject, inputs, rows) for rows in picks]
    documents = [[inputs.raw[row] for row in rows] for rows in picks]
    session = open_session(subject.bundle.model, threads=1)
    decider = bundle_decider(subject.bundle)
    many: dict[str, Call] = {
        BARE_DENSE: lambda turn: session.run(["action_probs"], feeds[turn % len(feeds)]),
        FEATURES: lambda turn: decider(batches[turn % len(batches)]),
        JSON_BATCH: lambda turn: subject.planner.decide_batch(documents[turn % len(documents)]),
    }
    reference = Place(REFERENCE)
    contestants = {reference: reference_call(), **{Place(name, batch=batch): call for name, call in many.items()}}
    calls = calls_of(batch, repeats)
    warm_up = max(2, min(WARM_UP, calls // 10))
    timed = interleave(contestants, calls, seed=seed, warm_up=warm_up, primed={reference}, tell=tell)
    return make_table(f"batch {batch}", timed, bare=BARE_DENSE)


def _threads(subject: MeasuredBundle, inputs: Inputs, repeats: int, seed: int, tell: Counted) -> Table:
    """A single decision, its session, and a batch through the dense graph, by number of intra-op threads."""
    contestants: dict[Place, Call] = {}
    feed = dense_feed(subject, inputs, list(range(THREADS_BATCH)))
    for threads in THREADS:
        parts = decision_stages(open_subject(subject.path, threads=threads), inputs)
        session = open_session(subject.bundle.model, threads=threads)
        contestants |= {Place(name, threads=threads): parts[name] for name in (SESSION, JSON)}
        contestants[Place(BARE_DENSE, batch=THREADS_BATCH, threads=threads)] = _run(session, feed)
    return make_table("threads", _in_turns(contestants, repeats, seed, tell), helpers=True)


def _run(session: Any, feed: Feed) -> Call:
    return lambda turn: session.run(["action_probs"], feed)


def _in_turns(contestants: dict[Place, Call], repeats: int, seed: int, tell: Counted) -> Timed[Place]:
    """The contestants and the reference."""
    reference = Place(REFERENCE)
    return interleave({reference: reference_call(), **contestants}, repeats, seed=seed, primed={reference}, tell=tell)
