"""Latency of one decision by stage: bare session, features to action, JSON bytes to action; and the Python policy.

One row, one thread, inputs with eight history runs, the contestants in turns.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from planner_bench.timing import interleave, summary
from planner_core import Batch, Planner, PlannerInput, PlannerInputEncoder, convert
from planner_core.data.samples import sample_inputs
from planner_core.policy import BasePolicy
from planner_core.runtime.bundle import Bundle, read_bundle
from planner_core.runtime.session import open_session

PROMISE_MS = 10.0
N_INPUTS = 64
HISTORY_RUNS = 8

SESSION, FEATURES, JSON = "bare session", "features to action", "JSON to action"
TORCH, PYTHON = "torch module", "python policy"


def bench_bundle(path: Path, *, repeats: int = 2000, seed: int = 0, policy: BasePolicy | None = None) -> dict[str, Any]:
    """Measure one bundle; returns ``{bundle, policy, stages: {stage: {p50, p90, p99, mean}}, ...}`` in milliseconds.

    ``policy`` adds the Python policy the bundle was exported from, scoring the same rows.
    """
    bundle = read_bundle(path)
    documents = sample_inputs(N_INPUTS, seed, history_runs=HISTORY_RUNS)
    raw = [msgspec.json.encode(x) for x in documents]
    inputs = [convert(x, PlannerInput, "sample") for x in documents]
    planner = Planner.load(path, strict=True, threads=1)
    contestants = _contestants(bundle, planner, raw, inputs)
    if policy is not None:
        encoder = PlannerInputEncoder(bundle.encoder)
        batches = [Batch.from_inputs([x], encoder) for x in inputs]
        contestants |= _in_python(policy, batches)
    stages = {name: summary(times) for name, times in interleave(contestants, repeats).items()}
    p99 = stages[JSON]["p99"]
    return {
        "bundle": str(path),
        "policy": bundle.metadata.get("policy"),
        "repeats": repeats,
        "input_bytes": float(np.mean([len(item) for item in raw])),
        "model_bytes": len(bundle.model),
        "stages": stages,
        "overhead_ratio_p50": stages[JSON]["p50"] / stages[SESSION]["p50"],
        "promise_ms": PROMISE_MS,
        "kept": p99 <= PROMISE_MS,
        "environment": environment(),
    }


def _contestants(
    bundle: Bundle, planner: Planner, raw: list[bytes], inputs: list[PlannerInput]
) -> dict[str, Callable[[int], object]]:
    session = open_session(bundle.model, threads=1)
    encoder = PlannerInputEncoder(bundle.encoder)
    batches = [Batch.from_inputs([x], encoder) for x in inputs]
    feeds = [{"input": b.features.dense(), "job_type": b.job_type} for b in batches]
    names = ["action_probs"]

    def decide_features(turn: int) -> object:
        chosen = session.run(["action"], feeds[turn % N_INPUTS])[0]
        return bundle.action_space.actions[int(chosen[0])]

    return {
        SESSION: lambda turn: session.run(names, feeds[turn % N_INPUTS]),
        FEATURES: decide_features,
        JSON: lambda turn: planner.decide(raw[turn % N_INPUTS]),
    }


def _in_python(policy: BasePolicy, batches: list[Batch]) -> dict[str, Callable[[int], object]]:
    """The torch module on dense rows where the policy has one, else the policy itself."""
    module = getattr(policy, "module", None)
    if module is None:
        return {PYTHON: lambda turn: policy.predict(batches[turn % N_INPUTS])}
    import torch

    torch.set_num_threads(1)
    rows = [torch.from_numpy(batch.features.dense()) for batch in batches]

    def call(turn: int) -> object:
        with torch.inference_mode():
            return module(rows[turn % N_INPUTS])

    return {TORCH: call}


def environment() -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cpus": cpus,
        "load_1min": load,
        "intra_op_threads": 1,
        "spinning": False,
    }
