"""The graph interface: a policy's scorer with the decision appended, so that a runtime has nothing left to compute.

The tail is the same for every policy: temperature, validity mask of the job type, softmax over the joint actions,
argmax. It is :func:`planner_core.decide` in ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from planner_core import HEADS, ActionSpace, PlannerError
from planner_core.decision import MIN_MARGINAL
from planner_export.head_layer import HeadLayer, head_layer

MIN_OPSET = 18
MAX_IR_VERSION = 10
SCORER, LOGITS = "scorer/", "tail/logits"
MASKED = np.float32(-1e30)
"""Stands in for minus infinity; its exponential is exactly 0 beside any score."""


def build_graph(
    scorer: onnx.ModelProto, kind: str, d_in: int, space: ActionSpace, temperatures: Mapping[str, float]
) -> onnx.ModelProto:
    """The full graph of a policy.

    ``scorer`` maps ``input`` float32 [batch, d_in] (and perhaps ``job_type``) to head logits, or to ``joint`` logits
    where ``kind`` is "joint". Raises :class:`PlannerError` for a scorer with other inputs or outputs.
    """
    check_scorer(scorer, kind)
    model = _at_least(scorer, MIN_OPSET)
    model = compose.add_prefix(model, SCORER, rename_inputs=False, rename_outputs=True)
    for node in model.graph.node:
        # The exporter leaves stack traces there, with the paths of the machine that trained.
        del node.metadata_props[:]
        node.doc_string = ""
    sizes = {"joint": len(space.actions)} if kind == "joint" else dict(zip(HEADS, space.head_sizes, strict=True))
    merged = head_layer(model, {SCORER + n: size for n, size in sizes.items()}, [temperatures[n] for n in sizes])
    tail = _Tail(space)
    if merged is None:
        tail.scale(list(sizes), temperatures)
    else:
        model = merged.model
        tail.multiply(merged)
    if kind == "joint":
        tail.probabilities(LOGITS)
        tail.marginals()
    else:
        tail.add("MatMul", [LOGITS, tail.constant("tail/incidence", space.incidence)], ["tail/action_logits"])
        tail.split(LOGITS)
        tail.probabilities("tail/action_logits")
    tail.decide()
    graph = helper.make_graph(
        [*model.graph.node, *tail.nodes],
        "planner",
        [_tensor("input", TensorProto.FLOAT, ["batch", d_in]), _tensor("job_type", TensorProto.INT64, ["batch"])],
        [
            *(_tensor(n, TensorProto.FLOAT, ["batch", s]) for n, s in zip(HEADS, space.head_sizes, strict=True)),
            _tensor("action_probs", TensorProto.FLOAT, ["batch", len(space.actions)]),
            _tensor("action", TensorProto.INT64, ["batch"]),
            _tensor("confidence", TensorProto.FLOAT, ["batch"]),
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


def check_scorer(scorer: onnx.ModelProto, kind: str) -> None:
    """Raise :class:`PlannerError` where a scorer is not one: names, external data, operators outside the standard."""
    initializers = {tensor.name for tensor in scorer.graph.initializer}
    inputs = {value.name for value in scorer.graph.input} - initializers
    outputs = {value.name for value in scorer.graph.output}
    wanted = set(HEADS) if kind == "heads" else {"joint"}
    if not ({"input"} <= inputs <= {"input", "job_type"}):
        raise PlannerError(f"the scorer's inputs are {sorted(inputs)}; expected input and perhaps job_type")
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
        self.constants: dict[str, np.ndarray] = {}

    def add(self, op: str, inputs: list[str], outputs: list[str], **attributes: object) -> None:
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = value
        return name

    def probabilities(self, logits: str) -> None:
        """``action_probs``: masked softmax of ``logits``."""
        masks = self.constant("tail/masks", self.space.joint_masks)
        self.add("Gather", [masks, "job_type"], ["tail/mask"], axis=0)
        self.add("Where", ["tail/mask", logits, self.constant("tail/masked", np.array(MASKED))], ["tail/allowed"])
        self.add("Softmax", ["tail/allowed"], ["action_probs"], axis=1)

    def decide(self) -> None:
        """``action`` and ``confidence`` from ``action_probs``."""
        self.add("ArgMax", ["action_probs"], ["action"], axis=1, keepdims=0)
        axis = self.constant("tail/axis", np.array([1], np.int64))
        self.add("ReduceMax", ["action_probs", axis], ["confidence"], keepdims=0)

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
        self.add("MatMul", ["action_probs", classes], ["tail/marginals"])
        floor = self.constant("tail/floor", np.array(MIN_MARGINAL))
        self.add("Max", ["tail/marginals", floor], ["tail/positive"])
        self.add("Log", ["tail/positive"], ["tail/log_marginals"])
        self.split("tail/log_marginals")
