"""What is learnt: which actions each example speaks for, and with what weight.

A label is one action of weight 1. Where utilities are what is known an example speaks for its few best actions, with
the weights that softmax(utility / temperature) gives them: a classifier of those has the distribution that maximises
expected utility plus temperature times entropy, cut to the best few.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from planner_core import ActionSpace, Examples, PlannerError, TrainingSession
from planner_gbdt.config import GBDTConfig


@dataclass(frozen=True)
class Goal:
    """m pairs of a row of a split and a joint action that it speaks for, and their weights float64 [m]."""

    rows: NDArray[np.int64]
    action: NDArray[np.int64]
    weight: NDArray[np.float64]

    def of(self, actions: NDArray[np.int64]) -> Self:
        """The pairs with one of ``actions``; an example that loses some of its pairs speaks as loud with the others."""
        kept = np.isin(self.action, actions)
        rows, weight = self.rows[kept], self.weight[kept]
        before = np.bincount(self.rows, self.weight)
        left = np.bincount(rows, weight, minlength=len(before))
        return type(self)(rows, self.action[kept], weight * (before[rows] / left[rows]))


@dataclass(frozen=True)
class Goals:
    """The goals of both splits, and ``utility`` float32 [validation rows, n_joint] where that is what is maximised."""

    train: Goal
    valid: Goal
    utility: NDArray[np.float32] | None = None
    notes: list[str] = field(default_factory=list)


def goals_of(config: GBDTConfig, session: TrainingSession, space: ActionSpace) -> Goals:
    """What ``config.objective`` means on this data.

    Raises :class:`PlannerError` for ``objective=utility`` where nothing is known of outcomes.
    """
    train, valid = session.train, session.valid
    wanted = session.objective if config.objective == "auto" else config.objective
    utility = session.utilities(train) if wanted == "utility" else None
    goal = None if utility is None else _best(config, train, utility, space)
    if goal is not None:
        of_valid = session.utilities(valid)
        judged = None if of_valid is None else _best(config, valid, of_valid, space)
        nothing = Goal(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
        source = "of several actions of each example" if train.outcomes is not None else "imputed from what was run"
        return Goals(goal, judged or nothing, of_valid, [f"objective: expected utility, {source}"])
    if config.objective == "utility":
        raise PlannerError("objective=utility needs outcomes, of candidate actions or of runs, and there are none")
    imitates = train.outcomes is None
    notes = ["the labels are what was done, and are imitated, whatever came of it"] if imitates else []
    return Goals(_labels(train), _labels(valid), notes=notes)


def _labels(examples: Examples) -> Goal:
    return Goal(np.arange(len(examples)), np.asarray(examples.action, np.int64), np.ones(len(examples)))


def _best(config: GBDTConfig, examples: Examples, utility: NDArray[np.float32], space: ActionSpace) -> Goal | None:
    """The ``config.choices`` actions of each row with the highest known utility; None where nothing is known.

    Of actions that mean the same the one that stands for them; of equal utilities the first.
    """
    standing = space.joint_masks & (space.canonical == np.arange(len(space.actions)))
    known = np.where(standing[examples.job_type] & ~np.isnan(utility), utility, -np.inf).astype(np.float64)
    best = np.argsort(-known, axis=1, kind="stable")[:, : config.choices]
    values = np.take_along_axis(known, best, axis=1)
    rows = np.flatnonzero(np.isfinite(values[:, 0]))
    if not len(rows):
        return None
    weight = np.exp((values[rows] - values[rows, :1]) / config.utility_temperature)
    weight /= weight.sum(axis=1, keepdims=True)
    speaks = weight > 0.0
    return Goal(np.repeat(rows, speaks.sum(axis=1)), best[rows][speaks], weight[speaks])


def told_apart(goal: Goal, least: float) -> NDArray[np.int64]:
    """The joint actions to tell apart, ascending: those that are labels, or that weigh as much as ``least`` examples.

    Less than that fills no leaf. If no action does, the heaviest.
    """
    actions, first = np.unique(goal.action, return_inverse=True)
    if (goal.weight == 1.0).all():
        return actions
    weight = np.bincount(first, goal.weight)
    return actions[(weight >= least) | (weight == weight.max())]
