"""Reading all tables of an import: the plan of each, its rows as issues and runs, and the account of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planner_core import LogAccount, LogIssue, LogReading, LogRun
from planner_tables.documents import IssueWriter, RunWriter
from planner_tables.entries import RowReader
from planner_tables.forms import form_of
from planner_tables.grouping import Groups
from planner_tables.marks import said_mark
from planner_tables.names import FIELDS
from planner_tables.plan import Plan, check_named, plan_for
from planner_tables.rows import Table
from planner_tables.survey import survey
from planner_tables.times import zone_of

_HEAD_BYTES = 64 << 10


def read(reading: LogReading) -> Iterator[LogIssue | LogRun]:
    """Issues and runs of every table among the inputs."""
    zone = zone_of(reading.options.get("timezone"))
    account = reading.account
    surveys = [(table, survey(table)) for table in _tables(reading)]
    if surveys:
        check_named(reading.mapping, surveys)
    mark = said_mark(reading.options.get("decimal"))
    plans = [plan_for(table, seen, reading.mapping, zone, mark) for table, seen in surveys]
    issues = IssueWriter(account)
    for (table, seen), plan in zip(surveys, plans, strict=True):
        _tell(account, plan, list(seen.columns), reading)
        job_type = reading.options.get("job_type", "code")
        rows = RowReader(table, plan, reading.mapping, account, job_type)
        if plan.runs:
            yield from _runs(table, plan, rows, account, issues)
        else:
            _issues(table, rows, account, issues)
    yield from issues.documents()


def _tables(reading: LogReading) -> Iterator[Table]:
    for given in reading.inputs:
        if not given.is_folder:
            yield Table(given)
            continue
        for part in given.files():
            with part.open() as stream:
                head = stream.read(_HEAD_BYTES)
            if form_of(head, len(head) < _HEAD_BYTES):
                yield Table(part)
            else:
                reading.account.leave_out("files that are no table")


def _tell(account: LogAccount, plan: Plan, columns: list[str], reading: LogReading) -> None:
    for known in FIELDS:
        if known.name in plan.columns:
            account.field(known.name, plan.columns[known.name])
    used = set(plan.columns.values())
    for column in columns:
        if column not in used:
            account.not_used(column)
    for name, form in plan.times.items():
        if name not in plan.columns:
            continue
        zone = "" if form.zoned else f", without a zone: read as {reading.options.get('timezone', 'UTC')}"
        account.note(f"{plan.columns[name]} is {form.what}{zone}")
    if plan.mark == ",":
        account.note("numbers have a comma for decimals and points between thousands")
    for text in plan.notes:
        account.note(text)
    if plan.runs and _start(plan).days_only:
        account.note("starts are days: rows of one issue and day are runs of their own, not candidates of one")


def _start(plan: Plan) -> Any:
    return plan.times["started_at" if "started_at" in plan.columns else "ended_at"]


def _runs(table: Table, plan: Plan, rows: RowReader, account: LogAccount, issues: IssueWriter) -> Iterator[LogRun]:
    groups = Groups(table, account, times=not _start(plan).days_only)
    for line, row in table.rows():
        if (entry := rows.entry(line, row)) is not None:
            groups.count(entry)
    groups.counted()
    rows.telling = False
    writer = RunWriter(table, account)
    for line, row in table.rows():
        if (entry := rows.entry(line, row)) is None:
            continue
        issues.add(entry.issue_id, entry.issue, entry.tool, entry.started_ms, table, line)
        for whole in groups.take(entry):
            yield writer.run(whole)
    for whole in groups.rest():
        yield writer.run(whole)


def _issues(table: Table, rows: RowReader, account: LogAccount, issues: IssueWriter) -> None:
    for line, row in table.rows():
        values = rows.values(line, row)
        if "issue_id" not in values:
            account.leave_out("no issue")
            continue
        issues.add(values["issue_id"], rows.issue(values), values.get("tool"), line, table, line)
