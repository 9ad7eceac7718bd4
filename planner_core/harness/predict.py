"""Deciding a stream of inputs: JSON or JSONL in, actions out, one batch in memory at a time."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from planner_core.contracts import ActionDocument
from planner_core.errors import DataError
from planner_core.files import new_file
from planner_core.os_files import open_input

STANDARD_INPUT = "-"


class _Line(msgspec.Struct):
    """A line is an input, or an example of a dataset that holds one."""

    planner_input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


Progress = Callable[[int, int, int | None], None]
"""Called with how many inputs and how many bytes were read, and of how many bytes (None: nobody knows)."""

MAX_DOCUMENT = 64 << 20
"""Bytes of one document; an input has some thousands. What is longer is no input, and might not fit into memory."""

_PROGRESS_STEP = 64


def read_inputs(file: str, progress: Progress | None = None) -> Iterator[tuple[str, int, bytes]]:
    """(source, line, JSON) of every input in a JSON or JSONL file, or on standard input for ``-``.

    Holds one line at a time. Raises :class:`DataError` for a file that cannot be read, for what is no JSON object, and
    for a document longer than :data:`MAX_DOCUMENT`.
    """
    tell = progress or (lambda rows, done, total: None)
    if file == STANDARD_INPUT:
        yield from _inputs(sys.stdin.buffer, "standard input", tell)
        return
    try:
        with open_input(file) as stream:
            yield from _inputs(stream, file, tell)
    except OSError as problem:
        raise DataError(file, expected=f"a readable file ({problem.strerror})") from None


def _inputs(stream: BinaryIO, source: str, tell: Progress) -> Iterator[tuple[str, int, bytes]]:
    total = _size(stream)
    rows = done = 0
    for number, line in enumerate(iter(lambda: stream.readline(MAX_DOCUMENT + 1), b""), 1):
        done += len(line)
        if len(line) > MAX_DOCUMENT:
            raise _too_long(source, number)
        if not line.strip():
            continue
        if not rows and _is_cut_off(line):
            # Not JSONL then: one document over many lines.
            rest = stream.read(MAX_DOCUMENT + 1 - len(line))
            done += len(rest)
            if done > MAX_DOCUMENT:
                raise _too_long(source, number)
            yield source, number, _unwrap(line + rest, source, number)
            tell(1, done, total)
            return
        document = _unwrap(line, source, number)
        rows += 1
        yield source, number, document
        if rows % _PROGRESS_STEP == 0:
            tell(rows, done, total)
    if not rows:
        raise DataError(source, found="an empty file", expected="a planner input")
    tell(rows, done, total)


def _size(stream: BinaryIO) -> int | None:
    """Bytes of a regular file; None for a pipe, a terminal and a stream that is no file."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:  # io.UnsupportedOperation is one
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _too_long(source: str, line: int) -> DataError:
    found = f"more than {MAX_DOCUMENT >> 20} MiB in one document"
    return DataError(source, line=line, found=found, expected="a planner input a line, or a single one")


def _is_cut_off(line: bytes) -> bool:
    """Whether a line is the beginning of a JSON document. A line that is malformed is not, however it goes on."""
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except msgspec.DecodeError as problem:
        return "truncated" in str(problem)
    return False


def _unwrap(document: bytes, source: str, line: int) -> bytes:
    try:
        inner = msgspec.json.decode(document, type=_Line).planner_input
    except (msgspec.DecodeError, msgspec.ValidationError) as problem:
        raise DataError(source, line=line, expected=f"a planner input as a JSON object ({problem})") from None
    return document if isinstance(inner, msgspec.UnsetType) else bytes(inner)


def count_actions(actions: Iterable[ActionDocument]) -> list[dict[str, Any]]:
    """How often each action was chosen, most frequent first."""
    counts = Counter((a["swarm_id"], *a["budgets"].values(), a["abstain_to_default"]) for a in actions)
    keys = ("swarm_id", "max_candidates_bin", "max_minutes_bin", "max_iterations_bin", "abstain_to_default")
    return [{**dict(zip(keys, key, strict=True)), "count": n} for key, n in counts.most_common()]


def write_actions(actions: Iterable[ActionDocument], out: Path | None) -> None:
    """One action a line, to standard output or a file, as :func:`planner_core.files.new_file` writes one."""
    encode = msgspec.json.Encoder().encode
    if out is None:
        for action in actions:
            sys.stdout.buffer.write(encode(action) + b"\n")
        sys.stdout.buffer.flush()
        return
    with new_file(out) as stream:
        for action in actions:
            stream.write(encode(action) + b"\n")
