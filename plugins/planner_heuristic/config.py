"""Configuration of the heuristic: which rules, and what the kernel rules are told."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]
Risk = Literal["low", "medium", "high", "critical"]
Size = Literal["XS", "S", "M", "L", "XL"]


class RoutingMatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What a routing rule looks at; every field that is given must match."""

    dk_tool_hint: tuple[str, ...] | None = None
    dk_risk: tuple[Risk, ...] | None = None
    dk_size: tuple[Size, ...] | None = None
    tags_any: tuple[str, ...] | None = None
    tags_all: tuple[str, ...] | None = None


class RoutingRule(Struct, frozen=True, forbid_unknown_fields=True):
    """A routing rule of the kernel: when ``match`` holds, whether to speculate and with how many candidates."""

    match: RoutingMatch = RoutingMatch()
    speculate: bool = False
    parallelism: Positive | None = None


class ExplorationControl(Struct, frozen=True, forbid_unknown_fields=True):
    """Adjusts the parallelism by the rate at which agents currently act, ``parallelism_step`` candidates at a time."""

    enabled: bool = True
    action_low: float = 0.1
    action_high: float = 0.5
    max_parallelism: Positive = 3
    parallelism_step: Positive = 1


class HeuristicConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``rules: default`` is the table of :mod:`planner_core.rules`; ``rules: kernel`` the kernel's own decision.

    The fields below ``rules`` are read by the kernel rules only. ``auto_trigger_on_critical_path``: an issue on the
    critical path, of a risk in ``speculate_on_risk``, speculates without being asked.
    """

    rules: Literal["default", "kernel"] = "default"
    speculation_enabled: bool = True
    default_parallelism: Positive = 2
    auto_trigger_on_critical_path: bool = True
    speculate_on_risk: tuple[Risk, ...] = ("high", "critical")
    routing_rules: tuple[RoutingRule, ...] = ()
    exploration: ExplorationControl = ExplorationControl()
