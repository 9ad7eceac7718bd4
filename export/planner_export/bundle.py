"""Writing a bundle: graph, parity gate, golden rows, manifest; whole or absent."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from planner_core import (
    BasePolicy,
    Gate,
    InputCounts,
    PlannerError,
    PolicyContext,
    PolicySpec,
    Registry,
    action_dict,
    canonical,
    load_run,
    make_policy,
    make_settings,
    now,
    pretty,
    read_file,
    read_request,
    sample_inputs,
    temperatures_for,
    threshold_for,
    weight_table,
    weights_document,
)
from planner_core.runtime.bundle import MODEL, write_bundle
from planner_core.runtime.onnx_bounds import OPERATORS, check_bounded, operators
from planner_core.runtime.opening import GOLDEN_ROWS, GoldenRollout, graph_identity
from planner_core.runtime.session import check_interface, open_session
from planner_export.first_layer import bundle_graphs
from planner_export.graph import build_graph
from planner_export.parity import check_parity, feed_of, run_session, sample_batch

GOLDEN_SEED = 20_260_101
LATENCY_RUNS = 300


@dataclass(frozen=True)
class Source:
    """What is exported: a policy with its context, calibration and, where it was trained, the results of its run."""

    policy: BasePolicy
    context: PolicyContext
    config: dict[str, Any]
    calibration: dict[str, Any]
    results: dict[str, Any]
    inputs: InputCounts | None
    version: str


def source_of(spec: PolicySpec, registry: Registry, run: Path | None, values: Mapping[str, Any]) -> Source:
    """A trained policy from its run directory, or an untrained one from its configuration."""
    if run is not None:
        loaded = load_run(run, registry, spec.name)
        return Source(
            loaded.policy,
            loaded.context,
            loaded.settings.to_dict(),
            loaded.calibration,
            loaded.results,
            loaded.inputs,
            run.resolve().name,
        )
    if spec.trainable:
        raise PlannerError(f"policy '{spec.name}' learns, so there is nothing to export without a run")
    settings = make_settings(spec.name, spec.config_type, values)
    context = PolicyContext(settings.encoder)
    policy = make_policy(spec, settings.policy, context)
    calibration = {
        "method": "none",
        "note": f"'{spec.name}' is not trained",
        "temperatures": temperatures_for(policy.score_kind),
    }
    return Source(policy, context, settings.to_dict(), calibration, {}, None, registry.get(spec.name).version)


def export_bundle(
    policy: str,
    registry: Registry,
    out: Path,
    *,
    run: Path | None = None,
    values: Mapping[str, Any] | None = None,
    accuracy: float | None = None,
    utility: NDArray[np.float64] | None = None,
    gate: Gate | None = None,
) -> dict[str, Any]:
    """Export a policy to the bundle directory ``out`` (replacing one that is there); returns what was measured.

    ``utility`` float64 [4 priorities, (pass, time, cost)] says what outcomes are worth to the graph of an outcome
    policy, by default what they were in training; ``gate`` is recorded as the bundle's verdict. ``accuracy`` sets the
    bundle's threshold so that, on validation, at least that share of the decisions above it was right.

    Raises :class:`planner_core.ParityError` where the graph does not compute what the policy computes, and
    leaves no bundle then; an existing one stays as it was.
    """
    entry = registry.get(policy)
    spec = registry.spec(policy)
    started = time.perf_counter()
    source = source_of(spec, registry, run, values or {})
    calibration = {**source.calibration, **abstention(source.calibration, accuracy)}
    context, kind = source.context, source.policy.score_kind
    data = source.results.get("dataset", {})
    dataset_hash = data.get("hash")
    verdict = None if gate is None else msgspec.to_builtins(gate)
    temperatures = temperatures_for(kind, source.calibration["temperatures"])
    if utility is not None:
        calibration["utility"] = weights_document(utility)
    worth = weight_table(calibration.get("utility"))
    graph = build_graph(source.policy.export_scorer(), kind, context, temperatures, worth)
    graphs = bundle_graphs(graph, context.encoder.n_figures)
    identity = graph_identity(policy, dataset_hash, context.encoder, context.action_space)
    for made in graphs.values():
        onnx.helper.set_model_props(made, identity)
    models = {name: made.SerializeToString() for name, made in graphs.items()}
    declared = sorted(set().union(*map(operators, models.values())) - OPERATORS)
    for name, model in models.items():
        check_bounded(model, declared, name)
    sessions, reports = {}, {}
    for name, model in models.items():
        session = sessions[name] = open_session(model, name=name)
        check_interface(session, context.encoder.d_in, context.action_space, name, kind)
        reports[name] = {
            "parity": check_parity(source.policy, session, context, temperatures, worth=worth),
            "latency_ms": _latency(session, context),
            "model_bytes": len(model),
            "opset": next(o.version for o in graph.opset_import if o.domain in ("", "ai.onnx")),
        }
    report = {**reports.pop(MODEL), **reports}
    documents: dict[str, Any] = {
        "config.json": {"policy": policy, "score_kind": kind, "seed": context.seed, "values": source.config},
        "action_space.json": context.action_space.to_dict(),
        "encoder.json": msgspec.to_builtins(context.encoder),
        "calibration.json": calibration,
        "metadata.json": {
            "version": source.version,
            "policy": policy,
            "distribution": entry.distribution,
            "distribution_version": entry.version,
            "dataset_hash": dataset_hash,
            "learnt_until_ms": data.get("until_ms"),
            "utility": weights_document(worth),
            # Where the dataset was is nobody's business who is handed the bundle.
            "verdict": None if verdict is None else {k: v for k, v in verdict.items() if k != "dataset"},
            **({"operators": declared} if declared else {}),
            "metrics": {s: _headline(source.results[s]) for s in ("val", "test") if s in source.results},
            **({} if source.inputs is None else {"inputs": msgspec.to_builtins(source.inputs)}),
            "created_at": now(),
        },
        "validation_report.json": report,
    }
    content = {name: pretty(document) for name, document in documents.items()}
    content |= models
    content["golden.jsonl"] = golden_rows(sessions[MODEL], context)
    digest = write_bundle(out, content)
    return {
        "bundle": str(out),
        "digest": digest,
        "policy": policy,
        "run": None if run is None else str(run),
        "seconds": time.perf_counter() - started,
        "threshold": calibration["threshold"],
        "utility": weights_document(worth),
        "verdict": verdict,
        **report,
    }


def weights_of(run: Path | None) -> NDArray[np.float64]:
    """What outcomes were worth in the training of a run, float64 [4 priorities, (pass, time, cost)]; or defaults."""
    if run is None:
        return weight_table()
    calibration = read_file(run / "calibration.json", dict[str, Any])
    return weight_table(calibration.get("utility"), str(run / "calibration.json"))


def abstention(calibration: Mapping[str, Any], accuracy: float | None) -> dict[str, Any]:
    """The threshold for a wanted accuracy, from the validation risk-coverage curve; 0, never abstain, without one.

    Raises :class:`PlannerError` where there is no curve or no part of it is that accurate.
    """
    if accuracy is None:
        return {"threshold": 0.0}
    curve = calibration.get("risk_coverage", {}).get("curve", [])
    if not curve:
        raise PlannerError("--accuracy needs a policy that was judged on a validation split, and this one was not")
    point = threshold_for(curve, accuracy)
    if point is None:
        best = 1.0 - min(p["risk"] for p in curve)
        raise PlannerError(f"--accuracy {accuracy}: no threshold reaches it; {best:.3f} is the best on validation")
    return {"threshold": point["threshold"], "abstention": {"wanted_accuracy": accuracy, **point}}


def golden_rows(session: onnxruntime.InferenceSession, context: PolicyContext) -> bytes:
    """``golden.jsonl``: inputs, the positions of their features (and figures), the graph's outputs, their rollout."""
    batch = sample_batch(GOLDEN_ROWS, GOLDEN_SEED, context)
    outputs = run_session(session, batch)
    lines = []
    figures = batch.features.figures
    for row, planner_input in enumerate(sample_inputs(GOLDEN_ROWS, GOLDEN_SEED, log_figures=figures is not None)):
        begin, end = batch.features.starts[row], batch.features.starts[row + 1]
        chosen = int(outputs["action"][row])
        request = read_request(planner_input)
        lines.append(
            canonical(
                {
                    "planner_input": planner_input,
                    "indices": batch.features.indices[begin:end].tolist(),
                    **({} if figures is None else {"figures": figures[row].tolist()}),
                    "job_type": int(batch.job_type[row]),
                    "outputs": {name: values[row].tolist() for name, values in outputs.items()},
                    "action": action_dict(context.action_space.actions[chosen]),
                    "rollout": GoldenRollout.of(row, request.x.issue.issue_id, request.digest),
                }
            )
        )
    return b"\n".join(lines) + b"\n"


def _latency(session: onnxruntime.InferenceSession, context: PolicyContext) -> dict[str, float]:
    """Bare session, one row, in milliseconds."""
    batch = sample_batch(1, 1, context)
    feed = feed_of(session, batch)
    names = ["action_probs"]
    times = np.empty(LATENCY_RUNS)
    for i in range(-20, LATENCY_RUNS):
        started = time.perf_counter_ns()
        session.run(names, feed)
        if i >= 0:
            times[i] = (time.perf_counter_ns() - started) / 1e6
    return {f"p{q}": float(np.percentile(times, q)) for q in (50, 90, 99)}


def _headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a split without curves, tables and the baseline's."""
    return {name: value for name, value in metrics.items() if isinstance(value, float | int)}
