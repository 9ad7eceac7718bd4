"""The default rules: what a kernel did before there was a policy, and what it falls back to.

They read three fields, the job type, the risk and the size, and every combination of them has exactly one action. The
exported graph of ``heuristic`` is made from the same tables.
"""

from __future__ import annotations

from typing import Protocol

from planner_core.action_space import NA, Action, nearest_action
from planner_core.bounds import bounded_cache
from planner_core.contracts import Bin, PlannerInput

BASELINE = "heuristic"
"""What the default rules are called, as a policy and as a baseline."""

HIGH_RISKS = ("high", "critical")
LARGE_SIZES = ("L", "XL")

# First match wins: (risks, sizes, swarm, candidates); None matches everything.
SWARM_RULES: tuple[tuple[tuple[str, ...] | None, tuple[str, ...] | None, str, int], ...] = (
    (HIGH_RISKS, None, "speculate_vote", 3),
    (None, LARGE_SIZES, "speculate_vote", 2),
    (None, None, "serial_handoff", 1),
)
MINUTES_OF_SIZE: dict[str, Bin] = {"XS": 15, "S": 30, "M": 45, "L": 60, "XL": 120}
ITERATIONS_OF_SIZE: dict[str, Bin] = {"XS": 1, "S": 2, "M": 3, "L": 5, "XL": 5}


def swarm_rule(risk: str, size: str) -> tuple[str, int]:
    """Swarm and candidates of the first matching rule."""
    for risks, sizes, swarm, candidates in SWARM_RULES:
        if (risks is None or risk in risks) and (sizes is None or size in sizes):
            return swarm, candidates
    raise AssertionError("the last rule matches everything")


def budgets(size: str, job_type: str) -> tuple[Bin, Bin]:
    """Minutes and iterations of a size; code jobs do not iterate."""
    return MINUTES_OF_SIZE[size], NA if job_type == "code" else ITERATIONS_OF_SIZE[size]


@bounded_cache(1024, megabytes=1)
def default_action(job_type: str, risk: str, size: str) -> Action:
    """The action of the default rules, before any restriction of the request's action space."""
    swarm, candidates = swarm_rule(risk, size)
    return Action(swarm, candidates, *budgets(size, job_type))


class Baseline(Protocol):
    """What decides where no model may."""

    def nearest(self, x: PlannerInput, allowed: tuple[Action, ...]) -> Action:
        """The baseline's own action for ``x``, or the one of ``allowed`` (never empty) that is nearest to it."""
        ...


class DefaultRules:
    """The default rules as a baseline; they read the input itself, so nothing is encoded."""

    def nearest(self, x: PlannerInput, allowed: tuple[Action, ...]) -> Action:
        """The rules' action for ``x``, or the allowed one nearest to it; ValueError where nothing is allowed."""
        return nearest_action(default_action(x.job_type, x.issue.dk_risk, x.issue.dk_size), allowed)
