"""The ``outcome`` policy where its form is contradicted, and where outcomes of several actions are known."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from planner_core import Outcomes, PolicyContext, TrainingSession, weight_table
from planner_outcome.actions import action_table
from planner_outcome.additive import Additive, as_good, contradicted, fit_additive, no_additive
from planner_outcome.compose import Expected, compose
from planner_outcome.config import OutcomeConfig
from planner_outcome.fine_tuning import known_of, most_cautious
from planner_outcome.policy import OutcomePolicy
from planner_outcome.residuals import Effects, Observed
from planner_outcome.torch_compose import Composer, unconstrained

sys.path.insert(0, str(Path(__file__).parent))
from outcome_support import ENCODER, PHYSICS, SPACE, parity, simulated

TABLE = action_table(SPACE)
NO_TRACE = OutcomeConfig(rounds=2, steps=20)


def log_without_form(n, seed=0):
    """Runs of a world in which each action has a pass rate of its own; hard issues are mostly run with one action."""
    rng = np.random.default_rng(seed)
    standing = np.unique(SPACE.canonical[0][SPACE.joint_masks[0]])
    truth = rng.uniform(0.2, 0.8, len(standing))
    hard = rng.random(n) < 0.5
    place = np.where(rng.random(n) < 0.4, rng.integers(0, len(standing), n), np.where(hard, 3, 5))
    chance = 0.4 / len(standing) + 0.6 * (place == np.where(hard, 3, 5))
    rate = np.clip(truth[place] - 0.2 * hard, 0, 1)
    seen = Observed(
        standing[place],
        np.zeros(n, np.int64),
        (rng.random(n) < rate).astype(float),
        rng.gamma(4, 5.0, n),
        np.full(n, np.nan),
        np.arange(n),
    )
    return np.column_stack([hard, rng.random(n) < 0.5]).astype(float), seen, chance, standing, truth - 0.1


def test_the_additive_model_finds_the_means_of_the_actions():
    x, seen, chance, standing, truth = log_without_form(6000)
    found = fit_additive(x, seen, chance, TABLE, share=1.0)
    nothing = Expected(*(np.zeros((len(x), 150)) for _ in range(3)))
    predicted = found.blend(nothing, x, seen.job_type).passed[:, standing].mean(axis=0)
    assert np.corrcoef(predicted, truth)[0, 1] > 0.8
    assert np.abs(predicted - truth).mean() < 0.08
    assert found.weights[0, 0] == pytest.approx(-0.2, abs=0.06), "what is hard passes less, whatever is run"
    silent = no_additive(2, TABLE)
    assert silent.blend(nothing, x, seen.job_type) is nothing


def test_actions_have_to_be_better_than_the_constant_by_what_their_means_may_be_off():
    x, seen, chance, standing, _ = log_without_form(3000)
    often, seldom = standing[[3, 5]], np.delete(standing, [3, 5])
    plain = fit_additive(x, seen, chance, TABLE).effects
    careful = fit_additive(x, seen, chance, TABLE, constants={0: int(often[0])}).effects
    worse = plain.passed - careful.passed
    assert worse[0, often[0]] == pytest.approx(0.0, abs=1e-9) and (worse[0, seldom] > 0.0).all()
    assert worse[0, often[1]] < np.median(worse[0, seldom]), "what was run often is known well"
    assert (careful.minutes[0, seldom] > plain.minutes[0, seldom]).all()
    np.testing.assert_array_equal(careful.passed[1:], plain.passed[1:])


def test_the_form_is_contradicted_only_where_it_predicts_no_better():
    x, seen, chance, standing, truth = log_without_form(3000)
    known = Expected(*(np.zeros((len(x), 150)) for _ in range(3)))
    known.passed[:, standing] = (truth + 0.1)[None] - 0.2 * x[:, :1]
    known.minutes[:] = 20.0
    assert not as_good(x, seen, chance, known, TABLE), "nothing predicts better than the truth"
    wrong = known._replace(passed=1 - known.passed)
    assert as_good(x, seen, chance, wrong, TABLE)
    assert contradicted(("passed", "minutes"), seen) and not contradicted(("passed",), seen)


def test_without_contradiction_nothing_changes():
    """The runs of the form's own world: the additive model has no say, and the graph has none of its nodes."""
    examples, _, _ = simulated(800)
    policy = OutcomePolicy(NO_TRACE, PolicyContext(encoder=ENCODER))
    policy.fit(TrainingSession(examples, examples.between(0, 0), None))
    assert policy.model.additive.share == 0.0
    rng = np.random.default_rng(1)
    n_features = len(policy.model.weights)
    effects = Effects(*(0.2 * rng.standard_normal((4, 150)) for _ in range(3)))
    additive = Additive(0.1 * rng.standard_normal((n_features, 3)), np.array([0.5, 20.0, 1.0]), effects, 0.75)
    before = len(policy.export_scorer().graph.node)
    policy._model = replace(policy.model, additive=additive)
    assert len(parity(policy, examples).graph.node) > before


