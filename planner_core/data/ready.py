"""Which issues of a tracker can be worked on now, and why the others cannot: Beads JSONL of either dialect.

Ready is an issue that is open (or ``ready``), whose blockers are done, that has attempts left and that is not for a
human. A dependency stands with the issue that waits (``dependencies``, standard Beads) or in a row of its own
(``from_id`` blocks ``to_id``). A child waits with its parent: who waits for nothing itself is blocked where its parent
is, but never by its parent being open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct

from planner_core.contracts import Count
from planner_core.data.issues import Tracker
from planner_core.data.lines import iter_lines
from planner_core.errors import DataError
from planner_core.jsonio import convert, decode

OPEN, DONE = ("open", "ready"), ("done", "closed")
"""Statuses of issues that wait to be worked on, and of finished ones."""
BLOCKING = ("blocks", "conditional-blocks", "waits-for")
PARENT = "parent-child"
"""Types of dependencies that keep an issue waiting; all others only relate."""
FOR_HUMANS = ("escalation", "needs-human", "@human-escalated", "human-escalated")
MAX_ATTEMPTS = 3
"""Of an issue that does not say how often it may be tried."""


class _Dependency(Struct):
    """An entry of ``dependencies``, as an export, a listing or another port of Beads writes it."""

    depends_on_id: str | None = None
    id: str | None = None
    type: str | None = None
    dep_type: str | None = None
    dependency_type: str | None = None


class _StateRow(Struct):
    """What is read of an issue's row."""

    id: str
    title: str | None = None
    status: str | None = None
    dk_max_attempts: Count | None = None
    dependencies: list[_Dependency] | None = None


class _DependencyRow(Struct):
    """A row that is a dependency: ``from_id`` comes first."""

    from_id: str
    to_id: str
    dep_type: str | None = None


@dataclass
class IssueState:
    """How an issue stands; ``why_not`` says why it cannot be worked on, None where it can."""

    title: str | None = None
    status: str = OPEN[0]
    max_attempts: int = MAX_ATTEMPTS
    blockers: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    why_not: str | None = None

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.status in DONE


def read_states(paths: Sequence[Path], known: Tracker) -> dict[str, IssueState]:
    """The state of every issue of ``known``, which was read from the same files.

    Raises :class:`DataError` naming file, line and JSON path of what does not fit.
    """
    states: dict[str, IssueState] = {}
    apart: list[_DependencyRow] = []
    for path in paths:
        for line, raw in iter_lines(path):
            row = decode(raw, str(path), line)
            if not isinstance(row, dict):
                continue
            if row.get("id") is None and row.get("from_id") is not None:
                apart.append(convert(row, _DependencyRow, str(path), line))
            elif row.get("id") in known.issues and row.get("issue_id", row["id"]) == row["id"]:
                states[row["id"]] = _state(convert(row, _StateRow, str(path), line), str(path), line)
    for link in apart:
        if link.to_id in states:
            _link(states[link.to_id], link.from_id, link.dep_type)
    for name, state in states.items():
        state.why_not = _why_not(name, states, known)
    return states


def _state(row: _StateRow, source: str, line: int) -> IssueState:
    state = IssueState(row.title)
    if row.status is not None:
        state.status = row.status
    if row.dk_max_attempts is not None:
        state.max_attempts = row.dk_max_attempts
    for i, dependency in enumerate(row.dependencies or ()):
        first = dependency.depends_on_id or dependency.id
        if first is None:
            path = f"$.dependencies[{i}]"
            raise DataError(source, line=line, path=path, found="no id", expected="the key `depends_on_id`")
        _link(state, first, dependency.type or dependency.dep_type or dependency.dependency_type)
    return state


def _link(state: IssueState, first: str, kind: str | None) -> None:
    if kind == PARENT:
        state.parents.append(first)
    elif kind is None or kind in BLOCKING:
        state.blockers.append(first)


def _why_not(name: str, states: dict[str, IssueState], known: Tracker) -> str | None:
    state, issue = states[name], known.issues[name].issue
    if state.status not in OPEN:
        return f"its status is {state.status}"
    if (tag := next((tag for tag in issue["tags"] if tag in FOR_HUMANS), None)) is not None:
        return f"it is for a human (tag {tag})"
    if issue["dk_attempts"] >= state.max_attempts:
        return f"it was tried {issue['dk_attempts']} of {state.max_attempts} times"
    waiting = _waiting_for(name, states, known)
    return None if not waiting else "it waits for " + ", ".join(waiting)


def _waiting_for(name: str, states: dict[str, IssueState], known: Tracker) -> list[str]:
    """The blockers of an issue and of those above it that are not done; a deleted one keeps nobody waiting."""
    seen, todo, waiting = {name}, [name], dict[str, None]()
    while todo:
        state = states[todo.pop()]
        for blocker in state.blockers:
            open_still = not states[blocker].done if blocker in states else blocker not in known.deleted
            if open_still:
                waiting[blocker if blocker in states else f"{blocker} (not in the tracker)"] = None
        for parent in state.parents:
            if parent in states and parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return list(waiting)


def counted(states: dict[str, IssueState]) -> dict[str, Any]:
    """How many issues are done, ready and neither."""
    done = sum(state.done for state in states.values())
    ready = sum(state.why_not is None for state in states.values())
    return {"issues": len(states), "done": done, "ready": ready, "not_ready": len(states) - done - ready}
