"""What the harness hands to a policy that learns, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planner_core.examples import Examples
from planner_core.utility import utilities, weight_table


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

    ``train`` and ``valid`` are :class:`planner_core.Examples`, arrays of n rows each: ``features`` (``.dense()`` gives
    float32 [n, d_in]), ``job_type`` int64 [n], the labels both as ``action`` int64 [n] (numbers of whole actions, which
    index ``context.action_space.actions``) and as ``labels`` int64 [n, 4] (a class of each head), and what is known of
    outcomes. They must not be changed; ``valid`` may be empty.

    ``directory`` is the run directory in the making: a policy may keep a checkpoint there, and finds it again when an
    interrupted run is resumed. ``utility_weights`` float64 [4 priorities, (pass, time, cost)] says what outcomes are
    worth. ``on_epoch`` is to be called after every epoch; it tells the training callbacks.
    ``impute`` gives the utilities of a log's rows, float32 [n, n_joint], or None; policies ask :meth:`utilities`.
    """

    train: Examples
    valid: Examples
    directory: Path
    utility_weights: NDArray[np.float64] = field(default_factory=weight_table)
    on_epoch: Callable[[EpochReport], None] = lambda report: None
    impute: Callable[[Examples], NDArray[np.float32] | None] = lambda examples: None
    _imputed: dict[int, NDArray[np.float32] | None] = field(default_factory=dict, init=False, repr=False)

    @property
    def objective(self) -> Literal["label", "utility"]:
        """What is worth learning here, for a policy that can do both.

        Labels are, where they are the best of expected outcomes (a simulator's), or where nothing else is known. The
        best of realised outcomes is partly luck, and the label of a log is what was done, good or bad: there it is
        utility.
        """
        train = self.train
        if train.known == "none" or (train.outcomes is not None and train.outcomes.kind == "expected"):
            return "label"
        return "utility"

    def utilities(self, examples: Examples, rows: NDArray[np.integer] | None = None) -> NDArray[np.float32] | None:
        """Utility of every action of the given rows (all by default), float32 [n, n_joint], NaN where unknown.

        From the outcomes of ``examples``, which are ``train`` or ``valid`` of this session. Where only those of what
        was run are known they are imputed, once: an outcome model's expectation, doubly robustly corrected. None where
        nothing is known.
        """
        known = examples.outcomes
        if known is not None:
            arrays = (known.passed, known.minutes, known.cost_usd, examples.priority)
            passed, minutes, cost, priority = arrays if rows is None else (array[rows] for array in arrays)
            return utilities(passed, minutes, cost, priority, self.utility_weights).astype(np.float32)
        if examples.known == "none" or not len(examples):
            return None
        if id(examples) not in self._imputed:
            self._imputed[id(examples)] = self.impute(examples)
        imputed = self._imputed[id(examples)]
        return imputed if imputed is None or rows is None else imputed[rows]


@dataclass
class FitReport:
    """What a fit did: one entry an epoch, the epoch whose weights were kept, and remarks for the user.

    ``devices`` are what it computed on, in order: more than one where it was resumed on another.
    """

    history: list[EpochReport] = field(default_factory=list)
    best_epoch: int | None = None
    examples_per_second: float | None = None
    notes: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=lambda: ["cpu"])
