"""A dataset from an issue tracker and run logs: one example a run, labelled with the plan that was executed.

A run becomes an example when its issue is known: the issue says what was to be planned, the runs that started before
it are its history, its executed action on the bins is the label, and what was run and what came of it stands beside
it. What does not belong is counted and left out (deleted issues, rows that are no issues, runs of unknown issues); what
is rounded, guessed or missing is counted; what is wrong is an error with its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.clock import rfc3339
from planner_core.contracts import INPUT_SCHEMA, Issue, RunSummary
from planner_core.data.counterfactuals import candidates_json
from planner_core.data.encode import Progress
from planner_core.data.executed import NOT_EVIDENCE
from planner_core.data.issues import PlannedIssue, Tracker, read_tracker
from planner_core.data.joining import DecisionIndex, read_decisions
from planner_core.data.retrieval import Columns, Query, retrieve_all
from planner_core.data.run_store import RunStore
from planner_core.data.run_tracker import RunTracker, replay
from planner_core.data.runs import RunLog, executed_json, read_runs
from planner_core.data.tools import tool_of, with_tool
from planner_core.data.writer import DATASET, example_line, label_action, ordered_splits, write_dataset
from planner_core.errors import DataError
from planner_core.files import new_directory
from planner_core.jsonio import convert

DEFAULT_UNIVERSE = "default"
SHOWN = 20
"""Values of one kind that are reported by name; logs may hold any number."""

_LINES_TOLD_EVERY = 1000


class BuildReport(Struct):
    """What was read, left out (by reason), rounded, guessed, missing and written.

    ``several_known`` counts the examples that know the outcomes of several actions; where the label of every example
    is the best of them, ``label_source`` is ``best_of_k``. ``rounded`` counts what values of an executed action were
    read as, by part of the action; ``missing`` counts the examples that lack what an estimate of value needs; ``noted``
    what else was made of a run; ``issue_defaults`` how many issues have a default for a field; ``decisions``
    what was read of decision logs and which runs were joined with one, empty without logs. ``messages`` says in words
    what a user should know.
    """

    out: str
    issues_read: int
    issues_left_out: dict[str, int]
    issues_kept: int
    issue_defaults: dict[str, int]
    runs_read: int
    runs_left_out: dict[str, int]
    examples: int
    passed: int
    evidence: int
    several_known: int
    label_source: str
    rounded: dict[str, dict[str, int]]
    missing: dict[str, int]
    noted: dict[str, int]
    not_evidence: list[str]
    split_counts: dict[str, int]
    n_labels: int
    dataset_hash: str
    messages: list[str]
    decisions: dict[str, int] = {}


def build_dataset(
    issues: Sequence[Path],
    runs: Sequence[Path],
    out: Path,
    *,
    n_similar: int = 8,
    not_evidence: Sequence[str] = NOT_EVIDENCE,
    decisions: Sequence[Path] = (),
    replace: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Write the dataset directory ``out`` from Beads JSONL ``issues`` and ``run_summary.v1`` JSONL ``runs``.

    Files may be packed with gzip. A run that did not pass and has a fail code that matches one of ``not_evidence`` is
    history and no evidence. ``decisions`` are decision logs: a run that one of their decisions led to is shown with the
    input as it was decided and gets its propensities.

    Raises :class:`DataError` naming file, line and JSON path of what is wrong, and :class:`PlannerError` when ``out``
    exists and ``replace`` is not set; then nothing is written.
    """
    if n_similar < 0:
        raise DataError("n_similar", found=str(n_similar), expected="a number of runs >= 0")
    with new_directory(out, replace=DATASET if replace else None) as directory, RunStore(directory) as store:
        known = read_tracker(issues)
        decided = read_decisions(decisions, directory, progress) if decisions else None
        log = read_runs(runs, known, not_evidence, store, progress, decided)
        if not len(store):
            raise DataError(
                ", ".join(map(str, runs)),
                found=f"{log.read} runs, none of an issue in {', '.join(map(str, issues))}",
                expected="at least one run whose issue_id is the id of an issue",
            )
        splits = ordered_splits(len(store))
        source = "best_of_k" if log.won == len(store) else "executed_plan"
        about: dict[str, Any] = {
            "n_labels": len(log.labels),
            "issues_left_out": dict(known.left_out),
            "issue_defaults": dict(known.defaults),
            "runs_left_out": dict(log.left_out),
            "rounded": {part: _shown(counts) for part, counts in log.rounded.items()},
            "missing": dict(log.missing),
            "noted": dict(log.noted),
            "not_evidence": list(not_evidence),
        }
        counts = {} if decided is None else decided.counts
        meta = write_dataset(
            directory,
            _lines(known, log, splits, n_similar, RunTracker(not_evidence), progress, decided),
            splits,
            {
                "swarm_ids": list(ActionSpace().swarm_ids),
                "n_similar_runs": n_similar,
                "label_source": source,
                **about,
                **({"decisions": counts} if counts else {}),
            },
        )
    return BuildReport(
        out=str(out),
        issues_read=known.read,
        issues_kept=len(known.issues),
        runs_read=log.read,
        examples=meta["example_count"],
        passed=log.passed,
        evidence=log.evidence,
        several_known=log.several_known,
        label_source=source,
        split_counts=meta["split_counts"],
        dataset_hash=meta["dataset_hash"],
        messages=_messages(known, log, meta["split_counts"], counts),
        decisions=counts,
        **about,
    )


