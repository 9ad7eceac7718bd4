"""Reading JSON against a contract, with errors that name the place, the value found and what was expected."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import msgspec.inspect as mi

from planner_core.errors import DataError, describe
from planner_core.failures import is_foreign
from planner_core.system import open_input

T = TypeVar("T")

_CANONICAL = msgspec.json.Encoder(order="sorted")
# What msgspec raises for a Python object that is no JSON: a lone surrogate, an integer of 5,000 digits, an array or a
# key of another type, a dict that holds itself.
_UNREADABLE = (ValueError, TypeError, RecursionError)
_INTEGER = re.compile(r"-?[0-9]{1,18}\Z")
_AT = re.compile(r" - at `(?:key in )?(?P<path>\$.*)`\Z")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


@lru_cache(maxsize=64)
def _decoder(contract: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(contract)


@lru_cache(maxsize=64)
def _type_info(contract: Hashable) -> mi.Type:
    return mi.type_info(contract)


def read(raw: bytes | str, contract: type[T], source: str, line: int | None = None) -> T:
    """Decode one JSON document into ``contract``.

    Raises :class:`DataError` naming ``source``, ``line`` and JSON path. The fast path costs one decode; only a
    document that fails it is walked a second time, to accept integers written as numeric strings.
    """
    try:
        return _decoder(cast(Hashable, contract)).decode(raw)  # type: ignore[no-any-return]  # its contract is T
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError) as problem:
        raise _not_json(raw, source, line, problem) from None
    # The typed decoder stops at the first misfit, so the rest of the text may still turn out to be no JSON.
    return convert(decode(raw, source, line), contract, source, line)


def decode(raw: bytes | str, source: str, line: int | None = None) -> Any:
    """One JSON document as dicts, lists and scalars; :class:`DataError` where it is none."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError) as problem:
        raise _not_json(raw, source, line, problem) from None


def _not_json(raw: bytes | str, source: str, line: int | None, problem: Exception) -> DataError:
    return DataError(source, line=line, found=shortened(raw), expected=f"a JSON document ({problem})")


def convert(value: Any, contract: type[T], source: str, line: int | None = None) -> T:
    """Check already decoded JSON (dicts, lists, scalars) against ``contract``; same errors as :func:`read`."""
    try:
        return msgspec.convert(value, contract)
    except msgspec.ValidationError as problem:
        # msgspec takes what interrupts a check of ours for its complaint.
        if problem.__cause__ is not None and is_foreign(problem.__cause__):
            raise problem.__cause__ from None
        info = _type_info(cast(Hashable, contract))
    except _UNREADABLE as problem:
        raise _no_json_value(problem, source, line) from None
    coerced = _coerce_integers(value, info)
    try:
        return msgspec.convert(coerced, contract)
    except msgspec.ValidationError as problem:
        raise _located(str(problem), coerced, contract, source, line) from None
    except _UNREADABLE as problem:
        raise _no_json_value(problem, source, line) from None


def canonical_document(value: Any, source: str, line: int | None = None) -> bytes:
    """:func:`canonical` of a document that somebody else made: :class:`DataError` for what JSON cannot hold."""
    try:
        return canonical(value)
    except _UNREADABLE as problem:
        raise _no_json_value(problem, source, line) from None


def _no_json_value(problem: Exception, source: str, line: int | None) -> Exception:
    if is_foreign(problem):
        return problem
    return DataError(source, line=line, expected=f"values that JSON can hold ({describe(problem)})")


def read_file(path: Path, contract: type[T]) -> T:
    """Read one JSON file; a missing or unreadable file is a :class:`DataError` too."""
    try:
        with open_input(path) as stream:
            raw = stream.read()
    except OSError as problem:
        raise DataError(str(path), expected=f"a readable file ({problem.strerror})") from None
    return read(raw, contract, str(path))


def iter_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (1-based line number, line) of a JSONL file without its blank lines.

    Raises :class:`DataError` when the file cannot be read or holds no line at all.
    """
    empty = True
    try:
        with open_input(path) as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    empty = False
                    yield number, line
    except OSError as problem:
        raise DataError(str(path), expected=f"a readable file ({problem.strerror})") from None
    if empty:
        raise DataError(str(path), found="an empty file", expected="at least one JSON line")


def canonical(value: Any) -> bytes:
    """Canonical JSON: keys sorted, no white space, UTF-8. Equal documents give equal bytes."""
    return _CANONICAL.encode(value)


def pretty(value: Any) -> bytes:
    """JSON for people: two-space indent and a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _coerce_integers(value: Any, info: mi.Type) -> Any:
    """Return ``value`` with numeric strings turned into integers wherever ``info`` wants an integer."""
    if isinstance(value, str):
        return int(value) if _wants_integer(info) and _INTEGER.match(value) else value
    if isinstance(value, dict):
        target = _pick(info, (mi.StructType, mi.DictType))
        if isinstance(target, mi.StructType):
            fields = {field.encode_name: field.type for field in target.fields}
            return {key: _coerce_integers(item, fields.get(key, mi.AnyType())) for key, item in value.items()}
        if isinstance(target, mi.DictType):
            return {key: _coerce_integers(item, target.value_type) for key, item in value.items()}
        return value
    if isinstance(value, list):
        target = _pick(info, (mi.ListType, mi.VarTupleType, mi.TupleType))
        if isinstance(target, mi.ListType | mi.VarTupleType):
            if target.max_length is not None and len(value) > target.max_length:
                return value  # refused whatever is in it
            return [_coerce_integers(item, target.item_type) for item in value]
        if isinstance(target, mi.TupleType) and len(target.item_types) == len(value):
            return [_coerce_integers(item, kind) for item, kind in zip(value, target.item_types, strict=True)]
    return value


