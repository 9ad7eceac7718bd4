"""Timing calls and what is said of the times: warm-up, turns, percentiles, ratios. All of the bench's statistics."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

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
