"""What the sources share: marks in the first bytes of a file, checked reading, times, and run documents."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from planner_core import DataError, LogAccount, LogInput, LogReading, convert

T = TypeVar("T")

SERIAL, VOTE = "serial_handoff", "speculate_vote"

Amount = Annotated[float, Meta(ge=0.0, le=1e12)]
"""Seconds, USD: nothing that sums or products of would overflow."""
Count = Annotated[int, Meta(ge=0)]


def has_keys(head: bytes, *names: str) -> bool:
    """Whether all ``names`` stand in ``head`` as keys of JSON objects; text that quotes them has backslashes there."""
    return all(re.search(rb'(?<!\\)"' + re.escape(name.encode()) + rb'"\s*:', head) for name in names)


def lies_at(name: str, *patterns: str) -> bool:
    """Whether a relative path fits a pattern part by part: ``*/result.json`` is one folder deep, no more."""
    parts = name.split("/")
    wanted = (pattern.split("/") for pattern in patterns)
    return any(len(w) == len(parts) and all(map(fnmatchcase, parts, w)) for w in wanted)


def checked(document: Any, contract: type[T], source: str, line: int | None = None, path: str = "$") -> T:
    """A part of a document, at the JSON path ``path``, against ``contract``; :class:`DataError` with its whole path."""
    try:
        return convert(document, contract, source, line)
    except DataError as problem:
        whole = path + problem.path.removeprefix("$")
        raise DataError(source, line=line, path=whole, found=problem.found, expected=problem.expected) from None


def files_of(reading: LogReading, pattern: str) -> Iterator[LogInput]:
    """Every file that was given, and those of folders whose names fit ``pattern``."""
    for given in reading.inputs:
        yield from given.files(pattern) if given.is_folder else (given,)


def an_object(document: Any, source: str, line: int | None = None, path: str = "$") -> dict[str, Any]:
    """``document`` where it is a JSON object, else a :class:`DataError`."""
    return checked(document, dict[str, Any], source, line, path)


def one_object(given: LogInput) -> dict[str, Any]:
    """The whole of a file, which must be one JSON object."""
    return an_object(given.json(), given.name)


def unix_ms(moment: datetime) -> int:
    """Milliseconds since 1970; a moment without a zone is read as UTC, as the tools that write none mean it."""
    return math.floor((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def span_ms(start: datetime, end: datetime, source: str, line: int | None, path: str) -> int:
    """Milliseconds from ``start`` to ``end``; :class:`DataError` at ``path`` where the end comes first."""
    length = unix_ms(end) - unix_ms(start)
    if length < 0:
        expected = f"a time after the start, {start.isoformat()}"
        raise DataError(source, line=line, path=path, found=end.isoformat(), expected=expected)
    return length


def minutes_of(seconds: float | None, account: LogAccount) -> int | None:
    """A limit in seconds as whole minutes; 0 and None are no limit. It is rounded up, since a run may use all of it."""
    if not seconds:
        return None
    minutes = math.ceil(seconds / 60)
    if minutes * 60 != seconds:
        account.guess("a time limit that is no whole number of minutes, rounded up")
    return minutes


def run_document(
    run_id: str,
    issue_id: str,
    started_ms: int,
    duration_ms: int,
    status: str,
    *,
    fail_codes: Iterable[str] = (),
    gates: Sequence[Mapping[str, Any]] = (),
    action: tuple[str | None, int | None, int | None, int | None] = (SERIAL, 1, None, None),
    job_type: str = "code",
    tags: Iterable[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """A ``run_summary.v1`` of raw values; ``action`` is (swarm, candidates, minutes, iterations), None is no limit.

    ``more`` are further keys; those that are None are left out.
    """
    swarm, candidates, minutes, iterations = action
    return {
        "run_id": run_id,
        "issue_id": issue_id,
        "started_ms": started_ms,
        "job_type": job_type,
        "domain": {"fab-world": "fab_world", "fab-asset": "fab_asset"}.get(job_type, "code"),
        "action_executed": {
            "swarm_id": swarm,
            "max_candidates": candidates,
            "max_minutes": minutes,
            "max_iterations": iterations,
        },
        "outcome": {"status": status, "fail_codes": list(dict.fromkeys(fail_codes)), "gates": list(gates)},
        "runtime": {"duration_ms": duration_ms},
        "tags": list(dict.fromkeys(tags)),
        **{key: value for key, value in more.items() if value is not None},
    }
