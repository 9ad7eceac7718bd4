"""Which column is read as which field: what the user named, and what names and values make obvious."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from planner_core import DataError, LogMapping, suggestion
from planner_tables import cells
from planner_tables.marks import decimal_mark
from planner_tables.meanings import SKIP, usual_meaning
from planner_tables.names import BY_NAME, FIELDS, ISSUE_ONLY, Field, guesses, plain
from planner_tables.rows import Table
from planner_tables.survey import Column, Survey
from planner_tables.times import TimeForm, check_time, time_form

LENGTHS = tuple(name for name in BY_NAME if name.startswith("runtime.duration"))
UNITLESS = "runtime.duration"
LIMITS = ("action_executed.max_minutes", *(name for name in BY_NAME if name.startswith("action_executed.limit")))
_OF_RUNS = ("run_id", "cost_usd_est", "tokens_in", "tokens_out", "action_executed.swarm_id", *LIMITS)
"""Fields that no table of issues has."""
_TOLD = ("number", "whole", "probability", "duration", "time", "distribution")

Parser = Callable[[Any], Any]
_NUMBERS = ("number", "whole", "probability")


def parsers(mark: cells.Mark) -> dict[str, Parser]:
    """``{kind of field: what reads its cells}`` in a table with this decimal mark."""
    return {
        "text": cells.text,
        "word": cells.text,
        "duration": cells.seconds,
        "list": cells.listed,
        "distribution": cells.distribution,
        "number": partial(cells.number, mark=mark),
        "whole": partial(cells.whole, mark=mark),
        "probability": partial(cells.probability, mark=mark),
    }


@dataclass
class Plan:
    """``{field: column}`` of a table, the forms of its times, its decimal mark, and whether its rows are runs (else
    issues)."""

    columns: dict[str, str] = field(default_factory=dict)
    times: dict[str, TimeForm] = field(default_factory=dict)
    runs: bool = False
    notes: list[str] = field(default_factory=list)
    mark: cells.Mark = "."


def plan_for(table: Table, seen: Survey, mapping: LogMapping, zone: datetime.tzinfo, mark: cells.Mark = None) -> Plan:
    """The plan of a table, whose decimal ``mark`` is the user's where it is not None.

    :class:`DataError` where its rows are runs and something is missing that a run must have.
    """
    made = _Planner(table, seen, mapping, zone, mark)
    return made.plan()


class _Planner:
    def __init__(
        self, table: Table, seen: Survey, mapping: LogMapping, zone: datetime.tzinfo, mark: cells.Mark
    ) -> None:
        self._table, self._seen, self._mapping, self._zone = table, seen, mapping, zone
        self._by_plain: dict[str, str] = {}
        for column in seen.columns:
            self._by_plain.setdefault(plain(column), column)
        self._plan = Plan(mark=decimal_mark(table, seen, self._of_numbers(), mark))
        self._parsers = parsers(self._plan.mark)
        self._taken: set[str] = set()
        self._named: set[str] = set()
        self._unfit: dict[str, str] = {}
        """Columns that have the name of a field, but cells that are none of it; ``{field: the likeliest}``."""

    def _of_numbers(self) -> list[str]:
        """The columns that the user or their names make a field of numbers."""
        found: list[str] = []
        for known in FIELDS:
            if known.kind in _NUMBERS:
                named = self._mapping.column(known.name)
                found += guesses(known, self._by_plain) if named is None else [named]
        return [column for column in dict.fromkeys(found) if column in self._seen.columns]

    def plan(self) -> Plan:
        for known in FIELDS:
            self._take_named(known)
        for known in FIELDS:
            if known.name not in self._named:
                self._take_guessed(known, self._by_plain)
        self._one_length()
        self._settle(self._by_plain)
        if self._plan.runs:
            self._tell_unfit()
        return self._plan

    def _take_named(self, known: Field) -> None:
        column = self._mapping.column(known.name)
        if column is None or (column and column not in self._seen.columns):
            return  # of another table; whoever reads all of them knows whether it is of none
        self._named.add(known.name)
        if not column:
            return
        if known.kind == "time":
            self._plan.times[known.name] = self._time_form(known, column)
        self._give(known, column)

    def _take_guessed(self, known: Field, by_plain: dict[str, str]) -> None:
        for column in guesses(known, by_plain):
            if column not in self._taken and self._fits(known, column):
                self._give(known, column)
                return
            if column not in self._taken and self._seen.columns[column].cells:
                self._unfit.setdefault(known.name, column)

    def _give(self, known: Field, column: str) -> None:
        self._plan.columns[known.name] = column
        self._taken.add(column)

    def _fits(self, known: Field, column: str) -> bool:
        """Whether most cells can be read as the field; the others are then errors with their lines."""
        found = self._seen.columns[column]
        if not found.cells:
            return False
        if known.kind == "time":
            return self._fits_times(known, column, found)
        if known.kind == "word":
            return self._fits_words(known, column, found)
        return _share(found, self._parsers[known.kind]) >= 0.5

    def _fits_times(self, known: Field, column: str, found: Column) -> bool:
        try:
            self._plan.times[known.name] = self._time_form(known, column)
        except DataError:
            if 0.5 <= _share(found, check_time) < 1:
                raise
            return False
        return True

    def _fits_words(self, known: Field, column: str, found: Column) -> bool:
        if found.many:
            return False
        meanings = {value: self._meaning(known, column, value) for value in found.values}
        understood = sum(count for value, count in found.values.items() if meanings[value])
        if known.name == "outcome.status" and not {*meanings.values()} - {None, SKIP}:
            return False
        return understood * 2 >= sum(found.values.values()) or known.name == "action_executed.swarm_id"

    def _meaning(self, known: Field, column: str, value: str) -> str | None:
        return self._mapping.meaning(column, value) or usual_meaning(known.name, value)

    def _time_form(self, known: Field, column: str) -> TimeForm:
        try:
            return time_form(self._seen.columns[column].cells, self._zone)
        except cells.Unfit as problem:
            raise self._misfit(known, column, str(problem)) from None

    def _misfit(self, known: Field, column: str, expected: str = "") -> DataError:
        """The first cell of a column that is none of a field, with its line; where each is one by itself, the first."""
        parse = check_time if known.kind == "time" else self._parsers[known.kind]
        first: tuple[int | None, Any] = (None, None)
        for line, row in self._table.rows():
            if cells.is_empty(cell := row.get(column)):
                continue
            first = first if first[0] is not None else (line, cell)
            try:
                parse(cell)
            except cells.Unfit as problem:
                return self._table.error(line, column, shown(cell), str(problem))
        at, found = first
        return self._table.error(at, column, "nothing" if at is None else shown(found), expected)

    def _one_length(self) -> None:
        """Of several columns with a duration (seconds and minutes, say) one counts: the finest, unless one is named."""
        found = [name for name in LENGTHS if name in self._plan.columns]
        named = [name for name in found if name in self._named]
        for name in found:
            if name != (named or found)[0]:
                self._taken.discard(self._plan.columns.pop(name))

    # ------------------------------------------------------------------------------------------ runs or issues

    def _settle(self, by_plain: dict[str, str]) -> None:
        """Decide whether rows are runs, and require what they then must have."""
        columns = self._plan.columns
        length = any(name in columns for name in LENGTHS) or {"started_at", "ended_at"} <= set(columns)
        self._plan.runs = "outcome.status" in columns and (length or self._needs_runs())
        if not self._plan.runs:
            self._settle_issues(by_plain)
        elif "run_id" not in columns and "issue_id" in columns and self._is_free(by_plain.get("id")):
            columns["run_id"] = by_plain["id"]
        if "issue_id" not in columns:
            raise self._lacks("the issue", "issue_id", ())
        if self._plan.runs and not length:
            self._refuse_unfit(LENGTHS)
            units = ("runtime.duration_s", "runtime.duration_min", "runtime.duration_ms", "ended_at")
            raise self._lacks("how long a run took (a duration, with its unit)", units[0], units[1:])
        if self._plan.runs and "started_at" not in columns and "ended_at" not in columns:
            self._refuse_unfit(("started_at", "ended_at"))
            raise self._lacks("when a run began", "started_at", ())

    def _is_free(self, column: str | None) -> bool:
        return column is not None and column not in self._taken

    def _settle_issues(self, by_plain: dict[str, str]) -> None:
        """Rows are issues: only what an issue has is read of them."""
        columns = self._plan.columns
        if (column := columns.get("outcome.status")) is not None:
            why = f"'{column}' may tell a result, but no column tells how long a run took"
        else:
            why = "no column tells the result of a run; --map outcome.status=COLUMN"
        self._plan.notes.append(f"read as issues: {why}")
        for name in [name for name in columns if not name.startswith("issue") and name not in ("tags", "tool")]:
            self._taken.discard(columns.pop(name))
        known = next((by_plain[name] for name in ISSUE_ONLY if name in by_plain), None)
        if "issue_id" not in columns and known is not None and self._is_free(known):
            columns["issue_id"] = known

    def _needs_runs(self) -> bool:
        of_runs = any(name in self._plan.columns for name in _OF_RUNS) or any(name in self._unfit for name in LENGTHS)
        return of_runs or "outcome.status" in self._named

    def _refuse_unfit(self, names: Iterable[str]) -> None:
        """:class:`DataError` for the cell by which a column is none of these fields, whose name it has."""
        for name in names:
            column = self._unfit.get(name)
            if column is not None and not (name == UNITLESS and self._is_number(column)):
                if BY_NAME[name].kind == "time":
                    self._time_form(BY_NAME[name], column)
                raise self._misfit(BY_NAME[name], column)

    def _is_number(self, column: str) -> bool:
        return _share(self._seen.columns[column], self._parsers["number"]) >= 0.5

    def _tell_unfit(self) -> None:
        """Note columns of numbers and times that are not read although they have the name of a field."""
        for name, column in self._unfit.items():
            if BY_NAME[name].kind in _TOLD and column not in self._taken and name not in self._plan.columns:
                problem = self._misfit(BY_NAME[name], column, "times of one form")
                self._plan.notes.append(f"'{column}' is not read as {name}: {problem}")

    def _lacks(self, what: str, name: str, others: tuple[str, ...]) -> DataError:
        columns = list(self._seen.columns)
        more = f" (or {', '.join(others)})" if others else ""
        found = f"the columns {', '.join(columns[:20])}" + (" and others" if len(columns) > 20 else "")
        expected = f"one that tells {what}: --map {name}=COLUMN{more}"
        return DataError(self._table.source.name, found=found, expected=expected)


def check_named(mapping: LogMapping, surveys: list[tuple[Table, Survey]]) -> None:
    """:class:`DataError` for a column that the user named and no table has."""
    there = {name for _, seen in surveys for name in seen.columns}
    for name, column in mapping.fields().items():
        if name in BY_NAME and column and column not in there:
            expected = f"one of the columns {', '.join(sorted(there)[:20])}{suggestion(column, there)}"
            raise DataError(surveys[0][0].source.name, found=f"no column {column!r}", expected=expected)


def _share(column: Column, parse: Callable[[Any], Any]) -> float:
    fit = 0
    for cell in column.cells:
        try:
            parse(cell)
        except cells.Unfit:
            continue
        fit += 1
    return fit / len(column.cells)


def shown(cell: Any) -> str:
    """A cell as an error shows it."""
    said = repr(cell)
    return said if len(said) <= 60 else said[:57] + "..."
