"""Making the first layer cheap: features whose weights are all zero need not be multiplied, nor those that are off.

Of the 3779 features a training set shows a policy a few hundred; the weights of the others stay zero. Where the graph
reads its features through one matrix product, as most do, both passes below keep its values and change its cost.
A graph that reads them in another way is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from planner_core.runtime.bundle import INDEX_MODEL, MODEL
from planner_core.runtime.session import FEATURES, INDICES

PREFIX = "first/"

MIN_WEIGHTS = 65_536
"""From this many on, reading only the rows that are on saves more than the extra operators cost (measured: a layer of
653 x 512 takes 50 us whole and 25 us by rows, one of 8 x 1 takes 1 us against 10)."""


@dataclass(frozen=True)
class FirstLayer:
    """The one node that reads the features: ``input @ weight (+ bias)``.

    ``at`` is the node's place in the graph, ``weight`` float32 [d_in, width], ``bias`` the name of a tensor or None.
    """

    at: int
    output: str
    weight: np.ndarray
    bias: str | None

    @property
    def used(self) -> np.ndarray:
        """int64 [n]: features with a weight other than zero; the first one where there is none."""
        rows = np.flatnonzero(self.weight.any(axis=1))
        return rows if len(rows) else np.zeros(1, np.int64)


def bundle_graphs(model: onnx.ModelProto) -> dict[str, onnx.ModelProto]:
    """The graphs that a bundle holds for ``model``, by the names of their files."""
    indexed = by_indices(model)
    return {MODEL: narrowed(model), **({} if indexed is None else {INDEX_MODEL: indexed})}


def first_layer(model: onnx.ModelProto) -> FirstLayer | None:
    """The first layer of ``model``, or None where its features are read in any other way."""
    readers = [at for at, node in enumerate(model.graph.node) if FEATURES in node.input]
    if len(readers) != 1 or model.functions:
        return None
    node = model.graph.node[readers[0]]
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if node.op_type not in ("MatMul", "Gemm") or node.input[0] != FEATURES or node.input[1] not in constants:
        return None
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or attributes.get("transA", 0):
        return None
    weight = numpy_helper.to_array(constants[node.input[1]])
    if attributes.get("transB", 0):
        weight = weight.T
    if weight.ndim != 2 or weight.dtype != np.float32:
        return None
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    return FirstLayer(readers[0], node.output[0], weight, bias)


def narrowed(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with the same interface, multiplying only the features that have a weight other than zero."""
    layer = first_layer(model)
    if layer is None or len(layer.used) == len(layer.weight):
        return model
    used, weight = PREFIX + "used", PREFIX + "weight"
    nodes = [
        helper.make_node("Gather", [FEATURES, used], [PREFIX + "features"], axis=1),
        *_product(layer, PREFIX + "features", weight),
    ]
    return _replaced(model, layer, nodes, {used: layer.used, weight: layer.weight[layer.used]}, model.graph.input)


def by_indices(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """``model`` reading ``indices`` int64 [batch, k], padded with d_in, instead of ``input``.

    None where it cannot, or where its first layer is too small for it to pay.

    The rows that are on are gathered and summed by a product with a vector of ones: onnxruntime does that faster than
    Gather with ReduceSum, and than Einsum.
    """
    layer = first_layer(model)
    if layer is None or len(layer.used) * layer.weight.shape[1] < MIN_WEIGHTS:
        return None
    d_in, width = layer.weight.shape
    rows = np.vstack([layer.weight[layer.used], np.zeros((1, width), np.float32)])
    row_of = np.full(d_in + 1, len(layer.used), np.int64)
    row_of[layer.used] = np.arange(len(layer.used))
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    name = {key: PREFIX + key for key in ("row_of", "rows", "row", "gathered", "k", "ones")}
    nodes = [
        helper.make_node("Gather", [name["row_of"], INDICES], [name["row"]], axis=0),
        helper.make_node("Gather", [name["rows"], name["row"]], [name["gathered"]], axis=0),
        helper.make_node("Shape", [INDICES], [name["k"]], start=1, end=2),
        helper.make_node("ConstantOfShape", [name["k"]], [name["ones"]], value=one),
        *_product(layer, name["ones"], name["gathered"]),
    ]
    inputs = [
        helper.make_tensor_value_info(INDICES, TensorProto.INT64, ["batch", "k"]),
        *(value for value in model.graph.input if value.name != FEATURES),
    ]
    return _replaced(model, layer, nodes, {name["row_of"]: row_of, name["rows"]: rows}, inputs)


def _product(layer: FirstLayer, left: str, right: str) -> list[onnx.NodeProto]:
    if layer.bias is None:
        return [helper.make_node("MatMul", [left, right], [layer.output])]
    product = PREFIX + "product"
    return [
        helper.make_node("MatMul", [left, right], [product]),
        helper.make_node("Add", [product, layer.bias], [layer.output]),
    ]


def _replaced(
    model: onnx.ModelProto,
    layer: FirstLayer,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    inputs: object,
) -> onnx.ModelProto:
    """``model`` with ``nodes`` in the place of the first layer, without the weights that nothing reads any more."""
    before, after = model.graph.node[: layer.at], model.graph.node[layer.at + 1 :]
    read = {name for node in (*before, *nodes, *after) for name in node.input}
    graph = helper.make_graph(
        [*before, *nodes, *after],
        model.graph.name,
        inputs,
        model.graph.output,
        [
            *(tensor for tensor in model.graph.initializer if tensor.name in read),
            *(numpy_helper.from_array(np.ascontiguousarray(value), key) for key, value in constants.items()),
        ],
    )
    out = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name=model.producer_name
    )
    onnx.checker.check_model(out, full_check=True)
    return out
