"""Graphs of policies that predict outcomes: ten outputs, utilities inside, twins as one, in both forms of the graph."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from planner_core import (
    OUTCOME_ARRAYS,
    ActionSpace,
    BundleError,
    ParityError,
    PlannerError,
    PolicyContext,
    decide,
    row_weights,
    weight_table,
)
from planner_core.runtime.bundle import INDEX_MODEL, MODEL
from planner_core.runtime.session import EXPECTED, OUTPUTS, check_interface, open_session
from planner_export.first_layer import bundle_graphs
from planner_export.graph import build_graph
from planner_export.parity import check_parity, run_session, sample_batch

SPACE, CONTEXT = ActionSpace(), PolicyContext()
D_IN, N, WIDTH = CONTEXT.encoder.d_in, len(SPACE.actions), 24
TAU = {"utility": 0.05}
"""Small, as a fitted one may be: it makes 1e-7 of utility into 2e-6 of a logit."""


class Linear:
    """Outcomes linear in a hidden layer that is linear in the features, each through a function of its own range."""

    score_kind = "outcomes"

    def __init__(self, op="MatMul", seed=0):
        rng = np.random.default_rng(seed)
        self.op = op
        self.first = rng.normal(size=(D_IN, WIDTH), scale=0.2).astype(np.float32)
        self.bias = rng.normal(size=WIDTH).astype(np.float32)
        self.heads = {name: rng.normal(size=(WIDTH, N), scale=0.2).astype(np.float32) for name in OUTCOME_ARRAYS}

    def predict(self, batch):
        hidden = batch.features.dense() @ self.first + self.bias
        logits = {name: hidden @ head for name, head in self.heads.items()}
        passed = 1.0 / (1.0 + np.exp(-logits["passed"]))
        return {"passed": passed, "minutes": np.exp(logits["minutes"]), "cost_usd": np.exp(logits["cost_usd"])}

    def export_scorer(self):
        constants = {"first": self.first, "bias": self.bias, "zero": np.zeros((1, D_IN), np.float32)}
        constants |= {f"w_{name}": head for name, head in self.heads.items()}
        read = {
            "MatMul": [
                helper.make_node("MatMul", ["input", "first"], ["sum"]),
                helper.make_node("Add", ["sum", "bias"], ["hidden"]),
            ],
            "Gemm": [helper.make_node("Gemm", ["input", "first", "bias"], ["hidden"])],
            "another operator": [
                helper.make_node("Add", ["input", "zero"], ["copied"]),
                helper.make_node("Gemm", ["copied", "first", "bias"], ["hidden"]),
            ],
        }[self.op]
        ends = {"passed": "Sigmoid", "minutes": "Exp", "cost_usd": "Exp"}
        nodes = [
            *read,
            *(helper.make_node("MatMul", ["hidden", f"w_{name}"], [f"logit_{name}"]) for name in ends),
            *(helper.make_node(op, [f"logit_{name}"], [name]) for name, op in ends.items()),
        ]
        graph = helper.make_graph(
            nodes,
            "linear",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", D_IN])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", N]) for name in OUTCOME_ARRAYS],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def graphs(policy):
    """{file: bytes} of a policy, with an index graph although so small a layer would get none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner_export.first_layer.MIN_WEIGHTS", 0)
        made = bundle_graphs(build_graph(policy.export_scorer(), "outcomes", CONTEXT, TAU))
    return {name: model.SerializeToString() for name, model in made.items()}


@pytest.fixture(scope="module")
def sessions():
    return {name: open_session(content, name=name) for name, content in graphs(Linear()).items()}


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_both_graphs_equal_the_policy(op):
    policy = Linear(op)
    made = graphs(policy)
    assert set(made) == {MODEL, INDEX_MODEL}
    for name, content in made.items():
        session = open_session(content, name=name)
        check_interface(session, D_IN, SPACE, name, "outcomes")
        report = check_parity(policy, session, CONTEXT, TAU)
        assert set(report["cases"][0]["max_abs_diff"]) == {*OUTPUTS, *EXPECTED.values()} - {"action"}


def test_a_scorer_that_reads_its_features_otherwise_has_the_dense_graph_alone():
    policy = Linear("another operator")
    made = graphs(policy)
    assert set(made) == {MODEL}
    check_parity(policy, open_session(made[MODEL]), CONTEXT, TAU)


