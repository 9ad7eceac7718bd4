"""What an ONNX file refers to, read from its bytes without the onnx package.

Only the wire format of Protocol Buffers and a few field numbers of ``onnx.proto`` are needed to tell whether a model
keeps weights in other files, uses operators outside the standard, or brings functions of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner_core.errors import BundleError

STANDARD_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# onnx.proto: message -> field number -> what it holds
_MODEL = {"graph": 7, "opset_import": 8, "functions": 25}
_GRAPH = {"node": 1, "initializer": 5, "sparse_initializer": 15}
_NODE = {"op_type": 4, "attribute": 5, "domain": 7}
_ATTRIBUTE = {"t": 5, "g": 6, "tensors": 10, "graphs": 11, "sparse_tensor": 22, "sparse_tensors": 23}
_TENSOR = {"external_data": 13, "data_location": 14}
_SPARSE = {"values": 1, "indices": 2}
_INSIDE = 0
_MAX_DEPTH = 16
_MAX_KEY = 0xFFFFFFFF


def check_self_contained(model: bytes, name: str = "model.onnx") -> None:
    """Raise :class:`BundleError` for external data, operators outside the standard domains, or local functions.

    ``name`` is what the message calls the model.
    """
    try:
        _check_model(model)
    except BundleError as problem:
        raise BundleError(f"{name}: {problem}") from None
    except (IndexError, ValueError) as problem:
        raise BundleError(f"{name}: not an ONNX model ({problem})") from None


def _check_model(model: bytes) -> None:
    for number, value in fields(memoryview(model)):
        if number == _MODEL["functions"]:
            raise BundleError("it brings functions of its own; expected standard operators only")
        if number == _MODEL["graph"]:
            _check_graph(submessage(value), 0)
        if number == _MODEL["opset_import"]:
            _check_domain(field_text(submessage(value), 1), "an operator set")


def _check_graph(graph: memoryview, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("graphs nested too deeply")
    for number, value in fields(graph):
        if number == _GRAPH["node"]:
            _check_node(submessage(value), depth)
        elif number == _GRAPH["initializer"]:
            _check_tensor(submessage(value))
        elif number == _GRAPH["sparse_initializer"]:
            _check_sparse(submessage(value))


def _check_node(node: memoryview, depth: int) -> None:
    _check_domain(field_text(node, _NODE["domain"]), f"operator {field_text(node, _NODE['op_type'])}")
    for number, value in fields(node):
        if number != _NODE["attribute"]:
            continue
        for inner, content in fields(submessage(value)):
            if inner in (_ATTRIBUTE["g"], _ATTRIBUTE["graphs"]):
                _check_graph(submessage(content), depth + 1)
            elif inner in (_ATTRIBUTE["t"], _ATTRIBUTE["tensors"]):
                _check_tensor(submessage(content))
            elif inner in (_ATTRIBUTE["sparse_tensor"], _ATTRIBUTE["sparse_tensors"]):
                _check_sparse(submessage(content))


def _check_sparse(sparse: memoryview) -> None:
    for number, value in fields(sparse):
        if number in _SPARSE.values():
            _check_tensor(submessage(value))


def _check_tensor(tensor: memoryview) -> None:
    for number, value in fields(tensor):
        if number == _TENSOR["external_data"] or (number == _TENSOR["data_location"] and value != _INSIDE):
            raise BundleError("it keeps weights in other files; expected them inside")


def _check_domain(domain: str, what: str) -> None:
    if domain not in STANDARD_DOMAINS:
        raise BundleError(f"{what} is of the domain '{domain}'; expected standard operators only")


def field_text(message: memoryview, wanted: int) -> str:
    """The last string field ``wanted`` of a message, empty where there is none."""
    found = ""
    for number, value in fields(message):
        if number == wanted:
            found = bytes(submessage(value)).decode()
    return found


def submessage(value: int | memoryview) -> memoryview:
    """A field's value where it has a length; ValueError for a number."""
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of every field: an int for numbers, a view for everything with a length."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        if key > _MAX_KEY:
            # A parser keeps the low 32 bits of a tag; longer spellings exist to hide a field from checks like this.
            raise ValueError("a tag longer than 32 bits")
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
        elif wire == _BYTES:
            length, at = _varint(message, at)
            if at + length > end:
                raise ValueError("a field runs past its end")
            yield number, message[at : at + length]
            at += length
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")
    if at != end:
        raise ValueError("a field runs past its end")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than ten bytes")
