"""The issues of a tracker: Beads JSONL of either dialect, as planner inputs show them.

Each planner field is read from its ``dk_*`` key, else from its standard Beads counterpart (``priority``,
``estimated_minutes``, a label ``risk:X``, ``labels`` and ``issue_type``), else it takes its default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from planner_core.contracts import Count, NonNegative
from planner_core.data.lines import iter_objects
from planner_core.encoder import RISKS, SIZES
from planner_core.errors import DataError
from planner_core.jsonio import convert

DEFAULTS = {"dk_priority": "P2", "dk_risk": "medium", "dk_size": "M"}
BEADS_PRIORITIES = ("P0", "P1", "P2", "P3", "P3")  # standard Beads counts to 4, the backlog
SIZE_EDGES_MINUTES = (15, 60, 240, 480)  # the largest estimate of XS, S, M, L
RISK_LABEL = "risk:"

# Why a row was left out.
DELETED, NO_ISSUE, REPLACED = "deleted", "not an issue", "replaced by a later row"


class IssueRow(Struct):
    """The keys of a Beads row that planning reads, of both dialects; null means missing."""

    id: str
    dk_priority: Literal["P0", "P1", "P2", "P3"] | None = None
    dk_risk: Literal["low", "medium", "high", "critical"] | None = None
    dk_size: Literal["XS", "S", "M", "L", "XL"] | None = None
    dk_tool_hint: str | None = None
    dk_attempts: Count | None = None
    dk_speculate: bool | None = None
    on_critical_path: bool | None = None
    tags: list[str] | None = None
    priority: Annotated[int, Meta(ge=0, le=4)] | None = None
    estimated_minutes: Count | NonNegative | None = None
    labels: list[str] | None = None
    issue_type: str | None = None
    universe_id: str | None = None
    objective_id: str | None = None


@dataclass(frozen=True)
class PlannedIssue:
    """An issue as a planner input shows it, the world it names, and which of its fields are defaults."""

    issue: dict[str, Any]
    universe_id: str | None
    objective_id: str | None
    defaults: tuple[str, ...] = ()


_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(PlannedIssue)


class Issues(MutableMapping[str, PlannedIssue]):
    """Issues by id, in the order in which they came. Each is kept encoded, in a third of the memory, and what is asked
    for is a copy."""

    def __init__(self) -> None:
        self._encoded: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> PlannedIssue:
        return _DECODER.decode(self._encoded[name])

    def __setitem__(self, name: str, planned: PlannedIssue) -> None:
        self._encoded[name] = _ENCODER.encode(planned)

    def __delitem__(self, name: str) -> None:
        del self._encoded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._encoded

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoded)

    def __len__(self) -> int:
        return len(self._encoded)


class Tracker:
    """The issues of a tracker by id, the ids of deleted ones, what was left out, and which fields were defaults."""

    def __init__(self) -> None:
        self.issues = Issues()
        self.deleted: set[str] = set()
        self.read = 0
        self.left_out: Counter[str] = Counter()
        self.defaults: Counter[str] = Counter()


def read_issues(path: Path) -> list[PlannedIssue]:
    """The issues of a Beads JSONL export of either dialect, in its order, without deleted rows and rows of other kinds.

    Raises :class:`planner_core.errors.DataError` naming file, line and JSON path.
    """
    return list(read_tracker([path]).issues.values())


def read_tracker(paths: Sequence[Path]) -> Tracker:
    """Read Beads JSONL files. Where an id comes twice the later row counts, as in a log that is only appended to."""
    known = Tracker()
    for path in paths:
        for line, _, row in iter_objects(path, "issues"):
            take_row(row, known, str(path), line)
    for planned in known.issues.values():
        known.defaults.update(planned.defaults)
    return known


def take_row(row: Any, known: Tracker, source: str, line: int | None) -> None:
    """One row of a tracker: an issue, the end of one, or none; :class:`DataError` for one that breaks the contract."""
    known.read += 1
    if not _is_issue(row):
        known.left_out[NO_ISSUE] += 1
    elif _is_deleted(row):
        known.left_out[DELETED] += 1
        if isinstance(row["id"], str):
            known.deleted.add(row["id"])
            if known.issues.pop(row["id"], None) is not None:
                known.left_out[REPLACED] += 1
    else:
        issue = convert(row, IssueRow, source, line)
        if issue.id in known.issues:
            known.left_out[REPLACED] += 1
        known.deleted.discard(issue.id)
        known.issues[issue.id] = planned_issue(issue, source, line)


def _is_issue(row: Any) -> bool:
    """Trackers also export comments, dependencies and memories: typed as such, without an id, or on another issue."""
    if not isinstance(row, dict) or row.get("id") is None:
        return False
    return bool(row.get("_type", "issue") == "issue" and row.get("issue_id", row["id"]) == row["id"])


def _is_deleted(row: dict[str, Any]) -> bool:
    return row.get("status") in ("tombstone", "deleted") or row.get("deleted") is True or bool(row.get("deleted_at"))


def planned_issue(row: IssueRow, source: str, line: int | None = None) -> PlannedIssue:
    """The ``issue`` of a planner input from a row of either dialect; :class:`DataError` for a label of no risk."""
    found = {
        "dk_priority": row.dk_priority or (None if row.priority is None else BEADS_PRIORITIES[row.priority]),
        "dk_risk": row.dk_risk or _risk_of_labels(row.labels or [], source, line),
        "dk_size": row.dk_size or _size_of_estimate(row.estimated_minutes),
    }
    tags = row.tags
    if tags is None:
        tags = [*(row.labels or ()), *([f"type:{row.issue_type}"] if row.issue_type else ())]
    issue: dict[str, Any] = {
        "issue_id": row.id,
        **{name: value or DEFAULTS[name] for name, value in found.items()},
        "dk_tool_hint": row.dk_tool_hint or None,
        "dk_attempts": row.dk_attempts or 0,
        "tags": tags,
    }
    for name in ("dk_speculate", "on_critical_path"):
        if (value := getattr(row, name)) is not None:
            issue[name] = value
    defaults = tuple(name for name, value in found.items() if value is None)
    return PlannedIssue(issue, row.universe_id, row.objective_id, defaults)


def _risk_of_labels(labels: list[str], source: str, line: int | None) -> str | None:
    for i, label in enumerate(labels):
        if label.startswith(RISK_LABEL):
            risk = label.removeprefix(RISK_LABEL)
            if risk not in RISKS:
                choices = ", ".join(RISK_LABEL + known for known in RISKS)
                raise DataError(source, line=line, path=f"$.labels[{i}]", found=label, expected=f"one of {choices}")
            return risk
    return None


def _size_of_estimate(minutes: float | None) -> str | None:
    if minutes is None:
        return None
    return SIZES[sum(minutes > edge for edge in SIZE_EDGES_MINUTES)]
