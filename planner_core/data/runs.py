"""The runs of a log, each decoded once: its summary, its JSON as history shows it, and what was run of it.

What is rounded, guessed or missing is counted, for the person whose log it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from planner_core.action_space import NA, SWARM_IDS, Action
from planner_core.contracts import ExecutedRun, RunSummary
from planner_core.data.counterfactuals import best_of
from planner_core.data.executed import (
    PROPENSITY_SLACK,
    Resolved,
    label_of,
    not_evidence,
    propensity_of,
    read_propensities,
    resolved_run,
    swarm_of,
)
from planner_core.data.executed_rows import CANDIDATES
from planner_core.data.issues import Tracker
from planner_core.data.joining import Decision, DecisionIndex, taken_over
from planner_core.data.lines import iter_objects
from planner_core.data.summaries import check_time, has_passed
from planner_core.errors import DataError
from planner_core.jsonio import canonical, convert

EVIDENCE_ONLY = ("propensity", "propensities", "candidates", "counterfactuals")
"""What a run summary says that no decision may see: it is left out of history."""

# Why a run was left out.
UNKNOWN_ISSUE, DELETED_ISSUE, NO_ISSUE_ID = "unknown issue", "deleted issue", "no issue_id"
REPEATED, REPLACED = "repeated, the same", "replaced by a later row of the same run"

_TOLD_EVERY = 1000


class Run(NamedTuple):
    """One run of a known issue. ``propensities`` is its logging distribution as JSON, shared between runs.

    ``label`` is what was executed on the bins; where several actions were tried, the one that won.
    ``decision`` is the one that led to it, where decision logs were read and have it.
    """

    summary: RunSummary
    history: msgspec.Raw
    label: Action
    executed: ExecutedRun
    propensities: msgspec.Raw | None
    decision: Decision | None = None


@dataclass
class RunLog:
    """The runs of known issues in order of (start, run id), and what became of the rest.

    ``rounded`` counts, for each part of an action, what a log's value was read as; ``missing`` how many runs lack what
    an estimate of value needs; ``noted`` what else was made of a run.
    """

    runs: list[Run] = field(default_factory=list)
    read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    rounded: dict[str, Counter[str]] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)


class _Seen(NamedTuple):
    place: str
    started_ms: int
    issue_id: str | None
    content: int


def read_runs(
    paths: Sequence[Path],
    known: Tracker,
    patterns: Sequence[str],
    tell: Callable[[str, int, int], None] | None = None,
    decisions: DecisionIndex | None = None,
) -> RunLog:
    """Read ``run_summary.v1`` JSONL files; ``patterns`` are the fail codes of runs that are no evidence.

    Each run of a known issue is joined with ``decisions``, where there are any.

    A run that stands there twice is counted and taken once, the later row where they differ; two runs of one id, told
    by another start or issue, are a :class:`DataError`, as is anything that breaks the contract.
    """
    log, reader = RunLog(), _Reader(patterns)
    seen: dict[str, _Seen] = {}
    kept: dict[str, Run] = {}
    for path in paths:
        source = str(path)
        for line, raw, document in iter_objects(path, "run_summary.v1"):
            summary = convert(document, RunSummary, source, line)
            log.read += 1
            if tell is not None and log.read % _TOLD_EVERY == 0:
                tell("reading runs", log.read, log.read)
            run = reader.run(summary, document, source, line)
            this = _Seen(f"{source}, line {line}", summary.started_ms, summary.issue_id, hash(raw.strip()))
            if (earlier := seen.get(summary.run_id)) is not None:
                _check_same(summary, earlier, source, line)
                log.left_out[REPEATED if earlier.content == this.content else REPLACED] += 1
            seen[summary.run_id] = this
            if summary.issue_id in known.issues:
                kept[summary.run_id] = run
            elif earlier is None:
                log.left_out[_why_not(summary.issue_id, known)] += 1
    log.runs = sorted(kept.values(), key=lambda run: (run.summary.started_ms, run.summary.run_id))
    if decisions is not None:
        log.runs = [reader.joined(run, decisions) for run in log.runs]
    for run in log.runs:
        _count(run, log)
    return log


def _why_not(issue_id: str | None, known: Tracker) -> str:
    if issue_id is None:
        return NO_ISSUE_ID
    return DELETED_ISSUE if issue_id in known.deleted else UNKNOWN_ISSUE


def _check_same(summary: RunSummary, earlier: _Seen, source: str, line: int) -> None:
    if (summary.started_ms, summary.issue_id) != (earlier.started_ms, earlier.issue_id):
        expected = f"a run_id of its own ({earlier.place} has it too, with another start or issue)"
        raise DataError(source, line=line, path="$.run_id", found=summary.run_id, expected=expected)


class _Reader:
    """Makes runs of documents; equal logging distributions are kept once."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)
        self._distributions: dict[bytes, msgspec.Raw] = {}

    def run(self, summary: RunSummary, document: dict[str, Any], source: str, line: int) -> Run:
        check_time(summary, source, line)
        name, candidates, minutes, iterations = action = _executed_action(summary)
        swarm = swarm_of(name, _agents(candidates, summary))
        read_propensities(summary.propensities, summary.job_type, source, line, "$.propensities")
        outcome = summary.outcome
        passed = has_passed(summary)
        executed = ExecutedRun(
            action=action,
            status=outcome.status,
            passed=passed,
            duration_ms=summary.runtime.duration_ms,
            cost_usd=summary.cost_usd_est,
            fail_codes=outcome.fail_codes,
            propensity=summary.propensity,
            candidates=summary.candidates,
            evidence=passed or not not_evidence(outcome.fail_codes, self._patterns),
        )
        propensities = self._once(summary.propensities)
        summary.propensities = None  # a million runs have a million of them, and few that differ
        history = {key: value for key, value in document.items() if key not in EVIDENCE_ONLY}
        label = best_of(summary.counterfactuals or (), summary.job_type, source, line) or label_of(
            swarm, candidates, minutes, iterations, summary.job_type
        )
        return Run(summary, msgspec.Raw(msgspec.json.encode(history)), label, executed, propensities)

    def joined(self, run: Run, decisions: DecisionIndex) -> Run:
        """The run with what its decision says of it; what its own log says of its propensities goes before."""
        decision, executed, as_decided = taken_over(run.summary, decisions)
        if decision is None:
            return run
        summary, evidence, label, history = run.summary, run.executed, run.label, run.history
        if executed is not summary.action_executed:
            summary = msgspec.structs.replace(summary, action_executed=executed)
            action = _executed_action(summary)
            evidence = msgspec.structs.replace(evidence, action=action)
            if not summary.counterfactuals:
                label = label_of(swarm_of(action[0], _agents(action[1], summary)), *action[1:], summary.job_type)
            document = {**msgspec.json.decode(history), "action_executed": executed}
            history = msgspec.Raw(msgspec.json.encode(document))
        propensities, logged = run.propensities, evidence.propensity
        agrees = logged is None or (
            decision.propensity is not None and abs(logged - decision.propensity) <= PROPENSITY_SLACK
        )
        if as_decided and propensities is None and agrees:
            evidence = msgspec.structs.replace(evidence, propensity=decision.propensity)
            propensities = self._shared(decision.propensities)
        return Run(summary, history, label, evidence, propensities, decision)

    def _once(self, propensities: dict[str, float] | None) -> msgspec.Raw | None:
        return self._shared(canonical(propensities)) if propensities else None

    def _shared(self, raw: bytes) -> msgspec.Raw:
        return self._distributions.setdefault(raw, msgspec.Raw(raw))


