"""A multilayer perceptron with one head for each part of the action."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from planner_core import TRUNK_SEARCH_SPACE, BasePolicy, PolicySpec, hookimpl
from planner_mlp.config import MLPConfig

__all__ = ["MLP", "MLPConfig", "MLPPolicy", "planner_register_policies"]


def __getattr__(name: str) -> Any:
    """Resolve the names that need torch when they are first used."""
    if name in ("MLP", "MLPPolicy"):
        return getattr(import_module("planner_mlp.policy"), name)
    raise AttributeError(f"module 'planner_mlp' has no attribute {name!r}")


def _load() -> type[BasePolicy]:
    from planner_mlp.policy import MLP

    return MLP


@hookimpl
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Register ``mlp``."""
    register(
        PolicySpec(
            name="mlp",
            summary="A multilayer perceptron with a head for each of swarm, candidates, minutes and iterations.",
            config_type=MLPConfig,
            load=_load,
            trainable=True,
            search_space=TRUNK_SEARCH_SPACE,
        )
    )
