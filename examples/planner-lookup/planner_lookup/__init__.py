"""The best constant action of each kind of issue, as a policy: no learning framework, and a baseline to beat."""

from __future__ import annotations

from collections.abc import Callable

from planner_core import BasePolicy, PolicySpec, hookimpl
from planner_lookup.config import LookupConfig

__all__ = ["LookupConfig", "planner_register_policies"]


def _load() -> type[BasePolicy]:
    from planner_lookup.policy import Lookup

    return Lookup


@hookimpl
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Register ``lookup``."""
    register(
        PolicySpec(
            name="lookup",
            summary="The best constant action of each job type, size, risk and priority; NumPy alone.",
            config_type=LookupConfig,
            load=_load,
            trainable=True,
        )
    )
