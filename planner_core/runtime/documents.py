"""What a decision is written as: ``planner_action.v1`` and ``executed_plan.v1``."""

from __future__ import annotations

from planner_core.action_space import Action, budgets
from planner_core.clock import now
from planner_core.contracts import (
    ACTION_SCHEMA,
    EXECUTED_PLAN_SCHEMA,
    ActionDocument,
    Bin,
    ExecutedPlanDocument,
)
from planner_core.runtime.choice import Choice, Model


def action_document(model: Model, action: Action, digest: str, choice: Choice) -> ActionDocument:
    """The ``planner_action.v1`` of a choice; ``digest`` is the hash of the input."""
    out: ActionDocument = {
        "schema_version": ACTION_SCHEMA,
        "created_at": now(),
        "swarm_id": action.swarm,
        "budgets": budgets(action),
        "abstain_to_default": choice.reason is not None,
        "reason": None if choice.reason is None else f"{choice.reason}: {choice.detail}",
        "input_hash": digest,
    }
    if choice.confidence is not None:
        out["confidence"] = choice.confidence
    if model.identity is not None:
        out["model"] = dict(model.identity)
    return out


def executed_plan(action: Action, fallback_reason: str | None = None) -> ExecutedPlanDocument:
    """The ``executed_plan.v1`` of an action; None for a budget that is not limited."""
    minutes = _limit(action.minutes)
    return {
        "schema_version": EXECUTED_PLAN_SCHEMA,
        "swarm_id_executed": action.swarm,
        "max_candidates_executed": _limit(action.candidates),
        "timeout_seconds_executed": None if minutes is None else minutes * 60,
        "max_iterations_executed": _limit(action.iterations),
        "fallback_applied": fallback_reason is not None,
        "fallback_reason": fallback_reason,
    }


def _limit(value: Bin) -> int | None:
    return value if isinstance(value, int) else None


def action_text(action: Action) -> str:
    """An action as a reason's detail names it."""
    return "(" + ", ".join(map(str, action)) + ")"
