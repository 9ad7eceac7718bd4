"""Comparing actions by what they may use: caps, and never more than another action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner_core.action_space import NA, Action, bin_key


@dataclass(frozen=True)
class Caps:
    """Upper limits on what a decision may spend; None is no limit. Minutes are wall-clock minutes."""

    max_candidates: int | None = None
    max_minutes: int | None = None
    max_iterations: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise TypeError(f"{name} must be an integer of at least 1, or None for no limit, not {value!r}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")

    @property
    def any(self) -> bool:
        """Whether there is any limit."""
        return self.limits != (None, None, None)

    @property
    def limits(self) -> tuple[int | None, int | None, int | None]:
        """The three limits in the order of an action's budgets."""
        return self.max_candidates, self.max_minutes, self.max_iterations


def checked_caps(caps: Caps | None) -> Caps:
    """``caps``, or none at all for None; TypeError with the right call for anything else."""
    if caps is None:
        return Caps()
    if isinstance(caps, Caps):
        return caps
    call = "Caps(max_candidates=2, max_minutes=60)"
    if isinstance(caps, Mapping) and caps.keys() <= {"max_candidates", "max_minutes", "max_iterations"}:
        call = f"Caps({', '.join(f'{name}={value!r}' for name, value in caps.items())})"
    raise TypeError(f"caps must be a planner_core.Caps, not a {type(caps).__name__}: write caps={call}")


def within(caps: Caps, allowed: tuple[Action, ...]) -> tuple[Action, ...]:
    """The actions of ``allowed`` within the caps.

    NA means no limit and so breaks any cap, except on a budget for which the request offers nothing but NA: there it
    means that the budget does not apply, as iterations for code.
    """
    budgets = list(zip(range(1, 4), caps.limits, strict=True))
    applies = {h: any(action[h] != NA for action in allowed) for h, _ in budgets}
    checks = [(h, limit) for h, limit in budgets if limit is not None and applies[h]]
    return tuple(a for a in allowed if all(bin_key(a[h]) <= limit for h, limit in checks))


def uses_more(action: Action, than: Action) -> bool:
    """Whether ``action`` may spend more than ``than`` on any budget; NA is more than any number."""
    return any(bin_key(a) > bin_key(b) for a, b in zip(action[1:], than[1:], strict=True))


def least(allowed: tuple[Action, ...]) -> Action:
    """The action with the fewest candidates, then minutes, then iterations."""
    return min(allowed, key=lambda action: tuple(bin_key(value) for value in action[1:]))
