"""The graph interface: a policy's scorer with the decision appended, so that a runtime has nothing left to compute.

The tail is the same for every policy of a kind: temperature, validity mask of the job type, softmax over the joint
actions, argmax; for expected outcomes the utility before them. It is :func:`planner_core.decide` in ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from planner_core import (
    HEADS,
    MIN_MARGINAL,
    ActionSpace,
    PlannerError,
    PolicyContext,
    ScoreKind,
    in_passed_runs,
    score_sizes,
    weight_table,
)
from planner_core.runtime.session import EXPECTED, FEATURES, JOB_TYPE, PROBABILITIES, graph_outputs
from planner_export.head_layer import HeadLayer, head_layer

MIN_OPSET = 18
MAX_IR_VERSION = 10
SCORER, LOGITS = "scorer/", "tail/logits"
MASKED = np.float32(-1e30)
"""Stands in for minus infinity; its exponential is exactly 0 beside any score."""


def build_graph(
    scorer: onnx.ModelProto,
    kind: ScoreKind,
    context: PolicyContext,
    temperatures: Mapping[str, float],
    worth: NDArray[np.float64] | None = None,
) -> onnx.ModelProto:
    """The full graph of a policy.

    ``scorer`` maps ``input`` float32 [batch, d_in] (and perhaps ``job_type``) to the scores of ``kind``, by the names
    of :func:`planner_core.score_sizes`. Outcomes are outputs of the full graph too; what they are worth is constant in
    it: ``worth`` float64 [4 priorities, (pass, time, cost)], the default weights where it is None. Raises
    :class:`PlannerError` for a scorer with other inputs or outputs.
    """
    space, sizes = context.action_space, score_sizes(kind, context.action_space)
    check_scorer(scorer, set(sizes))
    model = _at_least(scorer, MIN_OPSET)
    model = compose.add_prefix(model, SCORER, rename_inputs=False, rename_outputs=True)
    for node in model.graph.node:
        # The exporter leaves stack traces there, with the paths of the machine that trained.
        del node.metadata_props[:]
        node.doc_string = ""
    tail = _Tail(space)
    if kind == "outcomes":
        table = weight_table() if worth is None else worth
        table = in_passed_runs(table) / temperatures["utility"]
        tail.utility(context.encoder.group("priority"), context.encoder.d_in, table)
        standing = space.canonical == np.arange(len(space.actions))
        tail.probabilities(LOGITS, space.joint_masks & standing)
        tail.marginals()
    else:
        merged = head_layer(model, {SCORER + n: size for n, size in sizes.items()}, [temperatures[n] for n in sizes])
        if merged is None:
            tail.scale(list(sizes), temperatures)
        else:
            model = merged.model
            tail.multiply(merged)
        if kind == "joint":
            tail.probabilities(LOGITS, space.joint_masks)
            tail.marginals()
        else:
            tail.add("MatMul", [LOGITS, tail.constant("tail/incidence", space.incidence)], ["tail/action_logits"])
            tail.split(LOGITS)
            tail.probabilities("tail/action_logits", space.joint_masks)
    tail.decide()
    graph = helper.make_graph(
        [*model.graph.node, *tail.nodes],
        "planner",
        [
            _tensor(FEATURES, TensorProto.FLOAT, ["batch", context.encoder.d_in]),
            _tensor(JOB_TYPE, TensorProto.INT64, ["batch"]),
        ],
        [
            _tensor(
                name,
                TensorProto.INT64 if name == "action" else TensorProto.FLOAT,
                ["batch"] if size is None else ["batch", size],
            )
            for name, size in graph_outputs(kind, space).items()
        ],
        [*model.graph.initializer, *(numpy_helper.from_array(v, k) for k, v in tail.constants.items())],
    )
    full = helper.make_model(
        graph,
        opset_imports=model.opset_import,
        ir_version=min(model.ir_version, MAX_IR_VERSION),
        functions=model.functions,
        producer_name="swarm-planner",
    )
    try:
        onnx.checker.check_model(full, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise PlannerError(f"the scorer does not fit the graph interface: {reason}") from None
    return full


def check_scorer(scorer: onnx.ModelProto, wanted: set[str]) -> None:
    """Raise :class:`PlannerError` where a scorer is not one: names, external data, operators outside the standard."""
    initializers = {tensor.name for tensor in scorer.graph.initializer}
    inputs = {value.name for value in scorer.graph.input} - initializers
    outputs = {value.name for value in scorer.graph.output}
    if not ({FEATURES} <= inputs <= {FEATURES, JOB_TYPE}):
        raise PlannerError(f"the scorer's inputs are {sorted(inputs)}; expected {FEATURES} and perhaps {JOB_TYPE}")
    if outputs != wanted:
        raise PlannerError(f"the scorer's outputs are {sorted(outputs)}; expected {sorted(wanted)}")
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in scorer.graph.initializer):
        raise PlannerError("the scorer keeps weights outside the model; a bundle needs them inside")
    foreign = {opset.domain for opset in scorer.opset_import} - {"", "ai.onnx", "ai.onnx.ml"}
    used = {node.domain for node in scorer.graph.node}
    if foreign & used:
        raise PlannerError(f"the scorer uses operators of {sorted(foreign & used)}, which onnxruntime may not have")


def _at_least(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    given = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    return version_converter.convert_version(model, opset) if given < opset else model


def _tensor(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


class _Tail:
    """Nodes and constants under construction. :data:`LOGITS` are the calibrated scores, [batch, classes]."""

    def __init__(self, space: ActionSpace) -> None:
        self.space = space
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def add(self, op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value
        return name

    def utility(self, priority: range, d_in: int, table: NDArray[np.float64]) -> None:
        """:data:`LOGITS` = the utility of the scorer's outcomes by ``table``, which is over the temperature.

        In double precision: what is lost of a utility is lost again, divided by a small temperature.
        """
        for name, output in EXPECTED.items():
            self.add("Identity", [SCORER + name], [output])
        shape = self.constant("tail/outcomes_shape", np.array([-1, len(EXPECTED), len(self.space.actions)]))
        self.add("Concat", list(EXPECTED.values()), ["tail/side_by_side"], axis=1)
        self.add("Cast", ["tail/side_by_side"], ["tail/exact"], to=TensorProto.DOUBLE)
        self.add("Reshape", ["tail/exact", shape], ["tail/outcomes"])
        chosen = np.zeros((d_in, len(priority)), np.float32)
        chosen[priority, np.arange(len(priority))] = 1.0
        worth = table * [1.0, -1.0 / 60.0, -1.0]  # a passed run, a minute, a USD
        self.add("MatMul", [FEATURES, self.constant("tail/priorities", chosen)], ["tail/priority"])
        self.add("Cast", ["tail/priority"], ["tail/priority_exact"], to=TensorProto.DOUBLE)
        self.add("MatMul", ["tail/priority_exact", self.constant("tail/worth", worth)], ["tail/row_worth"])
        axis = self.constant("tail/axis", np.array([1], np.int64))
        self.add("Unsqueeze", ["tail/row_worth", axis], ["tail/weights"])
        self.add("MatMul", ["tail/weights", "tail/outcomes"], ["tail/utility_row"])
        self.add("Squeeze", ["tail/utility_row", axis], ["tail/utility"])
        self.add("Cast", ["tail/utility"], [LOGITS], to=TensorProto.FLOAT)

    def probabilities(self, logits: str, masks: NDArray[np.bool_]) -> None:
        """``action_probs``: softmax of ``logits`` under the row of ``masks`` [job types, actions] of the job type."""
        self.add("Gather", [self.constant("tail/masks", masks), JOB_TYPE], ["tail/mask"], axis=0)
        self.add("Where", ["tail/mask", logits, self.constant("tail/masked", np.array(MASKED))], ["tail/allowed"])
        self.add("Softmax", ["tail/allowed"], [PROBABILITIES], axis=1)

    def decide(self) -> None:
        """``action`` and ``confidence`` from ``action_probs``."""
        self.add("ArgMax", [PROBABILITIES], ["action"], axis=1, keepdims=0)
        axis = self.constant("tail/axis", np.array([1], np.int64))
        self.add("ReduceMax", [PROBABILITIES, axis], ["confidence"], keepdims=0)

    def scale(self, names: list[str], temperatures: Mapping[str, float]) -> None:
        """:data:`LOGITS` = the scorer's logits divided by their temperatures, side by side."""
        scaled = [LOGITS] if len(names) == 1 else [f"tail/scaled_{name}" for name in names]
        for name, out in zip(names, scaled, strict=True):
            t = self.constant(f"tail/temperature_{name}", np.array(temperatures[name], np.float32))
            self.add("Div", [SCORER + name, t], [out])
        if len(names) > 1:
            self.add("Concat", scaled, [LOGITS], axis=1)

    def multiply(self, layer: HeadLayer) -> None:
        """:data:`LOGITS` = the scorer's last layer, which divides by the temperatures itself."""
        weight, bias = self.constant("tail/weight", layer.weight), self.constant("tail/bias", layer.bias)
        self.add("Gemm", [layer.hidden, weight, bias], [LOGITS])

    def split(self, logits: str) -> None:
        """The heads, side by side in ``logits``, as outputs of their own."""
        sizes = self.constant("tail/sizes", np.array(self.space.head_sizes, np.int64))
        self.add("Split", [logits, sizes], list(HEADS), axis=1)

    def marginals(self) -> None:
        """The heads' log-marginals from ``action_probs``."""
        classes = self.constant("tail/classes", np.ascontiguousarray(self.space.incidence.T))
        self.add("MatMul", [PROBABILITIES, classes], ["tail/marginals"])
        floor = self.constant("tail/floor", np.array(MIN_MARGINAL))
        self.add("Max", ["tail/marginals", floor], ["tail/positive"])
        self.add("Log", ["tail/positive"], ["tail/log_marginals"])
        self.split("tail/log_marginals")
