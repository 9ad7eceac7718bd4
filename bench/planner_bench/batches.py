"""Many inputs at once: what a batch costs by the bare session, from features, and from JSON."""

from __future__ import annotations

from collections.abc import Callable

from planner_bench.inputs import Inputs
from planner_bench.reference import REFERENCE, reference_call
from planner_bench.results import Place, Table, make_table
from planner_bench.stages import BARE_DENSE, Subject, batch_of, dense_feed
from planner_bench.timing import WARM_UP, Call, interleave
from planner_core import bundle_decider
from planner_core.runtime.session import open_session

BATCHES = (1, 8, 64, 1024)
FEATURES, JSON_BATCH = "features to decisions", "JSON to actions"
MOST_CALLS, FEWEST_CALLS = 500, 10


def calls_of(batch: int, repeats: int) -> int:
    """How often a batch is timed: as often as a single row, but for less where a call takes long."""
    return min(MOST_CALLS, repeats, max(FEWEST_CALLS, 2 * repeats // batch))


def batch_table(
    subject: Subject,
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
