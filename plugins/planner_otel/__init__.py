"""Spans and metrics of decisions for OpenTelemetry. Needs the ``otel`` extra: its API, and nothing of its SDK."""

from planner_otel.planner import TracedPlanner

__all__ = ["TracedPlanner"]
