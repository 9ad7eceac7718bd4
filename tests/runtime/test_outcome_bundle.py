"""A bundle whose policy predicts outcomes: twins have one mass, and outcomes may be given another worth at load."""

from __future__ import annotations

import json

import numpy as np
import pytest

from planner_core import ActionSpace, DataError, Planner, resolve
from planner_core.action_space import NA, Action
from planner_core.data.samples import sample_inputs
from planner_core.errors import BundleError
from planner_core.utility import UTILITY_WEIGHTS

SPACE = ActionSpace()
DOCUMENTS = sample_inputs(24, seed=5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, dataset, registry):
    """``outcome``, fitted briefly on the log of the small world."""
    from planner_core.harness.train import train
    from planner_core.settings import make_settings
    from planner_export.bundle import export_bundle

    root = tmp_path_factory.mktemp("outcome")
    values = {"rounds": 1, "steps": 10, "evidence": "executed"}
    settings = make_settings("outcome", registry.spec("outcome").config_type, values)
    train("outcome", dataset, root / "run", settings, registry)
    export_bundle("outcome", registry, root / "bundle", run=root / "run")
    return root / "bundle"


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
