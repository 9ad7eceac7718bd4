"""Models whose answer is known, for the tests of rollout and decision log."""

from __future__ import annotations

import numpy as np

from planner_core.action_space import ActionSpace, resolve
from planner_core.runtime.choice import Answer

SPACE = ActionSpace()
SERIAL, VOTE, NA = "serial_handoff", "speculate_vote", "NA"
BASELINE = (VOTE, 2, 60, 5)  # what the rules want for a large fab-asset issue
TAU = 0.05


class Expects:
    """A model that expects the same of every input: utility ``utilities[action]``, else ``others``, twins alike.

    An outcome is a pass of that worth: no minutes and no USD.
    """

    weights = np.array([[1.0, 0.0, 0.0]] * 4)

    def __init__(self, utilities, others=-9.0):
        self.asked = 0
        self.passed = np.full(150, others, np.float32)
        meant = {resolve(SPACE.actions[SPACE.index[a]], "other"): u for a, u in utilities.items()}
        for i, action in enumerate(SPACE.actions):
            self.passed[i] = meant.get(resolve(action, "other"), others)
        logits = np.where(SPACE.canonical[3] == np.arange(150), self.passed / TAU, -np.inf)
        self.probs = np.exp(logits - logits.max())
        self.probs = (self.probs / self.probs.sum()).astype(np.float32)

    def action_probs(self, inputs):
        self.asked += len(inputs)
        return np.tile(self.probs, (len(inputs), 1))

    def answer(self, inputs):
        outcomes = np.stack([self.passed, np.zeros_like(self.passed), np.zeros_like(self.passed)])
        return Answer(self.action_probs(inputs), np.tile(outcomes, (len(inputs), 1, 1)))


class Fails:
    """An outcome model whose session dies."""

    weights = Expects.weights

    def action_probs(self, inputs):
        raise RuntimeError("the session died")

    answer = action_probs


def key(action):
    """The key of an action in resolved numbers, for a job type that has no rule of its own."""
    swarm, *numbers = action
    stands = dict(zip(range(3), (2, 240, 2), strict=True))
    resolved = [stands[i] if n == NA else n for i, n in enumerate(numbers)]
    return "|".join(map(str, (swarm, 1 if swarm == SERIAL else resolved[0], *resolved[1:])))


def chosen(action):
    return action["swarm_id"], *action["budgets"].values()
