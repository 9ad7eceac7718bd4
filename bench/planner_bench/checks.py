"""The kit's check of the promise: a decision of the exported policy, from JSON bytes to action, within 10 ms."""

from __future__ import annotations

import time
from collections.abc import Callable

from planner_core import CheckFailed, CheckSetup, PolicyCheck, hookimpl

CALLS, WARM_UP, ENOUGH = 300, 5, 40
HISTORY_RUNS = 8


def latency(setup: CheckSetup) -> None:
    """Median and p99 of a decision, JSON bytes to action, on one thread.

    The tail is judged by the processor's time: on a busy machine the clock on the wall measures the neighbours.
    """
    import msgspec
    import numpy as np

    from planner_bench.targets import PROMISE_P99_MS
    from planner_core import Planner, PlannerInputEncoder, sample_inputs
    from planner_core.runtime.session import OnnxPredictor
    from planner_export.checks import exported

    made = exported(setup)
    planner = Planner(OnnxPredictor(made.dense, PlannerInputEncoder(setup.context.encoder), made.by_indices))
    raw = [msgspec.json.encode(x) for x in sample_inputs(16, setup.seed, history_runs=HISTORY_RUNS)]
    wall, processor = np.empty(CALLS), np.empty(CALLS)
    for turn in range(-WARM_UP, CALLS):
        began, began_processor = time.perf_counter_ns(), time.thread_time_ns()
        planner.decide(raw[turn % len(raw)])
        if turn >= 0:
            processor[turn] = time.thread_time_ns() - began_processor
            wall[turn] = time.perf_counter_ns() - began
        if turn == ENOUGH and np.median(wall[:turn]) > PROMISE_P99_MS * 1e6:
            wall, processor = wall[:turn], processor[:turn]  # seconds of more of the same would not save it
            break
    middle, tail = (float(np.percentile(wall, q)) / 1e6 for q in (50, 99))
    own = float(np.percentile(processor, 99)) / 1e6
    found = f"a decision takes p50 {middle:.2f} ms, p99 {tail:.2f} ms ({own:.2f} ms of processor time)"
    if max(middle, own) > PROMISE_P99_MS:
        raise CheckFailed(f"{found}; the promise is {PROMISE_P99_MS:.0f} ms")
    setup.note(f"{found}; the promise is {PROMISE_P99_MS:.0f} ms")


@hookimpl
def planner_policy_checks(register: Callable[[PolicyCheck], None]) -> None:
    """Register the latency check."""
    register(PolicyCheck("latency", "A kernel waits for every decision.", latency))
