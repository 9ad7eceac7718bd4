"""Every world: its expectations are the means of its samples, its runs are consistent, its name is deserved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner_core.action_space import Action, ActionSpace
from planner_core.utility import utilities, weight_table
from planner_core.world.config import WORLDS
from planner_core.world.outcomes import Cases, SampledRuns
from planner_core.world.redraw import Population, population

SPACE = ActionSpace()
CODE, ASSET = 0, 2
N = 3_000
_MADE: dict[str, Population] = {}


@pytest.fixture(params=list(WORLDS))
def people(request: pytest.FixtureRequest) -> Population:
    return made(request.param)


def made(name: str) -> Population:
    if name not in _MADE:
        _MADE[name] = population(name, N, seed=3)
    return _MADE[name]


def rows_and_actions(people: Population, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(8)
    rows = rng.choice(len(people), count, replace=False)
    return rows, np.array([rng.choice(np.flatnonzero(SPACE.joint_masks[job])) for job in people.cases.job[rows]])


def columns(run: SampledRuns) -> np.ndarray[Any, Any]:
    return np.stack([run.passed, run.minutes, run.cost_usd])


def distances(drawn: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How many standard errors lie between the means over the last axis and what is expected."""
    # The table is interpolated to 1e-3 minutes; an event too rare to be seen leaves no spread to divide by.
    error = drawn.std(axis=-1) / np.sqrt(drawn.shape[-1]) + np.array([1e-4, 1e-3, 1e-3])[:, None]
    return np.abs(drawn.mean(axis=-1) - expected) / error


def test_expected_is_the_mean_of_what_is_sampled(people: Population) -> None:
    count, repeats = 60, 4_000
    rows, action = rows_and_actions(people, count)
    run = people.model.sample(
        np.random.default_rng(5), people.cases.take(np.repeat(rows, repeats)), np.repeat(action, repeats)
    )
    expected = np.stack([v[np.arange(count), action] for v in people.model.expected(people.cases.take(rows))])
    apart = distances(columns(run).reshape(3, count, repeats), expected)
    assert apart.max() < 4.5
    assert (apart**2).mean() < 1.4  # of 180 squares of mean 1


def test_noise_is_averaged_out(people: Population) -> None:
    """The quadrature against a fine sum over the noise, to what the table's interpolation allows."""
    rows, action = rows_and_actions(people, 10)
    noise = np.linspace(-6, 6, 1201)
    weights = np.exp(-0.5 * noise**2) / np.exp(-0.5 * noise**2).sum()
    some = people.cases.take(rows)
    averaged = people.model.expected_over_noise(some)
    for i in range(len(rows)):
        one = some.take(np.full(len(noise), i))
        one = Cases(**{**vars(one), "z": one.known_z + 0.35 * noise})
        for values, mean, limit in zip(people.model.expected(one), averaged, (2e-5, 2e-3, 2e-3), strict=True):
            assert abs(weights @ values[:, action[i]] - mean[i, action[i]]) < limit


def test_twins_are_bitwise_equal(people: Population) -> None:
    some = people.cases.take(np.arange(400))
    canonical = SPACE.canonical[some.job]
    for expected in (people.model.expected(some), people.model.expected_over_noise(some)):
        for values in expected:
            assert (values == np.take_along_axis(values, canonical, axis=1)).all()


def test_runs_are_consistent(people: Population) -> None:
    rng = np.random.default_rng(2)
    action = np.array([rng.choice(np.flatnonzero(SPACE.joint_masks[job])) for job in people.cases.job])
    run = people.model.sample(rng, people.cases, action)
    vote, k, budget, _ = SPACE.resolved[people.cases.job, action].T
    exists = np.arange(3) < k[:, None]
    assert (np.isnan(run.candidate_minutes) == ~exists).all()
    assert (np.isnan(run.candidate_cost_usd) == ~exists).all()
    assert not (run.candidate_passed & ~exists).any()
    assert np.nansum(run.candidate_cost_usd, axis=1) == pytest.approx(run.cost_usd)
    busy = np.where(exists, run.candidate_minutes, 0.0)
    assert (busy <= budget[:, None]).all()
    assert (run.candidate_cost_usd[exists] > 0).all()
    any_passed = run.candidate_passed.any(axis=1)
    first = np.where(run.candidate_passed, run.candidate_minutes, np.inf).min(axis=1)
    assert run.minutes == pytest.approx(np.where(any_passed, first, busy.max(axis=1)) + 2 * vote)
    assert (run.outvoted == (any_passed & ~run.passed)).all()
    assert not (run.outvoted & (vote == 0)).any()
    assert not (run.passed & ~any_passed).any()
    assert not (run.out_of_time & any_passed).any()
    assert (busy.max(axis=1)[run.out_of_time] == budget[run.out_of_time]).all()


