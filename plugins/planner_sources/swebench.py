"""SWE-bench: the report of an evaluation, predictions, and the trajectories of mini-SWE-agent and SWE-agent.

A run is a trajectory with the outcome that a report gives its instance. They are joined by instance id; where several
reports name an instance, the one nearest to the trajectory in the folders counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from pathlib import PurePath
from typing import Any

from planner_core import DataError, LogIssue, LogReading, LogRun, LogSample, tool_tag
from planner_sources.common import SERIAL, files_of, run_document
from planner_sources.endings import status_of
from planner_sources.swebench_files import RESOLVED, Found, in_words, kind_of, read_file
from planner_sources.trajectories import Trajectory

NO_OUTCOME = "trajectories of instances that no report gives an outcome"
NO_TRAJECTORY = "outcomes without a trajectory: neither time nor cost is known"
CANCELLED = "runs that somebody cancelled"


def sniff(sample: LogSample) -> float:
    """A file of one of these kinds. Folders are taken apart, so that what else lies in them does no harm."""
    return 0.0 if sample.is_folder or kind_of(sample.head) is None else 1.0


def read(reading: LogReading) -> Iterator[LogIssue | LogRun]:
    """Every instance as an issue, every trajectory that has an outcome as a run."""
    found = Found()
    for file in files_of(reading, "*"):
        read_file(file, found, reading.account)
    yield from (_issue(instance, file, found) for instance, file in found.files.items())
    for trajectory in found.trajectories:
        outcome = _outcome_of(trajectory, found)
        if outcome is None:
            reading.account.leave_out(NO_OUTCOME)
        elif trajectory.ending.cause == "cancelled":
            reading.account.leave_out(CANCELLED)
        else:
            yield LogRun(_run(trajectory, outcome, found, reading), trajectory.file)
    if lost := len(found.outcomes.keys() - {trajectory.instance_id for trajectory in found.trajectories}):
        reading.account.leave_out(NO_TRAJECTORY, lost)


def _issue(instance: str, file: str, found: Found) -> LogIssue:
    owner, separator, rest = instance.partition("__")
    document: dict[str, Any] = {"id": instance, "tags": [f"repo:{owner}/{rest.rsplit('-', 1)[0]}"] if separator else []}
    if instance in found.sizes:
        document["dk_size"] = found.sizes[instance]
    return LogIssue(document, file)


def _outcome_of(trajectory: Trajectory, found: Found) -> str | None:
    """The code of the nearest report that names the instance; reports equally near must agree."""
    reports = found.outcomes.get(trajectory.instance_id)
    if not reports:
        return None
    nearest = max(_folders_shared(trajectory.file, file) for file, _ in reports)
    (first, code), *others = [pair for pair in reports if _folders_shared(trajectory.file, pair[0]) == nearest]
    for file, other in others:
        if other != code:
            name = trajectory.instance_id
            expected = f"{in_words(code)}, as {first} says (evaluations in folders of their own are told apart)"
            raise DataError(file, found=f"{name}: {in_words(other)}", expected=expected)
    return code


def _folders_shared(one: str, other: str) -> int:
    pairs = zip(PurePath(one).parent.parts, PurePath(other).parent.parts, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _run(trajectory: Trajectory, outcome: str, found: Found, reading: LogReading) -> dict[str, Any]:
    ending, account = trajectory.ending, reading.account
    status = status_of(outcome == RESOLVED, ending.cause)
    account.field("outcome.status", "resolved_ids")
    account.value("exit_status", trajectory.info.exit_status or "(none)", ending.cause)
    model = trajectory.info.config.model.model_name or _model_of(trajectory, found)
    for limit in trajectory.limits:
        account.not_used(f"info.config.agent.{limit} (no budget of a plan; kept as the run's limits)")
    if trajectory.cost_usd is None:
        account.guess("a cost of 0 for calls of a model is an unknown one")
    return run_document(
        f"{trajectory.instance_id}@{model or 'unknown'}@{trajectory.started_ms}",
        trajectory.instance_id,
        trajectory.started_ms,
        trajectory.duration_ms,
        status,
        fail_codes=[code for code in (outcome, ending.code) if code and outcome != RESOLVED],
        action=(SERIAL, 1, trajectory.minutes, None),
        tags=[tool_tag(model)] if model else (),
        cost_usd_est=trajectory.cost_usd,
        tokens_in=trajectory.tokens_in,
        tokens_out=trajectory.tokens_out,
        limits=trajectory.limits or None,
    )


def _model_of(trajectory: Trajectory, found: Found) -> str | None:
    """The model of a prediction in the trajectory's folder or the nearest one above it."""
    for folder in PurePath(trajectory.file).parents:
        model = found.models.get((str(folder) if str(folder) != "." else "", trajectory.instance_id))
        if model is not None:
            return model
    return None
