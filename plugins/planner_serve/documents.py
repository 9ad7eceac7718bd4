"""What goes over the wire beside the planner's own contracts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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


class Outcome(Struct):
    """What the model predicts of an action: probability of a pass, minutes, USD. A prediction, not evidence."""

    passed: float
    minutes: float
    cost_usd: float


class Expected(Struct):
    """What is expected of the action that was decided and of the baseline's; null where the model knows it not."""

    action: Outcome | None
    baseline: Outcome | None


class PlanAnswer(Struct):
    """A decision with what belongs into a manifest and into a log of runs.

    ``prediction`` is the model's own action before rollout, mode, threshold and caps; null where there was none.
    ``propensity`` is the probability of the action, ``propensities`` that of every action there was.
    """

    action: PlannerAction
    executed: ExecutedPlan
    prediction: PlannerAction | None
    arm: Literal["baseline", "model", "explore"]
    propensity: float
    propensities: dict[str, float]
    decision_id: str
    expected: Expected | None


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
