"""The look-up as an ONNX graph, node by node: the cell's number from the issue's bits, then a gather."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from planner_lookup.cells import BIT_WEIGHTS, CELLS_PER_JOB

OPSET, IR_VERSION = 18, 10


def build_scorer(table: NDArray[np.float32], d_in: int) -> onnx.ModelProto:
    """``input`` float32 [batch, d_in] and ``job_type`` int64 [batch] -> ``joint`` float32 [batch, n_joint]."""
    constants = {
        "table": table,
        # The cell's number is at most 79, which float32 sums exactly.
        "bit_weights": BIT_WEIGHTS.astype(np.float32)[:, None],
        "first_bit": np.array([0], np.int64),
        "past_bits": np.array([len(BIT_WEIGHTS)], np.int64),
        "columns": np.array([1], np.int64),
        "cells_per_job": np.array(CELLS_PER_JOB, np.int64),
    }
    nodes = [
        helper.make_node("Slice", ["input", "first_bit", "past_bits", "columns"], ["bits"]),
        helper.make_node("MatMul", ["bits", "bit_weights"], ["within_column"]),
        helper.make_node("Squeeze", ["within_column", "columns"], ["within_float"]),
        helper.make_node("Cast", ["within_float"], ["within"], to=TensorProto.INT64),
        helper.make_node("Mul", ["job_type", "cells_per_job"], ["job_start"]),
        helper.make_node("Add", ["job_start", "within"], ["cell"]),
        helper.make_node("Gather", ["table", "cell"], ["joint"], axis=0),
    ]
    graph = helper.make_graph(
        nodes,
        "lookup",
        [
            helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", d_in]),
            helper.make_tensor_value_info("job_type", TensorProto.INT64, ["batch"]),
        ],
        [helper.make_tensor_value_info("joint", TensorProto.FLOAT, ["batch", table.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
