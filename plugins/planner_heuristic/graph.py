"""The default rules as an ONNX graph: two one-hot look-ups and a gather, from the same table as the Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from planner_core import HEADS, RISKS, SIZES, PolicyContext, Scores

OPSET = 18


def build_scorer(table: Scores, context: PolicyContext) -> onnx.ModelProto:
    """``input``, ``job_type`` -> head logits. The row of the table is job x 20 + risk x 5 + size."""
    # One matrix product reads risk x 5 + size off the two one-hot groups (a group with no bit set counts as 0).
    weights = np.zeros((context.encoder.d_in, 1), np.float32)
    weights[context.encoder.group("risk"), 0] = np.arange(len(RISKS)) * len(SIZES)
    weights[context.encoder.group("size"), 0] = np.arange(len(SIZES))
    constants: dict[str, NDArray[Any]] = {
        "weights": weights,
        "rows_per_job": np.array(len(RISKS) * len(SIZES), np.int64),
        "last_axis": np.array([1], np.int64),
        **{f"table_{name}": table[name] for name in HEADS},
    }
    nodes = [
        helper.make_node("MatMul", ["input", "weights"], ["row_column"]),
        helper.make_node("Squeeze", ["row_column", "last_axis"], ["row_float"]),
        helper.make_node("Cast", ["row_float"], ["row_in_job"], to=TensorProto.INT64),
        helper.make_node("Mul", ["job_type", "rows_per_job"], ["job_row"]),
        helper.make_node("Add", ["job_row", "row_in_job"], ["row"]),
        *(helper.make_node("Gather", [f"table_{name}", "row"], [name], axis=0) for name in HEADS),
    ]
    graph = helper.make_graph(
        nodes,
        "heuristic",
        [
            helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", context.encoder.d_in]),
            helper.make_tensor_value_info("job_type", TensorProto.INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
            for name, size in zip(HEADS, context.action_space.head_sizes, strict=True)
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
