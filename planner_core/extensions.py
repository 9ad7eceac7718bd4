"""What a plugin may add beside policies: training callbacks, metrics, bench stages and policy checks.

Each is a small record that a hook of :mod:`planner_core.hookspecs` hands over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from planner_core.decision import Decision
from planner_core.policy import EpochReport, PolicySpec

if TYPE_CHECKING:
    from planner_core.data.dataset import Examples
    from planner_core.runtime.planner import Planner


@dataclass(frozen=True)
class TrainingRun:
    """What a callback learns of a run before it begins. ``config`` is the effective one, as written to the run."""

    policy: str
    directory: Path
    seed: int
    config: Mapping[str, Any]
    dataset: Mapping[str, Any]


class TrainingCallback(Protocol):
    """Told of a training run as it goes; may watch, must not change anything. Any method may be left out."""

    def on_train_begin(self, run: TrainingRun) -> None:
        """Before the first epoch."""
        ...

    def on_epoch_end(self, report: EpochReport) -> None:
        """After every epoch, or whatever the policy counts."""
        ...

    def on_train_end(self, results: Mapping[str, Any]) -> None:
        """After the run is whole; ``results`` is its ``results.json``. Not called for a run that failed."""
        ...


@dataclass(frozen=True)
class Metric:
    """One more figure of an evaluation, under its own ``name`` in ``results.json`` and in the table.

    ``compute`` gets the decisions of a split and its examples and returns a float, or None where it does not apply.
    """

    name: str
    summary: str
    compute: Callable[[Decision, Examples], float | None]


@dataclass(frozen=True)
class BenchSetup:
    """What a bench stage may use: a loaded planner and the same inputs in both forms, as many of each."""

    planner: Planner
    bundle: Path
    raw: Sequence[bytes]
    features: NDArray[np.float32]
    job_type: NDArray[np.int64]


@dataclass(frozen=True)
class BenchStage:
    """One more thing that ``planner bench`` measures, in turns with the others.

    ``prepare`` returns the call to be timed, which gets the number of the turn, or None where it does not apply.
    """

    name: str
    summary: str
    prepare: Callable[[BenchSetup], Callable[[int], object] | None]


@dataclass(frozen=True)
class CheckSetup:
    """What a policy check may use: the policy under test, a small world for it, and a place to write."""

    spec: PolicySpec
    train: Examples
    valid: Examples
    directory: Path
    seed: int


@dataclass(frozen=True)
class PolicyCheck:
    """One check of the conformance kit: its ``name``, the one-line ``reason`` it exists, and how it runs.

    ``run`` raises :class:`planner_core.errors.CheckFailed` with what was found where the policy does not conform, and
    :class:`planner_core.errors.CheckDoesNotApply` where the question makes no sense for this policy.
    """

    name: str
    reason: str
    run: Callable[[CheckSetup], None]
