"""What is learnt: the label of each example, or the action whose utility is expected to be highest.

The loss of a row with utilities U and probabilities p over its known actions is -sum_a p(a) (U(a) / tau - log p(a)):
expected utility, with an entropy bonus of weight tau. Utilities enter linearly, so that what is noise in them averages
out; a classifier of each row's best action would learn whose noise is largest. Its second derivatives are taken to be p
(Fisher's information), so that a leaf is the mean of U / tau - log p among its rows, weighed by p: a natural gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core import ActionSpace, Examples, PlannerError, TrainingSession
from planner_gbdt.config import GBDTConfig

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """Utilities of the rows of a split of which something is known, by class.

    ``rows`` int64 [m] of the split; ``utility`` float64 [m, classes] over ``temperature``, 0 where ``known`` bool
    [m, classes] is False: not known, not valid for the job type, or another name of an action that is among them.
    """

    rows: NDArray[np.int64]
    utility: Floats
    known: NDArray[np.bool_]
    temperature: float

    def log_probabilities(self, scores: Floats) -> Floats:
        """float64 [m, classes], 0 where nothing is known."""
        shifted = np.where(self.known, scores, -np.inf)
        shifted = shifted - shifted.max(axis=1, keepdims=True)
        total = np.exp(shifted).sum(axis=1, keepdims=True)
        return np.where(self.known, shifted - np.log(total), 0.0)

    def gradient(self, scores: Floats) -> tuple[Floats, Floats]:
        """First and second derivatives of the loss by the scores, float64 [m, classes] each."""
        log = self.log_probabilities(scores)
        p = np.exp(log) * self.known
        gain = self.utility - log
        return p * ((p * gain).sum(axis=1, keepdims=True) - gain), p

    def loss(self, scores: Floats) -> float:
        """Its mean."""
        log = self.log_probabilities(scores)
        return float(-(np.exp(log) * self.known * (self.utility - log)).sum(axis=1).mean())


@dataclass(frozen=True)
class Goal:
    """The joint actions to tell apart (``classes`` int64, ascending), and what each split says of them.

    ``labels``: of every example, int64 [n]. ``utility``: where utilities are learnt, and ``labels`` mean nothing.
    """

    classes: NDArray[np.int64]
    labels: tuple[NDArray[np.int64], NDArray[np.int64]]
    utility: tuple[Known, Known] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def objective(self) -> str | Callable[[Floats, Any], tuple[Floats, Floats]]:
        """LightGBM's."""
        if self.utility is None:
            return "multiclass"
        train = self.utility[0]
        return lambda scores, data: train.gradient(scores)


def goal_of(config: GBDTConfig, session: TrainingSession, space: ActionSpace) -> Goal:
    """What ``config.objective`` means on this data.

    Raises :class:`PlannerError` for ``objective=utility`` where nothing is known of outcomes.
    """
    train, valid = session.train, session.valid
    labels = np.asarray(train.action, np.int64), np.asarray(valid.action, np.int64)
    wanted = session.objective if config.objective == "auto" else config.objective
    utility = session.utilities(train) if wanted == "utility" else None
    if utility is not None and not np.isnan(utility).all():
        standing = space.joint_masks & (space.canonical == np.arange(len(space.actions)))
        classes = np.flatnonzero((standing[train.job_type] & ~np.isnan(utility)).any(axis=0))
        of_valid = session.utilities(valid)
        if of_valid is None:
            of_valid = np.full((len(valid), len(space.actions)), np.nan, np.float32)
        known = tuple(
            _known(part, values, standing, classes, config.utility_temperature)
            for part, values in ((train, utility), (valid, of_valid))
        )
        source = "of several actions of each example" if train.outcomes is not None else "imputed from what was run"
        return Goal(classes, labels, (known[0], known[1]), [f"objective: expected utility, {source}"])
    if config.objective == "utility":
        raise PlannerError("objective=utility needs outcomes, of candidate actions or of runs, and there are none")
    notes = ["the labels are what was done, and are imitated, whatever came of it"] if train.outcomes is None else []
    return Goal(np.unique(labels[0]), labels, notes=notes)


def _known(
    examples: Examples,
    utility: NDArray[np.float32],
    standing: NDArray[np.bool_],
    classes: NDArray[np.int64],
    temperature: float,
) -> Known:
    values = utility[:, classes].astype(np.float64) / temperature
    known = standing[examples.job_type][:, classes] & ~np.isnan(values)
    rows = np.flatnonzero(known.any(axis=1))
    return Known(rows, np.where(known, values, 0.0)[rows], known[rows], temperature)
