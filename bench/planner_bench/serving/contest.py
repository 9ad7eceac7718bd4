"""A server that decides and the same server answering a constant, in turns; and the planner without a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_bench.environment import environment
from planner_bench.report import micro
from planner_bench.serving.launch import started
from planner_bench.serving.load import Loaded, load, post
from planner_bench.stages import make_inputs
from planner_bench.tables import Grid
from planner_core import Planner

CONNECTIONS = (1, 8)
ROUNDS, REQUESTS = 10, 500
WARM_UP = 200
BATCH = 64

SERVED, ANSWERED, ALONE = "decide", "constant", "no server"


def contest(
    bundle: Path,
    *,
    connections: Sequence[int] = CONNECTIONS,
    rounds: int = ROUNDS,
    requests: int = REQUESTS,
    seed: int = 0,
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """``requests`` requests of each contestant in each round; the ratios are taken round by round.

    BundleError for a bundle that cannot be used; PlannerError for a server that does not answer.
    """
    planner = Planner.load(bundle, strict=True)
    inputs = make_inputs(seed).raw
    singles = [post("/v1/decide", body) for body in inputs]
    parts = [b",".join(inputs[i : i + BATCH]) for i in range(0, len(inputs), BATCH)]
    batches = [post("/v1/decide_batch", b'{"inputs":[%b]}' % part) for part in parts]
    found: dict[str, Any] = {"policy": planner.policy, "bundle": str(bundle), "seed": seed}
    found["environment"] = environment()
    with started(bundle) as deciding, started(None) as constant:
        tell("warming up")
        for port in (deciding, constant):
            load(port, singles, max(connections), WARM_UP)
        found["load"] = []
        for c in connections:
            tell(f"{c} connection{'s' if c > 1 else ''}")
            turns = [
                {
                    SERVED: load(deciding, singles, c, requests),
                    ANSWERED: load(constant, singles, c, requests),
                    ALONE: _alone(planner, inputs, requests),
                }
                for _ in range(rounds)
            ]
            found["load"].append({"connections": c, **_figures(turns)})
        tell(f"batches of {BATCH}")
        rates = [load(deciding, batches, 1, max(4, requests // BATCH)).rate * BATCH for _ in range(rounds)]
    found["batch"] = {"size": BATCH, "decisions_per_second": float(np.median(rates))}
    return found


def _alone(planner: Planner, inputs: Sequence[bytes], count: int) -> Loaded:
    """The same work in this process: JSON to JSON."""
    encode, clock = msgspec.json.Encoder().encode, time.perf_counter_ns
    times = np.empty(count)
    began = time.perf_counter()
    for i in range(count):
        started_at = clock()
        encode(planner.decide(inputs[i % len(inputs)]))
        times[i] = (clock() - started_at) / 1e6
    return Loaded(times, time.perf_counter() - began)


def _figures(turns: Sequence[dict[str, Loaded]]) -> dict[str, Any]:
    """Of every contestant the rate and percentiles; of the server that decides the ratios to the others."""
    out: dict[str, Any] = {}
    for name in (SERVED, ANSWERED, ALONE):
        times = np.concatenate([turn[name].times for turn in turns])
        p50, p99 = np.percentile(times, [50, 99])
        rate = float(np.median([turn[name].rate for turn in turns]))
        out[name] = {"per_second": rate, "p50_ms": float(p50), "p99_ms": float(p99), "requests": len(times)}
    for other in (ANSWERED, ALONE):
        ratios = np.array([_p50(turn[SERVED].times) / _p50(turn[other].times) for turn in turns])
        rates = np.array([turn[SERVED].rate / turn[other].rate for turn in turns])
        out[SERVED][f"to {other}"] = {"p50": _spread(ratios), "per_second": _spread(rates)}
    return out


def _p50(times: NDArray[np.float64]) -> float:
    return float(np.median(times))


def _spread(ratios: NDArray[np.float64]) -> dict[str, float]:
    return {"median": float(np.median(ratios)), "low": float(ratios.min()), "high": float(ratios.max())}


def grid(result: dict[str, Any]) -> Grid:
    """The table for the terminal."""
    rows = []
    for cell in result["load"]:
        for name in (SERVED, ANSWERED, ALONE):
            if name == ALONE and cell is not result["load"][0]:
                continue  # it knows no connections
            figures = cell[name]
            ratio = "" if name == SERVED else f"{cell[SERVED][f'to {name}']['p50']['median']:.2f}"
            where = "" if name == ALONE else str(cell["connections"])
            measured = [micro(figures["p50_ms"]), micro(figures["p99_ms"])]
            rows.append([name, where, f"{figures['per_second']:,.0f}", *measured, ratio])
    batch, n = result["batch"], result["load"][0][SERVED]["requests"]
    return Grid(
        f"{result['policy']}: one decision over HTTP, 8 history runs; microseconds",
        ("answers", "connections", "a second", "p50", "p99", "decide / it"),
        rows,
        [
            f"{n} requests each, in turns, in a closed loop from one thread; ratios of the p50, median of the rounds",
            f"in batches of {batch['size']} by one connection: {batch['decisions_per_second']:,.0f} decisions a second",
        ],
    )
