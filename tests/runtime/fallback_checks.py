"""A scorer with a fixed answer, and what makes a decision a fallback."""

from __future__ import annotations

import numpy as np

from planner_core.action_space import ActionSpace
from planner_core.contracts import PlannerAction
from planner_core.jsonio import convert
from planner_core.runtime.reasons import REASONS
from planner_heuristic import HeuristicBaseline

SPACE = ActionSpace()


class Fixed:
    """A scorer that answers what it was told to."""

    def __init__(self, answer):
        self.answer = answer

    def action_probs(self, inputs):
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.repeat(self.answer[None], len(inputs), axis=0)


def choice(action):
    return action["swarm_id"], *action["budgets"].values()


def plan(action):
    """An action without the time it was made."""
    return {key: value for key, value in action.items() if key != "created_at"}


def fell_back(action, planner_input, reason):
    """The baseline's action, marked as such and with its reason."""
    assert reason in REASONS
    assert action["abstain_to_default"] is True
    assert action["reason"].startswith(f"{reason}: ")
    assert len(action["reason"]) > len(reason) + 2  # the detail is not empty
    assert choice(action) == choice(HeuristicBaseline().predict(planner_input))
    convert(action, PlannerAction, "action")
    return True
