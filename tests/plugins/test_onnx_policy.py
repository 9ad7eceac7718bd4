"""The base of policies that end in an ONNX model: what it takes, what it refuses, and that it computes the model."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from planner_core import (
    ActionSpace,
    DataError,
    EncoderConfig,
    Examples,
    OnnxPolicy,
    PlannerError,
    PolicyContext,
    SparseFeatures,
    TrainingSession,
    feature_matrix,
    joint_scorer,
)

SPACE = ActionSpace()
CONTEXT = PolicyContext(EncoderConfig(history_slots=1, tag_buckets=16, fail_code_buckets=4))
WIDTH, D_IN = len(SPACE.actions), CONTEXT.encoder.d_in
WEIGHTS = np.random.default_rng(0).normal(scale=0.3, size=(D_IN, 3)).astype(np.float32)


def classifier(source="input", target="likely", d_in=D_IN):
    """softmax(x W) of three classes."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", [source, "w"], ["z"]), helper.make_node("Softmax", ["z"], [target])],
        "three",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["batch", d_in])],
        [helper.make_tensor_value_info(target, TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(WEIGHTS[:d_in], "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def scorer(**options):
    return joint_scorer(classifier(**options), [3, 40, 77], WIDTH, output="likely")


class Given(OnnxPolicy):
    """Learns nothing: the model is the configuration."""

    score_kind = "joint"

    def learn(self, session):
        return self.config


def examples(count):
    dense = (np.random.default_rng(count).random((count, D_IN)) < 0.2).astype(np.float32)
    action = np.full(count, 40)
    features = SparseFeatures.from_dense(dense)
    return Examples(features, np.full(count, 3), SPACE.head_index[action], action, np.zeros(count, np.int64))


def fitted(model, tmp_path):
    policy = Given(model, CONTEXT)
    report = policy.fit(TrainingSession(examples(40), examples(10), tmp_path))
    return policy, report


def test_scores_are_the_models_at_the_places_of_their_actions(tmp_path):
    policy, report = fitted(scorer(), tmp_path)
    batch = examples(2_100).batch()  # more than one chunk
    joint = policy.predict(batch)["joint"]
    z = batch.features.dense() @ WEIGHTS
    expected = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(joint[:, [3, 40, 77]], expected, atol=1e-4)
    assert (np.delete(joint, [3, 40, 77], axis=1) == np.log(np.float32(1e-9))).all()
    assert policy.predict(examples(0).batch())["joint"].shape == (0, WIDTH)
    [entry] = report.history
    assert entry.train_loss > 0 and entry.valid_loss > 0 and 0 <= entry.valid_exact_match <= 1


def test_logits_are_moved_and_not_changed(tmp_path):
    policy, _ = fitted(joint_scorer(classifier(), [3, 40, 77], WIDTH, output="likely", logits=True), tmp_path)
    batch = examples(20).batch()
    z = batch.features.dense() @ WEIGHTS
    likely = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(policy.predict(batch)["joint"][:, [3, 40, 77]], likely, atol=1e-5)


def test_an_only_input_may_have_another_name(tmp_path):
    policy, _ = fitted(scorer(source="X"), tmp_path)
    assert [value.name for value in policy.export_scorer().graph.input] == ["input"]


def test_loaded_is_what_was_saved_and_damage_is_refused(tmp_path):
    policy, _ = fitted(scorer(), tmp_path)
    policy.save(tmp_path)
    again = Given(None, CONTEXT)
    again.load(tmp_path)
    batch = examples(9).batch()
    assert (again.predict(batch)["joint"] == policy.predict(batch)["joint"]).all()
    path = tmp_path / "model.onnx"
    content = path.read_bytes()
    for damaged in (b"", content[: len(content) // 2], content[:-3], b"no model"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"model\.onnx"):
            Given(None, CONTEXT).load(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"model\.onnx"):
        Given(None, CONTEXT).load(tmp_path)


def narrow():
    """One logit too few."""
    return joint_scorer(classifier(), [3, 40, 77], WIDTH - 1, output="likely")


def one_row():
    """A scorer whose batch is one row, burnt in where nobody declares it."""
    model = scorer()
    model.graph.node.append(helper.make_node("Reshape", ["joint", "shape"], ["first"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, WIDTH], np.int64), "shape"))
    model.graph.output[0].name = "first"
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"joint": "inner", "first": "joint"}.get(name, name) for name in names]
    model.graph.output[0].name = "joint"
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: classifier(), r"outputs \['likely'\].*kind 'joint'; classifier_scorer and joint_scorer"),
        (lambda: scorer(d_in=D_IN - 1), "input"),
        (lambda: onnx.ModelProto(), "onnxruntime runs"),
        (lambda: None, "a NoneType.*onnx.ModelProto"),
        (narrow, r"output 'joint' float32 \[2, 149\] for 2 rows.*float32 \[2, 150\]"),
        (one_row, "scores any number of rows"),
    ],
)
def test_a_model_that_is_no_scorer_is_refused_at_once(model, message, tmp_path):
    with pytest.raises(DataError, match=message):
        fitted(model(), tmp_path)


def test_a_policy_that_has_not_learnt_says_so():
    policy = Given(scorer(), CONTEXT)
    for call in (policy.export_scorer, lambda: policy.predict(examples(1).batch())):
        with pytest.raises(PlannerError, match="has not learnt anything yet"):
            call()


def test_an_output_that_is_not_there_is_named():
    with pytest.raises(PlannerError, match=r"no output 'probabilities'.*likely"):
        joint_scorer(classifier(), [1, 2, 3], WIDTH, output="probabilities")


@pytest.mark.parametrize("classes", [[1, 1, 3], [-1, 2, 3], [1, 2, WIDTH], [[1, 2, 3]]])
def test_classes_that_are_no_actions_are_refused(classes):
    with pytest.raises(PlannerError, match=r"different numbers of actions, 0 to 149"):
        joint_scorer(classifier(), classes, WIDTH, output="likely")


@pytest.mark.parametrize("figures", [0, 5])
def test_the_matrix_is_the_features(figures):
    dense = examples(30).features.dense()
    if figures:
        dense[:, -figures:] = np.random.default_rng(0).normal(size=(30, figures))
    features = SparseFeatures.from_dense(dense, figures)
    assert (feature_matrix(features).toarray() == dense).all()
