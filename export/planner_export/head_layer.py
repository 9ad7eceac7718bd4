"""Making the last layer one: heads that read the same hidden layer are one product, cut up afterwards.

Small operators cost more than their arithmetic: four products, four divisions and a concatenation become one product
and one split. Temperatures are folded into its weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class HeadLayer:
    """Heads as one product: ``hidden @ weight + bias``.

    ``weight`` float32 [width, classes of all heads] and ``bias`` float32 [classes of all heads] are divided by the
    temperatures. ``model`` is the scorer without the nodes and weights that this replaces.
    """

    model: onnx.ModelProto
    hidden: str
    weight: np.ndarray
    bias: np.ndarray


def head_layer(model: onnx.ModelProto, outputs: Mapping[str, int], temperatures: Sequence[float]) -> HeadLayer | None:
    """The last layer of a scorer whose ``outputs`` (name: classes) are linear in one hidden layer; else None."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    weights, biases, hidden = [], [], set()
    for (name, classes), temperature in zip(outputs.items(), temperatures, strict=True):
        parts = _linear(makers.get(name), constants)
        if parts is None or any(name in node.input for node in model.graph.node):
            return None
        source, weight, bias = parts
        if weight.shape[1:] != (classes,):
            return None
        hidden.add(source)
        weights.append(weight.astype(np.float64) / temperature)
        biases.append(np.broadcast_to(bias, weight.shape[1:]).astype(np.float64) / temperature)
    if len(hidden) != 1:
        return None
    kept = onnx.ModelProto()
    kept.CopyFrom(model)
    nodes = [node for node in model.graph.node if not set(node.output) & outputs.keys()]
    read = {name for node in nodes for name in node.input}
    del kept.graph.node[:], kept.graph.initializer[:]
    kept.graph.node.extend(nodes)
    kept.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in read)
    weight, bias = (np.concatenate(parts, axis=-1).astype(np.float32) for parts in (weights, biases))
    return HeadLayer(kept, hidden.pop(), weight, bias)


def _linear(
    node: onnx.NodeProto | None, constants: Mapping[str, onnx.TensorProto]
) -> tuple[str, np.ndarray, np.ndarray] | None:
    """(input, weight [width, classes], bias) of a plain Gemm with constant weights; None for anything else."""
    if node is None or node.op_type != "Gemm" or any(name not in constants for name in node.input[1:]):
        return None
    attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or attributes.get("transA", 0):
        return None
    weight = numpy_helper.to_array(constants[node.input[1]])
    weight = weight.T if attributes.get("transB", 0) else weight
    bias = numpy_helper.to_array(constants[node.input[2]]) if len(node.input) > 2 else np.zeros(1, np.float32)
    if weight.dtype != np.float32 or bias.ndim > 1:
        return None
    return node.input[0], weight, bias
