"""The trees as a graph: converted by onnxmltools, taken out of its classifier, and wired to the joint logits."""

from __future__ import annotations

from typing import cast

import lightgbm
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from planner_gbdt.growing import UNSEEN

OPSET, ML_OPSET, IR_VERSION = 18, 3, 10
STANDS_FOR_NOTHING = ("nodes_hitrates", "nodes_missing_value_tracks_true")
"""Attributes that no runtime needs here, a fifth of the model's size: features are 0 or 1, never missing."""


def build_scorer(
    booster: lightgbm.Booster | None, classes: NDArray[np.int64], d_in: int, width: int
) -> onnx.ModelProto:
    """``input`` float32 [batch, d_in] and ``job_type`` int64 [batch] -> ``joint`` float32 [batch, width].

    Without a booster there is a single class, whose logit is 0.
    """
    floor = np.full(width, UNSEEN, np.float32)
    floor[classes] = 0.0
    if booster is None:
        constants = {"rows_of_floor": floor[None, :], "zero": np.array(0, np.int64)}
        nodes = [
            # Row 0 for every row of the batch; job_type has the batch's length and costs nothing to read.
            helper.make_node("Mul", ["job_type", "zero"], ["row"]),
            helper.make_node("Gather", ["rows_of_floor", "row"], ["joint"], axis=0),
        ]
    else:
        # A product with a matrix of zeros and a single one a class moves numbers about without changing them.
        constants = {"floor": floor, "places": np.eye(width, dtype=np.float32)[classes]}
        nodes = [
            _ensemble(booster, d_in),
            helper.make_node("MatMul", ["raw", "places"], ["placed"]),
            helper.make_node("Add", ["placed", "floor"], ["joint"]),
        ]
    graph = helper.make_graph(
        nodes,
        "gbdt",
        [
            helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", d_in]),
            helper.make_tensor_value_info("job_type", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("joint", TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _ensemble(booster: lightgbm.Booster, d_in: int) -> onnx.NodeProto:
    """The booster as one TreeEnsembleClassifier whose second output, ``raw``, is the sums of leaves."""
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [("input", FloatTensorType([None, d_in]))]
    model = convert_lightgbm(booster, initial_types=types, target_opset=15, zipmap=False)
    [node] = [node for node in model.graph.node if node.op_type == "TreeEnsembleClassifier"]
    kept = [a for a in node.attribute if a.name not in (*STANDS_FOR_NOTHING, "post_transform")]
    del node.attribute[:]
    node.attribute.extend(kept)
    # The converter ends in a softmax; logits are what a policy answers with.
    node.attribute.append(helper.make_attribute("post_transform", "NONE"))
    node.input[:], node.output[:] = ["input"], ["most_likely", "raw"]
    return cast(onnx.NodeProto, node)
