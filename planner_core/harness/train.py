"""Training a policy: data in, a run directory out. What happens inside ``fit`` is the policy's."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio, system
from planner_core.action_space import ActionSpace
from planner_core.data.dataset import Dataset
from planner_core.errors import PlannerError, PolicyFailed
from planner_core.examples import Evidence, Examples
from planner_core.harness.calibration import calibrated
from planner_core.harness.callbacks import Callbacks
from planner_core.harness.evaluate import policy_decider
from planner_core.harness.evaluation import evaluate
from planner_core.harness.input_counts import training_counts
from planner_core.harness.learnt import last_start
from planner_core.harness.outcome_model import imputer
from planner_core.harness.run_dir import (
    CALIBRATION,
    CONFIG,
    HISTORY,
    INPUTS,
    PROVENANCE,
    RESULTS,
    RUNS,
    config_document,
    read_config,
    write_json,
)
from planner_core.harness.run_files import seal, verify
from planner_core.harness.work_dir import PARTIAL, WorkDirectory, check_same, work_directory
from planner_core.plugins.guard import make_policy
from planner_core.plugins.records import TrainingRun
from planner_core.plugins.registry import Registry
from planner_core.policy import PolicyContext, TrainablePolicy
from planner_core.settings import Settings
from planner_core.training import EpochReport, TrainingSession
from planner_core.utility import weight_table, weights_document


def train(
    policy_name: str,
    dataset: Dataset,
    out: Path,
    settings: Settings,
    registry: Registry,
    *,
    seed: int = 0,
    resume: bool = False,
    show_progress: bool = False,
    utility: NDArray[np.float64] | None = None,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
    judged: Sequence[str] = ("val", "test"),
) -> dict[str, Any]:
    """Train, calibrate, evaluate on the splits ``judged``, and write the run directory ``out``; returns the results.

    Work happens in ``<out>.partial``, which becomes ``out`` when it is whole. A run that was killed leaves it behind;
    with ``resume`` its last checkpoint is taken up (and a finished ``out`` is returned as it is). ``utility`` says
    what outcomes are worth (as of :func:`planner_core.utility.weight_table`) instead of the dataset. The training
    callbacks of the plugins are told of it (``show_progress``: they may draw), then ``on_epoch``, the caller's own,
    which may end the training by raising. An interrupt carries a note that says how to go on.

    Raises :class:`PlannerError` for a policy that does not learn or that fails, a dataset without training examples or
    without the evidence that is asked for, another training at work on ``out``, or an interrupted run of another
    configuration or dataset.
    """
    spec = registry.spec(policy_name)
    if not spec.trainable:
        raise PlannerError(f"policy '{policy_name}' does not learn; evaluate, export or bench it as it is")
    if not len(dataset.split("train")):
        raise PlannerError(f"{dataset.directory}: the training split is empty")
    document = config_document(policy_name, seed, settings)
    source = _source(dataset, weight_table(dataset.meta.utility) if utility is None else utility)
    if resume and (out / RESULTS).is_file():
        check_same(out, document, source)
        verify(out)
        return jsonio.read_file(out / RESULTS, dict[str, Any])
    context = PolicyContext(settings.encoder, ActionSpace(), seed)
    policy = make_policy(spec, settings.policy, context)
    if not isinstance(policy, TrainablePolicy):
        raise PlannerError(f"policy '{policy_name}' is registered as trainable but has no fit, save and load")
    callbacks = Callbacks.collected()
    with work_directory(out, document, source, resume) as work:
        values = settings.to_dict()
        run = TrainingRun(policy_name, out, work.path, seed, values, dict(source), work.resumed, show_progress)
        epochs = 0

        def tell(report: EpochReport) -> None:
            nonlocal epochs
            epochs += 1
            callbacks.epoch(report)
            on_epoch(report)

        try:
            callbacks.begin(run)
            results = _fit_and_judge(
                policy_name, policy, context, dataset, work.path, registry, source, settings, utility, tell, judged
            )
            seal(work.path)
            work.publish()
        except BaseException as problem:
            callbacks.failed(problem)
            _leave(problem, work, policy_name, epochs)
            raise
    callbacks.end(results)
    return results


def _leave(problem: BaseException, work: WorkDirectory, policy: str, epochs: int) -> None:
    """Keep or remove the work of a training that ended by ``problem``, and say how to go on where that makes sense."""
    if not work.path.exists():
        return  # it became the run directory before
    go_on = f"planner run --policy {policy} train --out {shlex.quote(str(work.out))} --resume"
    if isinstance(problem, PolicyFailed) and work.has_checkpoint:
        if work.resumed and not epochs:
            raise PolicyFailed(
                f"{problem}; no further epoch was finished since it was taken up; {work.path} is kept as it is"
            ) from problem.__cause__
        # Hours of training may be in there, and what failed (memory, a disk) need not fail again.
        raise PolicyFailed(f"{problem}; its checkpoint is kept, --resume goes on from it") from problem.__cause__
    if isinstance(problem, FloatingPointError | PlannerError):
        work.discard()
        kept = f"; {work.path} is kept as it was" if work.resumed else ""
        if isinstance(problem, FloatingPointError):
            raise PlannerError(f"{problem}{kept}") from None
        if kept:
            problem.add_note(kept.removeprefix("; "))
    elif work.has_checkpoint:
        problem.add_note(f"every epoch that was finished is kept; go on with: {go_on}")
    else:
        problem.add_note(f"no epoch was finished; begin again with: {go_on}")


def _fit_and_judge(
    name: str,
    policy: TrainablePolicy,
    context: PolicyContext,
    dataset: Dataset,
    place: Path,
    registry: Registry,
    source: dict[str, Any],
    settings: Settings,
    given_utility: NDArray[np.float64] | None,
    on_epoch: Callable[[EpochReport], None],
    judged: Sequence[str],
) -> dict[str, Any]:
    """Everything between an empty work directory and a whole one."""
    utility = weight_table(dataset.meta.utility) if given_utility is None else given_utility
    examples, valid = (_usable(dataset, split, settings.learning.evidence) for split in ("train", "val"))
    impute = imputer(examples, context.encoder, utility, context.seed)
    session = TrainingSession(examples, valid, place, utility, on_epoch, impute)
    started = time.perf_counter()
    fit = policy.fit(session)
    seconds = time.perf_counter() - started
    policy.save(place)
    write_json(place, HISTORY, [entry.to_dict() for entry in fit.history])
    write_json(place, INPUTS, training_counts(examples, context.encoder))
    calibration = {**calibrated(policy, session, context, settings.policy), "utility": weights_document(utility)}
    write_json(place, CALIBRATION, calibration)
    decider = policy_decider(policy, context, calibration["temperatures"], utility)
    results = {
        "policy": name,
        "seed": context.seed,
        "dataset": source,
        "notes": [*fit.notes, *label_notes(dataset), *figure_notes(examples)],
        "known": examples.known,
        "training": {
            "epochs": len(fit.history),
            "best_epoch": fit.best_epoch,
            "devices": fit.devices,
            "fit_seconds": seconds,
            "examples_per_second": fit.examples_per_second,
            "peak_memory_mib": system.peak_memory_mib(),
        },
        "calibration": {key: value for key, value in calibration.items() if key != "risk_coverage"},
        **{
            split: evaluate(
                # A narrow interval matters on the test split only: the promotion gate of an export rests on it.
                *(name, decider, dataset, split, registry, context),
                utility=given_utility,
                fit_model=split == "test",
            ).to_dict()
            for split in judged
            if len(dataset.split(split))
        },
    }
    write_json(place, RESULTS, results)
    return results


def _source(dataset: Dataset, utility: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "directory": str(dataset.directory.resolve()),
        "hash": dataset.meta.dataset_hash,
        "split_counts": dataset.meta.split_counts,
        "until_ms": last_start(dataset.split("train"), dataset.split("val")),
        "utility": weights_document(utility),
    }


def newest_interrupted(policy: str, root: Path = RUNS) -> Path | None:
    """The run directory that the newest interrupted run of a policy was to become; None where there is none."""
    found = sorted((root / policy).glob(f"[0-9]*{PARTIAL}")) if (root / policy).is_dir() else []
    return found[-1].with_name(found[-1].name.removesuffix(PARTIAL)) if found else None


def taken_up(
    out: Path, values: dict[str, Any], seed: int | None, dataset: Path | None
) -> tuple[dict[str, Any], int | None, Path | None]:
    """What a resumed run is to use: what was asked for, completed from what the interrupted run recorded."""
    run = out if (out / RESULTS).is_file() else out.with_name(out.name + PARTIAL)
    if not (run / CONFIG).is_file() or not (run / PROVENANCE).is_file():
        return values, seed, dataset
    given = read_config(run)
    used = Path(jsonio.read_file(run / PROVENANCE, dict[str, Any])["dataset"]["directory"])
    return {**given.values, **values}, given.seed if seed is None else seed, dataset or used


def _usable(dataset: Dataset, split: str, evidence: Evidence) -> Examples:
    """A split with what of its outcomes the configuration lets a training use."""
    examples = dataset.split(split)
    try:
        return examples.with_evidence(evidence) if len(examples) else examples
    except ValueError as problem:
        raise PlannerError(f"{dataset.directory}: {problem}, and the split '{split}' has none") from None


def figure_notes(examples: Examples) -> list[str]:
    """Where log figures are asked for and there are none: what that makes of them."""
    figures = examples.features.figures
    if figures is None or figures.any():
        return []
    return ["no training example has log figures, so there is nothing to learn of them (build the dataset again)"]


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
