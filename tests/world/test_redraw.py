"""Redrawn logs: the arrays are those of the dataset, and the draws those of the logging policy."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from planner_core.action_space import Action, ActionSpace
from planner_core.data.dataset import load_dataset
from planner_core.examples import Executed
from planner_core.world.redraw import Population, population, redraw
from planner_core.world.source import make_world

SPACE = ActionSpace()


@pytest.fixture(scope="module")
def people() -> Population:
    return population("default", 4_000, seed=2)


@pytest.mark.parametrize("world", ["default", "gives-up", "formless"])
def test_population_is_that_of_the_dataset(tmp_path: Path, world: str) -> None:
    make_world(tmp_path / "w", 300, 4, world=world, exploration=0.3)
    made = population(world, 300, 4, exploration=0.3)
    with np.load(tmp_path / "w" / "outcomes.npz") as arrays:
        for name, values in vars(made.expected).items():
            assert np.array_equal(arrays[name], values, equal_nan=True)
    told = load_dataset(tmp_path / "w", cache=False).everything.executed
    for field in fields(Executed):
        if field.name != "issue":  # numbered in order of appearance there
            assert np.array_equal(getattr(told, field.name), getattr(made.logged, field.name), equal_nan=True), (
                field.name
            )
    pairs = {*zip(told.issue.tolist(), made.logged.issue.tolist(), strict=True)}
    assert len(pairs) == len(np.unique(told.issue)) == len(np.unique(made.logged.issue))


def test_draws_repeat_by_seed(people: Population) -> None:
    one, again, other = redraw(people, 0.2, 1), redraw(people, 0.2, 1), redraw(people, 0.2, 2)
    for field in fields(Executed):
        assert np.array_equal(getattr(one, field.name), getattr(again, field.name), equal_nan=True)
    assert (one.action != other.action).any()
    assert (one.duration_minutes != other.duration_minutes).mean() > 0.7  # a run cut at its budget has its length


@pytest.mark.parametrize("exploration", [0.0, 0.05, 1.0])
def test_actions_are_drawn_as_the_propensities_say(people: Population, exploration: float) -> None:
    log = redraw(people, exploration, 5)
    rows = np.repeat(np.arange(len(log)), np.diff(log.propensity_starts))
    assert np.bincount(rows, log.propensity_values) == pytest.approx(np.ones(len(log)), abs=1e-4)
    ran = np.stack([log.swarm, log.candidates, log.minutes, log.iterations], axis=1).astype(np.int64)
    own = (log.propensity_actions == ran[rows]).all(axis=1)
    assert (rows[own] == np.arange(len(log))).all()
    assert (log.propensity_values[own] == log.propensity).all()
    usual = SPACE.canonical[people.cases.job, people.usual]
    if exploration == 0:
        assert (log.action == usual).all()
        assert (log.propensity == 1).all()
        return
    # How often each resolved action was drawn, against the sum of its probabilities.
    expected = np.zeros((3, 150))
    variance = np.zeros((3, 150))
    lookup = [{tuple(SPACE.resolved[job, c]): c for c in np.unique(SPACE.canonical[job])} for job in range(3)]
    jobs = people.cases.job[rows]
    classes = np.array(
        [lookup[job][tuple(key)] for job, key in zip(jobs.tolist(), log.propensity_actions.tolist(), strict=True)]
    )
    np.add.at(expected, (jobs, classes), log.propensity_values)
    np.add.at(variance, (jobs, classes), log.propensity_values * (1 - log.propensity_values))
    counts = np.zeros((3, 150))
    np.add.at(counts, (people.cases.job, log.action), 1)
    apart = np.abs(counts - expected) / np.sqrt(variance + 0.25)
    assert apart.max() < 4.5
    assert counts[expected == 0].sum() == 0


def test_weighted_outcomes_are_unbiased(people: Population) -> None:
    """Mean utility of always running two candidates for 30 minutes, by inverse propensity, over many redrawn logs."""
    target = SPACE.canonical[people.cases.job, SPACE.index[Action("speculate_vote", 2, 30, 1)]]
    truth = np.take_along_axis(people.model.expected(people.cases).passed, target[:, None], axis=1).mean()
    estimates = []
    for seed in range(40):
        log = redraw(people, 0.5, seed)
        estimates.append(np.mean((log.action == target) / log.propensity * log.passed))
    error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - truth) < 4 * error
    assert error < 0.02


def test_rows_can_be_taken(people: Population) -> None:
    rows = np.array([5, 3, 3])
    some = people.take(rows)
    assert len(some) == 3
    assert some.issue.tolist() == people.issue[rows].tolist()
    assert some.logged.duration_minutes.tolist() == people.logged.duration_minutes[rows].tolist()
    assert np.array_equal(some.expected.minutes, people.expected.minutes[rows], equal_nan=True)
    assert len(redraw(some, 0.2, 0)) == 3
