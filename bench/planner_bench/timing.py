"""Timing calls beside a reference, and what is said of the times: all of the bench's statistics.

The reference is a session whose graph does nothing but hand its input on: it costs what any call of onnxruntime from
Python costs on this machine at this moment, and nothing of ours. It does the same little work every time, and a thread
that only computes has the processor all the time: by these two a machine is quiet enough, or not, to judge a tail.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.runtime.session import open_session

Key = TypeVar("Key", bound=Hashable)
Scalar = TypeVar("Scalar", bound=np.generic)
Call = Callable[[int], object]
"""What is timed; it gets the number of the turn."""
Times = NDArray[np.float64]
"""Milliseconds of calls in the order they were made, [repeats]."""

WARM_UP = 50
ROUNDS, ROUND_CALLS = 20, 5
PERCENTILES = (50, 90, 99, 99.9)
CURVE = (0, 1, 5, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99)
"""Percentiles that the picture draws; those that too few calls could tell from the largest are left out."""

REFERENCE = "reference"

EMPTY_GRAPH = (
    b'\x08\x08\x12\rswarm-planner:;\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x05emptyZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12'
    b"\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
"""``y = Identity(x)``, float32 [1], opset 17, as bytes: measuring needs no onnx. A test builds the same with onnx."""


@dataclass(frozen=True)
class Timed(Generic[Key]):
    """What :func:`interleave` measured.

    ``times`` milliseconds of each contestant, float64 [repeats] in the order of the turns; ``waiting`` the share of the
    wall time that this thread did not run, because others had the processor or because it waited for its own helpers.
    """

    times: dict[Key, Times]
    waiting: float

    def __getitem__(self, name: Key) -> Times:
        return self.times[name]


def interleave(
    contestants: Mapping[Key, Call],
    repeats: int,
    *,
    seed: int = 0,
    warm_up: int = WARM_UP,
    primed: Collection[Key] = (),
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Timed[Key]:
    """Time ``repeats`` calls of each contestant.

    In every turn each is called once, so that whatever the machine does meets all of them alike; the order within a
    turn is drawn anew from ``seed``, so that none always finds the caches as the same neighbour left them. A contestant
    in ``primed`` is called once more, untimed, right before: its caches are always warm, whoever the others are. The
    garbage collector is off while the clock runs. ``tell`` gets (calls done, calls in all) between rounds.
    """
    times = {name: np.empty(repeats) for name in contestants}
    field = [(call, times[name], name in primed) for name, call in contestants.items()]
    clock = time.perf_counter_ns
    for turn in range(warm_up):
        for call, _, _ in field:
            call(turn)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(len(field)), (repeats, 1)), axis=1)
    wall, ran = 0.0, 0.0
    enabled = gc.isenabled()
    gc.collect()
    try:
        for turns in rounds(np.arange(repeats)):
            tell(int(turns[0]) * len(field), repeats * len(field))
            gc.disable()
            began, had = time.perf_counter(), time.thread_time()
            for turn in turns.tolist():
                for place in order[turn].tolist():
                    call, kept, prime = field[place]
                    if prime:
                        call(turn)
                    started = clock()
                    call(turn)
                    kept[turn] = (clock() - started) / 1e6
            wall, ran = wall + time.perf_counter() - began, ran + time.thread_time() - had
    finally:
        if enabled:
            gc.enable()
    tell(repeats * len(field), repeats * len(field))
    return Timed(times, max(0.0, 1.0 - ran / wall))


def rounds(values: NDArray[Scalar]) -> list[NDArray[Scalar]]:
    """``values`` [n] in order as :data:`ROUNDS` parts; fewer where a part would not have :data:`ROUND_CALLS`."""
    return np.array_split(values, max(1, min(ROUNDS, len(values) // ROUND_CALLS)))


def percentiles(times: Times) -> dict[str, float]:
    """``p50``, ``p90``, ``p99``, ``p99.9`` and ``mean`` of milliseconds."""
    return {**{f"p{q}": float(np.percentile(times, q)) for q in PERCENTILES}, "mean": float(times.mean())}


def curve(times: Times) -> list[tuple[float, float]]:
    """(percentile, milliseconds) for the picture, as far into the tail as five calls lie beyond it."""
    kept = [q for q in CURVE if q <= 90 or round(len(times) * (100 - q) / 100, 6) >= 5]
    return [(float(q), float(np.percentile(times, q))) for q in kept]


def ratio(times: Times, reference: Times) -> float:
    """How many times as long as ``reference``: the median over the rounds of the medians' ratio.

    Within a round both met the same machine, so a processor that changes its speed between rounds does not show.
    """
    pairs = zip(rounds(times), rounds(reference), strict=True)
    return float(np.median([np.median(ours) / np.median(theirs) for ours, theirs in pairs]))


def reference_call() -> Call:
    """The call to be timed beside the others."""
    session = open_session(EMPTY_GRAPH, threads=1)
    names, feed = ["y"], {"x": np.zeros(1, np.float32)}
    return lambda turn: session.run(names, feed)


MAX_TAIL = 3.0
"""p99 over p50 of the reference; beyond it calls were interrupted."""
MAX_DRIFT = 1.25
"""Slowest over fastest round of the reference, by medians; beyond it the processor changed its speed or was shared."""
MAX_WAITING = 0.02
"""Share of the time without the processor; beyond it one in a hundred calls of a millisecond may have been cut."""


class Noise(msgspec.Struct, frozen=True):
    """``tail``: p99 / p50 of the reference; ``drift``: its slowest / fastest round; ``quiet``: all within their limits.

    ``waiting``: share of the time that the measuring thread had no processor; None where it has helpers to wait for.
    """

    tail: float
    drift: float
    waiting: float | None
    quiet: bool

    @property
    def sentence(self) -> str:
        """The verdict in words, with its figures and limits."""
        found = [
            f"the reference's p99 is {self.tail:.2f} x its p50 (limit {MAX_TAIL:g})",
            f"its slowest round {self.drift:.2f} x its fastest (limit {MAX_DRIFT:g})",
        ]
        if self.waiting is not None:
            found.append(f"{self.waiting:.1%} of the time others had the processor (limit {MAX_WAITING:.0%})")
        return f"the machine was {'quiet' if self.quiet else 'noisy'}: {', '.join(found)}"


def judge_noise(reference: Times, waiting: float | None) -> Noise:
    """The verdict on one table, from the reference's own times in it and the time its thread did not run."""
    tail = float(np.percentile(reference, 99) / np.percentile(reference, 50))
    medians = [float(np.median(part)) for part in rounds(reference)]
    drift = max(medians) / min(medians)
    quiet = tail <= MAX_TAIL and drift <= MAX_DRIFT and (waiting or 0.0) <= MAX_WAITING
    return Noise(tail, drift, waiting, quiet)
