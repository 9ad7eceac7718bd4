"""Ours and the peers side by side: one dataset, one set of features, one way to decide, latencies in turns.

A latency is that of a whole decision, from the same JSON bytes to the same ``planner_action.v1``: everyone sits in a
:class:`planner_core.Planner` that decodes, validates, hashes, restricts to the request and writes the document; only
where the probabilities come from differs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_bench.environment import environment
from planner_bench.peers.learners import PEERS, Peer, fit_peer, require_peers
from planner_bench.timing import REFERENCE, Call, interleave, judge_noise, percentiles, ratio, reference_call
from planner_core import (
    HEADS,
    Batch,
    Dataset,
    Examples,
    LoadedRun,
    Planner,
    PlannerError,
    PlannerInput,
    PlannerInputEncoder,
    PolicyPredictor,
    Registry,
    decide,
    decide_split,
    evaluate_outcomes,
    gap_closed,
    job_type_index,
    load_run,
    make_settings,
    masked_softmax,
    outcome_columns,
    policy_decider,
    temperatures_for,
    train,
    weight_table,
)

SPLITS = ("val", "test")
N_ROWS = 256
"""Distinct inputs that the latency calls go round."""
BUNDLE, PYTHON = "bundle", "python"


@dataclass(frozen=True)
class Contestant:
    """One line of the table. ``choose`` decides many rows; ``planners`` decide one input, by the name of the way."""

    name: str
    ours: bool
    fit_seconds: float | None
    choose: Callable[[Examples], NDArray[np.int64]]
    planners: dict[str, Planner]


class PeerScorer:
    """Action probabilities of a peer for a single input, in one of its ways."""

    def __init__(self, peer: Peer, way: str, dataset: Dataset) -> None:
        self.peer, self.way, self.space = peer, way, dataset.action_space
        self._encoder = PlannerInputEncoder(dataset.encoder)

    def action_probs(self, inputs: Sequence[PlannerInput]) -> NDArray[np.float32]:
        """float32 [n, n_joint]; one input after the other."""
        return np.concatenate([self._one(x) for x in inputs])

    def _one(self, x: PlannerInput) -> NDArray[np.float32]:
        scores = self.peer.predict_row(self.way, self._encoder.positions(x))
        logits = scores.get("joint")
        if logits is None:
            logits = np.concatenate([scores[name] for name in HEADS], axis=1) @ self.space.incidence
        return masked_softmax(logits, self.space.joint_masks[job_type_index(x.job_type)][None])


def compare(
    dataset: Dataset,
    registry: Registry,
    *,
    runs: Sequence[Path] = (),
    policies: Sequence[str] = (),
    values: dict[str, Any] | None = None,
    peers: Sequence[str] = tuple(PEERS),
    repeats: int = 1000,
    seed: int = 0,
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Fit the peers, open or train ours, judge all of them on validation and test, and time single decisions.

    ``runs`` are run directories; ``policies`` are trained here with ``values`` over their defaults. Raises
    :class:`MissingExtra` without the packages of the peers, :class:`PlannerError` for a run with another encoder.
    """
    require_peers(peers)
    if not len(dataset.split("train")):
        raise PlannerError(f"{dataset.directory}: the training split is empty")
    contestants = []
    with tempfile.TemporaryDirectory() as scratch:
        for i, path in enumerate(_all_runs(dataset, registry, runs, policies, values or {}, Path(scratch), seed, tell)):
            tell(f"exporting {path.name}")
            contestants.append(_ours(load_run(path, registry), registry, dataset, Path(scratch) / f"bundle-{i}"))
        for name in peers:
            tell(f"fitting {name}")
            started = time.perf_counter()
            peer = fit_peer(name, dataset, dataset.action_space, seed)
            contestants.append(_of_peer(peer, time.perf_counter() - started, dataset))
        tell("judging")
        rows = [{"name": c.name, "fit_seconds": c.fit_seconds, **_judge(c, dataset)} for c in contestants]
        tell("timing single decisions")
        latencies, noise = _latencies(contestants, dataset, repeats, seed)
    return {
        "dataset": str(dataset.directory),
        "dataset_hash": dataset.meta.dataset_hash,
        "n": {split: len(dataset.split(split)) for split in ("train", *SPLITS)},
        "repeats": repeats,
        "contestants": [{**row, "latency_ms": latencies[row["name"]]} for row in rows],
        "noise": noise,
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
    """A trained policy by the bundle exported from it, and in Python."""
    from planner_export.bundle import export_bundle

    if run.settings.encoder != dataset.encoder:
        raise PlannerError(f"{run.path}: trained on another encoding of the inputs than the dataset is loaded with")
    export_bundle(run.policy_name, registry, bundle, run=run.path)
    decider = policy_decider(run.policy, run.context, run.temperatures)
    in_python = PolicyPredictor(run.policy, run.context, run.temperatures)
    return Contestant(
        f"{run.policy_name} ({run.path.name})" if run.path.name != run.policy_name else run.policy_name,
        True,
        run.results.get("training", {}).get("fit_seconds"),
        lambda examples: decide_split(decider, examples)[0].action,
        {
            BUNDLE: Planner.load(bundle, threshold=0.0, strict=True),
            PYTHON: Planner(in_python, action_space=run.context.action_space),
        },
    )


def _of_peer(peer: Peer, seconds: float, dataset: Dataset) -> Contestant:
    space = dataset.action_space
    plain = temperatures_for("joint" if "joint" in peer.parts else "heads")

    def choose(batch: Batch | Examples) -> NDArray[np.int64]:
        return decide(peer.predict(batch.features), batch.job_type, plain, space).action

    planners = {way: Planner(PeerScorer(peer, way, dataset), action_space=space) for way in peer.rows}
    return Contestant(peer.name, False, seconds, choose, planners)


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


def sample_documents(dataset: Dataset) -> list[bytes]:
    """Inputs of the dataset as JSON, from the first of test, validation and training that has any."""
    examples = next(e for e in (dataset.split(name) for name in ("test", "val", "train")) if len(e))
    if examples.inputs is None:
        raise PlannerError(f"{dataset.directory}: loaded without its inputs, so there is nothing to decide")
    return [msgspec.json.encode(examples.inputs[i]) for i in range(min(N_ROWS, len(examples)))]


def _latencies(
    contestants: Sequence[Contestant], dataset: Dataset, repeats: int, seed: int
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """{contestant: {way: percentiles and ratios}}, the fastest way first; and the verdict on noise.

    ``ratio`` is to the reference, ``to_ours`` to the bundle of the first of ours. Each call has an untimed one of the
    same contestant before it, as in a kernel that decides one issue after another; ``cold_p50`` and ``cold_to_ours``
    are without that, so that every contestant finds the caches full of all the others.
    """
    from threadpoolctl import threadpool_limits

    documents = sample_documents(dataset)
    n = len(documents)

    def call(planner: Planner) -> Call:
        return lambda turn: planner.decide(documents[turn % n])

    planners = {(c.name, way): planner for c in contestants for way, planner in c.planners.items()}
    reference = (REFERENCE, "")
    with threadpool_limits(1):
        for (name, way), planner in planners.items():
            _check_decisions(name, way, planner, documents)
        calls = {reference: reference_call(), **{key: call(planner) for key, planner in planners.items()}}
        timed = interleave(calls, repeats, seed=seed, primed=calls.keys())
        cold = interleave(calls, repeats, seed=seed, primed={reference})
    ours = next(((c.name, BUNDLE) for c in contestants if c.ours), None)
    out: dict[str, dict[str, Any]] = {c.name: {} for c in contestants}
    for name, way in sorted(planners, key=lambda key: np.median(timed[key])):
        times = timed[name, way]
        out[name][way] = {
            **percentiles(times),
            "ratio": ratio(times, timed[reference]),
            "to_ours": None if ours is None else ratio(times, timed[ours]),
            "cold_p50": float(np.median(cold[name, way])),
            "cold_to_ours": None if ours is None else ratio(cold[name, way], cold[ours]),
        }
    return out, msgspec.to_builtins(judge_noise(timed[reference], timed.waiting))


def _check_decisions(name: str, way: str, planner: Planner, documents: Sequence[bytes]) -> None:
    """Raise :class:`PlannerError` where the rules would be timed in a contestant's place."""
    for document in documents:
        reason = planner.decide(document)["reason"]
        if reason is not None:
            raise PlannerError(f"{name}, {way}: it does not decide ({reason}), so there is nothing to time")
