"""Hand-written rules as a policy: the baseline every other policy is judged against."""

from __future__ import annotations

from collections.abc import Callable

from planner_core import BasePolicy, PolicySpec, hookimpl
from planner_heuristic.config import HeuristicConfig
from planner_heuristic.policy import HeuristicBaseline, HeuristicPolicy

__all__ = ["HeuristicBaseline", "HeuristicConfig", "HeuristicPolicy", "planner_register_policies"]


def _load() -> type[BasePolicy]:
    return HeuristicPolicy


@hookimpl
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Register ``heuristic``."""
    register(
        PolicySpec(
            name="heuristic",
            summary="Hand-written rules on risk and size, or the kernel's own; needs no training.",
            config_type=HeuristicConfig,
            load=_load,
        )
    )