def _members(info: mi.Type) -> tuple[mi.Type, ...]:
    if isinstance(info, mi.Metadata):
        return _members(info.type)
    return info.types if isinstance(info, mi.UnionType) else (info,)


def _pick(info: mi.Type, kinds: tuple[type, ...]) -> mi.Type | None:
    return next((member for member in _members(info) if isinstance(member, kinds)), None)


def _wants_integer(info: mi.Type) -> bool:
    members = _members(info)
    return any(isinstance(m, mi.IntType) for m in members) and not any(isinstance(m, mi.StrType) for m in members)


def _located(message: str, value: Any, contract: Any, source: str, line: int | None) -> DataError:
    """Turn msgspec's message into our error: look the value and the wanted type up at its path."""
    match = _AT.search(message)
    path = match["path"] if match else "$"
    complaint = message[: match.start()] if match else message
    found: Any = value
    kind: mi.Type | None = _type_info(contract)
    named = "$"
    for key, index in _STEP.findall(path):
        if index == "..." and isinstance(found, dict):
            # msgspec does not say which key of a mapping it was; the one that fails on its own is it.
            key = _failing_key(found, value, contract, message)
            kind = _descend(found, kind, "", index)[1]
            found, named = found[key], f"{named}.{key}"
        else:
            found, kind = _descend(found, kind, key, index)
            named += f".{key}" if key else f"[{index}]"
    if complaint.startswith("Object missing required field"):
        return DataError(source, line=line, path=named, found="no such key", expected="the key " + complaint[30:])
    if complaint.startswith("Object contains unknown field"):
        return DataError(
            source, line=line, path=named, found="the unknown key " + complaint[30:], expected="only the known keys"
        )
    return DataError(source, line=line, path=named, found=shortened(found), expected=_expected(complaint, kind))


def _failing_key(mapping: dict[str, Any], document: Any, contract: Any, message: str) -> str:
    """The first key of ``mapping`` (a part of ``document``) that causes ``message``, found by halving."""
    items = list(mapping.items())

    def fails(some: list[tuple[str, Any]]) -> bool:
        mapping.clear()
        mapping.update(some)
        try:
            msgspec.convert(document, contract)
        except msgspec.ValidationError as problem:
            return str(problem) == message
        return False

    suspects = items
    try:
        while len(suspects) > 1:
            half = suspects[: len(suspects) // 2]
            suspects = half if fails(half) else suspects[len(half) :]
    finally:
        mapping.clear()
        mapping.update(items)
    return suspects[0][0]


def _descend(value: Any, info: mi.Type | None, key: str, index: str) -> tuple[Any, mi.Type | None]:
    if key:
        inner = value.get(key) if isinstance(value, dict) else None
        struct = _pick(info, (mi.StructType,)) if info else None
        fields = {f.encode_name: f.type for f in struct.fields} if isinstance(struct, mi.StructType) else {}
        return inner, fields.get(key)
    holder = _pick(info, (mi.ListType, mi.VarTupleType, mi.TupleType, mi.DictType)) if info else None
    if index == "...":
        return value, holder.value_type if isinstance(holder, mi.DictType) else None
    position = int(index)
    inner = value[position] if isinstance(value, list) and position < len(value) else None
    if isinstance(holder, mi.ListType | mi.VarTupleType):
        return inner, holder.item_type
    if isinstance(holder, mi.TupleType) and position < len(holder.item_types):
        return inner, holder.item_types[position]
    return inner, None


def _expected(complaint: str, info: mi.Type | None) -> str:
    literal = _pick(info, (mi.LiteralType,)) if info else None
    if info and isinstance(literal, mi.LiteralType):
        choices = ", ".join(str(choice) for choice in literal.values)
        return f"an integer or {choices}" if _wants_integer(info) else f"one of {choices}"
    text = complaint.split(", got")[0].removeprefix("Expected ")
    if text.startswith("Invalid "):
        return "a valid " + text.removeprefix("Invalid ")
    return text[0].lower() + text[1:] if text else "another value"


def shortened(value: Any) -> str:
    """A value as an error shows it, of at most 60 characters."""
    if isinstance(value, bytes):
        text = " ".join(value[:1000].decode("utf-8", "replace").split())
    elif isinstance(value, str) and (len(value) > 60 or not value.isascii()):
        text = ascii(value[:1000].strip())
    else:
        try:
            text = msgspec.json.encode(value).decode()
        except _UNREADABLE:
            text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
