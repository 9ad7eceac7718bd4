"""Learners of other libraries as policies: what their graph says is what they say themselves."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core import (
    ActionSpace,
    EncoderConfig,
    Examples,
    OnnxPolicy,
    PlannerError,
    PolicyContext,
    SparseFeatures,
    TrainingSession,
    classifier_scorer,
    feature_matrix,
)

SPACE = ActionSpace()
CONTEXT = PolicyContext(EncoderConfig(history_slots=1, tag_buckets=16, fail_code_buckets=4))
ACTIONS = np.array([3, 40, 77])


def examples(count, classes, seed=0):
    """The first two features say which of ``classes`` actions is right."""
    dense = (np.random.default_rng(seed).random((count, CONTEXT.encoder.d_in)) < 0.2).astype(np.float32)
    action = ACTIONS[dense[:, :2].sum(axis=1).astype(int) % classes]
    zeros = np.zeros(count, np.int64)
    return Examples(SparseFeatures.from_dense(dense), np.full(count, 3), SPACE.head_index[action], action, zeros)


def forest(train):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(20, random_state=0).fit(feature_matrix(train.features), train.action), None


def lightgbm(train):
    learner = pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=20, n_jobs=1, verbosity=-1)
    return learner.fit(feature_matrix(train.features), train.action), None


def xgboost(train):
    classes, labels = np.unique(train.action, return_inverse=True)
    learner = pytest.importorskip("xgboost").XGBClassifier(n_estimators=20, max_depth=3, n_jobs=1)
    return learner.fit(train.features.dense(), labels), classes


class Learnt(OnnxPolicy):
    """Its configuration is the function that fits."""

    score_kind = "joint"

    def learn(self, session):
        self.classifier, classes = self.config(session.train)
        return classifier_scorer(self.classifier, self.context, classes)


@pytest.mark.parametrize("classes", [3, 2])
@pytest.mark.parametrize("fit", [forest, lightgbm, xgboost])
def test_a_classifier_is_a_policy(fit, classes, tmp_path):
    policy, judged = Learnt(fit, CONTEXT), examples(200, classes, seed=1)
    policy.fit(TrainingSession(examples(400, classes), judged, tmp_path))
    assert {entry.domain: entry.version for entry in policy.export_scorer().opset_import}[
        ""
    ] >= 17  # what a bundle asks for
    joint = policy.predict(judged.batch())["joint"]
    # Dense rows are what XGBoost takes for what they are; a sparse matrix leaves out what is 0, which it calls missing.
    likely = policy.classifier.predict_proba(judged.features.dense())
    np.testing.assert_allclose(np.exp(joint[:, ACTIONS[:classes]]), likely, atol=1e-5)
    assert (np.delete(joint, ACTIONS[:classes], axis=1) == np.log(np.float32(1e-9))).all()
    assert (joint.argmax(axis=1) == judged.action).mean() > 0.8


def test_what_cannot_be_converted_is_said(tmp_path):
    with pytest.raises(PlannerError, match="skl2onnx cannot convert this object"):
        classifier_scorer(object(), CONTEXT)


def test_a_missing_converter_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(PlannerError, match="becomes a graph by skl2onnx: install skl2onnx"):
        classifier_scorer(forest(examples(50, 2))[0], CONTEXT)
