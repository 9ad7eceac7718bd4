"""Gradient-boosted trees over whole actions, as a policy: LightGBM learns, onnxmltools writes the trees as a graph."""

from __future__ import annotations

from collections.abc import Callable

from planner_core import BasePolicy, PolicySpec, hookimpl
from planner_gbdt.config import GBDTConfig

__all__ = ["GBDTConfig", "planner_register_policies"]


def _load() -> type[BasePolicy]:
    from planner_gbdt.policy import GBDT

    return GBDT


@hookimpl
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Register ``gbdt``."""
    register(
        PolicySpec(
            name="gbdt",
            summary="Gradient-boosted trees (LightGBM), one class for each whole action that training shows.",
            config_type=GBDTConfig,
            load=_load,
            trainable=True,
        )
    )
