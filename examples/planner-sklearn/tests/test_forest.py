"""A forest of labels, a forest of utilities, and the conformance kit."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core import (
    Action,
    ActionSpace,
    EncoderConfig,
    Examples,
    Outcomes,
    PolicyContext,
    SparseFeatures,
    TrainingSession,
)
from planner_core.testing import policy_checks
from planner_sklearn import ForestConfig
from planner_sklearn.policy import Forest

SPACE = ActionSpace()
CONTEXT = PolicyContext(EncoderConfig(history_slots=1, tag_buckets=16, fail_code_buckets=4))
CHEAP, STRONG = (SPACE.index[Action(*a)] for a in (("serial_handoff", 1, 15, 1), ("speculate_vote", 3, 30, 2)))


@pytest.mark.parametrize("check", policy_checks("forest", values={"trees": 20}))
def test_conformance(check):
    check()


def examples(count, seed, outcomes=False):
    """The first feature says which of two actions is right; the labels then say the opposite of the outcomes."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((count, CONTEXT.encoder.d_in)) < 0.2).astype(np.float32)
    dense[:, 0] = rng.random(count) < 0.5
    right = np.where(dense[:, 0] > 0, STRONG, CHEAP)
    known = None
    if outcomes:
        passed = np.full((count, len(SPACE.actions)), np.nan, np.float32)
        passed[:, [CHEAP, STRONG]] = 0.0
        passed[np.arange(count), right] = rng.random(count) < 0.8
        known = Outcomes(passed, passed * 0 + 10, passed * 0 + 0.1)  # NaN where passed is
    action = CHEAP + STRONG - right if outcomes else right
    zeros = np.zeros(count, np.int64)
    features = SparseFeatures.from_dense(dense)
    return Examples(features, np.full(count, 3), SPACE.head_index[action], action, zeros, known), right


@pytest.mark.parametrize("outcomes", [False, True])
def test_it_learns_labels_where_nothing_else_is_known_and_utilities_where_it_is(tmp_path, outcomes):
    train, _ = examples(600, 1, outcomes)
    judged, right = examples(200, 2, outcomes)
    policy = Forest(ForestConfig(trees=20), CONTEXT)
    report = policy.fit(TrainingSession(train, judged, tmp_path))
    chosen = policy.predict(judged.batch())["joint"][:, [CHEAP, STRONG]].argmax(axis=1)
    assert (np.array([CHEAP, STRONG])[chosen] == right).mean() > 0.9
    assert report.best_epoch == 1 and np.isfinite(report.history[0].train_loss)
