"""A dataset from an issue tracker and run logs: one example a run, labelled with the plan that was executed.

A run becomes an example when its issue is known: the issue says what was to be planned, the runs that started before
it are its history, and its executed action on the bins is the label. What does not belong is counted and left out
(deleted issues, rows that are no issues, runs of unknown issues); what is wrong is an error with its place.

Issues are Beads JSONL. Each planner field is read from its ``dk_*`` key, else from its standard Beads counterpart
(``priority``, ``estimated_minutes``, a label ``risk:X``, ``labels`` and ``issue_type``), else it takes its default.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from planner_core.action_space import NA, SWARM_IDS, Action, ActionSpace, nearest_action, nearest_bin, valid_actions
from planner_core.contracts import INPUT_SCHEMA, ActionExecuted, Count, NonNegative, RunSummary
from planner_core.data.retrieval import Query, retrieve_all, to_columns
from planner_core.data.writer import assign_splits, example_line, label_action, rfc3339, write_dataset
from planner_core.encoder import RISKS, SIZES
from planner_core.errors import DataError
from planner_core.files import new_directory
from planner_core.jsonio import convert, iter_lines, read

DEFAULT_PRIORITY, DEFAULT_RISK, DEFAULT_SIZE = "P2", "medium", "M"
DEFAULT_UNIVERSE = "default"
BEADS_PRIORITIES = ("P0", "P1", "P2", "P3", "P3")  # standard Beads counts to 4, the backlog
SIZE_EDGES_MINUTES = (15, 60, 240, 480)  # the largest estimate of XS, S, M, L
RISK_LABEL = "risk:"

# Why a row was left out.
DELETED, NO_ISSUE, REPLACED = "deleted", "not an issue", "replaced by a later row"
UNKNOWN_ISSUE, DELETED_ISSUE, NO_ISSUE_ID = "unknown issue", "deleted issue", "no issue_id"


class IssueRow(Struct):
    """The keys of a Beads row that planning reads, of both dialects; null means missing."""

    id: str
    dk_priority: Literal["P0", "P1", "P2", "P3"] | None = None
    dk_risk: Literal["low", "medium", "high", "critical"] | None = None
    dk_size: Literal["XS", "S", "M", "L", "XL"] | None = None
    dk_tool_hint: str | None = None
    dk_attempts: Count | None = None
    dk_speculate: bool | None = None
    on_critical_path: bool | None = None
    tags: list[str] | None = None
    priority: Annotated[int, Meta(ge=0, le=4)] | None = None
    estimated_minutes: Count | NonNegative | None = None
    labels: list[str] | None = None
    issue_type: str | None = None
    universe_id: str | None = None
    objective_id: str | None = None


@dataclass(frozen=True)
class PlannedIssue:
    """An issue as a planner input shows it, and the world it names."""

    issue: dict[str, Any]
    universe_id: str | None
    objective_id: str | None


class BuildReport(Struct):
    """What was read, left out (by reason) and written. ``messages`` says in words what a user should know."""

    out: str
    issues_read: int
    issues_left_out: dict[str, int]
    issues_kept: int
    runs_read: int
    runs_left_out: dict[str, int]
    examples: int
    split_counts: dict[str, int]
    n_labels: int
    dataset_hash: str
    messages: list[str]


def build_dataset(issues: Path, runs: Path, out: Path, *, n_similar: int = 8, replace: bool = False) -> BuildReport:
    """Write the dataset directory ``out`` from Beads JSONL ``issues`` and ``run_summary.v1`` JSONL ``runs``.

    Raises :class:`DataError` naming file, line and JSON path of what is wrong, and :class:`PlannerError` when ``out``
    exists and ``replace`` is not set; then nothing is written.
    """
    if n_similar < 0:
        raise DataError("n_similar", found=str(n_similar), expected="a number of runs >= 0")
    with new_directory(out, replace=replace) as directory:
        known = _read_issues(issues)
        log = _read_runs(runs, known)
        if not log.runs:
            raise DataError(
                str(runs),
                found=f"{log.read} runs, none of an issue in {issues}",
                expected="at least one run whose issue_id is the id of an issue",
            )
        space = ActionSpace()
        splits = assign_splits([run.started_ms for run in log.runs], [run.run_id for run in log.runs])
        meta = write_dataset(
            directory,
            _lines(known, log, splits, space, n_similar),
            splits,
            {
                "swarm_ids": list(space.swarm_ids),
                "n_similar_runs": n_similar,
                "label_source": "executed_plan",
                "n_labels": len(set(log.labels)),
                "issues_left_out": dict(known.left_out),
                "runs_left_out": dict(log.left_out),
            },
        )
    return BuildReport(
        out=str(out),
        issues_read=known.read,
        issues_left_out=dict(known.left_out),
        issues_kept=len(known.issues),
        runs_read=log.read,
        runs_left_out=dict(log.left_out),
        examples=meta["example_count"],
        split_counts=meta["split_counts"],
        n_labels=meta["n_labels"],
        dataset_hash=meta["dataset_hash"],
        messages=_messages(known, log, meta["split_counts"]),
    )


def _lines(known: _Issues, log: _Log, splits: list[str], space: ActionSpace, n_similar: int) -> Iterator[bytes]:
    """The dataset's lines, in the order of the log."""
    planned = [known.issues[run.issue_id or ""] for run in log.runs]
    queries = [
        Query(
            at_ms=run.started_ms,
            job_type=run.job_type,
            tags=issue.issue["tags"],
            issue_id=run.issue_id,
            universe_id=run.universe_id or issue.universe_id,
            objective_id=run.objective_id or issue.objective_id,
        )
        for run, issue in zip(log.runs, planned, strict=True)
    ]
    similar = retrieve_all(*to_columns(queries, log.runs), n_similar).tolist()
    space_json = msgspec.Raw(msgspec.json.encode(space.to_dict()))
    for i, (run, query) in enumerate(zip(log.runs, queries, strict=True)):
        created_at = rfc3339(run.started_ms)
        planner_input = {
            "schema_version": INPUT_SCHEMA,
            "created_at": created_at,
            "universe_id": query.universe_id or DEFAULT_UNIVERSE,
            "job_type": run.job_type,
            "universe_defaults": {"swarm_id": None, "objective_id": query.objective_id},
            "issue": planned[i].issue,
            "history": {"last_n_similar_runs": [log.documents[row] for row in similar[i] if row >= 0]},
            "action_space": space_json,
            "system_state": None,
        }
        yield example_line(
            run_id=run.run_id,
            started_ms=run.started_ms,
            split=splits[i],
            planner_input=planner_input,
            label=label_action(log.labels[i], created_at),
        )


