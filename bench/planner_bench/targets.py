"""What is promised and aimed at of decisions and of training, and whether a measurement kept it."""

from __future__ import annotations

from collections.abc import Iterable

from planner_bench.results import Table, Target
from planner_bench.stages import ENCODE, JSON

PROMISE_P99_MS = 10.0
PROMISE_ENCODE_MS = 1.0
AIM_P99_MS = 1.0
AIM_ENCODE_MS = 0.1
AIM_RATIO = 2.0
PROMISE_PER_SECOND = 100.0
PROMISE_MEMORY_MIB = 1024.0
AIM_TRAINING_RATIO = 3.0


def judge_targets(stages: Table) -> list[Target]:
    """Promises and aims for a single decision; a tail that missed on a noisy machine is not judged."""
    whole, encode = stages[JSON], stages[ENCODE]
    to_session = whole.to_session
    if to_session is None:
        raise ValueError("the table has no bare session")
    tail = True if whole.p99 <= AIM_P99_MS else (False if stages.noise.quiet else None)
    return [
        Target("p99 of JSON to action", "promise", whole.p99, PROMISE_P99_MS, "ms", whole.p99 <= PROMISE_P99_MS),
        Target("p50 of encode", "promise", encode.p50, PROMISE_ENCODE_MS, "ms", encode.p50 < PROMISE_ENCODE_MS),
        Target("p99 of JSON to action", "aim", whole.p99, AIM_P99_MS, "ms", tail),
        Target("p50 of encode", "aim", encode.p50, AIM_ENCODE_MS, "ms", encode.p50 < AIM_ENCODE_MS),
        Target("p50 of JSON to action / bare session", "aim", to_session, AIM_RATIO, "x", to_session <= AIM_RATIO),
    ]


def promises_kept(targets: Iterable[Target]) -> bool:
    """Whether all promises are; aims do not count."""
    return all(target.kept is not False for target in targets if target.kind == "promise")


def sentence(target: Target) -> str:
    """One line: what was promised or aimed at, what came of it, and the figures."""
    verdicts = {True: "kept", False: "BROKEN" if target.kind == "promise" else "missed", None: "not judged, too noisy"}
    return (
        f"{target.kind} {target.what} <= {target.limit:g} {target.unit}: {verdicts[target.kept]} "
        f"({target.found:.3g} {target.unit})"
    )
