"""Timing calls: warm-up, many repetitions, percentiles; several contestants measured in turns."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

import numpy as np

WARM_UP = 50
PERCENTILES = (50, 90, 99)


def interleave(contestants: Mapping[str, Callable[[int], object]], repeats: int) -> dict[str, np.ndarray]:
    """Milliseconds of ``repeats`` calls of each contestant, float64 [repeats] each.

    They take turns call by call, so that whatever the machine does meets all of them alike. Each is called with the
    number of the turn. The garbage collector is off while the clock runs.
    """
    times = {name: np.empty(repeats) for name in contestants}
    clock = time.perf_counter_ns
    for turn in range(WARM_UP):
        for call in contestants.values():
            call(turn)
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(repeats):
            for name, call in contestants.items():
                started = clock()
                call(turn)
                times[name][turn] = (clock() - started) / 1e6
    finally:
        if enabled:
            gc.enable()
    return times


def summary(times: np.ndarray) -> dict[str, float]:
    """``p50``, ``p90``, ``p99`` and ``mean`` of milliseconds."""
    return {**{f"p{q}": float(np.percentile(times, q)) for q in PERCENTILES}, "mean": float(times.mean())}
