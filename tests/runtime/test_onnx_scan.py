"""The scan of an ONNX file by itself: every place that can hold what is forbidden, and any bytes at all."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_bytes import WEIGHTS, field, outside

from planner_core.errors import BundleError
from planner_core.runtime.onnx_scan import check_self_contained


def branch(tensor):
    """A graph without inputs that gives a constant back."""
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    return helper.make_graph([helper.make_node("Identity", ["w"], ["out"])], "branch", [], [out], [tensor])


def with_if(then, other):
    node = helper.make_node("If", ["cond"], ["y"], then_branch=then, else_branch=other)
    inputs = [helper.make_tensor_value_info("cond", TensorProto.BOOL, [])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])]
    graph = helper.make_graph([node], "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


SMALL = with_if(branch(WEIGHTS), branch(WEIGHTS)).SerializeToString()


def constant(**value):
    """A model of one Constant."""
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], **value)],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def sparse(values, indices):
    out = onnx.SparseTensorProto(values=values, indices=indices)
    out.dims.append(4)
    return out


INDICES = numpy_helper.from_array(np.array([0, 2], np.int64), "i")


def in_initializer(tensor):
    model = constant(value=WEIGHTS)
    model.graph.initializer.append(tensor)
    return model


def in_sparse_initializer(tensor, indices=INDICES):
    model = constant(value=WEIGHTS)
    model.graph.sparse_initializer.append(sparse(tensor, indices))
    return model


def in_tensors(tensor):
    model = constant(value=WEIGHTS)
    model.graph.node[0].attribute.append(helper.make_attribute("many", [WEIGHTS, tensor]))
    return model


def in_graphs(tensor):
    model = constant(value=WEIGHTS)
    model.graph.node[0].attribute.append(helper.make_attribute("many", [branch(WEIGHTS), branch(tensor)]))
    return model


def nested_twice(tensor):
    inner = helper.make_node("If", ["cond"], ["out"], then_branch=branch(WEIGHTS), else_branch=branch(tensor))
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    return with_if(branch(WEIGHTS), helper.make_graph([inner], "outer", [], [out]))


HOLDERS = {
    "initializer": in_initializer,
    "attribute": lambda t: constant(value=t),
    "attribute list": in_tensors,
    "sparse attribute": lambda t: constant(sparse_value=sparse(t, INDICES)),
    "sparse values": in_sparse_initializer,
    "sparse indices": lambda t: in_sparse_initializer(WEIGHTS, t),
    "then branch": lambda t: with_if(branch(t), branch(WEIGHTS)),
    "else branch": lambda t: with_if(branch(WEIGHTS), branch(t)),
    "graph list": in_graphs,
    "nested twice": nested_twice,
}


@pytest.mark.parametrize("place", HOLDERS)
def test_every_place_that_holds_a_tensor(place):
    check_self_contained(HOLDERS[place](WEIGHTS).SerializeToString())
    with pytest.raises(BundleError, match="weights in other files"):
        check_self_contained(HOLDERS[place](outside(WEIGHTS)).SerializeToString())


def test_operator_of_another_domain_in_a_branch():
    graph = branch(WEIGHTS)
    graph.node.append(helper.make_node("Gelu", ["w"], ["unused"], domain="com.microsoft"))
    with pytest.raises(BundleError, match=r"Gelu is of the domain 'com\.microsoft'"):
        check_self_contained(with_if(branch(WEIGHTS), graph).SerializeToString())


def test_graphs_nested_without_end():
    """No recursion error for a caller who catches only what is documented."""
    graph = b""
    for _ in range(2000):
        graph = field(1, field(5, field(6, graph)))  # a node's attribute's graph
    with pytest.raises(BundleError, match="nested too deeply"):
        check_self_contained(field(7, graph))


def by_hand(wide):
    """{what: model bytes}, each with the one forbidden thing in a field whose tag is spelt ``wide``."""
    entry = onnx.StringStringEntryProto(key="location", value="w.bin").SerializeToString()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2]).SerializeToString()
    node = onnx.NodeProto(op_type="Gelu", input=["w"], output=["y"]).SerializeToString()
    return {
        "external data": field(7, field(5, tensor + field(13, entry, wide))),
        "operator's domain": field(7, field(1, node + field(7, b"com.microsoft", wide))),
        "operator set": field(8, field(1, b"com.microsoft", wide)),
        "function": field(25, b"", wide),
    }


@pytest.mark.parametrize("what", by_hand(False))
def test_fields_by_hand(what):
    """The bytes of the next test, spelt as usual, are refused."""
    with pytest.raises(BundleError):
        check_self_contained(by_hand(False)[what])


@pytest.mark.parametrize("what", by_hand(True))
def test_tags_spelt_in_more_bits_than_they_have(what):
    with pytest.raises(BundleError):
        check_self_contained(by_hand(True)[what])


def scan(raw):
    """None or BundleError; whatever else comes out fails the test."""
    try:
        assert check_self_contained(raw) is None
    except BundleError as problem:
        assert str(problem).startswith("model.onnx: ")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_scan_of_any_bytes(raw):
    scan(raw)


EDITS = st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.binary(max_size=3)), min_size=1, max_size=4)


@settings(max_examples=300)
@given(EDITS, st.integers(0, len(SMALL)))
def test_scan_of_a_spoilt_model(edits, length):
    raw = bytearray(SMALL)
    for place, piece in edits:
        raw[place : place + 1] = piece
    scan(bytes(raw))
    scan(bytes(raw[:length]))


NUMBERS = st.sampled_from([1, 2, 4, 5, 6, 7, 8, 10, 11, 13, 14, 15, 22, 23, 25, 2**29 - 1, 2**40])
PAYLOADS = st.recursive(
    st.binary(max_size=6) | st.sampled_from([b"com.example", b"ai.onnx", b"\xff"]),
    lambda inner: st.lists(st.tuples(NUMBERS, inner), max_size=4).map(
        lambda items: b"".join(field(number, payload) for number, payload in items)
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(PAYLOADS)
def test_scan_of_messages_in_messages(raw):
    """Fields with the right numbers in the wrong places, which random bytes hardly ever are."""
    scan(field(7, raw))
    scan(raw)


@pytest.mark.slow
def test_scan_of_many_random_edits(bundles):
    """The same on a whole exported model: bytes changed near its structure, lengths and tags included."""
    model = onnx.load(bundles["mlp"] / "model.onnx")
    for tensor in model.graph.initializer:
        tensor.raw_data = tensor.raw_data[:8]
    raw, rng = model.SerializeToString(), np.random.default_rng(5)
    for _ in range(20_000):
        spoilt = bytearray(raw)
        for place in rng.integers(0, len(raw), rng.integers(1, 4)):
            spoilt[place] = int(rng.integers(256))
        scan(bytes(spoilt[: rng.integers(1, len(raw) + 1)] if rng.random() < 0.2 else spoilt))
