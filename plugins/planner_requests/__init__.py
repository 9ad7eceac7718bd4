"""Metrics of what the chosen actions ask for, whatever came of it: how much agent time, and how often without limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from planner_core import NA, Metric, hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from planner_core import ActionSpace, Decision, Examples

__all__ = ["mean_candidate_minutes", "planner_metrics", "unbounded_rate"]


def _asked(decision: Decision, space: ActionSpace) -> NDArray[np.float64]:
    """Candidates x minutes of each decision, float64 [n]; NaN where either is NA."""
    import numpy as np

    sizes = [
        float("nan" if NA in (candidates, minutes) else int(candidates) * int(minutes))
        for _, candidates, minutes, _ in space.actions
    ]
    asked: NDArray[np.float64] = np.array(sizes)[decision.action]
    return asked


def mean_candidate_minutes(decision: Decision, examples: Examples, space: ActionSpace) -> float | None:
    """Mean of candidates x minutes, the agent time allowed, over the decisions that limit both.

    None where none does.
    """
    import numpy as np

    asked = _asked(decision, space)
    limited = asked[~np.isnan(asked)]
    return float(limited.mean()) if len(limited) else None


def unbounded_rate(decision: Decision, examples: Examples, space: ActionSpace) -> float | None:
    """Share of the decisions that leave candidates or minutes unlimited (NA); ``mean_candidate_minutes`` omits them."""
    import numpy as np

    return float(np.isnan(_asked(decision, space)).mean()) if len(decision.action) else None


@hookimpl
def planner_metrics(register: Callable[[Metric], None]) -> None:
    """Register both."""
    register(
        Metric(
            name="mean_candidate_minutes",
            summary="Mean of candidates x minutes asked for, over the decisions that limit both.",
            compute=mean_candidate_minutes,
            better=-1,
        )
    )
    register(
        Metric(
            name="unbounded_rate",
            summary="Share of the decisions that leave candidates or minutes unlimited.",
            compute=unbounded_rate,
            better=-1,
        )
    )