def _shown(counts: Counter[str]) -> dict[str, int]:
    """The most frequent ones by name, and how many others there are."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[SHOWN:])
    return dict(ordered[:SHOWN]) | ({"others": rest} if rest else {})


def _lines(
    known: Tracker,
    log: RunLog,
    splits: list[str],
    n_similar: int,
    tracker: RunTracker,
    progress: Progress | None,
    decided: DecisionIndex | None,
) -> Iterator[bytes]:
    """The dataset's lines, in the order of the log, which is that of starts; ``tracker`` has heard of nothing yet."""
    started, ended, similar = _moments_and_similar(known, log, n_similar, progress)
    space_json = msgspec.Raw(msgspec.json.encode(ActionSpace().to_dict()))
    for has_ended, i in replay(started, ended):
        run = log.runs[i]
        planned = known.issues[run.summary.issue_id or ""]
        shown = _shown_issue(run.summary, planned)
        issue = convert(shown, Issue, f"issue {shown['issue_id']}")
        if has_ended:
            tracker.observe(issue, run.summary)
            continue
        query = _query(run.summary, planned)
        created_at = rfc3339(run.summary.started_ms)
        given = decided.input_of(run.decision) if decided is not None and run.decision is not None else None
        planner_input: Any = {
            "schema_version": INPUT_SCHEMA,
            "created_at": created_at,
            "universe_id": query.universe_id or DEFAULT_UNIVERSE,
            "job_type": query.job_type,
            "universe_defaults": {"swarm_id": None, "objective_id": query.objective_id},
            "issue": shown,
            "history": {"last_n_similar_runs": [log.runs.history(row) for row in similar[i].tolist() if row >= 0]},
            "action_space": space_json,
            "system_state": None,
            "log_figures": tracker.figures(issue),
        }
        yield example_line(
            run_id=run.summary.run_id,
            started_ms=run.summary.started_ms,
            split=splits[i],
            planner_input=planner_input if given is None else msgspec.Raw(given),
            label=label_action(run.label, created_at),
            executed=executed_json(run),
            candidates=candidates_json(run.summary.counterfactuals),
        )
        if progress is not None and ((i + 1) % _LINES_TOLD_EVERY == 0 or i + 1 == len(log.runs)):
            progress("examples", i + 1, len(log.runs))


def _moments_and_similar(
    known: Tracker, log: RunLog, n_similar: int, progress: Progress | None
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
    """When each run started and ended, uint64 [runs], and which runs are its history, int64 [runs, n_similar]."""
    started, ended = np.empty(len(log.runs), np.uint64), np.empty(len(log.runs), np.uint64)
    columns = Columns()
    for i, run in enumerate(log.runs):
        summary = run.summary
        started[i], ended[i] = summary.started_ms, summary.started_ms + summary.runtime.duration_ms
        columns.add_run(summary)
        columns.add_query(_query(summary, known.issues[summary.issue_id or ""]))
    queries, runs = columns.packed()
    del columns  # the index that is made next needs the room

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress("history", done, total)

    return started, ended, retrieve_all(queries, runs, n_similar, tell)


def _query(run: RunSummary, planned: PlannedIssue) -> Query:
    tool, tags = tool_of(run.tags or ()), planned.issue["tags"]
    return Query(
        at_ms=run.started_ms,
        job_type=run.job_type,
        tags=tags if tool is None else with_tool(tags, tool),
        issue_id=run.issue_id,
        universe_id=run.universe_id or planned.universe_id,
        objective_id=run.objective_id or planned.objective_id,
    )


def _shown_issue(run: RunSummary, planned: PlannedIssue) -> dict[str, Any]:
    """The issue as a decision would see it: with the tool that the run had."""
    tool = tool_of(run.tags or ())
    return planned.issue if tool is None else {**planned.issue, "dk_tool_hint": tool}


def _messages(known: Tracker, log: RunLog, split_counts: Mapping[str, int], decisions: Mapping[str, int]) -> list[str]:
    n = len(log.runs)
    messages = _left_out("issue rows", known.left_out, known.read) + _left_out("runs", log.left_out, log.read)
    if known.defaults:
        fields = ", ".join(f"{name} of {count}" for name, count in sorted(known.defaults.items()))
        messages.append(f"defaults stand for what issues do not say: {fields}")
    for part, counts in log.rounded.items():
        read_as = ", ".join(f"{what} ({count})" for what, count in _shown(counts).items())
        messages.append(f"labels have {part} {read_as}; what was run is kept as it was")
    messages += [f"{count} runs: {what}" for what, count in sorted(log.noted.items())]
    if several := log.several_known:
        messages.append(f"{several} of {n} examples know what came of several actions; their label is the one that won")
    if decisions:
        messages.append("decision logs: " + ", ".join(f"{count} {what}" for what, count in decisions.items()))
    if log.missing:
        lacking = ", ".join(f"{name} in {count}" for name, count in log.missing.items())
        messages.append(f"missing of {n} runs: {lacking}")
    empty = [split for split, count in split_counts.items() if not count]
    if empty:
        messages.append(f"{n} examples are too few for every split; empty: {', '.join(empty)}")
    if len(log.ends) == 1:
        end = "passed" if True in log.ends else "did not pass"
        messages.append(
            f"every run that is evidence {end}: nothing tells a good action from a bad one but minutes and cost"
        )
    if len(log.labels) == 1:
        only = tuple(next(iter(log.labels)))
        messages.append(f"every run has the same label {only}: labels alone give a policy nothing to learn from")
    return messages


def _left_out(what: str, left_out: Counter[str], read: int) -> list[str]:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return [f"left out of {read} {what}: {reasons}"] if reasons else []
