"""Codex: the files ``rollout-*.jsonl`` below ``~/.codex/sessions``, one a session.

Tokens are counted from the running totals of a session. A session that another one spawned or was forked from begins
with a replay of it: totals that the other file has too, or that were written in the second of the fork, count there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec import Struct

from planner_core import DataError, LogInput, LogIssue, LogReading, LogRun, LogSample
from planner_core import read as read_json
from planner_sources.common import Count, checked, files_of, unix_ms
from planner_sources.prices import Usage
from planner_sources.sessions import Session, runs_of

TOOL = "codex"
NO_MODEL = "unknown"


class _Line(Struct):
    timestamp: datetime
    type: str
    payload: Any = None


class _Git(Struct):
    branch: str | None = None


class _Meta(Struct):
    id: str
    git: _Git | None = None
    source: Any = None
    forked_from_id: str | None = None
    parent_thread_id: str | None = None

    @property
    def parent(self) -> str | None:
        """The session that this one was spawned by or forked from."""
        spawn = self.source
        for key in ("subagent", "thread_spawn", "parent_thread_id"):
            spawn = spawn.get(key) if isinstance(spawn, dict) else None
        return spawn if isinstance(spawn, str) else self.parent_thread_id or self.forked_from_id

    @property
    def spawned(self) -> bool:
        """Whether it is a part of its parent's work, not a session of its own."""
        return self.parent is not None and self.parent != self.forked_from_id


class _Totals(Struct, frozen=True):
    input_tokens: Count = 0
    cached_input_tokens: Count = 0
    output_tokens: Count = 0


class _Info(Struct):
    total_token_usage: _Totals | None = None


class _Event(Struct):
    type: str
    info: _Info | None = None


class _Turn(Struct):
    model: str | None = None


@dataclass
class _Rollout:
    """One file: its session, and its running totals as (second, model, totals)."""

    meta: _Meta
    session: Session
    began: int
    totals: list[tuple[int, str, _Totals]] = field(default_factory=list)


def sniff(sample: LogSample) -> float:
    """A first line of the type ``session_meta``."""
    return 1.0 if re.match(rb'\s*\{[^\n]{0,200}"type"\s*:\s*"session_meta"', sample.head) else 0.0


def read(reading: LogReading) -> Iterator[LogIssue | LogRun]:
    """A run of every session that belongs to an issue and has an outcome."""
    rollouts: dict[str, _Rollout] = {}
    for file in files_of(reading, "*.jsonl*"):
        rollout = _read_file(file)
        if (other := rollouts.setdefault(rollout.meta.id, rollout)) is not rollout:
            expected = f"a session of its own ({other.session.file} has it too)"
            raise DataError(file.name, path="$.payload.id", found=rollout.meta.id, expected=expected)
    for rollout in rollouts.values():
        _count(rollout, _root(rollout, rollouts).session, rollouts)
    own = [rollout.session for rollout in rollouts.values() if _root(rollout, rollouts) is rollout]
    if spawned := len(rollouts) - len(own):
        reading.account.value("session", "spawned by another", "tokens of that one", spawned)
    yield from runs_of(own, reading)


def _root(rollout: _Rollout, rollouts: dict[str, _Rollout]) -> _Rollout:
    """The session whose work this is part of; itself where its parent's file is not here."""
    seen = {rollout.meta.id}
    while rollout.meta.spawned and (parent := rollouts.get(rollout.meta.parent or "")) and parent.meta.id not in seen:
        seen.add(parent.meta.id)
        rollout = parent
    return rollout


def _read_file(file: LogInput) -> _Rollout:
    rollout: _Rollout | None = None
    model = NO_MODEL
    for number, raw in file.lines():
        line = read_json(raw, _Line, file.name, number)
        at = unix_ms(line.timestamp)
        if rollout is None:
            if line.type != "session_meta":
                raise DataError(file.name, line=number, path="$.type", found=line.type, expected="session_meta first")
            meta = checked(line.payload, _Meta, file.name, number, "$.payload")
            rollout = _Rollout(meta, Session(meta.id, TOOL, file.name), at // 1000)
            if meta.git is not None and meta.git.branch:
                rollout.session.branches[meta.git.branch] += 1
        if line.type == "turn_context":
            model = checked(line.payload, _Turn, file.name, number, "$.payload").model or model
        if line.type == "event_msg":
            event = checked(line.payload, _Event, file.name, number, "$.payload")
            if event.type == "token_count" and event.info is not None and event.info.total_token_usage is not None:
                rollout.totals.append((at // 1000, model, event.info.total_token_usage))
            rollout.session.events.append((at, event.type in ("user_message", "task_started")))
            continue
        # A turn begins with these, and what was before them is waiting.
        by_a_person = isinstance(line.payload, dict) and line.payload.get("role") == "user"
        rollout.session.events.append((at, by_a_person or line.type == "turn_context"))
    assert rollout is not None  # a file without a line is an error of its own
    return rollout


def _count(rollout: _Rollout, to: Session, rollouts: dict[str, _Rollout]) -> None:
    """The tokens of a file, each step from one running total to the next, without what was replayed."""
    parent = rollouts.get(rollout.meta.parent or "")
    replayed = {totals for _, _, totals in parent.totals} if parent is not None else set()
    before = _Totals()
    for second, model, totals in rollout.totals:
        again = rollout.meta.parent is not None and (totals in replayed or second == rollout.began)
        if totals.input_tokens < before.input_tokens or totals.output_tokens < before.output_tokens:
            before = _Totals()  # a session that was compacted or resumed counts from nothing again
        if not again:
            cached = max(0, totals.cached_input_tokens - before.cached_input_tokens)
            sent = max(0, totals.input_tokens - before.input_tokens)
            to.use(model, Usage(max(0, sent - cached), totals.output_tokens - before.output_tokens, cached))
        before = totals
