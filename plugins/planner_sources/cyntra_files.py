"""The archive of a workcell: what its ``manifest.json`` and ``proof.json`` say, and the run that they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any, Literal

from msgspec import Struct, field

from planner_core import DataError, LogAccount, LogInput
from planner_sources.common import SERIAL, VOTE, Amount, Count, checked, minutes_of, one_object, span_ms, unix_ms

ISSUE_KEYS = (
    "dk_priority",
    "dk_risk",
    "dk_size",
    "dk_tool_hint",
    "dk_attempts",
    "dk_speculate",
    "on_critical_path",
    "tags",
)


class _ExecutedPlan(Struct):
    swarm_id_executed: str
    max_candidates_executed: Count | None = None
    timeout_seconds_executed: Amount | None = None
    max_iterations_executed: Count | None = None
    fallback_applied: bool = False


class _Input(Struct):
    created_at: datetime
    job_type: str
    issue: dict[str, Any]
    universe_id: str | None = None


class _Planner(Struct):
    planner_input: _Input | None = None
    executed_plan: _ExecutedPlan | None = None


class _ManifestIssue(Struct):
    id: str
    title: str | None = None
    tags: list[str] | None = None


class Manifest(Struct):
    """What is read of ``manifest.json``."""

    workcell_id: str | None = None
    issue: _ManifestIssue | None = None
    job_type: str | None = None
    speculate_mode: bool | None = None
    toolchain: str | None = None
    planner: _Planner = field(default_factory=_Planner)


class _Gate(Struct):
    passed: bool
    score: float | None = None
    fail_codes: list[str] | None = None


class Verification(Struct):
    """What the verifier found."""

    gates: dict[str, _Gate] = {}
    all_passed: bool | None = None
    blocking_failures: list[str] = []

    @property
    def fail_codes(self) -> list[str]:
        """Of the gates, then those that block."""
        codes = [code for gate in self.gates.values() for code in gate.fail_codes or ()]
        return list(dict.fromkeys([*codes, *self.blocking_failures]))


class _Metadata(Struct):
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: Count | None = None
    cost_usd: Amount | None = None
    toolchain: str | None = None


class Proof(Struct):
    """What is read of ``proof.json``."""

    status: Literal["success", "partial", "failed", "timeout", "error"]
    workcell_id: str | None = None
    verification: Verification = field(default_factory=Verification)
    metadata: _Metadata = field(default_factory=_Metadata)

    @property
    def passed(self) -> bool:
        """As the kernel counts: a patch whose every gate passed."""
        return self.status in ("success", "partial") and bool(self.verification.all_passed)


@dataclass(frozen=True)
class Workcell:
    """One archive: an attempt at an issue by one agent. ``proof`` is None where it left none."""

    file: str
    id: str
    manifest: Manifest
    proof: Proof | None
    issue_id: str | None

    @property
    def job_type(self) -> str:
        """As planned, else as the manifest has it, else code."""
        planned = self.manifest.planner.planner_input
        return planned.job_type if planned else self.manifest.job_type or "code"

    @property
    def started_ms(self) -> int | None:
        """When it began, else when it was planned."""
        metadata, planned = (self.proof.metadata if self.proof else None), self.manifest.planner.planner_input
        moment = (metadata.started_at if metadata else None) or (planned.created_at if planned else None)
        return None if moment is None else unix_ms(moment)

    @property
    def duration_ms(self) -> int | None:
        """As recorded, else from its start to its end."""
        metadata = self.proof.metadata if self.proof else _Metadata()
        if metadata.duration_ms is not None or metadata.started_at is None or metadata.completed_at is None:
            return metadata.duration_ms
        path = "$.metadata.completed_at"
        return span_ms(metadata.started_at, metadata.completed_at, proof_of(self.file), None, path)

    @property
    def toolchain(self) -> str | None:
        """Which agent it was."""
        return (self.proof.metadata.toolchain if self.proof else None) or self.manifest.toolchain

    def action(self, account: LogAccount) -> tuple[str, int | None, int | None, int | None]:
        """What was executed, in raw numbers. Without an executed plan only its swarm is known, which is told."""
        plan = self.manifest.planner.executed_plan
        if plan is None:
            account.guess("no executed plan: the swarm is that of speculate_mode, its budgets are unknown")
            return (VOTE, None, None, None) if self.manifest.speculate_mode else (SERIAL, 1, None, None)
        if plan.fallback_applied:
            account.guess("a plan that was replaced by a fallback: what was executed counts")
        minutes = minutes_of(plan.timeout_seconds_executed, account)
        return plan.swarm_id_executed, plan.max_candidates_executed, minutes, plan.max_iterations_executed

    def issue(self) -> dict[str, Any] | None:
        """Its issue in the ``dk_*`` dialect, None where it names none."""
        if self.issue_id is None:
            return None
        planned = self.manifest.planner.planner_input
        known: Mapping[str, Any] = planned.issue if planned else {}
        plain = self.manifest.issue
        document = {"id": self.issue_id, **{key: known[key] for key in ISSUE_KEYS if known.get(key) is not None}}
        if plain is not None and plain.title:
            document["title"] = plain.title
        if plain is not None and plain.tags is not None:
            document.setdefault("tags", plain.tags)
        return document


def proof_of(manifest: str) -> str:
    """The name of the proof beside a manifest."""
    return str(PurePath(manifest).with_name("proof.json"))


def read_workcell(manifest: LogInput, proof: LogInput | None) -> Workcell:
    """An archive. :class:`DataError` where manifest and proof are of different workcells or issues."""
    found = checked(one_object(manifest), Manifest, manifest.name)
    end = None if proof is None else checked(one_object(proof), Proof, proof.name)
    if end is not None and end.workcell_id and found.workcell_id and end.workcell_id != found.workcell_id:
        assert proof is not None
        expected = f"{found.workcell_id}, as the manifest beside it says"
        raise DataError(proof.name, path="$.workcell_id", found=end.workcell_id, expected=expected)
    named = found.workcell_id or (end.workcell_id if end else None) or PurePath(manifest.name).parent.name
    planned = found.planner.planner_input
    ids = [found.issue.id if found.issue else None, planned.issue.get("issue_id") if planned else None]
    if None not in ids and ids[0] != ids[1]:
        path, expected = "$.planner.planner_input.issue.issue_id", f"{ids[0]}, as $.issue.id says"
        raise DataError(manifest.name, path=path, found=str(ids[1]), expected=expected)
    return Workcell(manifest.name, named, found, end, ids[0] or ids[1])
