"""Whether the machine was quiet enough to judge a tail: the reference does the same little work every time, and a
thread that only computes has the processor all the time.
"""

from __future__ import annotations

import msgspec
import numpy as np

from planner_bench.timing import Times, rounds

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


def judge(reference: Times, waiting: float | None) -> Noise:
    """The verdict on one table, from the reference's own times in it and the time its thread did not run."""
    tail = float(np.percentile(reference, 99) / np.percentile(reference, 50))
    medians = [float(np.median(part)) for part in rounds(reference)]
    drift = max(medians) / min(medians)
    quiet = tail <= MAX_TAIL and drift <= MAX_DRIFT and (waiting or 0.0) <= MAX_WAITING
    return Noise(tail, drift, waiting, quiet)


def sentence(noise: Noise) -> str:
    """The verdict in words, with its figures and limits."""
    found = [
        f"the reference's p99 is {noise.tail:.2f} x its p50 (limit {MAX_TAIL:g})",
        f"its slowest round {noise.drift:.2f} x its fastest (limit {MAX_DRIFT:g})",
    ]
    if noise.waiting is not None:
        found.append(f"{noise.waiting:.1%} of the time others had the processor (limit {MAX_WAITING:.0%})")
    return f"the machine was {'quiet' if noise.quiet else 'noisy'}: {', '.join(found)}"
