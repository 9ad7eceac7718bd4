"""A planner that tells OpenTelemetry what it decides, where the application has set a provider; else nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from opentelemetry import metrics, trace

from planner_core import ActionDocument, Document, Located, Plan, Planner, Predictor, __version__

NAME = "swarm_planner"

R = TypeVar("R")

_tracer = trace.get_tracer(NAME, __version__)
_meter = metrics.get_meter(NAME, __version__)
_decisions = _meter.create_counter("planner.decisions", "{decision}", "Decisions, by reason and policy.")
_seconds = _meter.create_histogram("planner.decide.duration", "s", "Seconds of a call of the planner, by its name.")


class TracedPlanner(Planner):
    """A :class:`planner_core.Planner` with a span for each call of ``decide``, ``plan`` and ``decide_batch``.

    ``TracedPlanner.load(bundle, ...)`` takes what ``Planner.load`` takes. Every decision, whatever the call, is counted
    in ``planner.decisions`` by ``planner.reason`` ("none": the model's own) and ``planner.policy``; the three calls are
    timed in ``planner.decide.duration``. A call that raises has its exception on the span.
    """

    def __init__(
        self,
        predictor: Predictor | None,
        *,
        on_decision: Callable[[ActionDocument], None] | None = None,
        **options: Any,
    ) -> None:
        self._told = on_decision
        super().__init__(predictor, on_decision=self._count, **options)

    def decide(self, planner_input: Document) -> ActionDocument:
        """As :meth:`planner_core.Planner.decide`."""
        return self._traced("decide", super().decide, planner_input, _of_action)

    def plan(self, planner_input: Document) -> Plan:
        """As :meth:`planner_core.Planner.plan`."""
        return self._traced("plan", super().plan, planner_input, _of_plan)

    def decide_batch(self, planner_inputs: Sequence[Located]) -> list[ActionDocument]:
        """As :meth:`planner_core.Planner.decide_batch`."""
        return self._traced("decide_batch", super().decide_batch, planner_inputs, _of_batch)

    def _traced(self, name: str, call: Callable[[Any], R], given: Any, attributes: Callable[[R], dict[str, Any]]) -> R:
        began = time.perf_counter()
        span = _tracer.start_span(f"planner.{name}")
        if span.is_recording():
            with trace.use_span(span, end_on_exit=True):
                answer = call(given)
                span.set_attributes({"planner.policy": self.policy or "", **attributes(answer)})
        else:  # no provider, or one that does not sample this: what costs is left out
            answer = call(given)
        _seconds.record(time.perf_counter() - began, {"planner.call": name})
        return answer

    def _count(self, action: ActionDocument) -> None:
        _decisions.add(1, {"planner.reason": _reason(action), "planner.policy": self.policy or ""})
        if self._told is not None:
            self._told(action)


def _reason(action: ActionDocument) -> str:
    said = action["reason"]
    return "none" if said is None else said.partition(":")[0]


def _of_action(action: ActionDocument) -> dict[str, Any]:
    out: dict[str, Any] = {
        "planner.reason": _reason(action),
        "planner.swarm_id": action["swarm_id"],
        "planner.input_hash": action["input_hash"],
    }
    if "confidence" in action:
        out["planner.confidence"] = action["confidence"]
    return out | {f"planner.model.{key}": value for key, value in action.get("model", {}).items()}


def _of_plan(plan: Plan) -> dict[str, Any]:
    odds = {"planner.arm": plan.arm, "planner.propensity": plan.propensity, "planner.decision_id": plan.decision_id}
    return _of_action(plan.action) | odds


def _of_batch(actions: list[ActionDocument]) -> dict[str, Any]:
    return {"planner.inputs": len(actions)}
