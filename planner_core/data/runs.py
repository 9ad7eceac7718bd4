"""The runs of a log, each decoded once: its summary, its JSON as history shows it, and what was run of it.

What is rounded, guessed or missing is counted, for the person whose log it is.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import NA, SWARM_IDS, Action
from planner_core.contracts import RunSummary
from planner_core.data.counterfactuals import best_of, several_known, won
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
from planner_core.data.joining import DecisionIndex, taken_over
from planner_core.data.lines import iter_objects
from planner_core.data.run_store import Run, RunStore, executed_run
from planner_core.data.summaries import check_time, has_passed
from planner_core.errors import DataError
from planner_core.jsonio import canonical, convert

EVIDENCE_ONLY = ("propensity", "propensities", "candidates", "counterfactuals")
"""What a run summary says that no decision may see: it is left out of history."""

# Why a run was left out.
UNKNOWN_ISSUE, DELETED_ISSUE, NO_ISSUE_ID = "unknown issue", "deleted issue", "no issue_id"
REPEATED, REPLACED = "repeated, the same", "replaced by a later row of the same run"

_TOLD_EVERY = 1000


@dataclass
class RunLog:
    """The runs of known issues in order of (start, run id), and what became of the rest.

    ``rounded`` counts, for each part of an action, what a log's value was read as; ``missing`` how many runs lack what
    an estimate of value needs; ``noted`` what else was made of a run. ``passed``, ``evidence``, ``several_known`` and
    ``won`` count the runs that passed, are evidence, know the outcomes of several actions and know the best of them;
    ``labels`` are all there are, and ``ends`` whether those that are evidence passed.
    """

    runs: RunStore
    read: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    rounded: dict[str, Counter[str]] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    passed: int = 0
    evidence: int = 0
    several_known: int = 0
    won: int = 0
    labels: set[Action] = field(default_factory=set)
    ends: set[bool] = field(default_factory=set)


_NOT_KEPT = -1


class _Seen:
    """Every run that was read, by id, in numbers; ids and contents are compared by their 64-bit hashes."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources, self._rows = sources, dict[str, int]()
        self._source, self._line, self._started = array("q"), array("q"), array("q")
        self._issue, self._content, self._number = array("q"), array("q"), array("q")

    def take(self, summary: RunSummary, source: int, line: int, content: int) -> tuple[int, bool | None]:
        """A row of a log: its number here, and whether it says what an earlier one of its run says, None without one.

        :class:`DataError` where that one has another start or issue.
        """
        issue, row = hash(summary.issue_id), self._rows.setdefault(summary.run_id, len(self._rows))
        if row == len(self._line):
            values = (source, line, summary.started_ms, issue, content, _NOT_KEPT)
            for column, value in zip(self._columns(), values, strict=True):
                column.append(value)
            return row, None
        if (summary.started_ms, issue) != (self._started[row], self._issue[row]):
            place = f"{self._sources[self._source[row]]}, line {self._line[row]}"
            expected = f"a run_id of its own ({place} has it too, with another start or issue)"
            raise DataError(self._sources[source], line=line, path="$.run_id", found=summary.run_id, expected=expected)
        same = self._content[row] == content
        self._source[row], self._line[row], self._content[row] = source, line, content
        return row, same

    def keep(self, row: int, run: Run, runs: RunStore) -> None:
        """The run of a row is one of a known issue: it goes into the store, in the place of an earlier one."""
        if self._number[row] == _NOT_KEPT:
            self._number[row] = runs.add(run)
        else:
            runs.replace(self._number[row], run)

    def in_order(self) -> NDArray[np.int64]:
        """The numbers of the runs in the store by (start, run id)."""
        rows = np.array([self._rows[name] for name in sorted(self._rows)], np.int64)
        rows = rows[np.argsort(np.array(self._started, np.int64)[rows], kind="stable")]
        numbers = np.array(self._number, np.int64)[rows]
        kept: NDArray[np.int64] = numbers[numbers != _NOT_KEPT]
        return kept

    def _columns(self) -> tuple[array[int], ...]:
        return self._source, self._line, self._started, self._issue, self._content, self._number


def read_runs(
    paths: Sequence[Path],
    known: Tracker,
    patterns: Sequence[str],
    runs: RunStore,
    tell: Callable[[str, int, int], None] | None = None,
    decisions: DecisionIndex | None = None,
) -> RunLog:
    """Read ``run_summary.v1`` JSONL files into the empty store ``runs``.

    ``patterns`` are the fail codes of runs that are no evidence. Each run of a known issue is joined with
    ``decisions``, where there are any.

    A run that stands there twice is counted and taken once, the later row where they differ; two runs of one id, told
    by another start or issue, are a :class:`DataError`, as is anything that breaks the contract.
    """
    log, reader = RunLog(runs), _Reader(patterns)
    seen = _Seen([str(path) for path in paths])
    for source, path in enumerate(paths):
        for line, raw, document in iter_objects(path, "run_summary.v1"):
            summary = convert(document, RunSummary, str(path), line)
            log.read += 1
            if tell is not None and log.read % _TOLD_EVERY == 0:
                tell("reading runs", log.read, log.read)
            run = reader.run(summary, document, str(path), line)
            row, same = seen.take(summary, source, line, hash(raw.strip()))
            if same is not None:
                log.left_out[REPEATED if same else REPLACED] += 1
            if summary.issue_id in known.issues:
                seen.keep(row, run, runs)
            elif same is None:
                log.left_out[_why_not(summary.issue_id, known)] += 1
    runs.arrange(seen.in_order())
    del seen  # what comes next need not find it in memory
    for number, run in enumerate(runs):
        joined = run if decisions is None else reader.joined(run, decisions)
        if joined is not run:
            runs.replace(number, joined)
        _count(joined, log)
    return log


def _why_not(issue_id: str | None, known: Tracker) -> str:
    if issue_id is None:
        return NO_ISSUE_ID
    return DELETED_ISSUE if issue_id in known.deleted else UNKNOWN_ISSUE


class _Reader:
    """Makes runs of documents."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = tuple(patterns)

    def run(self, summary: RunSummary, document: dict[str, Any], source: str, line: int) -> Run:
        check_time(summary, source, line)
        name, candidates, minutes, iterations = _executed_action(summary)
        swarm = swarm_of(name, _agents(candidates, summary))
        read_propensities(summary.propensities, summary.job_type, source, line, "$.propensities")
        passed = has_passed(summary)
        evidence = passed or not not_evidence(summary.outcome.fail_codes, self._patterns)
        executed = executed_run(summary, summary.propensity, passed=passed, evidence=evidence)
        propensities = msgspec.Raw(canonical(summary.propensities)) if summary.propensities else None
        summary.propensities = None  # kept once, as JSON
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
            propensities = msgspec.Raw(decision.propensities)
        return Run(summary, history, label, evidence, propensities, decision)


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
    log.passed += run.executed.passed
    log.evidence += run.executed.evidence
    log.several_known += several_known(summary.counterfactuals)
    log.won += won(summary.counterfactuals)
    log.labels.add(run.label)
    if run.executed.evidence:
        log.ends.add(run.executed.passed)


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
