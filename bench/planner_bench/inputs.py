"""The inputs that are measured: random but valid, the same for every policy, by seed."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from planner_core import PlannerInput, Request, read_request, sample_inputs

N_INPUTS = 256
HISTORY_RUNS = 8


@dataclass(frozen=True)
class Inputs:
    """The same inputs as JSON and as validated requests."""

    raw: list[bytes]
    requests: list[Request]

    @property
    def structs(self) -> list[PlannerInput]:
        """The validated inputs."""
        return [request.x for request in self.requests]


def make_inputs(seed: int, history_runs: int = HISTORY_RUNS, count: int = N_INPUTS) -> Inputs:
    """``count`` inputs with ``history_runs`` similar runs each."""
    raw = [msgspec.json.encode(x) for x in sample_inputs(count, seed, history_runs=history_runs)]
    return Inputs(raw, [read_request(document) for document in raw])
