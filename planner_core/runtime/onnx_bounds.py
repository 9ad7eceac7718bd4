"""How much work a graph may ask for, told from its bytes before onnxruntime sees it; and what it says of itself.

A graph of ours is a straight line of some dozen operators whose results are as large as their inputs say. No exporter
needs what could run without an end, or make a large tensor from a small number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from planner_core.errors import BundleError
from planner_core.runtime.onnx_scan import field_text, fields, submessage

_OPERATORS = """
Abs Add And ArgMax ArgMin BatchNormalization Cast CastLike Ceil Clip Concat Constant ConstantOfShape Cos Div Elu
Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual HardSigmoid
HardSwish Identity IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max Mean Min Mod
Mul Neg Not Or PRelu Pow Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
ReduceProd ReduceSum ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus
Softsign Split Sqrt Squeeze Sub Sum Tanh Transpose TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor
Unsqueeze Where Xor
"""
OPERATORS = frozenset(_OPERATORS.split())
"""What a graph may use without saying so in ``metadata.json``."""

_DENIED = """
If Loop Scan SequenceMap ConcatFromSequence Optional OptionalGetElement OptionalHasElement SequenceAt
SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SplitToSequence RandomNormal
RandomNormalLike RandomUniform RandomUniformLike Bernoulli Multinomial Range Tile Pad Resize Upsample OneHot EyeLike
Compress NonZero Unique Col2Im ImageDecoder
"""
DENIED = frozenset(_DENIED.split())
"""What no declaration allows: control flow, sequences, chance, and results whose size is a number somewhere."""

SIZES_AT = {"ConstantOfShape": 0, "Expand": 1}
"""Operators whose result has the sizes that one of their inputs holds, and which input that is."""
_SELECTING = frozenset(("Gather", "Slice", "Squeeze", "Unsqueeze", "Cast", "Identity", "Reshape"))
"""Operators that choose among sizes, the first of their inputs."""
_MAX_STEPS = 64

MAX_NODES = 2000
"""Nodes of a graph; an export of ours has some dozen, one by PyTorch some hundred."""
MAX_CONSTANT_BYTES = 64
"""Bytes of a constant that holds sizes: eight dimensions."""
MAX_FILLED = 4096
"""Elements that constant sizes may multiply to."""

# onnx.proto: message -> field number -> what it holds
_MODEL = {"graph": 7, "metadata_props": 14}
_GRAPH = {"node": 1, "initializer": 5, "sparse_initializer": 15}
_NODE = {"input": 1, "output": 2, "op_type": 4, "attribute": 5}
_ATTRIBUTE = {"graph": 6, "graphs": 11, "sparse_tensor": 22, "sparse_tensors": 23}
_INITIALIZER_NAME = 8
_ENTRY = {"key": 1, "value": 2}


def check_bounded(model: bytes, declared: Collection[str] = (), name: str = "model.onnx") -> None:
    """Raise :class:`BundleError` for a graph whose work has no bound that can be told from it.

    ``declared`` are operators that the bundle's metadata names beside :data:`OPERATORS`; those of :data:`DENIED` it may
    not. ``name`` is what the message calls the model.
    """
    try:
        _check(model, declared)
    except BundleError as problem:
        raise BundleError(f"{name}: {problem}") from None
    except (IndexError, ValueError) as problem:
        raise BundleError(f"{name}: not an ONNX model ({problem})") from None


def operators(model: bytes) -> set[str]:
    """The names of the operators that a graph uses."""
    return {field_text(node, _NODE["op_type"]) for node in _nodes(model)}


def graph_metadata(model: bytes) -> dict[str, str]:
    """``metadata_props`` of a model; where a key stands twice, the last."""
    found = {}
    for number, value in fields(memoryview(model)):
        if number == _MODEL["metadata_props"]:
            entry = submessage(value)
            found[field_text(entry, _ENTRY["key"])] = field_text(entry, _ENTRY["value"])
    return found


def _graphs(model: bytes) -> Iterator[memoryview]:
    # A message that stands twice is read as one with the content of both.
    return (submessage(value) for number, value in fields(memoryview(model)) if number == _MODEL["graph"])


def _nodes(model: bytes) -> Iterator[memoryview]:
    for graph in _graphs(model):
        yield from (submessage(value) for number, value in fields(graph) if number == _GRAPH["node"])


def _check(model: bytes, declared: Collection[str]) -> None:
    allowed = OPERATORS | set(declared)
    made_by: dict[str, tuple[str, list[str]]] = {}
    sized: list[tuple[str, str]] = []
    for count, node in enumerate(_nodes(model), 1):
        if count > MAX_NODES:
            raise BundleError(f"it has more than {MAX_NODES} nodes")
        operator = field_text(node, _NODE["op_type"])
        if operator in DENIED or operator not in allowed:
            how = "no graph of a bundle may" if operator in DENIED else "expected one that metadata.json declares"
            raise BundleError(f"it uses the operator {operator[:100]}; {how}")
        inputs = list(_texts(node, _NODE["input"]))
        made_by |= {output: (operator, inputs) for output in _texts(node, _NODE["output"])}
        for number, value in fields(node):
            if number == _NODE["attribute"] and any(n in _ATTRIBUTE.values() for n, _ in fields(submessage(value))):
                raise BundleError(f"the operator {operator} holds a graph or a sparse tensor; expected neither")
        if operator in SIZES_AT and len(inputs) > SIZES_AT[operator]:
            sized.append((operator, inputs[SIZES_AT[operator]]))
    constants = _constant_sizes(model)
    for operator, sizes in sized:
        filled = _filled(sizes, made_by, constants)
        if filled is None or filled > MAX_FILLED:
            raise BundleError(f"the operator {operator} fills sizes that are computed; expected those of a tensor")


def _filled(
    sizes: str, made_by: Mapping[str, tuple[str, list[str]]], constants: Mapping[str, int | None]
) -> int | None:
    """How many elements a tensor of these sizes has for each of another tensor; None where nothing can be told.

    Sizes are constants, those of one other tensor, or both side by side, as an exporter writes ``[batch, 1, 64]``.
    """
    product, shapes = 1, 0
    waiting, steps = [sizes], 0
    while waiting:
        name = waiting.pop()
        steps += 1
        operator, inputs = made_by.get(name, ("", []))
        if operator == "Shape":
            shapes += 1
        elif operator in _SELECTING:
            waiting.append(inputs[0])
        elif operator == "Concat":
            waiting += inputs
        elif operator or (value := constants.get(name)) is None:
            return None
        else:
            product *= value
        if shapes > 1 or product > MAX_FILLED or steps > _MAX_STEPS:
            return None
    return product


def _constant_sizes(model: bytes) -> dict[str, int | None]:
    """The product of every initializer that may be a list of sizes; None for any other."""
    found: dict[str, int | None] = {}
    for graph in _graphs(model):
        for number, value in fields(graph):
            if number == _GRAPH["sparse_initializer"]:
                raise BundleError("it holds a sparse tensor; expected none")
            if number == _GRAPH["initializer"]:
                tensor = submessage(value)
                name = field_text(tensor, _INITIALIZER_NAME)
                found[name] = None if name in found else _sizes(tensor)
    return found


def _sizes(tensor: memoryview) -> int | None:
    """Product of the int64 values in ``raw_data`` of a small tensor; None for any other."""
    product, seen = 1, False
    for number, value in fields(tensor):
        if number in (4, 5, 6, 7, 10, 11):  # values that do not stand in raw_data
            return None
        if number == 9:
            raw = submessage(value)
            if seen or len(raw) > MAX_CONSTANT_BYTES or len(raw) % 8:
                return None
            seen = True
            for at in range(0, len(raw), 8):
                size = int.from_bytes(raw[at : at + 8], "little", signed=True)
                if size < 0:
                    return None
                product *= size
    return product if seen else None


def _texts(message: memoryview, wanted: int) -> Iterator[str]:
    return (bytes(submessage(value)).decode() for number, value in fields(message) if number == wanted)
