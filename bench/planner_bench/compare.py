"""Ours and the peers side by side: one dataset, one set of features, one way to decode, latencies in turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_bench.environment import environment
from planner_bench.peers import PEERS, Peer, fit_peer, require_peers
from planner_bench.timing import interleave, percentiles
from planner_core.action_space import ActionSpace
from planner_core.data.dataset import Dataset, Examples
from planner_core.data.utility import weight_table
from planner_core.decision import decide, temperatures_for
from planner_core.errors import PlannerError
from planner_core.harness.evaluate import decide_split, policy_decider
from planner_core.harness.outcome_metrics import evaluate_outcomes, gap_closed, outcome_columns
from planner_core.harness.run_dir import LoadedRun, load_run
from planner_core.harness.settings import make_settings
from planner_core.harness.train import train
from planner_core.policy import Batch
from planner_core.registry import Registry
from planner_core.runtime.bundle import read_bundle
from planner_core.runtime.session import open_session

SPLITS = ("val", "test")
N_ROWS = 64
"""Distinct rows that the latency calls go round."""

Call = Callable[[Batch], object]


@dataclass(frozen=True)
class Contestant:
    """One line of the table. ``choose`` decides many rows; ``calls`` decide one, by the name of the way."""

    name: str
    fit_seconds: float | None
    choose: Callable[[Examples], NDArray[np.int64]]
    calls: dict[str, Call]


def compare(
    dataset: Dataset,
    registry: Registry,
    *,
    runs: Sequence[Path] = (),
    policies: Sequence[str] = (),
    values: dict[str, Any] | None = None,
    peers: Sequence[str] = tuple(PEERS),
    repeats: int = 300,
    seed: int = 0,
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Fit the peers, open or train ours, judge all of them on validation and test, and time one row of each.

    ``runs`` are run directories; ``policies`` are trained here with ``values`` over their defaults. Raises
    :class:`MissingExtra` without the packages of the peers, :class:`PlannerError` for a run with another encoder.
    """
    require_peers()
    if not len(dataset.split("train")):
        raise PlannerError(f"{dataset.directory}: the training split is empty")
    space = dataset.action_space
    contestants = []
    with tempfile.TemporaryDirectory() as scratch:
        for i, path in enumerate(_all_runs(dataset, registry, runs, policies, values or {}, Path(scratch), seed, tell)):
            tell(f"exporting {path.name}")
            contestants.append(_ours(load_run(path, registry), registry, dataset, Path(scratch) / f"bundle-{i}"))
        for name in peers:
            tell(f"fitting {name}")
            started = time.perf_counter()
            peer = fit_peer(name, dataset, space, seed)
            contestants.append(_of_peer(peer, time.perf_counter() - started, space))
        rows = [{"name": c.name, "fit_seconds": c.fit_seconds, **_judge(c, dataset)} for c in contestants]
        tell("timing one row")
        latencies = _latencies(contestants, dataset, repeats)
    return {
        "dataset": str(dataset.directory),
        "dataset_hash": dataset.meta.dataset_hash,
        "n": {split: len(dataset.split(split)) for split in ("train", *SPLITS)},
        "repeats": repeats,
        "contestants": [{**row, "latency_ms": latencies[row["name"]]} for row in rows],
        "environment": environment(),
    }


def _all_runs(
    dataset: Dataset,
    registry: Registry,
    runs: Sequence[Path],
    policies: Sequence[str],
    values: dict[str, Any],
    scratch: Path,
    seed: int,
    tell: Callable[[str], None],
) -> list[Path]:
    """The given run directories, and those of the policies trained now."""
    found = list(runs)
    for name in policies:
        tell(f"training {name}")
        settings = make_settings(name, registry.spec(name).config_type, values)
        if settings.encoder != dataset.encoder:
            raise PlannerError("the peers and ours must read the same features; leave the encoder's keys alone")
        train(name, dataset, scratch / name, settings, registry, seed=seed)
        found.append(scratch / name)
    return found


def _ours(run: LoadedRun, registry: Registry, dataset: Dataset, bundle: Path) -> Contestant:
    """A trained policy, and the graph exported from it."""
    from planner_export.bundle import export_bundle

    if run.settings.encoder != dataset.encoder:
        raise PlannerError(f"{run.path}: trained on another encoding of the inputs than the dataset is loaded with")
    export_bundle(run.policy_name, registry, bundle, run=run.path)
    session = open_session(read_bundle(bundle).model, threads=1)
    decider = policy_decider(run.policy, run.context, run.temperatures)

    def by_graph(batch: Batch) -> object:
        return session.run(["action"], {"input": batch.features.dense(), "job_type": batch.job_type})[0]

    return Contestant(
        f"{run.policy_name} ({run.path.name})" if run.path.name != run.policy_name else run.policy_name,
        run.results.get("training", {}).get("fit_seconds"),
        lambda examples: decide_split(decider, examples)[0].action,
        {"python": decider, "onnx": by_graph},
    )


def _of_peer(peer: Peer, seconds: float, space: ActionSpace) -> Contestant:
    plain = temperatures_for("joint" if "joint" in peer.parts else "heads")

    def choose(batch: Batch | Examples) -> NDArray[np.int64]:
        return decide(peer.predict(batch.features), batch.job_type, plain, space).action

    return Contestant(peer.name, seconds, choose, {"python": choose})


def _judge(contestant: Contestant, dataset: Dataset) -> dict[str, Any]:
    """Exact match, and mean utility and gap closed where outcomes are known, of each split that is not empty."""
    weights = weight_table(dataset.meta.utility)
    floor, ceiling = dataset.meta.floor or {}, dataset.meta.ceiling or {}
    out: dict[str, Any] = {}
    for split in SPLITS:
        examples = dataset.split(split)
        if not len(examples):
            continue
        chosen = contestant.choose(examples)
        metrics = evaluate_outcomes(outcome_columns(chosen, examples, dataset.action_space, weights))
        utility = metrics.mean_utility if metrics else None
        bounds = [place[split]["mean_utility"] for place in (floor, ceiling) if split in place]
        out[split] = {
            "exact_match_accuracy": float((chosen == examples.action).mean()),
            "mean_utility": utility,
            "gap_closed": gap_closed(utility, *bounds) if utility is not None and len(bounds) == 2 else None,
        }
    return out


def _latencies(contestants: Sequence[Contestant], dataset: Dataset, repeats: int) -> dict[str, dict[str, Any]]:
    """{contestant: {way: percentiles}} of deciding one encoded row, all in turns on one thread."""
    from threadpoolctl import threadpool_limits

    examples = next(e for e in (dataset.split(name) for name in ("test", "val", "train")) if len(e))
    # Batches without the inputs themselves: the clock is to meet arrays alone.
    one = [examples.take(np.array([i % len(examples)])) for i in range(min(N_ROWS, len(examples)))]
    batches = [Batch(row.features, row.job_type) for row in one]

    def turn(call: Call) -> Callable[[int], object]:
        return lambda number: call(batches[number % len(batches)])

    calls = {(c.name, way): turn(call) for c in contestants for way, call in c.calls.items()}
    with threadpool_limits(1):
        times = interleave({f"{i}": call for i, call in enumerate(calls.values())}, repeats)
    out: dict[str, dict[str, Any]] = {c.name: {} for c in contestants}
    for (name, way), measured in zip(calls, times.times.values(), strict=True):
        out[name][way] = percentiles(measured)
    return out
