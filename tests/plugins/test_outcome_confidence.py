"""What the confidence of an outcome policy means: surer decisions are less far from the best."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core.data.dataset import load_dataset
from planner_core.harness.evaluate import judge, policy_decider
from planner_core.harness.outcome_metrics import regret_by_confidence
from planner_core.plugins.guard import make_policy
from planner_core.policy import PolicyContext
from planner_core.training import TrainingSession
from planner_core.world.source import make_world


def test_regret_by_confidence_by_hand():
    columns = {"regret": np.array([0.4, 0.1, np.nan, 0.3, 0.2])}
    sure = np.array([0.2, 0.9, 1.0, 0.3, 0.8])
    assert regret_by_confidence(sure, columns, parts=2) == pytest.approx([0.15, 0.35])
    assert regret_by_confidence(sure, columns, parts=5) is None


@pytest.mark.slow
def test_surer_decisions_have_less_regret(tmp_path, registry):
    """Over five worlds the surest quarter has less regret than the least sure one, by two standard errors."""
    spec = registry.spec("outcome")
    gaps = []
    for seed in range(5):
        make_world(tmp_path / str(seed), 2500, seed=seed)
        data = load_dataset(tmp_path / str(seed))
        policy = make_policy(spec, spec.config_type(), PolicyContext())
        train, valid = (data.split(name).with_evidence("executed") for name in ("train", "val"))
        policy.fit(TrainingSession(train, valid, tmp_path))
        parts = judge(policy_decider(policy, PolicyContext()), data, "test").to_dict()["regret_by_confidence"]
        gaps.append(parts[-1] - parts[0])
    assert np.mean(gaps) > 2 * np.std(gaps, ddof=1) / np.sqrt(len(gaps)), gaps
