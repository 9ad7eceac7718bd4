"""Training a policy: data in, a run directory out. What happens inside ``fit`` is the policy's."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from planner_core.action_space import ActionSpace
from planner_core.data.dataset import Dataset
from planner_core.errors import PlannerError
from planner_core.files import new_directory
from planner_core.harness.calibration import fit_temperatures
from planner_core.harness.evaluate import evaluation_document, policy_decider
from planner_core.harness.run_dir import config_document, provenance, write_json
from planner_core.harness.settings import Settings
from planner_core.policy import EpochReport, PolicyContext, TrainablePolicy, TrainingSession
from planner_core.registry import Registry


def train(
    policy_name: str,
    dataset: Dataset,
    out: Path,
    settings: Settings,
    registry: Registry,
    *,
    seed: int = 0,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
) -> dict[str, Any]:
    """Train, calibrate, evaluate on validation and test, and write the run directory ``out``; returns the results.

    Raises :class:`PlannerError` for a policy that does not learn or a dataset without training examples; nothing is
    written then.
    """
    spec = registry.spec(policy_name)
    if not spec.trainable:
        raise PlannerError(f"policy '{policy_name}' does not learn; evaluate, export or bench it as it is")
    examples, valid = dataset.split("train"), dataset.split("val")
    if not len(examples):
        raise PlannerError(f"{dataset.directory}: the training split is empty")
    context = PolicyContext(settings.encoder, ActionSpace(), seed)
    policy = spec.load()(settings.policy, context)
    if not isinstance(policy, TrainablePolicy):
        raise PlannerError(f"policy '{policy_name}' is registered as trainable but has no fit, save and load")
    with new_directory(out) as made:
        write_json(made, "config.json", config_document(policy_name, seed, settings))
        started = time.perf_counter()
        fit = policy.fit(TrainingSession(examples, valid, made, on_epoch))
        seconds = time.perf_counter() - started
        policy.save(made)
        write_json(made, "history.json", [entry.to_dict() for entry in fit.history])
        calibration = fit_temperatures(
            policy.predict(valid.batch()) if len(valid) else _no_scores(policy), valid, context.action_space
        )
        write_json(made, "calibration.json", calibration)
        decider = policy_decider(policy, context, calibration["temperatures"])
        splits = {
            name: evaluation_document(policy_name, decider, dataset, name, registry, context)
            for name in ("val", "test")
            if len(dataset.split(name))
        }
        source = {
            "directory": str(dataset.directory.resolve()),
            "hash": dataset.meta.dataset_hash,
            "split_counts": dataset.meta.split_counts,
        }
        results = {
            "policy": policy_name,
            "seed": seed,
            "dataset": source,
            "notes": [*fit.notes, *label_notes(dataset)],
            "training": {
                "epochs": len(fit.history),
                "best_epoch": fit.best_epoch,
                "fit_seconds": seconds,
                "examples_per_second": fit.examples_per_second,
                "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            },
            "calibration": calibration,
            **splits,
        }
        write_json(made, "results.json", results)
        write_json(made, "provenance.json", provenance(source))
    return results


def _no_scores(policy: TrainablePolicy) -> dict[str, Any]:
    """Stands in for validation scores where there is nothing to score; only the kind is read."""
    return {"joint": np.empty((0, 0))} if policy.score_kind == "joint" else {}


def label_notes(dataset: Dataset) -> list[str]:
    """What a user must know about the labels before believing a metric."""
    notes = []
    labels, counts = np.unique(dataset.split("train").action, return_counts=True)
    names = dataset.action_space.actions
    if len(labels) == 1:
        action = ", ".join(map(str, names[labels[0]]))
        notes.append(
            f"every one of the {counts[0]} training labels is the same action ({action}): the policy can only learn to "
            "repeat it, and its accuracy says nothing about its judgement"
        )
    for split in ("val", "test"):
        size = len(dataset.split(split))
        if size < 2:
            notes.append(f"the split '{split}' has {size} example{'' if size == 1 else 's'}; its metrics mean little")
    return notes
