"""The files of SWE-bench: what each says of which instance, before anything is joined."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from planner_core import DataError, LogAccount, LogInput
from planner_sources.common import an_object, checked, has_keys
from planner_sources.endings import INFRASTRUCTURE
from planner_sources.trajectories import Trajectory, read_trajectory

HEAD_BYTES = 64 << 10
RESOLVED = ""
"""The code of an instance that was resolved; any other code says why it was not."""
SIZE_OF_DIFFICULTY = {"<15 min fix": "XS", "15 min - 1 hour": "S", "1-4 hours": "M", ">4 hours": "L"}
"""The time that annotators of SWE-bench Verified gave an instance, by the edges that Beads' estimates have."""


class Report(Struct):
    """The report of a whole evaluation, of either schema version."""

    resolved_ids: list[str]
    unresolved_ids: list[str] = []
    empty_patch_ids: list[str] = []
    error_ids: list[str] = []
    infra_failure_ids: list[str] = []
    failure_reasons: dict[str, str] = {}


class InstanceReport(Struct):
    """What an evaluation writes of one instance."""

    resolved: bool


class Prediction(Struct):
    """One prediction."""

    instance_id: str
    model_name_or_path: str


class Instance(Struct):
    """One instance of the benchmark; the difficulty is SWE-bench Verified's."""

    instance_id: str
    difficulty: str | None = None


@dataclass
class Found:
    """All that the files say. ``outcomes`` are (file, code) by instance, ``models`` by (folder, instance).

    ``files`` says for every instance which file named it first.
    """

    outcomes: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    models: dict[tuple[str, str], str] = field(default_factory=dict)
    sizes: dict[str, str] = field(default_factory=dict)
    trajectories: list[Trajectory] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def outcome(self, instance: str, file: str, code: str) -> None:
        """A report's word on an instance; one report must not have two."""
        known = self.outcomes.setdefault(instance, [])
        before = next((other for name, other in known if name == file), code)
        if before != code:
            found = f"{instance} both {in_words(before)} and {in_words(code)}"
            raise DataError(file, found=found, expected="one outcome of each instance")
        known.append((file, code))
        self.files.setdefault(instance, file)


def in_words(code: str) -> str:
    """An outcome's code as messages say it."""
    return code or "resolved"


def kind_of(head: bytes) -> str | None:
    """What a file is by its first bytes, None where it is none of SWE-bench's."""
    if has_keys(head, "resolved_ids") or has_keys(head, "completed_ids", "submitted_ids"):
        return "report"
    if has_keys(head, "patch_successfully_applied", "resolved"):
        return "instance report"
    if has_keys(head, "model_patch", "model_name_or_path"):
        return "predictions"
    if has_keys(head, "instance_id", "problem_statement", "base_commit"):
        return "instances"
    if re.match(rb'\s*\{\s*"info"\s*:\s*\{', head) and has_keys(head, "model_stats"):
        return "trajectory"
    if re.match(rb'\s*\{\s*"(environment|trajectory|attempts)"\s*:', head) and has_keys(head, "trajectory", "thought"):
        return "trajectory"
    return None


def read_file(file: LogInput, found: Found, account: LogAccount) -> None:
    """Add what a file says. :class:`DataError` for one that is none of these."""
    with file.open() as stream:
        head = stream.read(HEAD_BYTES)
    kind = kind_of(head)
    if kind is None:
        begins = f"a file that begins with {head[:40].decode('utf-8', 'replace')!a}"
        raise DataError(file.name, found=begins, expected="a report, predictions or a trajectory of SWE-bench")
    _READERS[kind](file, head, found, account)


def _report(file: LogInput, head: bytes, found: Found, account: LogAccount) -> None:
    report = checked(file.json(), Report, file.name)
    broken = set(report.infra_failure_ids)
    for instances, code in (
        (report.resolved_ids, RESOLVED),
        (report.unresolved_ids, "tests_failed"),
        (report.empty_patch_ids, "empty_patch"),
        (report.error_ids, INFRASTRUCTURE + "evaluation_error"),
    ):
        for instance in instances:
            reason = INFRASTRUCTURE + report.failure_reasons.get(instance, "environment")
            found.outcome(instance, file.name, reason if code and instance in broken else code)


def _instance_report(file: LogInput, head: bytes, found: Found, account: LogAccount) -> None:
    for instance, entry in checked(file.json(), dict[str, InstanceReport], file.name).items():
        found.outcome(instance, file.name, RESOLVED if entry.resolved else "tests_failed")


def _trajectory(file: LogInput, head: bytes, found: Found, account: LogAccount) -> None:
    trajectory = read_trajectory(file, account)
    found.trajectories.append(trajectory)
    found.files.setdefault(trajectory.instance_id, file.name)


def _predictions(file: LogInput, head: bytes, found: Found, account: LogAccount) -> None:
    for line, path, entry in _entries(file, head):
        prediction = checked(entry, Prediction, file.name, line, path)
        found.models[os.path.dirname(file.name), prediction.instance_id] = prediction.model_name_or_path
        found.files.setdefault(prediction.instance_id, file.name)


def _instances(file: LogInput, head: bytes, found: Found, account: LogAccount) -> None:
    for line, path, entry in _entries(file, head):
        instance = checked(entry, Instance, file.name, line, path)
        found.files.setdefault(instance.instance_id, file.name)
        if size := SIZE_OF_DIFFICULTY.get(instance.difficulty or ""):
            found.sizes[instance.instance_id] = size
            account.field("issue.dk_size", "difficulty")


def _entries(file: LogInput, head: bytes) -> Iterator[tuple[int | None, str, Any]]:
    """(line, JSON path, entry) of JSON lines, of a JSON list, or of an object by instance."""
    if re.match(rb'\s*\{\s*"\w+"\s*:\s*["\d]', head):
        for line, entry in file.json_lines():
            yield line, "$", entry
        return
    document = file.json()
    if isinstance(document, list):
        yield from ((None, f"$[{i}]", entry) for i, entry in enumerate(document))
    else:
        yield from ((None, f"$.{key}", entry) for key, entry in an_object(document, file.name).items())


_READERS: dict[str, Callable[[LogInput, bytes, Found, LogAccount], None]] = {
    "report": _report,
    "instance report": _instance_report,
    "trajectory": _trajectory,
    "predictions": _predictions,
    "instances": _instances,
}
