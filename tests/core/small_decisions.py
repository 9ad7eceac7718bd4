"""Three actions and decisions for them, small enough that every metric can be worked out by hand."""

from __future__ import annotations

import numpy as np

from planner_core.action_space import Action, ActionSpace
from planner_core.decision import Decision

SPACE = ActionSpace()
SIZES = {"swarm": 2, "candidates": 4, "minutes": 6, "iterations": 5}
CODE = 0
A = Action("serial_handoff", 1, 30, "NA")
B = Action("speculate_vote", 2, 30, "NA")
C = Action("speculate_vote", 3, 60, "NA")


def index(*actions):
    return np.array([SPACE.index[action] for action in actions])


def decision(chosen, confidence=None, heads=None):
    n = len(chosen)
    probs = np.zeros((n, 150), np.float32)
    probs[np.arange(n), index(*chosen)] = 1.0
    flat = {name: np.zeros((n, size), np.float32) for name, size in zip(SIZES, SIZES.values(), strict=True)}
    sure = np.ones(n, np.float32) if confidence is None else np.array(confidence, np.float32)
    return Decision({**flat, **(heads or {})}, probs, index(*chosen), sure)
