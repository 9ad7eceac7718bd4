"""A random forest as a policy: scikit-learn learns, skl2onnx writes it as a graph, the base does the rest."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from planner_core import BasePolicy, PolicySpec, hookimpl


class ForestConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """``trees`` of at most ``depth`` levels, each leaf of at least ``leaf`` training examples."""

    trees: int = 50
    depth: int = 14
    leaf: int = 3


def _load() -> type[BasePolicy]:
    from planner_sklearn.policy import Forest

    return Forest


@hookimpl
def planner_register_policies(register: Callable[[PolicySpec], None]) -> None:
    """Register ``forest``."""
    register(PolicySpec("forest", "A random forest (scikit-learn) over whole actions.", ForestConfig, _load, True))
