"""Claude Code: the session files below ``~/.claude/projects``, one JSON document a line.

A message stands in as many lines as it has parts, again in sessions that were forked, and again in side conversations,
which replay their parent's: each counts once, by message id and request id, the parent's before a replay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import Struct

from planner_core import DataError, LogInput, LogIssue, LogReading, LogRun, LogSample
from planner_core import read as read_json
from planner_sources.common import Count, files_of, has_keys, lies_at, unix_ms
from planner_sources.prices import Usage
from planner_sources.sessions import Session, runs_of

TOOL = "claude"
NO_MESSAGE = "files without a message"


class _CacheCreation(Struct):
    ephemeral_1h_input_tokens: Count | None = None


class _Usage(Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None

    def usage(self) -> Usage:
        """The tokens by price; those kept for an hour are among ``cache_creation_input_tokens``."""
        hour = (self.cache_creation.ephemeral_1h_input_tokens if self.cache_creation else None) or 0
        written = max(self.cache_creation_input_tokens or 0, hour)
        return Usage(
            self.input_tokens or 0, self.output_tokens or 0, self.cache_read_input_tokens or 0, written - hour, hour
        )


class _Message(Struct):
    id: str | None = None
    role: str | None = None
    model: str | None = None
    usage: _Usage | None = None
    content: Any = None


class _Line(Struct):
    type: str | None = None
    sessionId: str | None = None
    timestamp: datetime | None = None
    uuid: str | None = None
    isSidechain: bool | None = None
    isMeta: bool | None = None
    requestId: str | None = None
    gitBranch: str | None = None
    message: _Message | None = None

    @property
    def by_a_person(self) -> bool:
        """Whether somebody wrote it: no answer of a tool, no part of a side conversation, no reminder."""
        if self.type != "user" or self.isSidechain or self.isMeta or self.message is None:
            return False
        parts = self.message.content
        if not isinstance(parts, list):
            return True
        return not any(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts)


@dataclass(slots=True)
class _Answer:
    """One answer of a model. Lines of it say more and more; the last has all its tokens."""

    sessions: set[str]
    model: str
    usage: Usage
    side: bool


def sniff(sample: LogSample) -> float:
    """Lines that name their session, or a folder of such files: there other files lie beside them, as of tools."""
    if sample.is_folder:
        names = [name for name in sample.files if lies_at(name, "*.jsonl", "*/*.jsonl")][:20]
        return 1.0 if names and all(_is_session(sample.peek(name)) for name in names) else 0.0
    return 1.0 if _is_session(sample.head) else 0.0


def _is_session(head: bytes) -> bool:
    if not head.lstrip().startswith(b"{") or not has_keys(head, "sessionId"):
        return False
    marks = (("isSidechain",), ("parentUuid",), ("requestId", "message"))
    return any(has_keys(head, *names) for names in marks)


def read(reading: LogReading) -> Iterator[LogIssue | LogRun]:
    """A run of every session that belongs to an issue and has an outcome."""
    sessions: dict[str, Session] = {}
    lines: dict[str, dict[str, tuple[int, bool]]] = {}
    answers: dict[str, dict[str, _Answer]] = {}
    for file in files_of(reading, "*.jsonl*"):
        if not _read_file(file, sessions, lines, answers):
            reading.account.leave_out(NO_MESSAGE)
    order = sorted(sessions.values(), key=lambda session: (session.ended_ms, session.id))
    _share(order, lines)
    first = {session.id: i for i, session in enumerate(order)}
    replays = 0
    for of_message in answers.values():
        own = {request: answer for request, answer in of_message.items() if not answer.side}
        replays += len(of_message) - len(own or of_message)
        for answer in (own or of_message).values():
            sessions[min(answer.sessions, key=first.__getitem__)].use(answer.model, answer.usage)
    if replays:
        reading.account.leave_out("replays of messages in side conversations", replays)
    yield from runs_of([session for session in order if session.events], reading)


def _share(order: Sequence[Session], lines: Mapping[str, Mapping[str, tuple[int, bool]]]) -> None:
    """Give every line to the session that ended first of those it stands in: the others were forked from it."""
    seen: set[str] = set()
    for session in order:
        own = {uuid: event for uuid, event in lines.get(session.id, {}).items() if uuid not in seen}
        seen |= own.keys()
        session.events = list(own.values())


def _read_file(
    file: LogInput,
    sessions: dict[str, Session],
    lines: dict[str, dict[str, tuple[int, bool]]],
    answers: dict[str, dict[str, _Answer]],
) -> bool:
    """Whether it had a message."""
    some = False
    for number, raw in file.lines():
        line = read_json(raw, _Line, file.name, number)
        if line.type is None and line.message is None:
            raise DataError(file.name, line=number, found="neither type nor message", expected="a line of a session")
        if line.message is None or line.type not in (None, "user", "assistant"):
            continue
        if line.sessionId is None or line.timestamp is None:
            missing = "sessionId" if line.sessionId is None else "timestamp"
            raise DataError(file.name, line=number, found="no such key", expected=f"the key `{missing}` of a message")
        some = True
        session = sessions.setdefault(line.sessionId, Session(line.sessionId, TOOL, file.name))
        place = f"{file.name}:{number}"
        event = (unix_ms(line.timestamp), line.by_a_person)
        session.events.append(event)
        if not line.isMeta:  # a reminder comes with the prompt that it is for
            lines.setdefault(line.sessionId, {})[line.uuid or place] = event
        if line.gitBranch:
            session.branches[line.gitBranch] += 1
        _add_answer(line, place, answers)
    return some


def _add_answer(line: _Line, place: str, answers: dict[str, dict[str, _Answer]]) -> None:
    message = line.message
    if message is None or message.usage is None or line.sessionId is None or message.model in (None, "<synthetic>"):
        return
    usage, side = message.usage.usage(), bool(line.isSidechain)
    known = answers.setdefault(message.id or place, {})
    before = known.get(line.requestId or "")
    if before is None:
        known[line.requestId or ""] = _Answer({line.sessionId}, message.model or "", usage, side)
        return
    before.sessions.add(line.sessionId)
    before.side = before.side and side
    if usage.output >= before.usage.output:
        before.usage = usage