def test_probabilities_are_those_of_the_utilities_of_what_actions_mean(sessions):
    """By the definition, action by action, in plain Python; the graph's own outcomes are given."""
    batch = sample_batch(24, 11, CONTEXT)
    priority = batch.features.dense()[:, list(CONTEXT.encoder.group("priority"))].argmax(axis=1)
    assert len(set(priority.tolist())) == 4
    for session in sessions.values():
        found = run_session(session, batch)
        for row, (job, p) in enumerate(zip(batch.job_type, priority, strict=True)):
            passed, time, cost = weight_table()[p]
            standing = [i for i in range(N) if SPACE.joint_masks[job, i] and SPACE.canonical[job, i] == i]
            assert len(standing) == len(set(SPACE.canonical[job][SPACE.joint_masks[job]].tolist()))
            of = {name: found[output][row].astype(float) for name, output in EXPECTED.items()}
            utility = np.array(
                [passed * of["passed"][i] - time * of["minutes"][i] / 60 - cost * of["cost_usd"][i] for i in standing]
            )
            weights = np.exp((utility - utility.max()) / passed / TAU["utility"])
            wanted = np.zeros(N)
            wanted[standing] = weights / weights.sum()
            assert found["action_probs"][row] == pytest.approx(wanted, abs=1e-5)
            assert found["action"][row] == standing[int(utility.argmax())]
            assert not found["action_probs"][row][[i for i in range(N) if i not in standing]].any()


def test_heads_are_log_marginals(sessions):
    found = run_session(sessions[MODEL], sample_batch(8, 3, CONTEXT))
    marginals = found["action_probs"].astype(float) @ SPACE.incidence.T
    heads = np.concatenate([found[name] for name in OUTPUTS[:4]], axis=1)
    assert np.exp(heads) == pytest.approx(np.maximum(marginals, 1e-9), rel=1e-4, abs=2e-9)


def test_a_row_without_a_priority_is_worth_nothing(sessions):
    batch = sample_batch(1, 5, CONTEXT)
    group = CONTEXT.encoder.group("priority")
    features = batch.features.dense()
    features[:, list(group)] = 0.0
    (probs,) = sessions[MODEL].run(["action_probs"], {"input": features, "job_type": batch.job_type})
    job = int(batch.job_type[0])
    standing = SPACE.joint_masks[job] & (SPACE.canonical[job] == np.arange(N))
    assert probs[0] == pytest.approx(standing / standing.sum())


def test_the_graph_and_decide_agree_on_other_rows(sessions):
    batch = sample_batch(7, 91, CONTEXT)  # a size and inputs that the gate never tries
    found = run_session(sessions[INDEX_MODEL], batch)
    scores = {name: found[output] for name, output in EXPECTED.items()}
    expected = decide(scores, batch.job_type, TAU, SPACE, row_weights(batch.features))
    assert found["action"].tolist() == expected.action.tolist()
    assert found["confidence"] == pytest.approx(expected.confidence, abs=1e-6)


@pytest.mark.parametrize("name", OUTCOME_ARRAYS)
def test_the_gate_bites_on_every_outcome(name):
    policy, other = Linear(), Linear()
    other.heads[name] = other.heads[name] * np.float32(1.001)
    session = open_session(graphs(other)[MODEL])
    with pytest.raises(ParityError, match=f"output expected_{name}, batch 1"):
        check_parity(policy, session, CONTEXT, TAU)


def test_the_gate_bites_on_the_tail():
    """The outcomes are the policy's; the temperature in the graph is another."""
    session = open_session(graphs(Linear())[MODEL])
    with pytest.raises(ParityError, match=r"output (swarm|candidates|minutes|iterations|action_probs)"):
        check_parity(Linear(), session, CONTEXT, {"utility": 0.0501})


def test_a_run_with_weights_of_its_own_has_them_in_its_graph():
    worth = weight_table()[::-1] * [1.0, 2.0, 3.0]
    model = build_graph(Linear().export_scorer(), "outcomes", CONTEXT, TAU, worth)
    session = open_session(model.SerializeToString())
    check_parity(Linear(), session, CONTEXT, TAU, worth=worth)
    with pytest.raises(ParityError):
        check_parity(Linear(), session, CONTEXT, TAU)


def test_the_further_outputs_belong_to_the_kind(sessions):
    with pytest.raises(BundleError, match="found outputs"):
        check_interface(sessions[MODEL], D_IN, SPACE)
    heads = build_graph(_heads(), "heads", CONTEXT, dict.fromkeys(OUTPUTS[:4], 1.0))
    with pytest.raises(BundleError, match="found outputs"):
        check_interface(open_session(heads.SerializeToString()), D_IN, SPACE, kind="outcomes")


def test_a_scorer_of_another_kind_is_refused():
    with pytest.raises(PlannerError, match=r"outputs are .*swarm.*expected .*passed"):
        build_graph(_heads(), "outcomes", CONTEXT, TAU)


def _heads():
    sizes = dict(zip(OUTPUTS[:4], SPACE.head_sizes, strict=True))
    nodes = [helper.make_node("MatMul", ["input", f"w_{name}"], [name]) for name in sizes]
    graph = helper.make_graph(
        nodes,
        "heads",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", D_IN])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in sizes.items()],
        [numpy_helper.from_array(np.ones((D_IN, size), np.float32), f"w_{name}") for name, size in sizes.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
