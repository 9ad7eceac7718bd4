"""The honest policy as one that predicts outcomes: their means in each cell, of all that are known."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from honest_policy import CELLS, Table

from planner_core import JOB_TYPES, OUTCOME_ARRAYS, PlannerError

PER_JOB = CELLS // len(JOB_TYPES)


class OutcomeTable(Table):
    """Tables float32 [cells, actions] of passed, minutes and cost_usd, each cell leaning on its job type's mean."""

    score_kind: ClassVar[str] = "outcomes"

    def as_scores(self, frequencies):
        return {name: np.full(frequencies.shape, 0.5, np.float32) for name in OUTCOME_ARRAYS}

    def learn(self, examples):
        cells, job = self.cells(examples.batch()), examples.job_type
        canonical = self.context.action_space.canonical
        sums = np.zeros((CELLS, canonical.shape[1], 4))
        for row, action, outcome in self.known(examples):
            np.add.at(sums, (cells[row], canonical[job[row], action]), np.append(outcome, np.ones((len(row), 1)), 1))
        if not sums.any():
            raise PlannerError("no outcome is known")
        estimate = np.broadcast_to(sums.sum((0, 1)), (1, *sums.shape[1:]))
        for width in (CELLS, PER_JOB, 1):  # every action over all cells, of its job type's, its own
            total = sums.reshape(-1, width, *sums.shape[1:]).sum(1)
            prior = np.repeat(estimate, len(total) // len(estimate), 0)
            estimate = total + self.config.strength * prior / prior[..., 3:]
        means = (estimate[..., :3] / estimate[..., 3:]).astype(np.float32)
        standing = canonical.repeat(PER_JOB, 0)
        return {n: np.take_along_axis(means[..., i], standing, 1) for i, n in enumerate(OUTCOME_ARRAYS)}

    def known(self, examples):
        """(rows, actions, outcomes [m, 3]) of everything whose outcome is known, in pieces."""
        if examples.outcomes is not None:
            values = np.stack([getattr(examples.outcomes, name) for name in OUTCOME_ARRAYS], 2)
            for action in range(values.shape[1]):
                row = np.flatnonzero(~np.isnan(values[:, action]).any(1))
                yield row, np.full(len(row), action), values[row, action]
        elif examples.executed is not None:
            ran = examples.executed
            values = np.stack([ran.passed, ran.duration_minutes, ran.cost_usd], 1)
            row = np.flatnonzero(ran.evidence & (ran.action >= 0) & ~np.isnan(values).any(1))
            yield row, ran.action[row], values[row]

    def loss(self, examples):
        rows = self.cells(examples.batch())
        found = [
            np.square(outcome - np.stack([self.tables[n][rows[row], action] for n in OUTCOME_ARRAYS], 1)).mean()
            for row, action, outcome in self.known(examples)
            if len(row)
        ]
        return float(np.mean(found)) if found else 0.0
