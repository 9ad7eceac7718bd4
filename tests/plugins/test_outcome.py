"""The ``outcome`` policy: what it learns from runs, what it predicts, what its graph computes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from planner_core import DataError, PlannerError, PolicyContext, TrainingSession
from planner_outcome.actions import CELLS, action_table
from planner_outcome.compose import compose
from planner_outcome.config import OutcomeConfig
from planner_outcome.evidence import CUT, GAVE_UP, NOT_PASSED, PASSED, read_evidence
from planner_outcome.likelihood import Likelihood, Scalars
from planner_outcome.policy import OutcomePolicy
from planner_outcome.residuals import Effects, Observed, adjust, fit_effects

sys.path.insert(0, str(Path(__file__).parent))
from outcome_support import ENCODER, PHYSICS, SPACE, executed, parity, simulated

TABLE = action_table(SPACE)


def fitted(examples, **config):
    policy = OutcomePolicy(OutcomeConfig(**{"rounds": 3, "steps": 40, **config}), PolicyContext(encoder=ENCODER))
    policy.fit(TrainingSession(train=examples, valid=examples.between(0, 0), directory=Path()))
    return policy


@pytest.fixture(scope="module")
def learnt():
    examples, tag, large = simulated(3000)
    return fitted(examples), examples, tag, large


def monte_carlo(a, b, resolved, p, n=200_000):
    """(pass, minutes, cost) of one action, drawn as the model says it goes; price 0.5 + 0.1 USD a minute."""
    rng = np.random.default_rng(1)
    vote, k, m, tries = resolved
    u = rng.standard_normal((n, 1))
    q = 1 / (1 + np.exp(-(a + p.quality[:k] + p.rho * u)))
    good = rng.random((n, k, tries)) < q[..., None]
    has, which = good.any(axis=2), good.argmax(axis=2)
    centre = b + p.fill * np.log(m / 45) + p.kappa * u
    ends = np.exp(centre + np.log1p(p.retry * which) + p.sigma * rng.standard_normal((n, k)))
    gone = np.exp(centre + p.give_up + np.log1p(p.retry * (tries - 1)) + p.give_up_sigma * rng.standard_normal((n, k)))
    quits = ~has & (rng.random((n, k)) < p.psi)
    ends = np.where(has, ends, np.inf)
    gone = np.where(quits, gone, np.inf)
    won = (ends <= m).any(axis=1)
    over = np.minimum(ends.min(axis=1), np.where(quits.all(axis=1), gone.max(axis=1), np.inf))
    busy = np.minimum(np.minimum(ends, gone), m)
    passed = won.mean() * (p.vote_accuracy if vote else 1.0)
    minutes = np.minimum(over, m).mean() + (p.vote_minutes if vote else 0.0)
    return passed, minutes, ((0.5 + 0.1 * busy) * np.exp(p.cost[:k])).sum(axis=1).mean()


@pytest.mark.parametrize(("a", "b"), [(0.5, np.log(12.0)), (-1.0, np.log(40.0))])
def test_composition_is_what_happens(a, b):
    """Against 200,000 draws of the process itself, for a serial and two voting actions that iterate or do not."""
    heads = np.array([[a, b, np.log(0.5), np.log(0.1)]])
    for job in (0, 1):
        expected = compose(heads, np.array([job]), PHYSICS, TABLE)
        for action in [*np.flatnonzero(SPACE.joint_masks[job])[[0, -1]].tolist(), int(np.flatnonzero(TABLE.vote)[40])]:
            truth = monte_carlo(a, b, SPACE.resolved[job, action], PHYSICS)
            assert expected.passed[0, action] == pytest.approx(truth[0], abs=0.008)
            assert expected.minutes[0, action] == pytest.approx(truth[1], rel=0.015, abs=0.3)
            assert expected.cost_usd[0, action] == pytest.approx(truth[2], rel=0.015, abs=0.03)


def test_twins_are_equal(learnt):
    policy, examples, _, _ = learnt
    scores = policy.predict(examples.batch(np.arange(50)))
    for values in scores.values():
        assert values.dtype == np.float32 and values.shape == (50, 150)
        of_twins = np.take_along_axis(values, SPACE.canonical[examples.job_type[:50]], axis=1)
        np.testing.assert_array_equal(values, of_twins)
    assert CELLS == 72


def test_more_minutes_never_pass_less(learnt):
    policy, examples, _, _ = learnt
    model, job_type = policy.model, examples.job_type[:20]
    heads = model.heads(examples.features, examples.job_type)[:20, :4]
    p = compose(heads, job_type, model.physics, TABLE).passed
    order = np.argsort(TABLE.resolved[1][:, 2], kind="stable")
    serial = [i for i in order if not TABLE.vote[i] and TABLE.resolved[1][i, 3] == 1]
    assert (np.diff(p[:, serial], axis=1) >= -1e-9).all()


def test_truth_is_recovered(learnt):
    """Quality, speed, vote, price and the length of a further try, from 3,000 runs."""
    policy, examples, tag, large = learnt
    model, heads = policy.model, policy.model.heads(examples.features, examples.job_type)
    a, b = heads[:, 0], heads[:, 1]
    assert a[tag].mean() - a[~tag].mean() == pytest.approx(2.5, abs=0.35)
    assert np.exp(b[large]).mean() == pytest.approx(25, rel=0.1)
    assert np.exp(b[~large]).mean() == pytest.approx(10, rel=0.1)
    p = model.physics
    assert p.sigma == pytest.approx(0.4, abs=0.05) and p.retry == pytest.approx(0.6, abs=0.15)
    assert p.vote_accuracy == pytest.approx(0.9, abs=0.03) and p.vote_minutes == pytest.approx(3.0, abs=0.1)
    assert p.psi == 0.0, "nobody gives up in this world"
    assert np.exp(heads[:, 3]).mean() == pytest.approx(0.1, rel=0.05)


def test_predictions_are_honest(learnt):
    """On other runs of the same world: mean pass, minutes and USD of the actions that were run."""
    policy, _, _, _ = learnt
    other, _, _ = simulated(4000, seed=7)
    scores, at = policy.predict(other.batch()), (np.arange(4000), other.executed.action)
    x = other.executed
    assert scores["passed"][at].mean() == pytest.approx(x.passed.mean(), abs=0.025)
    assert scores["minutes"][at].mean() == pytest.approx(x.duration_minutes.mean(), rel=0.04)
    assert scores["cost_usd"][at].mean() == pytest.approx(x.cost_usd.mean(), rel=0.04)
    brier = ((scores["passed"][at] - x.passed) ** 2).mean()
    assert brier < 0.85 * x.passed.var()


def test_runs_without_candidates_teach_too():
    examples, tag, large = simulated(3000, detail=False)
    policy = fitted(examples)
    heads = policy.model.heads(examples.features, examples.job_type)
    assert heads[tag, 0].mean() - heads[~tag, 0].mean() == pytest.approx(2.5, abs=0.5)
    assert np.exp(heads[large, 1]).mean() == pytest.approx(25, rel=0.15)


def test_known_outcomes_of_several_actions_teach_where_nothing_was_run():
    from planner_core import Outcomes

    examples, tag, _ = simulated(600)
    truth = compose(
        np.column_stack([np.where(tag, 1.5, -1.0), np.full(600, np.log(12.0)), np.full((600, 2), -3.0)]),
        examples.job_type,
        replace(PHYSICS, psi=0.0, rho=0.01),
        TABLE,
    )
    outcomes = Outcomes(*(v.astype(np.float32) for v in truth))
    policy = fitted(replace(examples, executed=None, outcomes=outcomes))
    heads = policy.model.heads(examples.features, examples.job_type)
    assert heads[tag, 0].mean() - heads[~tag, 0].mean() == pytest.approx(2.5, abs=0.6)


def test_fit_repeats_bit_for_bit(learnt, tmp_path):
    policy, examples, _, _ = learnt
    again = fitted(examples)
    for name, values in policy.predict(examples.batch()).items():
        np.testing.assert_array_equal(values, again.predict(examples.batch())[name])


def test_save_and_load(learnt, tmp_path):
    policy, examples, _, _ = learnt
    policy.save(tmp_path)
    other = OutcomePolicy(OutcomeConfig(), PolicyContext(encoder=ENCODER))
    with pytest.raises(PlannerError, match="learnt nothing"):
        other.predict(examples.batch())
    other.load(tmp_path)
    for name, values in policy.predict(examples.batch()).items():
        np.testing.assert_array_equal(values, other.predict(examples.batch())[name])
    with pytest.raises(DataError, match="a model of"):
        OutcomePolicy(OutcomeConfig(), PolicyContext()).load(tmp_path)
    next(tmp_path.iterdir()).write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(DataError, match="what the outcome policy learnt"):
        other.load(tmp_path)


def test_nothing_to_learn_from_is_said():
    examples, _, _ = simulated(50)
    with pytest.raises(PlannerError, match="no training example"):
        fitted(replace(examples, executed=None))
    with pytest.raises(PlannerError, match="no training example"):
        fitted(replace(examples, executed=replace(examples.executed, evidence=np.zeros(50, bool))))


def test_graph_is_the_policy(learnt):
    policy, examples, _, _ = learnt
    model = parity(policy, examples)
    assert len(model.graph.node) < 80 and {o.name for o in model.graph.output} == {"passed", "minutes", "cost_usd"}
    rng = np.random.default_rng(0)
    effects = Effects(*(0.3 * rng.standard_normal((4, 150)) for _ in range(3)))
    other = OutcomePolicy(OutcomeConfig(), PolicyContext(encoder=ENCODER))
    other._model = replace(policy.model, physics=PHYSICS, effects=effects)  # giving up, filling, effects: every node
    parity(other, examples)


def test_missing_parts_give_no_term():
    """No cost, no candidates, no minutes, no evidence: each takes its own term away and no other."""
    nan = np.float32(np.nan)
    runs = executed(5, passed=np.array([1, 0, 1, 0, 0], np.float32))
    runs.duration_minutes[:] = [20, nan, nan, 60, 30]
    runs.evidence[3] = False
    evidence = read_evidence(runs, np.zeros(5, bool))
    rows = evidence.candidates
    assert rows.run.tolist() == [0, 1, 2, 4]
    assert rows.kind.tolist() == [PASSED, NOT_PASSED, 3, GAVE_UP] and rows.minutes[0] == 20
    assert len(evidence.costs.usd) == 0 and len(evidence.runs.run) == 0
    unlimited = executed(1, minutes_limited=np.zeros(1, bool), duration_minutes=np.full(1, 240, np.float32))
    assert read_evidence(unlimited, np.zeros(1, bool)).candidates.kind.tolist() == [CUT]


def test_a_loser_that_was_stopped_did_not_give_up():
    runs = executed(1, swarm=np.ones(1, np.int64), candidates=np.full(1, 2, np.float32))
    runs.candidate_passed[0] = [1, 0, -1]
    runs.candidate_minutes[0] = [20, 20, np.nan]
    runs.duration_minutes[0], runs.passed[0] = 22, 1
    assert read_evidence(runs, np.zeros(1, bool)).candidates.kind.tolist() == [PASSED, CUT]


@pytest.mark.parametrize("detail", [True, False])
def test_likelihood_is_a_density(detail):
    """Over all a run of two candidates can show, cut at 60 minutes, probabilities add up to 1."""
    grid = np.linspace(-7, np.log(60), 1500)[:-1]
    n = len(grid)
    t = np.exp(grid)
    runs = executed(2 * n + 1, swarm=np.zeros(2 * n + 1, np.int64), iterations=np.full(2 * n + 1, 2, np.float32))
    runs.duration_minutes[:] = np.concatenate([t, t, [60]])
    runs.passed[:n] = 1
    if detail:
        runs.candidate_passed[:, 0] = np.concatenate([np.ones(n), np.zeros(n + 1)])
        runs.candidate_minutes[:, 0] = runs.duration_minutes
    evidence = read_evidence(runs, np.ones(2 * n + 1, bool))
    kept = evidence.candidates.kind != CUT
    likelihood = Likelihood(evidence.candidates, evidence.runs, 1.0, 2 * n + 1)
    one = torch.ones(2 * n + 1, dtype=torch.float64)
    numbers = [torch.tensor(v, dtype=torch.float64) for v in (0.4, 0.7, -0.1, 0.6, 0.7, -0.5, 0.5, 0.1)]
    scalars = Scalars(*numbers, torch.zeros(3, dtype=torch.float64))
    density = np.exp(likelihood.per_run(0.3 * one, 2.5 * one, scalars).numpy())
    step = grid[1] - grid[0]
    # Giving up within the last 3 % of the budget reads as cut by it, and so counts there.
    total = density[kept].sum() * step + density[-1]
    assert total == pytest.approx(1.0, abs=0.02)


def test_effects_find_what_the_form_misses_and_leave_alone_what_it_does_not():
    rng = np.random.default_rng(3)
    n = 6000
    job = np.zeros(n, np.int64)
    standing = np.unique(SPACE.canonical[0][SPACE.joint_masks[0]])
    action = rng.choice(standing, n)
    heads = np.column_stack([rng.normal(0, 1, n), np.full(n, np.log(12.0)), np.full((n, 2), -2.0)])
    base = compose(heads, job, PHYSICS, TABLE)
    each = np.arange(n)
    shift = np.where(TABLE.vote[action], 1.5, 0.0)
    p = base.passed[each, action]
    seen = Observed(
        action,
        job,
        (rng.random(n) < 1 / (1 + np.exp(-(np.log(p / (1 - p)) + shift)))).astype(float),
        base.minutes[each, action] * rng.gamma(4, 0.25, n),
        np.full(n, np.nan),
        each,
    )
    effects, kept = fit_effects(base, seen, TABLE)
    assert kept == ("passed",), "minutes are as expected, and nothing is known of the cost"
    vote, serial = TABLE.vote[standing], ~TABLE.vote[standing]
    assert effects.passed[0, standing][vote].mean() == pytest.approx(1.5, abs=0.25)
    assert abs(effects.passed[0, standing][serial].mean()) < 0.25
    adjusted = adjust(base, job, effects)
    assert adjusted.passed[each, action].mean() == pytest.approx(seen.passed.mean(), abs=0.01)
