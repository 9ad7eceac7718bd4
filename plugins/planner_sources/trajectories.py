"""Trajectories of mini-SWE-agent (``.traj.json``) and SWE-agent (``.traj``): time, cost, tokens and how they ended."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from planner_core import DataError, LogAccount, LogInput
from planner_sources.common import Amount, Count, checked, minutes_of, one_object
from planner_sources.endings import Ending, ending_of

Moment = Annotated[float, Meta(ge=0.0, le=253402300799.0)]
"""Seconds since 1970, before the year 10000."""

NO_CLOCK = "SWE-agent's trajectories have no clock: a run ends when its file was last changed"
COMMANDS_ONLY = "SWE-agent's minutes are those of its commands alone: what the model took is not recorded"
FIRST_ANSWER = "mini-SWE-agent's minutes are from the model's first answer to the last message"


class Stats(Struct):
    """``info.model_stats`` of either agent."""

    instance_cost: Amount | None = None
    api_calls: Count | None = None
    tokens_sent: Count | None = None
    tokens_received: Count | None = None


class Limits(Struct):
    """``info.config.agent`` of mini-SWE-agent; 0 is no limit."""

    step_limit: Amount | None = None
    cost_limit: Amount | None = None
    wall_time_limit_seconds: Amount | None = None


class _Model(Struct):
    model_name: str | None = None


class _Config(Struct):
    agent: Limits = field(default_factory=Limits)
    model: _Model = field(default_factory=_Model)


class Info(Struct):
    """``info`` of either agent."""

    model_stats: Stats
    exit_status: str | None = None
    config: _Config = field(default_factory=_Config)


class _Extra(Struct):
    timestamp: Moment | None = None
    response: Any = None


class _Message(Struct):
    """The first version of mini-SWE-agent has the time of every message right in it, the second in ``extra``."""

    timestamp: Moment | None = None
    extra: _Extra | None = None


class _Mini(Struct):
    info: Info
    messages: list[_Message]
    instance_id: str | None = None


class _Step(Struct):
    execution_time: Amount = 0.0


class _Swe(Struct):
    info: Info
    trajectory: list[_Step]
    instance_id: str | None = None


@dataclass(frozen=True)
class Trajectory:
    """One attempt at an instance. ``limits`` are those that are no budget of a plan: steps and USD."""

    instance_id: str
    file: str
    info: Info
    started_ms: int
    duration_ms: int
    minutes: int | None
    limits: dict[str, float]
    tokens_in: int | None
    tokens_out: int | None

    @property
    def ending(self) -> Ending:
        """How it ended."""
        return ending_of(self.info.exit_status)

    @property
    def cost_usd(self) -> float | None:
        """What the model's calls cost; None where that was not counted, which both agents write as 0."""
        stats = self.info.model_stats
        return None if not stats.instance_cost and stats.api_calls else stats.instance_cost


def read_trajectory(given: LogInput, account: LogAccount) -> Trajectory:
    """A trajectory of either agent."""
    document = one_object(given)
    if "messages" in document:
        return _mini(checked(document, _Mini, given.name), given, account)
    return _swe(checked(document, _Swe, given.name), given, account)


def _mini(document: _Mini, given: LogInput, account: LogAccount) -> Trajectory:
    extras = [message.extra for message in document.messages if message.extra is not None]
    every = [message.timestamp for message in document.messages if message.timestamp is not None]
    times = every or [extra.timestamp for extra in extras if extra.timestamp is not None]
    if not times:
        path, expected = "$.messages[...].extra.timestamp", "the time of a message, there or right in it"
        raise DataError(given.name, path=path, found="none in any message", expected=expected)
    if not every:
        account.note(FIRST_ANSWER)
    limits = document.info.config.agent
    tokens_in, tokens_out = _tokens(extra.response for extra in extras)
    return Trajectory(
        instance_id=document.instance_id or _named(given),
        file=given.name,
        info=document.info,
        started_ms=int(min(times) * 1000),
        duration_ms=int((max(times) - min(times)) * 1000),
        minutes=minutes_of(limits.wall_time_limit_seconds, account),
        limits={name: value for name in ("step_limit", "cost_limit") if (value := getattr(limits, name))},
        tokens_in=tokens_in,
        tokens_out=tokens_out,
    )


def _tokens(responses: Iterable[object]) -> tuple[int | None, int | None]:
    """The usage of a model's answers, under the names of either of OpenAI's interfaces; None where none tells."""
    totals = [0, 0]
    for response in responses:
        usage = response.get("usage") if isinstance(response, dict) else None
        for i, names in enumerate((("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))):
            counts = [usage[name] for name in names if isinstance(usage, dict) and isinstance(usage.get(name), int)]
            totals[i] += max([0, *counts])
    return totals[0] or None, totals[1] or None


def _swe(document: _Swe, given: LogInput, account: LogAccount) -> Trajectory:
    account.note(NO_CLOCK)
    account.note(COMMANDS_ONLY)
    duration = int(sum(step.execution_time for step in document.trajectory) * 1000)
    stats = document.info.model_stats
    return Trajectory(
        instance_id=document.instance_id or _named(given),
        file=given.name,
        info=document.info,
        started_ms=max(0, int(os.stat(given.path).st_mtime * 1000) - duration),
        duration_ms=duration,
        minutes=None,
        limits={},
        tokens_in=stats.tokens_sent,
        tokens_out=stats.tokens_received,
    )


def _named(given: LogInput) -> str:
    """The instance of a trajectory that does not name it: its file's name, as both agents write it."""
    return PurePath(given.name).name.split(".traj", 1)[0]