# ----------------------------------------------------------------------------------------------------------- issues


class _Issues:
    """The issues of a tracker by id, the ids of deleted ones, and what was left out."""

    def __init__(self) -> None:
        self.issues: dict[str, PlannedIssue] = {}
        self.deleted: set[str] = set()
        self.read = 0
        self.left_out: Counter[str] = Counter()


def read_issues(path: Path) -> list[PlannedIssue]:
    """The issues of a Beads JSONL export of either dialect, in its order, without deleted rows and rows of other kinds.

    Raises :class:`planner_core.errors.DataError` naming file, line and JSON path.
    """
    return list(_read_issues(path).issues.values())


def _read_issues(path: Path) -> _Issues:
    """Read Beads JSONL. Where an id comes twice the later row counts, as in a log that is only appended to."""
    known = _Issues()
    for line, raw in iter_lines(path):
        row: Any = read(raw, object, str(path), line)
        known.read += 1
        if not _is_issue(row):
            known.left_out[NO_ISSUE] += 1
            continue
        if _is_deleted(row):
            known.left_out[DELETED] += 1
            if isinstance(row["id"], str):
                known.deleted.add(row["id"])
                if known.issues.pop(row["id"], None) is not None:
                    known.left_out[REPLACED] += 1
            continue
        issue = convert(row, IssueRow, str(path), line)
        if issue.id in known.issues:
            known.left_out[REPLACED] += 1
        known.deleted.discard(issue.id)
        known.issues[issue.id] = _planned(issue, str(path), line)
    return known


def _is_issue(row: Any) -> bool:
    """Trackers also export comments, dependencies and memories: typed as such, without an id, or on another issue."""
    if not isinstance(row, dict) or row.get("id") is None:
        return False
    return bool(row.get("_type", "issue") == "issue" and row.get("issue_id", row["id"]) == row["id"])


def _is_deleted(row: dict[str, Any]) -> bool:
    return row.get("status") in ("tombstone", "deleted") or row.get("deleted") is True or bool(row.get("deleted_at"))


def _planned(row: IssueRow, source: str, line: int) -> PlannedIssue:
    """The ``issue`` of a planner input from a row of either dialect."""
    priority = row.dk_priority or (DEFAULT_PRIORITY if row.priority is None else BEADS_PRIORITIES[row.priority])
    tags = row.tags
    if tags is None:
        tags = [*(row.labels or ()), *([f"type:{row.issue_type}"] if row.issue_type else ())]
    issue: dict[str, Any] = {
        "issue_id": row.id,
        "dk_priority": priority,
        "dk_risk": row.dk_risk or _risk_of_labels(row.labels or [], source, line) or DEFAULT_RISK,
        "dk_size": row.dk_size or _size_of_estimate(row.estimated_minutes),
        "dk_tool_hint": row.dk_tool_hint or None,
        "dk_attempts": row.dk_attempts or 0,
        "tags": tags,
    }
    for name in ("dk_speculate", "on_critical_path"):
        if (value := getattr(row, name)) is not None:
            issue[name] = value
    return PlannedIssue(issue, row.universe_id, row.objective_id)


