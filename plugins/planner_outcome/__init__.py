"""What would happen, then what is best: a structural model of one try, composed to every action."""

from __future__ import annotations

from collections.abc import Callable

from planner_core import BasePolicy, PolicySpec, hookimpl
from planner_outcome.config import SEARCH_SPACE, OutcomeConfig

__all__ = ["OutcomeConfig", "planner_register_policies"]


def _load() -> type[BasePolicy]:
    from planner_outcome.policy import OutcomePolicy

    return OutcomePolicy


@hookimpl
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Register ``outcome``."""
    register(
        PolicySpec(
            name="outcome",
            summary="Predicts pass, minutes and USD of every action from logged runs, and takes the best.",
            config_type=OutcomeConfig,
            load=_load,
            trainable=True,
            search_space=SEARCH_SPACE,
        )
    )
