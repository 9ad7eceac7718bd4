"""A multilayer perceptron with one head over the 150 joint actions."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from planner_core import TRUNK_SEARCH_SPACE, BasePolicy, PolicySpec, hookimpl
from planner_joint.config import JointConfig

__all__ = ["Joint", "JointConfig", "JointPolicy", "planner_register_policies"]


def __getattr__(name: str) -> Any:
    """Resolve the names that need torch when they are first used."""
    if name in ("Joint", "JointPolicy"):
        return getattr(import_module("planner_joint.policy"), name)
    raise AttributeError(f"module 'planner_joint' has no attribute {name!r}")


def _load() -> type[BasePolicy]:
    from planner_joint.policy import Joint

    return Joint


@hookimpl
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Register ``joint``."""
    register(
        PolicySpec(
            name="joint",
            summary="A multilayer perceptron with one class for each of the 150 joint actions.",
            config_type=JointConfig,
            load=_load,
            trainable=True,
            search_space=TRUNK_SEARCH_SPACE,
        )
    )
