"""Checks of policies that predict outcomes: that these are of what an action means, and that their worth decides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES
from planner_core.decision import PARITY_TOLERANCE, Scores, decide, temperatures_for
from planner_core.errors import CheckDoesNotApply, CheckFailed
from planner_core.plugins.records import CheckSetup, PolicyCheck
from planner_core.policy import BasePolicy
from planner_core.testing.support import require, sample_batch

UNKNOWN_JOB = "research"

WORTHS = {
    "passes alone": (1.0, 0.0, 0.0),
    "time above all": (1.0, 1000.0, 0.0),
    "money above all": (1.0, 0.0, 1000.0),
}
"""What outcomes are worth to people who disagree: a passed run, an hour, a US dollar."""


def predicting(setup: CheckSetup) -> BasePolicy:
    """The trained policy; :class:`CheckDoesNotApply` for one whose scores are logits."""
    policy = setup.trained()
    if policy.score_kind != "outcomes":
        raise CheckDoesNotApply("its scores are logits, no outcomes")
    return policy


def twins(setup: CheckSetup) -> None:
    """Actions that mean the same have the same outcomes, in every job type."""
    policy, space = predicting(setup), setup.context.action_space
    for index, job_type in enumerate(JOB_TYPES):
        batch = sample_batch(16, 60 + index, job_type=UNKNOWN_JOB if job_type == "other" else job_type)
        standing = space.canonical[index]
        for name, values in policy.predict(batch).items():
            apart = np.abs(values - values[:, standing]) / np.maximum(1.0, np.abs(values))
            apart = np.where(space.joint_masks[index], apart, 0.0).max(axis=0)
            worst = int(apart.argmax())
            require(
                float(apart[worst]) <= PARITY_TOLERANCE,
                f"job type {job_type}: '{name}' of {tuple(space.actions[worst])} and of "
                f"{tuple(space.actions[int(standing[worst])])}, which mean the same, differ by {apart[worst]:.1e}",
            )


def utility_weights(setup: CheckSetup) -> None:
    """Other worths of a pass, an hour and a dollar lead to other decisions, and to the outcomes that were asked for."""
    policy, valid = predicting(setup), setup.valid
    scores = policy.predict(valid.batch())
    chosen = {what: _chosen(setup, scores, weights) for what, weights in WORTHS.items()}
    plain = chosen.pop("passes alone")
    every = np.arange(len(valid))
    found = []
    for (what, action), name in zip(chosen.items(), ("minutes", "cost_usd"), strict=True):
        before, after = (float(scores[name][every, a].mean(dtype=np.float64)) for a in (plain, action))
        changed = float((action != plain).mean())
        if not (changed > 0.0 and after < before):
            raise CheckFailed(
                f"{what} changes {changed:.0%} of the decisions, and '{name}' expected of them from {before:.3g} to "
                f"{after:.3g}: it has to fall; every action needs its own"
            )
        found.append(f"{what}: {name} {before:.3g} to {after:.3g}")
    setup.note("; ".join(found))


def _chosen(setup: CheckSetup, scores: Scores, weights: tuple[float, ...]) -> NDArray[np.int64]:
    """int64 [n]: what is decided where outcomes of every row are worth ``weights``."""
    valid = setup.valid
    table = np.tile(np.array(weights, np.float64), (len(valid), 1))
    return decide(scores, valid.job_type, temperatures_for("outcomes"), setup.context.action_space, table).action


CHECKS = (
    PolicyCheck("twins", "Two names of one plan must not have two expectations.", twins),
    PolicyCheck("utility-weights", "A bundle decides by what its user says outcomes are worth.", utility_weights),
)
