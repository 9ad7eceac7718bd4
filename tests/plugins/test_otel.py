"""Spans and metrics where an application has set a provider, and decisions as ever where it has not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the dev extra is not installed")

from opentelemetry import metrics, trace  # after the skip
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from planner_core import DataError, Planner
from planner_otel import TracedPlanner
from planner_otel import planner as module


@pytest.fixture
def recorded(monkeypatch):
    """(spans so far, points of a metric by its attributes); the providers are this test's own and not the process's."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meter = meters.get_meter("test")
    monkeypatch.setattr(module, "_tracer", tracers.get_tracer("test"))
    monkeypatch.setattr(module, "_decisions", meter.create_counter("planner.decisions"))
    monkeypatch.setattr(module, "_seconds", meter.create_histogram("planner.decide.duration"))

    def points(name):
        scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics
        (found,) = [metric for scope in scopes for metric in scope.metrics if metric.name == name]
        return {tuple(sorted(point.attributes.items())): point for point in found.data.data_points}

    return exporter.get_finished_spans, points


@pytest.fixture
def inputs(world_lines):
    return [line["planner_input"] for line in world_lines(5)]


def without_time(action):
    return {key: value for key, value in action.items() if key != "created_at"}


def test_a_span_for_each_call(recorded, bundles, inputs):
    spans, _ = recorded
    planner = TracedPlanner.load(bundles["mlp"], strict=True, share=0.5)
    action, plan = planner.decide(inputs[0]), planner.plan(inputs[1])
    planner.decide_batch(inputs)
    assert [span.name for span in spans()] == ["planner.decide", "planner.plan", "planner.decide_batch"]
    decided, planned, batch = (dict(span.attributes) for span in spans())
    assert decided["planner.input_hash"] == action["input_hash"] and decided["planner.policy"] == "mlp"
    assert decided["planner.model.checkpoint_id"] == planner.model["checkpoint_id"]
    assert (planned["planner.arm"], planned["planner.propensity"]) == (plan.arm, plan.propensity)
    assert planned["planner.decision_id"] == plan.decision_id
    assert batch == {"planner.policy": "mlp", "planner.inputs": 5}


def test_a_span_is_a_child_of_the_applications(recorded, bundles, inputs):
    planner = TracedPlanner.load(bundles["mlp"], strict=True)
    with module._tracer.start_as_current_span("issue") as parent:
        planner.decide(inputs[0])
    child = next(span for span in recorded[0]() if span.name == "planner.decide")
    assert child.parent.span_id == parent.get_span_context().span_id


def test_every_decision_is_counted_whatever_the_call(recorded, bundles, inputs):
    told = []
    planner = TracedPlanner.load(bundles["mlp"], strict=True, mode="log", on_decision=told.append)
    planner.decide(inputs[0])
    planner.plan(inputs[0])
    planner.decide_batch(inputs)
    list(planner.decide_many(inputs, 2))
    _, points = recorded
    key = (("planner.policy", "mlp"), ("planner.reason", "mode_log"))
    assert {key: point.value for key, point in points("planner.decisions").items()} == {key: 12}
    assert len(told) == planner.stats()["decisions"] == 12
    timed = {key[0][1]: point.count for key, point in points("planner.decide.duration").items()}
    assert timed == {"decide": 1, "plan": 1, "decide_batch": 1}


def test_a_refused_input_is_on_the_span(recorded, bundles):
    planner = TracedPlanner.load(bundles["mlp"], strict=True)
    with pytest.raises(DataError):
        planner.decide({})
    (span,) = recorded[0]()
    assert not span.status.is_ok and span.events[0].name == "exception"


def test_without_a_provider_it_decides_and_records_nothing(bundles, inputs):
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert type(metrics.get_meter_provider()).__name__ == "_ProxyMeterProvider"
    traced, plain = TracedPlanner.load(bundles["mlp"], strict=True), Planner.load(bundles["mlp"], strict=True)
    assert isinstance(traced, TracedPlanner)
    for x in inputs:
        assert without_time(traced.decide(x)) == without_time(plain.decide(x))
    assert traced.plan(inputs[0]).executed == plain.plan(inputs[0]).executed


def test_a_provider_that_is_set_later_counts(bundles, inputs, tmp_path):
    """In a process of its own, as providers can be set only once in a process."""
    (tmp_path / "x.json").write_text(json.dumps(inputs[0]))
    code = f"""
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from planner_otel import TracedPlanner

planner = TracedPlanner.load({str(bundles["mlp"])!r}, strict=True)
document = open({str(tmp_path / "x.json")!r}).read()
planner.decide(document)
exporter, reader, provider = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
planner.decide(document)
planner.decide(document)
scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics
counts = {{m.name: sum(getattr(p, "value", getattr(p, "count", 0)) for p in m.data.data_points)
          for s in scopes for m in s.metrics}}
print([span.name for span in exporter.get_finished_spans()], sorted(counts.items()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    spans = ["planner.decide", "planner.decide"]
    assert done.stdout.strip() == f"{spans} [('planner.decide.duration', 2), ('planner.decisions', 2)]", done.stderr
