"""Deciding a stream of inputs: JSON or JSONL in, actions out, one batch in memory at a time."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from planner_core.errors import DataError

STANDARD_INPUT = "-"


class _Line(msgspec.Struct):
    """A line is an input, or an example of a dataset that holds one."""

    planner_input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def read_inputs(file: str) -> Iterator[tuple[str, int, bytes]]:
    """(source, line, JSON) of every input in a JSON or JSONL file, or on standard input for ``-``."""
    if file == STANDARD_INPUT:
        yield from _inputs(sys.stdin.buffer, "standard input")
        return
    try:
        with Path(file).open("rb") as stream:
            yield from _inputs(stream, file)
    except OSError as problem:
        raise DataError(file, expected=f"a readable file ({problem.strerror})") from None


def _inputs(stream: BinaryIO, source: str) -> Iterator[tuple[str, int, bytes]]:
    empty = True
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        if empty and not _is_json(line):
            # Not JSONL then: one document over many lines.
            yield source, number, _unwrap(line + stream.read(), source, number)
            return
        empty = False
        yield source, number, _unwrap(line, source, number)
    if empty:
        raise DataError(source, found="an empty file", expected="a planner input")


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def _unwrap(document: bytes, source: str, line: int) -> bytes:
    try:
        inner = msgspec.json.decode(document, type=_Line).planner_input
    except (msgspec.DecodeError, msgspec.ValidationError) as problem:
        raise DataError(source, line=line, expected=f"a planner input as a JSON object ({problem})") from None
    return document if isinstance(inner, msgspec.UnsetType) else bytes(inner)


def count_actions(actions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often each action was chosen, most frequent first."""
    counts = Counter((a["swarm_id"], *a["budgets"].values(), a["abstain_to_default"]) for a in actions)
    keys = ("swarm_id", "max_candidates_bin", "max_minutes_bin", "max_iterations_bin", "abstain_to_default")
    return [{**dict(zip(keys, key, strict=True)), "count": n} for key, n in counts.most_common()]


def write_actions(actions: Iterable[dict[str, Any]], out: Path | None) -> None:
    """One action a line, to a file that appears when it is whole, or to standard output."""
    encode = msgspec.json.Encoder().encode
    if out is None:
        for action in actions:
            sys.stdout.buffer.write(encode(action) + b"\n")
        sys.stdout.buffer.flush()
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            for action in actions:
                stream.write(encode(action) + b"\n")
        os.chmod(name, 0o644)
        os.replace(name, out)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
