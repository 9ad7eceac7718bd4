"""Rows to runs: several candidates of one run may be recorded a row each. The rule is in ``docs/your-logs.md``.

1. Rows with the same ``run_id`` are one run. Where the table has no such column, rows of the same issue, start, tool
   and action are, unless the action allows one candidate only or the table knows days and no times; then each is a run.
2. Rows that are equal in every column are one row, said twice, unless the run was allowed as many candidates.
3. Several rows of one ``run_id`` need a word for it: a number of candidates, a vote, or a column that tells candidates
   apart. Without one they contradict each other, which is an error, as are rows that disagree on what a run has once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from planner_core import LogAccount
from planner_tables.entries import Entry, same_row
from planner_tables.rows import Table

SERIAL, VOTE = "serial_handoff", "speculate_vote"
MAX_ROWS = 256
"""Rows of one run; the contract has room for as many candidates."""

_ONCE = ("issue_id", "tool", "job_type", "propensity", "propensities", "decision_id", "started_ms")


def key_of(entry: Entry, times: bool) -> tuple[Any, ...] | None:
    """What the rows of one run have in common; None for a row that is a run by itself. ``times``: no mere days."""
    if entry.run_id is not None:
        return ("id", entry.run_id)
    alone = entry.action.candidates == 1 or (entry.action.swarm == SERIAL and entry.action.candidates is None)
    if alone or not times:
        return None
    return (entry.issue_id, entry.started_ms, entry.tool, *entry.action, entry.job_type)


class Groups:
    """Finds the runs of a table in two readings: :meth:`count` every row, then :meth:`take` them again in order.

    Eight bytes of each row are kept, and the rows of runs that are not complete yet.
    """

    def __init__(self, table: Table, account: LogAccount, times: bool) -> None:
        self._table, self._account, self._times = table, account, times
        self._hashes = array("q")
        self._left: dict[int, int] = {}
        self._open: dict[tuple[Any, ...], list[Entry]] = {}

    def count(self, entry: Entry) -> None:
        """The first reading."""
        key = key_of(entry, self._times)
        if key is not None:
            self._hashes.append(hash(key))

    def counted(self) -> None:
        """Between the readings."""
        found, counts = np.unique(np.frombuffer(self._hashes, np.int64), return_counts=True)
        several = counts > 1
        self._left = dict(zip(found[several].tolist(), counts[several].tolist(), strict=True))
        self._hashes = array("q")

    def take(self, entry: Entry) -> Iterator[list[Entry]]:
        """The second reading: the rows of each run that this row completes."""
        key = key_of(entry, self._times)
        number = None if key is None else hash(key)
        if key is None or number is None or number not in self._left:
            yield [entry]
            return
        rows = self._open.setdefault(key, [])
        rows.append(entry)
        if len(rows) > MAX_ROWS:
            expected = f"at most {MAX_ROWS}; --map run_id=COLUMN or --map candidate=COLUMN where one tells them apart"
            raise self._table.error(entry.line, None, f"more than {MAX_ROWS} rows of one run", expected)
        self._left[number] -= 1
        if not self._left[number]:
            del self._left[number]
            yield self._whole(self._open.pop(key))

    def rest(self) -> Iterator[list[Entry]]:
        """Runs that are complete but for numbers that two keys share."""
        for rows in self._open.values():
            yield self._whole(rows)
        self._open.clear()

    # ---------------------------------------------------------------------------------------- what is one run

    def _whole(self, rows: list[Entry]) -> list[Entry]:
        rows = self._without_repeated(rows)
        if len(rows) == 1:
            return rows
        first = rows[0]
        for other in rows[1:]:
            self._check_same(first, other)
        self._check_candidates(rows)
        return rows

    def _without_repeated(self, rows: list[Entry]) -> list[Entry]:
        allowed = rows[0].action.candidates or 1
        distinct: list[Entry] = []
        for row in rows:
            if not any(same_row(row, other) for other in distinct):
                distinct.append(row)
        if len(distinct) == len(rows) or (len(rows) <= allowed and rows[0].candidate is None):
            return rows
        self._account.leave_out("repeated, the same in every column", len(rows) - len(distinct))
        return distinct

    def _check_same(self, first: Entry, other: Entry) -> None:
        """Rows of a run agree on what it has once; candidates that a column tells apart may begin at their own time."""
        pairs = [(name, getattr(first, name), getattr(other, name)) for name in _ONCE]
        pairs += zip(first.action._fields, first.action, other.action, strict=True)
        for name, one, two in pairs:
            if one != two and not (name == "started_ms" and first.candidate is not None):
                found = f"{two!r} for {name} of run {other.run_id or 'of this issue and start'}"
                expected = f"{one!r}, as {self._table.called(first.line)} says, or another run_id"
                raise self._table.error(other.line, None, found, expected)

    def _check_candidates(self, rows: list[Entry]) -> None:
        first, last = rows[0], rows[-1]
        allowed = first.action.candidates
        if allowed is not None and len(rows) > allowed:
            found = f"{len(rows)} different rows of one run"
            raise self._table.error(last.line, None, found, f"at most {allowed}, the candidates it was allowed")
        told = allowed or first.action.swarm == VOTE or all(row.candidate is not None for row in rows)
        if first.run_id is not None and not told:
            there = self._table.called(first.line)
            found = f"another row of the run {first.run_id!r}, which {there} has, too, and says otherwise"
            raise self._table.error(last.line, None, found, "one row a run, or --map candidate=COLUMN")
        names = [row.candidate for row in rows if row.candidate is not None]
        if len(set(names)) < len(names):
            name = next(name for i, name in enumerate(names) if name in names[:i])
            found = f"the candidate {name!r} of one run twice, with different results"
            raise self._table.error(last.line, None, found, "each candidate once")