def executed_json(run: Run) -> dict[str, Any]:
    """``executed`` of the run's example, its distribution as JSON already."""
    return {**msgspec.structs.asdict(run.executed), "propensities": run.propensities}


def resolved(run: Run) -> Resolved:
    """What the run's raw budgets mean."""
    name, candidates, minutes, iterations = run.executed.action
    swarm = swarm_of(name, _agents(candidates, run.summary))
    return resolved_run(swarm, candidates, minutes, iterations, run.summary.job_type)


def _executed_action(summary: RunSummary) -> tuple[str | None, int | None, int | None, int | None]:
    executed = summary.action_executed
    return executed.swarm_id, executed.max_candidates, executed.max_minutes, executed.max_iterations


def _agents(candidates: int | None, summary: RunSummary) -> int | None:
    """How many agents ran: as allowed, else as recorded."""
    return candidates if candidates is not None else len(summary.candidates or ()) or None


# --------------------------------------------------------------------------------------------------------- counting


def _count(run: Run, log: RunLog) -> None:
    """What was rounded, guessed and missing of a run that became an example."""
    name, candidates, minutes, iterations = run.executed.action
    summary = run.summary
    swarm = swarm_of(name, _agents(candidates, summary))
    label = label_of(swarm, candidates, minutes, iterations, summary.job_type)
    if name != swarm:
        _rounded(log, "swarm", name or "none", label.swarm)
    without_limit = 1 if swarm == SWARM_IDS[0] else NA
    if (given := without_limit if candidates is None else candidates) != label.candidates:
        _rounded(log, "candidates", given, label.candidates)
    if minutes is not None and minutes != label.minutes:
        _rounded(log, "minutes", minutes, label.minutes)
    ignored = summary.job_type == "code" and iterations in (None, 0, 1)
    if iterations is not None and iterations != label.iterations and not ignored:
        _rounded(log, "iterations", iterations, label.iterations)
    _count_evidence(run, log)


def _rounded(log: RunLog, part: str, value: object, read_as: object) -> None:
    log.rounded.setdefault(part, Counter())[f"{value} as {read_as}"] += 1


def _count_evidence(run: Run, log: RunLog) -> None:
    executed = run.executed
    logged = None if run.propensities is None else msgspec.json.decode(run.propensities)
    distribution = read_propensities(logged, run.summary.job_type, "", None, "")
    propensity, distribution, note = propensity_of(executed.propensity, distribution, resolved(run))
    if note is not None:
        log.noted[PROPENSITY_NOTES[note]] += 1
    known = {
        "propensity": propensity is not None,
        "propensities": len(distribution) > 0,
        "cost_usd": executed.cost_usd is not None,
        "candidates": bool(executed.candidates),
    }
    log.missing.update({name: 1 for name, there in known.items() if not there})
    if len(executed.candidates or ()) > CANDIDATES:
        log.noted[f"more than {CANDIDATES} candidates recorded, read as unknown"] += 1
    if not executed.evidence:
        log.noted[NOT_THE_AGENT] += 1


NOT_THE_AGENT = "ended for reasons that are not the agent's: history, no evidence"
PROPENSITY_NOTES = {
    "contradicted": "the logged propensities rule out what was run: read as unknown",
    "corrected": "propensity differs from its propensities, twins summed: the latter count",
    "from the distribution": "propensity taken from the propensities",
}
