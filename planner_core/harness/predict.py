"""Deciding a stream of inputs: JSON or JSONL in, actions out, one batch in memory at a time.

What comes from a pipe is answered line by line: who asks may wait for an answer before the next question.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import msgspec

from planner_core.contracts import ActionDocument
from planner_core.errors import DataError, PlannerError
from planner_core.files import new_file
from planner_core.rules import BASELINE
from planner_core.system import open_input

STANDARD_INPUT = "-"


ErrorRecord = dict[str, Any]
"""What stands in the place of an action: ``error``, and where it is known ``source``, ``line``, ``path``..."""


class _Line(msgspec.Struct):
    """A line is an input, or an example of a dataset that holds one."""

    planner_input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


Progress = Callable[[int, int, int | None], None]
"""Called with how many inputs and how many bytes were read, and of how many bytes (None: nobody knows)."""

MAX_DOCUMENT = 64 << 20
"""Bytes of one document; an input has some thousands. What is longer is no input, and might not fit into memory."""

_PROGRESS_STEP = 64
_SKIP = 1 << 20


BATCH = 64
"""Inputs of a session call where all of them are there already."""


def is_stream(file: str) -> bool:
    """Whether the lines of ``file`` come as somebody writes them: a pipe, a socket, a terminal."""
    try:
        status = os.fstat(sys.stdin.fileno()) if file == STANDARD_INPUT else os.stat(file)
    except (OSError, ValueError):  # no descriptor behind it, or no such file, which reading it will say
        return False
    return not stat.S_ISREG(status.st_mode)


def batch_of(file: str) -> int:
    """How many inputs of ``file`` to wait for before the first is answered."""
    return 1 if is_stream(file) else BATCH


def error_record(problem: PlannerError) -> ErrorRecord:
    """What stands in the place of an action where an input was refused and the others go on."""
    place = {name: getattr(problem, name, None) for name in ("source", "line", "path", "found", "expected")}
    return {"error": str(problem), **{name: value for name, value in place.items() if value is not None}}


@overload
def read_inputs(file: str, progress: Progress | None = None) -> Iterator[tuple[str, int, bytes]]: ...
@overload
def read_inputs(
    file: str, progress: Progress | None = None, *, keep_going: bool
) -> Iterator[tuple[str, int, bytes] | DataError]: ...
def read_inputs(
    file: str, progress: Progress | None = None, *, keep_going: bool = False
) -> Iterator[tuple[str, int, bytes] | DataError]:
    """(source, line, JSON) of every input in a JSON or JSONL file, or on standard input for ``-``.

    Holds one line at a time. Raises :class:`DataError` for a file that cannot be read, for what is no JSON object, and
    for a document longer than :data:`MAX_DOCUMENT`; with ``keep_going`` the error of a line takes its place.
    """
    for item in _read(file, progress):
        if isinstance(item, DataError) and not keep_going:
            raise item
        yield item


def _read(file: str, progress: Progress | None) -> Iterator[tuple[str, int, bytes] | DataError]:
    tell = progress or (lambda rows, done, total: None)
    if file == STANDARD_INPUT:
        yield from _inputs(sys.stdin.buffer, "standard input", tell)
        return
    try:
        with open_input(file) as stream:
            yield from _inputs(stream, file, tell)
    except OSError as problem:
        raise DataError(file, expected=f"a readable file ({problem.strerror})") from None


def _inputs(stream: BinaryIO, source: str, tell: Progress) -> Iterator[tuple[str, int, bytes] | DataError]:
    total = _size(stream)
    rows = done = 0
    for number, line in enumerate(iter(lambda: stream.readline(MAX_DOCUMENT + 1), b""), 1):
        done += len(line)
        if len(line) > MAX_DOCUMENT:
            rows += 1
            yield _too_long(source, number)
            done += _skip_line(stream, line)  # only where whoever reads this goes on
            continue
        if not line.strip():
            continue
        if not rows and _is_cut_off(line):
            # Not JSONL then: one document over many lines.
            rest = stream.read(MAX_DOCUMENT + 1 - len(line))
            done += len(rest)
            yield _too_long(source, number) if done > MAX_DOCUMENT else _unwrap(line + rest, source, number)
            tell(1, done, total)
            return
        rows += 1
        yield _unwrap(line, source, number)
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


def _skip_line(stream: BinaryIO, part: bytes) -> int:
    """Read on to the end of a line that ``part`` begins; how many bytes that was."""
    skipped = 0
    while part and not part.endswith(b"\n"):
        part = stream.readline(_SKIP)
        skipped += len(part)
    return skipped


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


def _unwrap(document: bytes, source: str, line: int) -> tuple[str, int, bytes] | DataError:
    try:
        inner = msgspec.json.decode(document, type=_Line).planner_input
    except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
        return DataError(source, line=line, expected=f"a planner input as a JSON object ({problem})")
    return source, line, document if isinstance(inner, msgspec.UnsetType) else bytes(inner)


class _Issue(msgspec.Struct):
    issue_id: str


class _Identified(msgspec.Struct):
    issue: _Issue


def issue_of(document: bytes) -> str | None:
    """The id of the issue that an input is about; None where it has none, which reading it whole will say."""
    try:
        return msgspec.json.decode(document, type=_Identified).issue.issue_id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def with_ids(
    inputs: Iterable[tuple[str, int, bytes] | DataError],
    decide: Callable[[Iterator[tuple[str, int, bytes] | DataError]], Iterable[ActionDocument | ErrorRecord]],
) -> Iterator[dict[str, Any]]:
    """``{"id": issue id, "line": of the input, "action": ...}`` of every input, in order.

    ``decide`` gives one answer an input. An error record stays one, with ``id`` and ``line`` before it.
    """
    asked: deque[dict[str, Any]] = deque()

    def noted() -> Iterator[tuple[str, int, bytes] | DataError]:
        for item in inputs:
            if isinstance(item, DataError):
                asked.append({"id": None, "line": item.line})
            else:
                asked.append({"id": issue_of(item[2]), "line": item[1]})
            yield item

    for answer in decide(noted()):
        yield asked.popleft() | (dict(answer) if "error" in answer else {"action": answer})


def count_decisions(actions: Iterable[ActionDocument | ErrorRecord], policy: str) -> dict[str, Any]:
    """How many decisions there are (``decisions``), whose they are (``decided_by``) and what is chosen (``actions``).

    ``decided_by`` counts by policy, ``policy`` or the baseline, and reason (the word of it, null where the policy
    decided); ``actions`` by swarm, budgets and ``abstain_to_default``; the most frequent first. Error records are left
    out.
    """
    chosen: Counter[tuple[Any, ...]] = Counter()
    deciders: Counter[tuple[str, str | None]] = Counter()
    for action in actions:
        if "error" in action:
            continue
        abstained, reason = action["abstain_to_default"], action.get("reason")
        chosen[action["swarm_id"], *action["budgets"].values(), abstained] += 1
        deciders[BASELINE if abstained else policy, reason and reason.split(":")[0]] += 1
    return {
        "decisions": chosen.total(),
        "decided_by": _counted(deciders, ("policy", "reason")),
        "actions": _counted(
            chosen, ("swarm_id", "max_candidates_bin", "max_minutes_bin", "max_iterations_bin", "abstain_to_default")
        ),
    }


def _counted(counts: Counter[Any], keys: Sequence[str]) -> list[dict[str, Any]]:
    return [{**dict(zip(keys, key, strict=True)), "count": n} for key, n in counts.most_common()]


def write_actions(actions: Iterable[Mapping[str, object]], out: Path | None, *, flush: bool = False) -> None:
    """One action a line, to standard output or a file, as :func:`planner_core.files.new_file` writes one.

    On standard output the answers before an error are written; with ``flush`` each as soon as it is known.
    """
    encode = msgspec.json.Encoder().encode
    if out is None:
        try:
            for action in actions:
                sys.stdout.buffer.write(encode(action) + b"\n")
                if flush:
                    sys.stdout.buffer.flush()
        finally:
            sys.stdout.buffer.flush()
        return
    with new_file(out) as stream:
        for action in actions:
            stream.write(encode(action) + b"\n")
