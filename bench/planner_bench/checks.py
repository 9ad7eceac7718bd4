"""The kit's check of the promise: a decision of the exported policy, from JSON bytes to action, within 10 ms."""

from __future__ import annotations

from collections.abc import Callable

from planner_core import CheckSetup, PolicyCheck, hookimpl
from planner_core.errors import CheckFailed

PROMISE_MS = 10.0
ROUNDS, CALLS = 5, 200
HISTORY_RUNS = 8


def latency(setup: CheckSetup) -> None:
    """p99 of a decision, JSON bytes to action, one thread: the best of five rounds, since other work only adds."""
    import msgspec
    import numpy as np

    from planner_bench.timing import interleave
    from planner_core import Planner, PlannerInputEncoder
    from planner_core.data.samples import sample_inputs
    from planner_core.runtime.session import OnnxScorer
    from planner_export.checks import exported

    made = exported(setup)
    planner = Planner(OnnxScorer(made.session, PlannerInputEncoder(setup.context.encoder)))
    raw = [msgspec.json.encode(x) for x in sample_inputs(16, setup.seed, history_runs=HISTORY_RUNS)]
    best = {50: float("inf"), 99: float("inf")}
    for _ in range(ROUNDS):
        times = interleave({"decision": lambda turn: planner.decide(raw[turn % len(raw)])}, CALLS)["decision"]
        best = {q: min(before, float(np.percentile(times, q))) for q, before in best.items()}
        if best[99] <= PROMISE_MS / 10:  # so far below that more rounds tell nothing new
            break
    found = f"a decision takes p50 {best[50]:.3f} ms, p99 {best[99]:.3f} ms"
    if best[99] > PROMISE_MS:
        raise CheckFailed(f"{found}; the promise is {PROMISE_MS:.0f} ms")
    setup.note(f"{found} (promise {PROMISE_MS:.0f} ms)")


@hookimpl
def planner_policy_checks(register: Callable[[PolicyCheck], None]) -> None:
    """Register the latency check."""
    register(PolicyCheck("latency", "A kernel waits for every decision.", latency))
