"""Making the first layer cheap: features whose weights are all zero need not be multiplied, nor those that are off.

Of the 3779 features a training set shows a policy a few hundred; the weights of the others stay zero. Where the graph
reads its features through products with constant weights, as most do, both passes below make them one product, keep
its values and change its cost. A graph that reads them in any other way besides is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from planner_core.runtime.bundle import INDEX_MODEL, MODEL
from planner_core.runtime.session import FEATURES, INDICES

PREFIX = "first/"

MIN_WEIGHTS = 65_536
"""From this many on, reading only the rows that are on saves more than the extra operators cost (measured: a layer of
653 x 512 takes 50 us whole and 25 us by rows, one of 8 x 1 takes 1 us against 10)."""


@dataclass(frozen=True)
class Product:
    """One node that reads the features: ``output = input @ weight (+ bias)``.

    ``at`` is the node's place in the graph, ``weight`` float32 [d_in, width], ``bias`` the name of a tensor or None.
    """

    at: int
    output: str
    weight: NDArray[np.float32]
    bias: str | None


@dataclass(frozen=True)
class FirstLayer:
    """Every product that reads the features, in the order of the graph; ``weight`` float32 [d_in, width of all]."""

    products: tuple[Product, ...]
    weight: NDArray[np.float32]

    @property
    def used(self) -> NDArray[np.int64]:
        """int64 [n]: features with a weight other than zero; the first one where there is none."""
        rows = np.flatnonzero(self.weight.any(axis=1))
        return rows if len(rows) else np.zeros(1, np.int64)


def bundle_graphs(model: onnx.ModelProto, n_figures: int = 0) -> dict[str, onnx.ModelProto]:
    """The graphs that a bundle holds for ``model``, by the names of their files.

    The last ``n_figures`` of the features are numbers and not bits.
    """
    indexed = by_indices(model, n_figures)
    return {MODEL: narrowed(model), **({} if indexed is None else {INDEX_MODEL: indexed})}


def first_layer(model: onnx.ModelProto) -> FirstLayer | None:
    """The first layer of ``model``, or None where its features are read in any other way."""
    if model.functions:
        return None
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [_product_of(at, node, constants) for at, node in enumerate(model.graph.node) if FEATURES in node.input]
    found = tuple(product for product in products if product is not None)
    if not found or len(found) < len(products):
        return None
    return FirstLayer(found, np.concatenate([product.weight for product in found], axis=1))


def _product_of(at: int, node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> Product | None:
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type not in ("MatMul", "Gemm") or node.input[0] != FEATURES or node.input[1] not in constants:
        return None
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or attributes.get("transA", 0):
        return None
    weight = numpy_helper.to_array(constants[node.input[1]])
    if attributes.get("transB", 0):
        weight = weight.T
    if weight.ndim != 2 or weight.dtype != np.float32:
        return None
    return Product(at, node.output[0], weight, node.input[2] if len(node.input) > 2 and node.input[2] else None)


def narrowed(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with the same interface, multiplying only the features that have a weight other than zero."""
    layer = first_layer(model)
    if layer is None or len(layer.used) == len(layer.weight):
        return model
    used, weight, features = PREFIX + "used", PREFIX + "weight", PREFIX + "features"
    nodes = [helper.make_node("Gather", [FEATURES, used], [features], axis=1)]
    constants: dict[str, NDArray[Any]] = {used: layer.used, weight: layer.weight[layer.used]}
    return _replaced(model, layer, nodes, (features, weight), constants, model.graph.input)


def by_indices(model: onnx.ModelProto, n_figures: int = 0) -> onnx.ModelProto | None:
    """``model`` reading ``indices`` int64 [batch, k], padded with d_in, instead of ``input``.

    None where it cannot, since it reads one of the last ``n_figures`` features, which are no bits, or in another way,
    or where its first layer is too small for it to pay.

    The rows that are on are gathered and summed by a product with a vector of ones: onnxruntime does that faster than
    Gather with ReduceSum, and than Einsum.
    """
    layer = first_layer(model)
    if layer is None or len(layer.used) * layer.weight.shape[1] < MIN_WEIGHTS:
        return None
    d_in, width = layer.weight.shape
    if layer.weight[d_in - n_figures :].any():
        return None
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
    ]
    inputs = [
        helper.make_tensor_value_info(INDICES, TensorProto.INT64, ["batch", "k"]),
        *(value for value in model.graph.input if value.name != FEATURES),
    ]
    constants = {name["row_of"]: row_of, name["rows"]: rows}
    return _replaced(model, layer, nodes, (name["ones"], name["gathered"]), constants, inputs)


def _replaced(
    model: onnx.ModelProto,
    layer: FirstLayer,
    before: Sequence[onnx.NodeProto],
    factors: tuple[str, str],
    constants: dict[str, NDArray[Any]],
    inputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """``model`` with one product of ``factors``, which ``before`` makes, in the place of those of ``layer``.

    It comes where the first of them was; biases are added where they were. Weights that nothing reads any more go.
    """
    bare = {p.at: p.output if p.bias is None else f"{PREFIX}product_{i}" for i, p in enumerate(layer.products)}
    outputs = list(bare.values())
    head = [*before, helper.make_node("MatMul", factors, outputs if len(outputs) == 1 else [PREFIX + "products"])]
    if len(outputs) > 1:
        constants |= {PREFIX + "widths": np.array([p.weight.shape[1] for p in layer.products], np.int64)}
        head.append(helper.make_node("Split", [PREFIX + "products", PREFIX + "widths"], outputs, axis=-1))
    biases = {p.at: helper.make_node("Add", [bare[p.at], p.bias], [p.output]) for p in layer.products if p.bias}
    nodes: list[onnx.NodeProto] = []
    for at, node in enumerate(model.graph.node):
        if at == layer.products[0].at:
            nodes += head
        if at not in bare:
            nodes.append(node)
        elif at in biases:
            nodes.append(biases[at])
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
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
