"""What ``/metrics`` tells, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from planner_core import Planner

SECONDS = (*(1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2), *(5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0))
"""Upper ends of the latency histogram: a decision takes some tenths of a millisecond."""


class Metrics:
    """The counts of one server."""

    def __init__(self, planner: Planner, in_flight: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "planner_requests", "Requests answered, by path and status.", ("path", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "planner_request_seconds",
            "Seconds from the head of a request to its answer, by path.",
            ("path",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._reloads = Counter(
            "planner_reloads", "Changed bundles, by whether they serve.", ("outcome",), registry=self._registry
        )
        for outcome in ("loaded", "refused"):
            self._reloads.labels(outcome)  # from the start, so that a first one is an increase
        Gauge("planner_requests_in_flight", "Requests being decided.", registry=self._registry).set_function(in_flight)
        self._registry.register(_Decisions(planner))
        ProcessCollector(registry=self._registry)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count one request, and the time it took."""
        self.refused(path, status)
        self._seconds.labels(path).observe(seconds)

    def refused(self, path: str, status: int) -> None:
        """Count one request that no endpoint saw."""
        self._requests.labels(path, str(status)).inc()

    def reloaded(self, loaded: bool) -> None:
        """Count one changed bundle."""
        self._reloads.labels("loaded" if loaded else "refused").inc()

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)


class _Decisions(Collector):
    """The planner's own counts, read when they are asked for: a decision costs nothing for them."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def collect(self) -> Iterator[Metric]:
        stats = self._planner.stats()
        yield _counter(
            "planner_decisions",
            "Decisions, by reason; 'none': the model's own.",
            "reason",
            {"none": stats["model"], **stats["fallbacks"]},
        )
        yield _counter("planner_arms", "Decisions, by arm of the rollout.", "arm", stats["arms"])
        yield _counter("planner_failures", "Session calls that failed, by exception.", "exception", stats["failures"])
        unlogged = CounterMetricFamily("planner_unlogged", "Decisions whose line could not be added to the log.")
        unlogged.add_metric((), stats["unlogged"])
        yield unlogged
        model = InfoMetricFamily("planner_model", "The model that decides; no sample where there is none.")
        identity = self._planner.model
        if identity is not None:
            model.add_metric((), {"policy": self._planner.policy or "", **identity})
        yield model


def _counter(name: str, help: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, help, labels=(label,))
    for value, count in counts.items():
        family.add_metric((value,), count)
    return family
