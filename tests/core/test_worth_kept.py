"""What outcomes are worth in training is what a run decides by, wherever it is opened."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from planner_core.decision import row_weights
from planner_core.harness import sources
from planner_core.plugins.predictor import PolicyPredictor
from planner_core.policy import PolicyContext
from planner_core.utility import UTILITY_WEIGHTS, weight_table

DEAR = {name: {**weights, "cost": 9.0} for name, weights in UTILITY_WEIGHTS.items()}


class Costly:
    """Expects every action to pass and to cost more the higher its number, or less the higher it is."""

    score_kind = "outcomes"

    def predict(self, batch):
        cost = np.tile(np.arange(150, dtype=np.float32), (len(batch), 1))
        passed = np.tile(np.linspace(0, 1, 150, dtype=np.float32), (len(batch), 1))
        return {"passed": passed, "minutes": np.zeros_like(cost), "cost_usd": cost / 150}


def test_a_predictor_decides_by_the_weights_it_is_given(dataset):
    inputs = [dataset.split("test").inputs[row] for row in range(8)]
    of_default, of_dear = (
        PolicyPredictor(Costly(), PolicyContext(), None, weight_table(table)).action_probs(inputs).argmax(axis=1)
        for table in (None, DEAR)
    )
    assert (of_dear < of_default).all()


def test_a_run_is_opened_with_the_weights_of_its_training(dataset, monkeypatch, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({}))
    run = SimpleNamespace(
        policy=Costly(),
        policy_name="mlp",
        context=PolicyContext(),
        temperatures=None,
        calibration={"utility": DEAR},
        results={"dataset": {"hash": "00", "until_ms": 5}},
    )
    monkeypatch.setattr(sources, "load_run", lambda path, registry, policy: run)
    monkeypatch.setattr(sources, "is_run", lambda path: True)
    opened = sources.open_path(tmp_path, None)
    batch = dataset.split("test").batch()
    decision, _ = opened.decider(batch)
    assert np.array_equal(opened.utility, weight_table(DEAR)) and opened.learnt.until_ms == 5
    other, _ = sources.open_path(tmp_path, None, None, weight_table()).decider(batch)
    assert (decision.action < other.action).all()
    assert row_weights(batch.features, opened.utility).shape == (len(batch), 3)
    assert replace(opened, name="x").path == tmp_path
