"""What the harness hands to a policy that learns, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.examples import Examples
from planner_core.utility import weight_table


@dataclass(frozen=True)
class EpochReport:
    """Progress of a fit after one epoch (or boosting round, or whatever the policy counts)."""

    epoch: int
    epochs: int
    train_loss: float
    valid_loss: float | None = None
    valid_exact_match: float | None = None
    valid_utility: float | None = None
    examples_per_second: float | None = None
    seconds_left: float | None = None
    best: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The fields that belong into a run's history; speed and time left do not repeat, so they stay out."""
        skip = ("examples_per_second", "seconds_left", "epochs")
        return {key: value for key, value in self.__dict__.items() if key not in skip}


@dataclass
class TrainingSession:
    """What the harness hands to :meth:`planner_core.policy.TrainablePolicy.fit`.

    ``valid`` may be empty. ``directory`` is the run directory in the making: a policy may keep a checkpoint there, and
    finds it again when an interrupted run is resumed. ``utility_weights`` float64 [4 priorities, (pass, time, cost)]
    says what outcomes are worth. ``on_epoch`` is to be called after every epoch; it tells the training callbacks.
    """

    train: Examples
    valid: Examples
    directory: Path
    utility_weights: NDArray[np.float64] = field(default_factory=weight_table)
    on_epoch: Callable[[EpochReport], None] = lambda report: None


@dataclass
class FitReport:
    """What a fit did: one entry an epoch, the epoch whose weights were kept, and remarks for the user."""

    history: list[EpochReport] = field(default_factory=list)
    best_epoch: int | None = None
    examples_per_second: float | None = None
    notes: list[str] = field(default_factory=list)