@pytest.mark.parametrize("psi", [0.0, 0.3])
def test_torch_composes_as_numpy_does(psi):
    rng = np.random.default_rng(0)
    heads = np.column_stack([rng.normal(0, 1, 12), rng.normal(3, 0.5, 12), np.full((12, 2), -2.0)])
    physics = replace(PHYSICS, psi=psi)
    for job in range(4):
        wanted = compose(heads, np.full(12, job), physics, TABLE)
        got = Composer(physics, TABLE, job)(torch.from_numpy(heads), torch.from_numpy(unconstrained(physics)))
        for name, values in got._asdict().items():
            np.testing.assert_allclose(values.numpy(), getattr(wanted, name), atol=1e-7)


def with_all_outcomes(n, seed=0):
    """The simulated runs, with one draw of every action's outcome: cheap runs pass on one tag, never on the other."""
    examples, tag, _ = simulated(n, seed=seed)
    rng = np.random.default_rng(seed)
    minutes = SPACE.resolved[examples.job_type][..., 2].astype(np.float32)
    rate = np.where(tag[:, None], 0.9, np.where(minutes > 50, 0.7, 0.05))
    passed = (rng.random(rate.shape) < rate).astype(np.float32)
    unknown = ~SPACE.joint_masks[examples.job_type]
    arrays = [passed, np.where(passed > 0, 0.5, 1.0) * minutes, 0.05 * minutes]
    outcomes = Outcomes(*(np.where(unknown, np.nan, values).astype(np.float32) for values in arrays))
    return replace(examples, outcomes=outcomes)


def test_all_known_outcomes_are_learnt_from():
    """What was run obeys another law than the outcomes that are known: with all evidence the latter decide."""
    examples = with_all_outcomes(600)
    valid = with_all_outcomes(200, seed=1)
    worth = weight_table()
    chosen = {}
    for evidence in ("all", "executed"):
        policy = OutcomePolicy(NO_TRACE, PolicyContext(encoder=ENCODER))
        session = TrainingSession(examples.with_evidence(evidence), valid.with_evidence(evidence), None, worth)
        report = policy.fit(session)
        known = known_of(valid, policy.model, worth, SPACE)
        chosen[evidence] = known.earned(policy.model.of_features(known.x, known.job_type, TABLE)).mean()
        assert any(entry.valid_utility is not None for entry in report.history) == (evidence == "all")
    known = known_of(valid, policy.model, worth, SPACE)
    utility = (known.worth[:, :1] * known.outcome.passed - known.worth[:, 1:2] * known.outcome.minutes / 60
               - known.worth[:, 2:] * known.outcome.cost_usd)  # fmt: skip
    code = known.there.all(axis=0) | known.there[known.job_type == 0].all(axis=0)
    best_constant = utility[:, code].mean(axis=0).max()
    assert chosen["all"] > chosen["executed"] and chosen["all"] > best_constant


def test_without_executed_and_without_validation_it_learns_too():
    examples = with_all_outcomes(150)
    policy = OutcomePolicy(NO_TRACE, PolicyContext(encoder=ENCODER))
    policy.fit(TrainingSession(replace(examples, executed=None), examples.between(0, 0), None))
    again = OutcomePolicy(NO_TRACE, PolicyContext(encoder=ENCODER))
    again.fit(TrainingSession(replace(examples, executed=None), examples.between(0, 0), None))
    np.testing.assert_array_equal(policy.model.weights, again.model.weights)
    plain = OutcomePolicy(OutcomeConfig(rounds=2, steps=20, tune=False), PolicyContext(encoder=ENCODER))
    report = plain.fit(TrainingSession(examples, examples.between(0, 0), None))
    assert all(entry.valid_utility is None for entry in report.history)


def test_the_cautious_one_is_taken_unless_another_is_shown_to_earn_more():
    rng = np.random.default_rng(0)
    constant = rng.normal(0, 1, 400)
    lucky = constant + rng.normal(0.01, 1, 400)
    assert most_cautious(np.stack([constant, constant + 0.2]), np.arange(400)) == 1
    lucky += 0.02 - (lucky - constant).mean()  # better by less than its standard error
    assert most_cautious(np.stack([constant, lucky]), np.arange(400)) == 0
