"""Beads: the rows of ``bd export``, of either dialect, with ``dk_*`` keys at the top or inside ``metadata``.

Where nothing else tells of an issue's runs, ``started_at`` and ``closed_at`` give one: how long it was worked on, and
no more. A tracker keeps no failed attempt, no budget and no cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct

from planner_core import DataError, LogInput, LogIssue, LogReading, LogRun, LogSample
from planner_sources.common import an_object, checked, files_of, has_keys, run_document, span_ms, unix_ms

PLANNED = (
    *("dk_priority", "dk_risk", "dk_size", "dk_tool_hint", "dk_attempts", "dk_speculate", "on_critical_path"),
    *("tags", "priority", "estimated_minutes", "labels", "issue_type", "universe_id", "objective_id"),
)
"""The keys that planning reads; they are handed on as they are."""
READ_AS = {
    "priority": "dk_priority",
    "estimated_minutes": "dk_size",
    "labels": "tags",
    **{name: name for name in PLANNED[:8]},
}
NO_WORK = frozenset({"message", "agent", "role", "rig", "event", "gate", "molecule"})
"""Types of rows that Beads keeps for its own machinery."""
NOT_SOLVED = re.compile(
    r"\W*(duplicate|won'?t|wont|not planned|obsolete|cancell?ed|superseded|invalid|abandoned|stale)", re.IGNORECASE
)
"""How the reason begins with which an issue was closed without having been solved."""
TIME_ONLY = (
    "runs from started_at to closed_at are wall-clock time, nights included, of issues that ended well: they tell"
)
TIME_ONLY += " minutes as run, and nothing of what fails, of budgets or of cost"


class Row(Struct):
    """What is read of a row beside :data:`PLANNED`."""

    id: str
    title: str | None = None
    status: str | None = None
    issue_type: str | None = None
    is_template: bool | None = None
    ephemeral: bool | None = None
    started_at: datetime | None = None
    closed_at: datetime | None = None
    close_reason: str | None = None
    closed_by_session: str | None = None
    deleted: bool | None = None
    deleted_at: Any = None


def sniff(sample: LogSample) -> float:
    """Rows with the keys of an issue; the record type that ``bd export`` writes, and ``dk_*``, are sure marks."""
    head = sample.head
    if not head.lstrip().startswith(b"{") or not has_keys(head, "id"):
        return 0.0
    if re.search(rb'^\s*\{\s*"_type"\s*:\s*"(issue|memory)"', head) or re.search(rb'(?<!\\)"dk_\w+"\s*:', head):
        return 0.0 if has_keys(head, "planner_input") else 1.0
    return 0.8 if has_keys(head, "title", "issue_type", "status") else 0.0


def read(reading: LogReading) -> Iterator[LogIssue | LogRun]:
    """Every issue, and a run of each that says when it was begun and closed."""
    for file in files_of(reading, "*.jsonl*"):
        for line, document in file.json_lines():
            yield from _row(an_object(document, file.name, line), reading, file, line)


def _row(row: dict[str, Any], reading: LogReading, file: LogInput, line: int) -> Iterator[LogIssue | LogRun]:
    reason = _no_issue(row)
    if reason is not None:
        reading.account.leave_out(reason)
        return
    known = checked(row, Row, file.name, line)
    document = {"id": known.id, **({"title": known.title} if known.title else {}), **_planned(row, file.name, line)}
    for key, field in READ_AS.items():
        if key in document:
            reading.account.field(f"issue.{field}", key)
    _tell_values(document, reading)
    yield LogIssue(document, file.name, line)
    reading.link("issue", known.id, known.id)
    if known.closed_by_session:
        reading.link("session", known.closed_by_session, known.id)
        reading.link("closed by session", known.id, known.closed_by_session)
    yield from _as_run(known, document, reading, file.name, line)


def _no_issue(row: dict[str, Any]) -> str | None:
    if row.get("_type", "issue") != "issue":
        return f"rows of the type {row['_type']}"
    if row.get("id") is None or row.get("issue_id", row["id"]) != row["id"]:
        return "rows that are no issues"
    if row.get("status") in ("tombstone", "deleted") or row.get("deleted") is True or row.get("deleted_at"):
        return "deleted"
    if row.get("is_template") or row.get("ephemeral") or str(row.get("issue_type")) in NO_WORK:
        return "templates and rows of Beads' own machinery"
    return None


def _planned(row: dict[str, Any], source: str, line: int) -> dict[str, Any]:
    """The keys that planning reads, those inside ``metadata`` among them."""
    found = {key: row[key] for key in PLANNED if row.get(key) is not None}
    metadata = row.get("metadata")
    inner = an_object(metadata, source, line, "$.metadata") if metadata is not None else {}
    for key in PLANNED[:7]:
        value = inner.get(key)
        if value is None:
            continue
        if str(found.setdefault(key, value)) != str(value):
            path, expected = f"$.metadata.{key}", f"{found[key]!r}, as the row itself says"
            raise DataError(source, line=line, path=path, found=repr(value), expected=expected)
    return found


def _tell_values(document: dict[str, Any], reading: LogReading) -> None:
    if "dk_priority" not in document and isinstance(document.get("priority"), int):
        priority = document["priority"]
        reading.account.value("priority", str(priority), f"P{min(priority, 3)}")


def _as_run(row: Row, document: dict[str, Any], reading: LogReading, source: str, line: int) -> Iterator[LogRun]:
    if row.status not in ("closed", "done") or row.closed_at is None:
        return
    if NOT_SOLVED.match(row.close_reason or ""):
        reading.link("not solved", row.id, row.id)
        reading.account.leave_out("times of issues that were closed without being solved")
        return
    reading.link("solved", row.id, row.id)
    if row.started_at is None:
        reading.account.leave_out("times of issues that do not say when they were begun")
        return
    duration = span_ms(row.started_at, row.closed_at, source, line, "$.closed_at")
    reading.account.note(TIME_ONLY)
    run = run_document(
        f"beads:{row.id}",
        row.id,
        unix_ms(row.started_at),
        duration,
        "success",
        action=(None, None, None, None),
        tags=document.get("tags") or document.get("labels") or (),
    )
    yield LogRun(run, source, line, standby=True)
