"""A bundle whose policy predicts outcomes: twins have one mass, and outcomes may be given another worth at load."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from planner_core import ActionSpace, DataError, Planner, PlannerInput, job_type_index, resolve, valid_actions
from planner_core.action_space import NA, Action
from planner_core.data.samples import sample_inputs
from planner_core.errors import BundleError
from planner_core.jsonio import convert
from planner_core.utility import UTILITY_WEIGHTS

SPACE = ActionSpace()
DOCUMENTS = sample_inputs(24, seed=5)


@pytest.fixture
def bundle(outcome_bundle):
    return outcome_bundle


def chosen(action):
    budgets = action["budgets"]
    return Action(action["swarm_id"], *(budgets[f"max_{name}_bin"] for name in ("candidates", "minutes", "iterations")))


def test_it_decides_on_explicit_numbers(bundle):
    planner = Planner.load(bundle, strict=True)
    for document in DOCUMENTS:
        action = planner.decide(document)
        assert not action["abstain_to_default"]
        own, job = chosen(action), document["job_type"]
        index = SPACE.index[own]
        jobs = ("code", "fab-world", "fab-asset", "other")
        assert SPACE.canonical[jobs.index(job) if job in jobs else 3, index] == index


def test_a_request_that_offers_only_the_twin_gets_it(bundle):
    """NA candidates are two; where two is not on offer, NA is what two would have been."""
    planner = Planner.load(bundle, strict=True)
    document = next(d for d in DOCUMENTS if d["job_type"] == "fab-asset")
    explicit = json.loads(json.dumps(document))
    explicit["action_space"] |= {"swarm_ids": ["speculate_vote"], "max_candidates_bins": [2]}
    twin = json.loads(json.dumps(explicit))
    twin["action_space"] |= {"max_candidates_bins": ["NA"], "max_iterations_bins": [1, "NA", 3]}
    explicit["action_space"] |= {"max_iterations_bins": [1, 2, 3]}
    # Only what is offered differs: the features of the action space say so too, so compare what they mean.
    first, second = (planner.decide(d) for d in (explicit, twin))
    assert not second["abstain_to_default"] and chosen(second).candidates == NA
    assert resolve(chosen(first), "fab-asset") == resolve(chosen(second), "fab-asset")


def test_another_worth_needs_no_other_bundle(bundle):
    dear = {name: {**weights, "time": 500.0} for name, weights in UTILITY_WEIGHTS.items()}
    plain, hurried = Planner.load(bundle, strict=True), Planner.load(bundle, strict=True, utility=dear)
    minutes = [
        np.mean([resolve(chosen(planner.decide(d)), d["job_type"])[2] for d in DOCUMENTS])
        for planner in (plain, hurried)
    ]
    assert minutes[1] == 15 < minutes[0]  # where an hour costs more than any pass, the shortest budget is best


def test_the_same_worth_is_the_graphs_own(bundle):
    plain, same = Planner.load(bundle, strict=True), Planner.load(bundle, strict=True, utility=UTILITY_WEIGHTS)
    for one, other in zip(plain.decide_batch(DOCUMENTS), same.decide_batch(DOCUMENTS), strict=True):
        assert chosen(one) == chosen(other)
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-4)


def test_a_worth_that_does_not_fit(bundle, bundles):
    with pytest.raises(DataError, match=r"utility, at \$\.utility\.P0: found no 'cost'"):
        Planner.load(bundle, utility={**UTILITY_WEIGHTS, "P0": {"pass": 1.0, "time": 1.0}})
    with pytest.raises(BundleError, match="its policy predicts no outcomes"):
        Planner.load(bundles["mlp"], strict=True, utility=UTILITY_WEIGHTS)


def test_what_is_expected_is_the_graphs_own(bundle):
    """Of the action and of the rules', one by one, alone and beside others."""
    import onnxruntime

    from planner_core.encoder import PlannerInputEncoder

    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    planner, rules = Planner.load(bundle, strict=True), Planner(None, mode="off")
    for document in DOCUMENTS:
        job = job_type_index(document["job_type"])
        feed = {"input": PlannerInputEncoder().encode(document)[None], "job_type": np.array([job])}
        names = ["expected_passed", "expected_minutes", "expected_cost_usd"]
        outputs = [row[0] for row in session.run(names, feed)]
        plan = planner.plan(document)
        for told, action in (("action", plan.action), ("baseline", rules.decide(document))):
            at = SPACE.index[chosen(action)]
            wanted = dict(zip(("passed", "minutes", "cost_usd"), (float(o[at]) for o in outputs), strict=True))
            assert plan.expected[told] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("worth", [None, {p: {**w, "time": 20.0} for p, w in UTILITY_WEIGHTS.items()}])
def test_what_is_explored_is_hardly_worse(bundle, worth):
    """Worked out again from what is expected of each action alone, also where outcomes are given another worth."""
    loss = 0.05
    planner = Planner.load(bundle, strict=True, explore=1.0, explore_within=loss, utility=worth)
    told = Counter()
    for document in DOCUMENTS:
        plan = planner.plan(document)
        w = (worth or json.loads((bundle / "calibration.json").read_text())["utility"])[
            document["issue"]["dk_priority"]
        ]
        utilities = {}
        for action in valid_actions(document["job_type"]):
            expected = expected_outcome(planner, document, action)
            utility = w["pass"] * expected[0] - w["time"] * expected[1] / 60 - w["cost"] * expected[2]
            utilities[key_of(action, document["job_type"])] = utility
        best = utilities[key_of(chosen(plan.prediction), document["job_type"])]
        near = {name for name, utility in utilities.items() if utility >= best - loss}
        sure = {name for name in utilities if abs(utilities[name] - best + loss) > 1e-4}
        assert set(plan.propensities) & sure == near & sure
        assert sum(plan.propensities.values()) == pytest.approx(1.0)
        told[len(near)] += 1
    assert len(told) > 1  # not always everything, nor always one


def expected_outcome(planner, document, action):
    x = convert(document, PlannerInput, "input")
    job = job_type_index(document["job_type"])
    outcomes = planner.predictor.answer([x, x]).outcomes[0]
    return outcomes[:, SPACE.canonical[job, SPACE.index[action]]].astype(float)


def key_of(action, job_type):
    return "|".join((action.swarm, *map(str, resolve(action, job_type)[1:])))
