"""A small transformer encoder over the issue, its earlier runs and the state of the system, as a policy."""

from __future__ import annotations

from collections.abc import Callable

from planner_core import BasePolicy, PolicySpec, hookimpl
from planner_transformer.config import TransformerConfig

__all__ = ["TransformerConfig", "planner_register_policies"]


def _load() -> type[BasePolicy]:
    from planner_transformer.policy import Transformer

    return Transformer


@hookimpl
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Register ``transformer``."""
    register(
        PolicySpec(
            name="transformer",
            summary="A small transformer encoder over issue, earlier runs and system state as tokens.",
            config_type=TransformerConfig,
            load=_load,
            trainable=True,
        )
    )
