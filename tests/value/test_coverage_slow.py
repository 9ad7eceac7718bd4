"""The coverage study on every world of the product: six worlds, three shares of exploration, three numbers of runs.

Every world is drawn once (24,000 runs). The outcome model (mean outcomes by job type and action, shrunk to the job
type's) and the learnt target (the best action by it, for each job type and priority) come from its first runs; a log is
n later runs, whole issues drawn without replacement, with actions and outcomes of its own. The truth is that of all
later runs, from the world's expected outcomes.

``VALUE_REDRAWS`` (200) logs a cell; ``VALUE_TABLE`` names a file that the rows are appended to.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
import pytest
from coverage_cells import AS_RUN, Redraw, failures, judge, rows

from planner_core.utility import weight_table
from planner_core.value import Predictions
from planner_core.value.actions import classes

redraws = pytest.importorskip("planner_core.world.redraw", reason="the worlds cannot be redrawn yet")
pytestmark = pytest.mark.slow

WORLDS = ("default", "gives-up", "same-fate", "per-token", "expands", "formless")
EXPLORATIONS = (0.0, 0.05, 0.2)
SIZES = (500, 2_000, 8_000)
PEOPLE, EARLIER, SEED = 24_000, 4_000, 11
SHRINKAGE = 20.0


class WorldSource:
    """One world of the product as a :class:`coverage_cells.Source`."""

    def __init__(self, world: str) -> None:
        people = redraws.population(world, PEOPLE, SEED)
        earlier = np.arange(len(people)) < EARLIER
        earlier |= np.isin(people.issue, people.issue[earlier])
        # What was learnt comes from a log that explored, whatever the judged log does.
        before = people.take(earlier)
        self.model = fit(redraws.redraw(before, 0.2, SEED), before.cases.job)
        self.people = people.take(~earlier)
        self.weights = weight_table()[self.people.cases.priority]
        self.targets = targets_of(self.people, self.model)
        expected = self.people.expected
        self.utility = (
            self.weights[:, :1] * expected.passed
            - self.weights[:, 1:2] * expected.minutes / 60
            - self.weights[:, 2:] * expected.cost_usd
        )
        _, self.of_issue = np.unique(self.people.issue, return_inverse=True)

    def redraw(self, exploration: float, n: int, seed: int) -> Redraw:
        """n later runs, of issues drawn at random."""
        order = np.random.default_rng([seed, n]).permutation(int(self.of_issue.max()) + 1)
        chosen = np.sort(np.argsort(order[self.of_issue], kind="stable")[:n])
        log = self.people.take(chosen)
        job = log.cases.job
        return Redraw(
            redraws.redraw(log, exploration, seed),
            job,
            self.weights[chosen],
            {name: target[chosen] for name, target in self.targets.items()},
            log.usual,
            Predictions(*self.model[:, job]),
        )

    def truth(self, target: str, against: str, exploration: float) -> float:
        """From the expected outcomes of all later runs."""
        row = np.arange(len(self.people))
        rules = self.utility[row, self.people.usual].mean()
        # Exploration is uniform over the valid classes, twins included.
        anything = np.nanmean(self.utility, axis=1).mean()
        was = (1 - exploration) * rules + exploration * anything if against == AS_RUN else rules
        return float(self.utility[row, self.targets[target]].mean() - was)


def fit(executed, job) -> np.ndarray:
    """Mean (passed, minutes, USD) by job type and canonical class, shrunk to the job type's; float32 [3, 4, 150]."""
    out = np.zeros((3, 4, 150), np.float32)
    canonical = classes().canonical
    for i, values in enumerate((executed.passed, executed.duration_minutes, executed.cost_usd)):
        for j in np.unique(job):
            of_job = (job == j) & (executed.action >= 0)
            count = np.bincount(executed.action[of_job], minlength=150)
            total = np.bincount(executed.action[of_job], values[of_job], minlength=150)
            mean = values[of_job].mean()
            out[i, j] = ((total + SHRINKAGE * mean) / (count + SHRINKAGE))[canonical[j]]
    return out


def targets_of(people, model) -> dict[str, np.ndarray]:
    """``learnt``: the best by the model; ``thrifty``: the rules with half the minutes; ``lavish``: three, two hours."""
    table = classes()
    job = people.cases.job
    weights = weight_table()
    best = np.empty((4, len(weights)), np.int64)
    for j in range(4):
        for p, w in enumerate(weights):
            utility = w[0] * model[0, j] - w[1] * model[1, j] / 60 - w[2] * model[2, j]
            best[j, p] = np.argmax(np.where(table.valid[j], utility, -np.inf))
    resolved = table.resolved[job, people.usual].copy()
    shorter = {15: 15, 30: 15, 45: 30, 60: 30, 120: 60, 240: 120}
    resolved[:, 2] = [shorter[minutes] for minutes in resolved[:, 2].tolist()]
    find = [
        {tuple(row): int(table.canonical[j, i]) for i, row in enumerate(table.resolved[j].tolist())} for j in range(4)
    ]
    lavish = [find[j][1, 3, 120, 1 if j == 0 else 2] for j in range(4)]
    return {
        "learnt": best[job, people.cases.priority],
        "thrifty": np.array([find[j][tuple(row)] for j, row in zip(job.tolist(), resolved.tolist(), strict=True)]),
        "lavish": np.array(lavish)[job],
    }


@lru_cache(maxsize=1)
def source(world: str) -> WorldSource:
    return WorldSource(world)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("exploration", EXPLORATIONS)
@pytest.mark.parametrize("world", WORLDS)
def test_cell(world, exploration, n):
    tallies, _ = judge(source(world), exploration, n, int(os.environ.get("VALUE_REDRAWS", "200")))
    if table := os.environ.get("VALUE_TABLE"):
        with open(table, "a", encoding="utf-8") as stream:
            stream.write("\n".join(rows(world, exploration, n, tallies)) + "\n")
    assert failures(tallies) == []
