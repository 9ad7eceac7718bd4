"""From the rows of a run to a ``run_summary.v1``, and from what rows say of issues to issue rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from planner_core import LogAccount, LogIssue, LogRun, tool_tag
from planner_tables.entries import Entry
from planner_tables.grouping import SERIAL, VOTE
from planner_tables.rows import Table

_DOMAINS = {"fab-world": "fab_world", "fab-asset": "fab_asset"}


class RunWriter:
    """Makes the document of each run; ids that the table lacks are made of issue, start and tool."""

    def __init__(self, table: Table, account: LogAccount) -> None:
        self._table, self._account = table, account
        self._made: Counter[str] = Counter()

    def run(self, rows: list[Entry]) -> LogRun:
        """The run of these rows, which are its candidates where they are several."""
        first = rows[0]
        agents = first.action.candidates if len(rows) == 1 else max(len(rows), first.action.candidates or 0)
        document: dict[str, Any] = {
            "run_id": first.run_id or self._id(first),
            "issue_id": first.issue_id,
            "started_ms": min(row.started_ms for row in rows),
            "job_type": first.job_type,
            "domain": _DOMAINS.get(first.job_type, "code"),
            "action_executed": {
                "swarm_id": self._swarm(first, agents),
                "max_candidates": agents,
                "max_minutes": first.action.minutes,
                "max_iterations": first.action.iterations,
            },
            **self._outcome(rows),
        }
        tags = list(first.tags)
        if first.tool is not None:
            tags.append(tool_tag(first.tool))
        given = {
            "tags": list(dict.fromkeys(tags)) or None,
            "propensity": first.propensity,
            "propensities": first.propensities,
            "decision_id": first.decision_id,
        }
        document |= {name: value for name, value in given.items() if value is not None}
        return LogRun(document, self._table.source.name, **_place(self._table, first.line))

    def _id(self, entry: Entry) -> str:
        name = f"{entry.issue_id}@{entry.started_ms}" + (f"@{entry.tool}" if entry.tool else "")
        self._made[name] += 1
        self._account.guess("run_id made of issue, start and tool")
        return name if self._made[name] == 1 else f"{name}#{self._made[name]}"

    def _swarm(self, entry: Entry, agents: int | None) -> str:
        if entry.action.swarm:
            return entry.action.swarm
        swarm = SERIAL if agents is None or agents <= 1 else VOTE
        number = "one agent, or an unknown number" if swarm == SERIAL else "several agents"
        self._account.guess(f"{number}: {swarm}")
        return swarm

    def _outcome(self, rows: list[Entry]) -> dict[str, Any]:
        """Outcome, duration, cost and tokens of a run, and its candidates where they are several."""
        chosen = next((row for row in rows if row.chosen), None)
        best = chosen or next((row for row in rows if row.status == "success"), None)
        status = best.status if best else ("timeout" if all(r.status == "timeout" for r in rows) else "failed")
        if len(rows) > 1 and chosen is None:
            self._account.guess("a run of several candidates passed if one of them did")
        codes = () if status == "success" else (code for row in rows for code in row.fail_codes)
        found: dict[str, Any] = {
            "outcome": {"status": status, "fail_codes": list(dict.fromkeys(codes)), "gates": []},
            "runtime": {"duration_ms": max(row.started_ms + row.duration_ms for row in rows) - rows_start(rows)},
        }
        for key, name in (("cost_usd_est", "cost_usd"), ("tokens_in", "tokens_in"), ("tokens_out", "tokens_out")):
            values = [getattr(row, name) for row in rows]
            if all(value is not None for value in values):
                found[key] = sum(values)
        if len(rows) > 1:
            found["candidates"] = [
                {
                    "passed": row.status == "success",
                    "duration_ms": row.duration_ms,
                    **({} if row.cost_usd is None else {"cost_usd": row.cost_usd}),
                }
                for row in rows
            ]
        return found


def rows_start(rows: list[Entry]) -> int:
    """When the first of them began."""
    return min(row.started_ms for row in rows)


def _place(table: Table, line: int) -> dict[str, Any]:
    """Where a row stands, as a :class:`LogRun` has it."""
    return {"line": line} if table.lines else {"path": table.called(line)}


class IssueWriter:
    """Puts together what rows say of each issue; of what they say differently the latest counts, and that is told."""

    def __init__(self, account: LogAccount) -> None:
        self._account = account
        self._issues: dict[str, dict[str, Any]] = {}
        self._told: dict[str, tuple[int, Table, int]] = {}
        self._tools: dict[str, str | None] = {}

    def add(self, issue_id: str, said: dict[str, Any], tool: str | None, at: int, table: Table, line: int) -> None:
        """One row of an issue, of the time ``at``; its tool is the issue's hint as long as there is no other."""
        known = self._issues.get(issue_id)
        if tool is not None and self._tools.setdefault(issue_id, tool) != tool:
            self._tools[issue_id] = None
        if known is None:
            self._issues[issue_id] = said
            self._told[issue_id] = (at, table, line)
            return
        later = at >= self._told[issue_id][0]
        for key, value in said.items():
            if key in known and known[key] != value:
                self._account.guess(f"{key} of an issue differs between its rows: the latest counts")
            if key not in known or later:
                known[key] = value
        if later:
            self._told[issue_id] = (at, table, line)

    def documents(self) -> Iterator[LogIssue]:
        """Every issue."""
        for issue_id, said in self._issues.items():
            _, table, line = self._told[issue_id]
            tool = self._tools.get(issue_id)
            hint = {} if tool is None else {"dk_tool_hint": tool}
            yield LogIssue({"id": issue_id, **said, **hint}, table.source.name, **_place(table, line))
        several = sum(tool is None for tool in self._tools.values())
        if several:
            self._account.note(f"{several} issues were tried with several tools: their runs name the tool, they do not")
