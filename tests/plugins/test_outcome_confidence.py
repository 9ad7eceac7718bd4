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


def ranks(values):
    """Ranks of ``values``, those of equal values their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


@pytest.mark.slow
def test_surer_decisions_rank_lower_in_regret(tmp_path, registry):
    """In each of five worlds confidence and regret are ranked in opposite orders, by two standard errors over them.

    The mean regret of the surest quarter is not shown to be lower: now and then a sure decision is far off.
    """
    spec = registry.spec("outcome")
    found = []
    for seed in range(5):
        make_world(tmp_path / str(seed), 2500, seed=seed)
        data = load_dataset(tmp_path / str(seed))
        policy = make_policy(spec, spec.config_type(), PolicyContext())
        train, valid = (data.split(name).with_evidence("executed") for name in ("train", "val"))
        policy.fit(TrainingSession(train, valid, tmp_path))
        judged = judge(policy_decider(policy, PolicyContext()), data, "test")
        assert len(judged.to_dict()["regret_by_confidence"]) == 4
        found.append(np.corrcoef(ranks(judged.decision.confidence), ranks(judged.columns["regret"]))[0, 1])
    assert max(found) < 0.0, found
    assert np.mean(found) < -2 * np.std(found, ddof=1) / np.sqrt(len(found)), found