def _risk_of_labels(labels: list[str], source: str, line: int) -> str | None:
    for i, label in enumerate(labels):
        if label.startswith(RISK_LABEL):
            risk = label.removeprefix(RISK_LABEL)
            if risk not in RISKS:
                choices = ", ".join(RISK_LABEL + known for known in RISKS)
                raise DataError(source, line=line, path=f"$.labels[{i}]", found=label, expected=f"one of {choices}")
            return risk
    return None


def _size_of_estimate(minutes: float | None) -> str:
    if minutes is None:
        return DEFAULT_SIZE
    return SIZES[sum(minutes > edge for edge in SIZE_EDGES_MINUTES)]


# ------------------------------------------------------------------------------------------------------------- runs


class _Log:
    """The runs of known issues in order of start, their JSON as it came, their labels, and what was left out."""

    def __init__(self) -> None:
        self.runs: list[RunSummary] = []
        self.documents: list[msgspec.Raw] = []
        self.labels: list[Action] = []
        self.read = 0
        self.left_out: Counter[str] = Counter()


def _read_runs(path: Path, known: _Issues) -> _Log:
    log = _Log()
    lines: dict[str, int] = {}
    rows: list[tuple[RunSummary, msgspec.Raw, Action]] = []
    for line, raw in iter_lines(path):
        run = read(raw, RunSummary, str(path), line)
        log.read += 1
        if (earlier := lines.setdefault(run.run_id, line)) != line:
            expected = f"a run_id of its own (line {earlier} has it too)"
            raise DataError(str(path), line=line, path="$.run_id", found=run.run_id, expected=expected)
        _check_time(run, str(path), line)
        label = _label(run, str(path), line)
        if run.issue_id in known.issues:
            # Decoded and encoded again: every key is kept, and what stands in the dataset is sure to be JSON.
            document: Any = read(raw, object, str(path), line)
            rows.append((run, msgspec.Raw(msgspec.json.encode(document)), label))
        elif run.issue_id is None:
            log.left_out[NO_ISSUE_ID] += 1
        else:
            log.left_out[DELETED_ISSUE if run.issue_id in known.deleted else UNKNOWN_ISSUE] += 1
    rows.sort(key=lambda row: (row[0].started_ms, row[0].run_id))
    for run, document, label in rows:
        log.runs.append(run)
        log.documents.append(document)
        log.labels.append(label)
    return log


def _check_time(run: RunSummary, source: str, line: int) -> None:
    try:
        rfc3339(run.started_ms)
    except OverflowError:
        found, expected = str(run.started_ms), "Unix milliseconds before the year 10000"
        raise DataError(source, line=line, path="$.started_ms", found=found, expected=expected) from None


def _label(run: RunSummary, source: str, line: int) -> Action:
    """The executed action on the bins, made valid: serial runs one candidate, code does not iterate."""
    executed, space = run.action_executed, ActionSpace()
    swarm = executed.swarm_id or SWARM_IDS[0]
    if swarm not in space.swarm_ids:
        raise DataError(
            source,
            line=line,
            path="$.action_executed.swarm_id",
            found=swarm,
            expected=f"one of {', '.join(space.swarm_ids)} or null",
        )
    action = _on_bins(swarm, executed, space)
    if action.swarm == "serial_handoff":
        action = action._replace(candidates=1)
    if run.job_type == "code":
        action = action._replace(iterations=NA)
    return nearest_action(action, valid_actions(run.job_type, space))


def _on_bins(swarm: str, executed: ActionExecuted, space: ActionSpace) -> Action:
    return Action(
        swarm,
        nearest_bin(executed.max_candidates, space.max_candidates_bins),
        nearest_bin(executed.max_minutes, space.max_minutes_bins),
        nearest_bin(executed.max_iterations, space.max_iterations_bins),
    )


def _messages(known: _Issues, log: _Log, split_counts: dict[str, int]) -> list[str]:
    def counted(what: str, left_out: Counter[str], read: int) -> list[str]:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        return [f"left out of {read} {what}: {reasons}"] if reasons else []

    messages = counted("issue rows", known.left_out, known.read) + counted("runs", log.left_out, log.read)
    empty = [split for split, count in split_counts.items() if not count]
    if empty:
        messages.append(f"{len(log.runs)} examples are too few for every split; empty: {', '.join(empty)}")
    labels = set(log.labels)
    if len(labels) == 1:
        messages.append(f"every run has the same label {tuple(next(iter(labels)))}: there is nothing to learn from it")
    return messages