def test_ceiling_is_above_rules_and_constants(people: Population) -> None:
    """With the noise averaged out nothing beats it on any row; on the outcomes given all of z it wins on the mean."""
    weights, valid = weight_table(), SPACE.joint_masks[people.cases.job]
    known = np.where(
        valid, utilities(*people.model.expected_over_noise(people.cases), people.cases.priority, weights), -np.inf
    )
    score = utilities(*vars(people.expected).values(), people.cases.priority, weights)
    each, ceiling = np.arange(len(people)), known.argmax(axis=1)
    best_constant = np.array([_best_constant(score, people.cases.job, job) for job in range(3)])[people.cases.job]
    top = score[each, ceiling].mean()
    assert top > score[each, best_constant].mean() + 0.02 > score[each, people.usual].mean() + 0.02
    assert top <= np.nanmax(score, axis=1).mean()
    assert len(np.unique(ceiling)) >= 10


def _best_constant(score: np.ndarray[Any, Any], jobs: np.ndarray[Any, Any], job: int) -> int:
    means = np.where(SPACE.joint_masks[job], score[jobs == job].mean(axis=0), -np.inf)
    return int(np.argmax(means))


def index(*action: Any) -> int:
    return SPACE.index[Action(*action)]


def test_gives_up_passes_alike_and_ends_sooner(make_cases: Any) -> None:
    cases = make_cases(ASSET, 2, np.linspace(-2, 2, 21))
    usual, early = (made(name).model.expected(cases) for name in ("default", "gives-up"))
    assert early.passed == pytest.approx(usual.passed, abs=1e-12)
    assert (early.minutes <= usual.minutes + 1e-9).all()
    long = index("serial_handoff", 1, "NA", 1)
    assert (early.minutes[-1, long], early.cost_usd[-1, long]) < (
        0.4 * usual.minutes[-1, long],
        0.4 * usual.cost_usd[-1, long],
    )


def test_same_fate_makes_a_second_candidate_worth_little(make_cases: Any) -> None:
    cases = make_cases(CODE, 2, [0.5])
    for name, low, high in (("default", 0.2, 0.3), ("same-fate", 0.02, 0.03)):
        passed = made(name).model.expected(cases).passed[0]
        gain = (passed[index("speculate_vote", 2, 120, "NA")] - passed[index("speculate_vote", 1, 120, "NA")]) / 0.97
        assert low < gain < high


def test_per_token_minutes_cost_nothing(make_cases: Any) -> None:
    cost = made("per-token").model.expected(make_cases(CODE, 2, [0.5])).cost_usd[0]
    assert cost[index("serial_handoff", 1, 15, "NA")] == cost[index("serial_handoff", 1, "NA", "NA")]
    assert cost[index("speculate_vote", 3, 15, "NA")] == pytest.approx(3 * cost[index("serial_handoff", 1, 15, "NA")])
    tries = made("per-token").model.expected(make_cases(ASSET, 2, [0.5])).cost_usd[0]
    assert tries[index("serial_handoff", 1, 120, 3)] > 1.4 * tries[index("serial_handoff", 1, 120, 1)]


def test_expands_takes_longer_under_a_longer_budget(make_cases: Any) -> None:
    cases = make_cases(CODE, 3, np.full(4_000, -1.0))
    for name, changes in (("default", False), ("expands", True)):
        done = [
            made(name).model.sample(
                np.random.default_rng(1), cases, np.full(4_000, index("serial_handoff", 1, m, "NA"))
            )
            for m in (30, 120)
        ]
        by_30 = [(run.passed & (run.minutes <= 30)).mean() for run in done]
        assert (by_30[0] - by_30[1] > 0.1) == changes
        assert changes or by_30[0] == by_30[1]


def test_formless_has_no_order_and_is_drawn_from_the_seed() -> None:
    passed = made("formless").expected.passed
    shorter, longer = index("serial_handoff", 1, 30, "NA"), index("serial_handoff", 1, "NA", "NA")
    worse = [
        float((passed[:, index("speculate_vote", 3, m, "NA")] < passed[:, index("speculate_vote", 1, m, "NA")]).mean())
        for m in (15, 45, 120)
    ]
    assert max(worse) > 0.2
    assert 0 < (passed[:, longer] < passed[:, shorter]).mean() < 1
    again, other = population("formless", 50, seed=3), population("formless", 50, seed=4)
    assert (
        again.model.expected(again.cases).passed
        == population("formless", 50, seed=3).model.expected(again.cases).passed
    ).all()
    assert (again.model.expected(again.cases).passed != other.model.expected(again.cases).passed).any()
