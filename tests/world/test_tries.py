"""The outcome model of the default world against hand-made simulation and closed forms."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from planner_core.action_space import Action, ActionSpace, resolve
from planner_core.world.config import Tries
from planner_core.world.tries import TriesModel, normal_cdf

SPACE = ActionSpace()
CODE, ASSET = 0, 2
NOISE = 0.35


@pytest.fixture(scope="module")
def model() -> TriesModel:
    return TriesModel(Tries(), NOISE)


@pytest.fixture
def outcome(model: TriesModel, make_cases: Any) -> Any:
    def of(job: int, size: int, z: float, action: Action) -> tuple[float, ...]:
        return tuple(float(values[0, SPACE.index[action]]) for values in model.expected(make_cases(job, size, [z])))

    return of


def test_normal_cdf_error() -> None:
    x = np.linspace(-9.5, 9.5, 20_001)
    exact = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])
    assert np.abs(normal_cdf(x) - exact).max() < 1e-12


def test_single_candidate_by_hand(outcome: Any) -> None:
    """One try, by the closed form: q Phi, m minus what passing early saves, and the price of those minutes."""
    z, size, m = 0.3, 2, 30
    q = 1 / (1 + math.exp(z - 0.5))
    mu, sd = math.log(18) + 0.25 * z, 0.4

    def cdf(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    done = q * cdf((math.log(m) - mu) / sd)
    early = q * math.exp(mu + sd * sd / 2) * cdf((math.log(m) - mu - sd * sd) / sd)
    minutes = m * (1 - done) + early
    passed, got_minutes, cost = outcome(CODE, size, z, Action("serial_handoff", 1, m, "NA"))
    assert passed == pytest.approx(done, abs=1e-5)
    assert got_minutes == pytest.approx(minutes, abs=1e-3)
    assert cost == pytest.approx(0.05 * minutes + 0.02, abs=1e-4)


def by_hand(rng: random.Random, size: int, z: float, action: Action, iterates: bool) -> tuple[float, float, float]:
    """One run of the world of the specification, written as it is told there."""
    vote, k, m, tries = resolve(action, "fab-asset" if iterates else "code")
    passing, cost = [], 0.0
    for _ in range(k):
        t = rng.lognormvariate(math.log((6, 11, 18, 28, 50)[size]) + 0.25 * z, 0.4)
        end, pass_time = t, math.inf
        for _ in range(tries):
            if rng.random() < 1 / (1 + math.exp(z - 0.5)):
                pass_time = end
                break
            end += 0.6 * t
        spent = pass_time if pass_time <= m else m
        if pass_time <= m:
            passing.append(pass_time)
        cost += 0.05 * spent + 0.02
    picked = rng.random() < 0.97 if vote else True
    return float(bool(passing) and picked), min(passing, default=m) + (2 if vote else 0), cost


@pytest.mark.parametrize(
    ("job", "size", "z", "action"),
    [
        (CODE, 1, -0.7, Action("serial_handoff", 1, 15, "NA")),
        (CODE, 3, 0.6, Action("speculate_vote", 3, 45, "NA")),
        (ASSET, 4, 1.5, Action("speculate_vote", "NA", 120, 5)),
        (ASSET, 2, 0.2, Action("speculate_vote", 1, "NA", "NA")),
        (ASSET, 2, 2.5, Action("serial_handoff", 1, 60, 3)),
    ],
)
def test_tables_and_samples_agree_with_simulation(
    model: TriesModel, outcome: Any, make_cases: Any, job: int, size: int, z: float, action: Action
) -> None:
    rng, n = random.Random(3), 20_000
    told = np.array([by_hand(rng, size, z, action, job != CODE) for _ in range(n)])
    drawn = model.sample(
        np.random.default_rng(4), make_cases(job, size, np.full(n, z)), np.full(n, SPACE.index[action])
    )
    sampled = np.stack([drawn.passed, drawn.minutes, drawn.cost_usd], axis=1)
    expected = outcome(job, size, z, action)
    for simulated in (told, sampled):
        error = simulated.std(axis=0) / math.sqrt(n)
        assert (np.abs(simulated.mean(axis=0) - expected) < 4.5 * error + 1e-3).all()
    failed = ~drawn.passed
    assert not (drawn.out_of_time & drawn.passed).any()
    assert not (drawn.outvoted & ~failed).any()


def test_quadrature_error() -> None:
    coarse, fine = (TriesModel(Tries(), NOISE, z_step=0.2, z_limit=4.0, nodes=nodes) for nodes in (16, 32))
    for size in (0, 4):
        assert np.abs(coarse.curves(size).going - fine.curves(size).going).max() < 1e-9


def test_interpolation_error(model: TriesModel, make_cases: Any) -> None:
    cases = make_cases(ASSET, 3, np.round(np.linspace(-3, 3, 31), 2) + 0.005)
    halved, finer = (TriesModel(Tries(), NOISE, z_step=step, z_limit=4.0) for step in (0.02, 0.005))
    usual, exact, rough = (m.expected(cases) for m in (model, finer, halved))
    for i, limit in enumerate((1e-5, 1e-3, 1e-3)):
        assert np.abs(usual[i] - exact[i]).max() < limit
        assert np.abs(rough[i] - exact[i]).max() < 10 * limit


def test_code_does_not_iterate(model: TriesModel, make_cases: Any) -> None:
    code = model.expected(make_cases(CODE, 2, [0.4]))
    one, five = (SPACE.index[Action("serial_handoff", 1, 60, i)] for i in (1, 5))
    assert code.passed[0, one] == code.passed[0, five]
    other = model.expected(make_cases(3, 2, [0.4]))
    assert other.passed[0, five] > other.passed[0, one] == code.passed[0, one]


def test_a_difficulty_off_the_grid_counts_as_its_end(model: TriesModel, make_cases: Any) -> None:
    def at(z: float) -> np.ndarray[Any, Any]:
        return model.expected(make_cases(CODE, 0, [z])).passed

    assert (at(40.0) == at(12.0)).all()
    assert (at(-40.0) == at(-12.0)).all()
    assert not np.isnan(at(12.0)).any()
