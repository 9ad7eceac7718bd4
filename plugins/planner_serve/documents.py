"""What goes over the wire beside the planner's own contracts."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from planner_core import ExecutedPlan, PlannerAction

MAX_BATCH = 256
"""Inputs of one batch: one session call, whose dense rows are then at most 4 MB."""

Batch = Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MAX_BATCH)]


class BatchRequest(Struct, forbid_unknown_fields=True):
    """Closed. Inputs that are decided together, all or none."""

    inputs: Batch


class BatchAnswer(Struct):
    """The actions of a batch, in the order of its inputs."""

    actions: list[PlannerAction]


class PlanAnswer(Struct):
    """A decision, its executed plan, and the model's own action before mode, threshold and caps (null: none)."""

    action: PlannerAction
    executed: ExecutedPlan
    prediction: PlannerAction | None


class Refused(Struct, omit_defaults=True):
    """Why a request was refused, and where that is known its place."""

    error: str
    source: str | None = None
    path: str | None = None
    found: str | None = None
    expected: str | None = None


class ReloadError(Struct):
    """A new bundle that could not be used, and since when (RFC 3339)."""

    error: str
    at: str


class Health(Struct):
    """``ok``: the newest bundle decides. ``degraded``: the default rules decide, or an older bundle than is there."""

    status: str
    policy: str | None
    model: dict[str, str] | None
    mode: str
    decisions: int
    started_at: str
    loaded_at: str
    reload_error: ReloadError | None
