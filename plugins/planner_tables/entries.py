"""One row, read by a plan: what it says of an issue, of a run, and of one candidate of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from planner_core import LogAccount, LogMapping
from planner_tables.cells import Unfit, is_empty
from planner_tables.meanings import ALLOWED, BY_AGENTS, SKIP, plain, usual_meaning
from planner_tables.names import BY_NAME
from planner_tables.plan import LENGTHS, LIMITS, Plan, parsers, shown
from planner_tables.rows import Row, Table
from planner_tables.units import UNITS_MS


class Action(NamedTuple):
    """What a run was allowed; None where the table does not say, or says that there was no limit."""

    swarm: str | None
    candidates: int | None
    minutes: int | None
    iterations: int | None


@dataclass(slots=True)
class Entry:
    """One row of a table of runs. ``issue`` is what it says of the issue, by the keys of an issue row."""

    line: int
    row: tuple[Any, ...]
    run_id: str | None
    issue_id: str
    started_ms: int
    duration_ms: int
    status: str
    action: Action
    tool: str | None
    job_type: str
    tags: list[str]
    issue: dict[str, Any]
    candidate: str | None = None
    chosen: bool | None = None
    cost_usd: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    fail_codes: tuple[str, ...] = ()
    propensity: float | None = None
    propensities: dict[str, float] | None = None
    decision_id: str | None = None


class RowReader:
    """Reads rows by a plan. What is counted goes to the account the first time only (:attr:`telling`)."""

    def __init__(self, table: Table, plan: Plan, mapping: LogMapping, account: LogAccount, job_type: str) -> None:
        self._table, self._plan, self._account, self._job_type = table, plan, account, job_type
        self._mapping = mapping
        self.telling = True
        self._words: dict[str, dict[str, str]] = {}
        self._readers: list[tuple[str, str, Callable[[Any], Any], bool]] = []
        by_kind = parsers(plan.mark)
        for name, column in plan.columns.items():
            kind = BY_NAME[name].kind
            read = plan.times[name].read_ms if kind == "time" else by_kind[kind]
            self._readers.append((name, column, read, kind == "word"))

    def values(self, line: int, row: Row) -> dict[str, Any]:
        """``{field: value}`` of the cells that say something; words as their meanings."""
        found: dict[str, Any] = {}
        for name, column, read, is_word in self._readers:
            cell = row.get(column)
            if is_empty(cell):
                continue
            try:
                value = read(cell)
                if is_word:
                    value = self._word(name, column, value)
            except (Unfit, OverflowError) as problem:
                raise self._table.error(line, column, shown(cell), str(problem)) from None
            found[name] = value
        return found

    def _word(self, name: str, column: str, value: str) -> str:
        known = self._words.setdefault(name, {})
        meaning = known.get(value)
        if meaning is None:
            meaning = known[value] = self._meaning(name, column, value)
        if self.telling:
            self._account.value(column, value, meaning)
        return meaning

    def _meaning(self, name: str, column: str, value: str) -> str:
        allowed = ALLOWED[name]
        given = self._mapping.meaning(column, value)
        if given is not None:
            for word in (given, plain(given)):
                if word in allowed:
                    return word
            raise Unfit(f"--map-value {column}:{value}= one of {', '.join(allowed)}, not {given!r}")
        usual = usual_meaning(name, value)
        if usual is None and name == "action_executed.swarm_id":
            return BY_AGENTS
        if usual is None:
            choices = ", ".join(allowed)
            raise Unfit(f"a word known for {name}; say which with --map-value {column}:{value}=X, X one of {choices}")
        return usual

    # ------------------------------------------------------------------------------------------------ issues

    def issue(self, values: dict[str, Any]) -> dict[str, Any]:
        """What a row says of its issue, by the keys of an issue row; its id and its tool apart."""
        found = {name.removeprefix("issue."): value for name, value in values.items() if name.startswith("issue.")}
        if "tags" in values:
            found["tags"] = list(values["tags"])
        if (kind := found.pop("issue_type", None)) is not None:
            found["tags"] = list(dict.fromkeys([*found.get("tags", ()), f"type:{kind}"]))
        return found

    # -------------------------------------------------------------------------------------------------- runs

    def entry(self, line: int, row: Row) -> Entry | None:
        """A row of a table of runs; None where it is left out, which the account is told."""
        values = self.values(line, row)
        status = values.get("outcome.status")
        missing = self._missing(values, status)
        if missing is not None:
            if self.telling:
                self._account.leave_out(missing)
            return None
        started, duration = self._times(line, values)
        propensities = values.get("propensities")
        return Entry(
            line=line,
            row=tuple(row.values()),
            run_id=values.get("run_id"),
            issue_id=values["issue_id"],
            started_ms=started,
            duration_ms=duration,
            status=status or "failed",
            action=self._action(values),
            tool=values.get("tool"),
            job_type=values.get("job_type", self._job_type),
            tags=values.get("tags", []),
            issue=self.issue(values),
            candidate=values.get("candidate"),
            chosen=None if "candidate.chosen" not in values else values["candidate.chosen"] == "true",
            cost_usd=values.get("cost_usd_est"),
            tokens_in=values.get("tokens_in"),
            tokens_out=values.get("tokens_out"),
            fail_codes=tuple(values.get("outcome.fail_codes", ())),
            propensity=values.get("propensity"),
            propensities=propensities,
            decision_id=values.get("decision_id"),
        )

    @staticmethod
    def _missing(values: dict[str, Any], status: str | None) -> str | None:
        """Why a row is no run that could be used; None where it is one."""
        if status == SKIP:
            return "no end yet, or none that says anything"
        for name, reason in (("outcome.status", "no result"), ("issue_id", "no issue")):
            if name not in values:
                return reason
        length = next((name for name in LENGTHS if name in values), None)
        if length is None and not {"started_at", "ended_at"} <= values.keys():
            return "no duration"
        if "started_at" not in values and "ended_at" not in values:
            return "no start"
        return None

    def _times(self, line: int, values: dict[str, Any]) -> tuple[int, int]:
        """Start and duration in milliseconds; either may follow from the end."""
        started, ended = values.get("started_at"), values.get("ended_at")
        length = next((name for name in LENGTHS if name in values), None)
        if length is not None:
            unit = length.rpartition("_")[2]
            duration = round(values[length] * UNITS_MS.get(unit, 1e3))
        else:
            assert started is not None and ended is not None
            duration = ended - started
            if duration < 0:
                column = self._plan.columns["ended_at"]
                raise self._table.error(line, column, "an end before the start", "one after it")
        return (started if started is not None else max(0, ended - duration)), duration

    def _action(self, values: dict[str, Any]) -> Action:
        minutes: int | None = None
        name = next((name for name in LIMITS if name in values), None)
        if name is not None:
            factor = 1.0 if name == LIMITS[0] else UNITS_MS[name.rpartition("_")[2]] / 60e3
            exact = values[name] * factor
            minutes = math.ceil(exact - 1e-9) if exact > 0 else None
            if self.telling and minutes is None:
                self._account.guess("a limit of 0 minutes is none")
            elif self.telling and minutes != exact:
                self._account.guess("limits rounded up to whole minutes")
        swarm = values.get("action_executed.swarm_id")
        return Action(
            None if swarm == BY_AGENTS else swarm,
            values.get("action_executed.max_candidates") or None,
            minutes,
            values.get("action_executed.max_iterations"),
        )


def same_row(one: Entry, other: Entry) -> bool:
    """Whether two rows say the same in every column, those included that nothing is made of."""
    return one.row == other.row
