"""The Agent Trajectory Interchange Format: what a trajectory spent, its copied steps left out, its subagents added."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from planner_core import DataError
from planner_sources.common import Amount, Count, checked

ATIF_MARK = re.compile(rb'(?<!\\)"schema_version"\s*:\s*"ATIF-v')
MAX_DEPTH = 16
"""Subagents of subagents; more than any agent has."""


@dataclass(frozen=True)
class Totals:
    """Tokens and USD, None where nothing tells."""

    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            _added(self.tokens_in, other.tokens_in),
            _added(self.tokens_out, other.tokens_out),
            _added(self.cost_usd, other.cost_usd),
        )


def _added(one: Any, other: Any) -> Any:
    return other if one is None else one if other is None else one + other


class _Metrics(Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    cost_usd: Amount | None = None


class _Final(Struct):
    total_prompt_tokens: Count | None = None
    total_completion_tokens: Count | None = None
    total_cost_usd: Amount | None = None


class _Step(Struct):
    metrics: _Metrics | None = None
    is_copied_context: bool | None = None


class _Trajectory(Struct):
    steps: list[_Step]
    final_metrics: _Final | None = None
    subagent_trajectories: list[Any] | None = None


def read_atif(document: Any, source: str, path: str = "$", depth: int = 0) -> Totals:
    """What a trajectory and its subagents spent: by its final metrics, else by its steps.

    Raises :class:`DataError` for what is no trajectory and for subagents in more than :data:`MAX_DEPTH` ranks.
    """
    if depth > MAX_DEPTH:
        raise DataError(source, path=path, found=f"subagents {depth} deep", expected=f"at most {MAX_DEPTH}")
    trajectory = checked(document, _Trajectory, source, path=path)
    final = trajectory.final_metrics or _Final()
    total = Totals(final.total_prompt_tokens, final.total_completion_tokens, final.total_cost_usd)
    steps = Totals()
    for step in trajectory.steps:
        if step.metrics is not None and not step.is_copied_context:
            metrics = step.metrics
            steps += Totals(metrics.prompt_tokens, metrics.completion_tokens, metrics.cost_usd)
    total = Totals(
        *(known if known is not None else counted for known, counted in zip(_parts(total), _parts(steps), strict=True))
    )
    for i, inner in enumerate(trajectory.subagent_trajectories or ()):
        total += read_atif(inner, source, f"{path}.subagent_trajectories[{i}]", depth + 1)
    return total


def _parts(totals: Totals) -> tuple[Any, Any, Any]:
    return totals.tokens_in, totals.tokens_out, totals.cost_usd
