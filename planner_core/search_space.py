"""What a study may try: for some keys of a policy's configuration, the values it may take.

A policy declares its search space beside its configuration (:class:`planner_core.policy.PolicySpec`); nothing here
depends on what searches it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class RealRange:
    """The real numbers from ``low`` to ``high``, ends included; ``log``: equally likely on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, self.log)

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""
        return not isinstance(value, bool) and isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class IntegerRange:
    """The integers from ``low`` to ``high``, ends included, every one or on a logarithmic scale."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, self.log)

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""
        return not isinstance(value, bool) and isinstance(value, int) and self.low <= value <= self.high


@dataclass(frozen=True)
class OneOf:
    """Any of ``values``, which have no order."""

    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.values, tuple) or not self.values:
            raise ValueError(f"found {self.values!r}; expected a tuple of at least one value")
        if wrong := [value for value in self.values if not isinstance(value, Scalar)]:
            raise ValueError(f"found {wrong[0]!r}; expected true, false, numbers, texts or None")

    def holds(self, value: Any) -> bool:
        """Whether ``value`` is one of them."""
        return any(type(value) is type(one) and value == one for one in self.values)


Dimension = RealRange | IntegerRange | OneOf
"""The values that one key may take."""

SearchSpace = Mapping[str, Dimension]
"""The values of some keys of a configuration, by key; a nested key is dotted, as in ``--set``."""


def _check_ends(low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"found the ends {low} and {high}; expected two finite numbers, the lower one first")
    if log and low <= 0:
        raise ValueError(f"found the lower end {low}; expected a positive one on a logarithmic scale")


def space_document(space: SearchSpace) -> dict[str, dict[str, Any]]:
    """A search space in plain values, the same for equal spaces."""
    return {key: {"kind": type(one).__name__, **asdict(one)} for key, one in sorted(space.items())}


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key; KeyError where there is none."""
    found: Any = values
    for part in key.split("."):
        if not isinstance(found, Mapping):
            raise KeyError(key)
        found = found[part]
    return found


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """``{"head_weights.swarm": 2.0}`` as the nested mapping that a configuration file has."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = key.split(".")
        place = out
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return out


def problem_of(space: Any, defaults: Mapping[str, Any]) -> str | None:
    """What is wrong with what a policy declares as its search space; None where nothing is.

    ``defaults`` are the effective default values of its configuration. A space must hold them: a study tries the
    default configuration first, and says of everything else whether it is better.
    """
    if not isinstance(space, Mapping):
        return f"its search_space is a {type(space).__name__}, expected a mapping of keys to what they may be"
    for key, one in space.items():
        if not isinstance(one, Dimension):
            return f"its search_space has {one!r:.80} for '{key}', expected a RealRange, an IntegerRange or a OneOf"
        try:
            default = value_at(defaults, key)
        except (KeyError, AttributeError):
            return f"its search_space names '{key}', which is no key of its configuration"
        if not one.holds(default):
            return f"its search_space of '{key}' does not hold the default {default!r:.80}"
    return None
