"""The policy that made the log: hand-written rules, with a share of the runs drawn uniformly from the valid actions."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from planner_core.action_space import SWARM_IDS, Action, ActionSpace, obeys
from planner_core.encoder import RISKS, SIZES
from planner_core.errors import ConfigError
from planner_core.world.config import JOBS
from planner_core.world.outcomes import Floats, Ints

Rules = Callable[[str, str, str], Action]
"""The hand-written rules, by (job type, risk, size)."""


def tabulate(baseline: Rules) -> Ints:
    """Joint class of the baseline's action, int64 [job types, risks, sizes]; ConfigError where one is not valid."""
    table = np.empty((len(JOBS), len(RISKS), len(SIZES)), np.int64)
    index = ActionSpace().index
    for i, job_type in enumerate(JOBS):
        for j, risk in enumerate(RISKS):
            for k, size in enumerate(SIZES):
                action = baseline(job_type, risk, size)
                if action not in index or not obeys(action, job_type):
                    raise ConfigError(f"the baseline's action for {job_type}, {risk}, {size} is not valid: {action}")
                table[i, j, k] = index[action]
    return table


class LoggingPolicy:
    """With probability ``exploration`` a uniformly drawn valid action, otherwise the usual one, that of the rules.

    Probabilities are of resolved actions: those of twins are summed.
    """

    def __init__(self, exploration: float) -> None:
        self.exploration = exploration
        self._space = ActionSpace()
        valid = [np.flatnonzero(mask) for mask in self._space.joint_masks[: len(JOBS)]]
        self._n_valid = np.array([len(actions) for actions in valid])
        self._choices = np.zeros((len(JOBS), self._n_valid.max()), np.int64)
        for row, actions in zip(self._choices, valid, strict=True):
            row[: len(actions)] = actions
        self._twins = np.zeros((len(JOBS), len(self._space.actions)))  # how many valid actions mean the same
        for job, actions in enumerate(valid):
            np.add.at(self._twins[job], self._space.canonical[job, actions], 1.0)
        self.distribution = cache(self._distribution)

    def draw(self, rng: np.random.Generator, job: Ints, usual: Ints) -> Ints:
        """A joint class for each row's job type and usual joint class, int64 [n]."""
        explored = self._choices[job, rng.integers(0, self._n_valid[job])]
        return np.where(rng.random(len(job)) < self.exploration, explored, usual)

    def probabilities(self, job: Ints, usual: Ints, action: Ints) -> Floats:
        """Probability of what each row's joint class means, float64 [n]."""
        canonical = self._space.canonical
        chosen = canonical[job, action]
        explored = self.exploration * self._twins[job, chosen] / self._n_valid[job]
        return np.asarray(explored + np.where(canonical[job, usual] == chosen, 1.0 - self.exploration, 0.0))

    def _distribution(self, job: int, usual: int) -> tuple[Ints, Floats]:
        """The whole distribution for a job type and usual joint class: canonical joint classes and probabilities > 0.

        Cached as :attr:`distribution`; ascending joint classes.
        """
        actions = np.unique(self._space.canonical[job][self._space.joint_masks[job]])
        n = len(actions)
        p = self.probabilities(np.full(n, job), np.full(n, usual), actions)
        return actions[p > 0], p[p > 0]

    def document(self, job: int, usual: int) -> dict[str, float]:
        """The distribution as ``propensities``: six significant digits by ``"swarm|candidates|minutes|tries"``."""
        actions, p = self.distribution(job, usual)
        keys = self._space.resolved[job, actions].tolist()
        return {
            "|".join((SWARM_IDS[key[0]], *map(str, key[1:]))): compact(value)
            for key, value in zip(keys, p.tolist(), strict=True)
        }


def compact(value: float) -> float:
    """A number of six significant digits."""
    return float(f"{value:.6g}")
