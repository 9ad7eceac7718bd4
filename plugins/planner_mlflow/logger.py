"""One MLflow run for one training run, however often it is interrupted and taken up again."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from planner_core import EpochReport, TrainingCallback, TrainingRun, __version__

STATE = "mlflow.json"
"""In the run directory: where the run was logged to, so that a resumed training goes on there."""

EXPERIMENT = "swarm-planner"
EPOCH_METRICS = ("train_loss", "valid_loss", "valid_exact_match", "valid_utility", "examples_per_second")
ANCHOR = "train_loss"
"""The metric that every epoch has: the steps it has are the epochs that were logged."""

LEFT_OUT = frozenset({"risk_coverage", "reliability", "intervals", "floor", "ceiling"})
"""Curves and tables, and what is the dataset's own."""

MAX_VALUE = 500
"""Characters of a parameter's value; older servers refuse more."""

MAX_BATCH = 100


class MlflowLogger(TrainingCallback):
    """Parameters, the metrics of every epoch, the results, and what the run was made from."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def on_train_begin(self, run: TrainingRun) -> None:
        """Start an MLflow run, or go on with the one that an interrupted training began."""
        # A server that is away must cost a training seconds; MLflow's own default is to try for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=self.uri)
        self.place = run.work_directory
        earlier = self._earlier() if run.resumed else None
        self.run_id = earlier or self._start(run)
        if earlier is None:
            self.logged: set[int] = set()
        else:
            self.client.update_run(self.run_id, status="RUNNING")
            self.logged = {metric.step for metric in self.client.get_metric_history(self.run_id, ANCHOR)}
        self.directory = run.directory

    def on_epoch_end(self, report: EpochReport) -> None:
        """The epoch's figures, with its number as the step."""
        self._log_epoch(report.epoch, vars(report))

    def on_train_end(self, results: Mapping[str, Any]) -> None:
        """The results; epochs that a killed process had trained and not logged; the end."""
        for entry in json.loads((self.directory / "history.json").read_text()):
            self._log_epoch(entry["epoch"], entry)
        figures = {split: results[split] for split in ("val", "test") if split in results}
        self._log_metrics({**dict(_numbers(figures)), **dict(_numbers({"training": results["training"]}))}, 0)
        self.client.set_terminated(self.run_id, "FINISHED")

    def on_train_failed(self, problem: BaseException) -> None:
        """Mark the run; it goes on if the training is resumed."""
        stopped = not isinstance(problem, Exception)  # an interrupt, of whatever kind
        self.client.set_tag(self.run_id, "planner.problem", f"{type(problem).__name__}: {problem}"[:MAX_VALUE])
        self.client.set_terminated(self.run_id, "KILLED" if stopped else "FAILED")

    def _earlier(self) -> str | None:
        """The MLflow run of the interrupted training; None where it was logged elsewhere, or not, or is deleted."""
        path = self.place / STATE
        if not path.exists():
            return None
        state = json.loads(path.read_text())
        if state["tracking_uri"] != self.uri:
            return None
        return str(state["run_id"]) if self.client.get_run(state["run_id"]).info.lifecycle_stage == "active" else None

    def _start(self, run: TrainingRun) -> str:
        from mlflow.entities import Param

        tags = {
            "planner.policy": run.policy,
            "planner.seed": str(run.seed),
            "planner.dataset": str(run.dataset["directory"]),
            "planner.dataset_hash": str(run.dataset["hash"]),
            "planner.run_directory": str(run.directory.resolve()),
            "planner.version": __version__,
        }
        name = f"{run.policy} {run.directory.name}"
        run_id = str(self.client.create_run(self._experiment(), run_name=name, tags=tags).info.run_id)
        state = {"tracking_uri": self.uri, "run_id": run_id}
        (self.place / STATE).write_text(json.dumps(state) + "\n", "utf-8")
        values = {"policy": run.policy, "seed": run.seed, **dict(_flat(run.config))}
        for part in _parts(values):
            params = [Param(key, _text(value)) for key, value in part]
            self.client.log_batch(run_id, params=params)
        return run_id

    def _experiment(self) -> str:
        """MLflow's own variables choose it; made where it does not exist."""
        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self.client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self.client.create_experiment(name))

    def _log_epoch(self, epoch: int, figures: Mapping[str, Any]) -> None:
        if epoch not in self.logged:
            self._log_metrics({name: figures[name] for name in EPOCH_METRICS if figures.get(name) is not None}, epoch)
            self.logged.add(epoch)

    def _log_metrics(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for part in _parts(figures):
            self.client.log_batch(self.run_id, metrics=[Metric(name, float(value), now, step) for name, value in part])


def _parts(values: Mapping[str, Any]) -> Iterator[list[tuple[str, Any]]]:
    """Of a size that every server takes in one request."""
    items = iter(values.items())
    while part := list(islice(items, MAX_BATCH)):
        yield part


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested keys dotted, as ``--set`` has them."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:MAX_VALUE]


def _numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every finite number, its path joined by slashes: ``val/per_head_accuracy/swarm``."""
    for key, value in values.items():
        if key in LEFT_OUT:
            continue
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield prefix + key, value
