"""Heads merged into one product: same values, and only where they are linear in one hidden layer."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from planner_core import HEADS, ActionSpace, PolicyContext
from planner_core.runtime.session import OUTPUTS, open_session
from planner_export.graph import build_graph
from planner_export.head_layer import head_layer
from planner_export.parity import run_session, sample_batch

SPACE = ActionSpace()
SIZES = dict(zip(HEADS, SPACE.head_sizes, strict=True))
D_IN, WIDTH = PolicyContext().encoder.d_in, 5
TEMPERATURES = {"swarm": 0.5, "candidates": 1.0, "minutes": 2.0, "iterations": 7.3}


def scorer(spoil=None, trans=0, bias=True):
    """Features to a hidden layer to four heads; ``spoil`` changes the nodes, so that they are no plain heads."""
    rng = np.random.default_rng(3)
    constants = {"first": rng.normal(size=(D_IN, WIDTH))}
    nodes = [helper.make_node("MatMul", ["input", "first"], ["sum"]), helper.make_node("Relu", ["sum"], ["hidden"])]
    for name, size in SIZES.items():
        constants[f"w_{name}"] = rng.normal(size=(size, WIDTH) if trans else (WIDTH, size))
        constants[f"b_{name}"] = rng.normal(size=size)
        inputs = ["hidden", f"w_{name}", *([f"b_{name}"] if bias else [])]
        nodes.append(helper.make_node("Gemm", inputs, [name], transB=trans))
    if spoil:
        spoil(nodes, constants)
    graph = helper.make_graph(
        nodes,
        "scorer",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", D_IN])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in SIZES.items()],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def outputs(model):
    return run_session(open_session(model.SerializeToString()), sample_batch(16, 2, PolicyContext()))


def merged(model):
    return head_layer(model, SIZES, [TEMPERATURES[name] for name in HEADS])


@pytest.mark.parametrize(("trans", "bias"), [(0, True), (1, True), (0, False)])
def test_the_graph_computes_what_four_heads_compute(trans, bias, monkeypatch):
    model = scorer(trans=trans, bias=bias)
    one = build_graph(model, "heads", PolicyContext(), TEMPERATURES)
    monkeypatch.setattr("planner_export.graph.head_layer", lambda *given: None)
    four = build_graph(model, "heads", PolicyContext(), TEMPERATURES)
    assert len(one.graph.node) == len(four.graph.node) - 8
    assert not any("w_swarm" in tensor.name for tensor in one.graph.initializer)
    expected, found = outputs(four), outputs(one)
    for name in OUTPUTS:
        assert found[name] == pytest.approx(expected[name], abs=2e-5), name


def test_temperatures_are_in_the_weights():
    layer = merged(scorer())
    raw = {t.name: numpy_helper.to_array(t) for t in scorer().graph.initializer}
    assert layer.hidden == "hidden" and layer.weight.shape == (WIDTH, sum(SIZES.values()))
    assert layer.weight[:, :2] == pytest.approx(raw["w_swarm"] / 0.5)
    assert layer.bias[-5:] == pytest.approx(raw["b_iterations"] / 7.3)
    assert [node.op_type for node in layer.model.graph.node] == ["MatMul", "Relu"]


def two_sources(nodes, constants):
    nodes[2].input[0] = "sum"


def scaled(nodes, constants):
    nodes[3].attribute.append(helper.make_attribute("alpha", 2.0))


def read_again(nodes, constants):
    nodes[2].output[0] = "other"
    nodes.append(helper.make_node("Relu", ["other"], ["swarm"]))


def computed_weight(nodes, constants):
    nodes.insert(2, helper.make_node("Relu", ["w_minutes"], ["positive"]))
    nodes[5].input[1] = "positive"


def feeds_another(nodes, constants):
    nodes[3].input[0] = "swarm_hidden"
    nodes.insert(3, helper.make_node("MatMul", ["swarm", "back"], ["swarm_hidden"]))
    constants["back"] = np.ones((2, WIDTH))


@pytest.mark.parametrize("spoil", [two_sources, scaled, read_again, computed_weight, feeds_another])
def test_other_scorers_are_left_alone(spoil):
    model = scorer(spoil)
    assert merged(model) is None
    assert set(outputs(build_graph(model, "heads", PolicyContext(), TEMPERATURES))) == set(OUTPUTS)


def test_heads_of_other_sizes_are_not_merged():
    """Their classes might add up all the same, and be cut in the wrong places."""
    sizes = {**SIZES, "swarm": 3, "candidates": 3}
    assert head_layer(scorer(), sizes, [1.0] * 4) is None
