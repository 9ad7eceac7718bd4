"""The decimal mark of a table: what one cell shows, all of its numbers are read by.

Where people write ``1,5`` they write ``720.000`` for seven hundred and twenty thousand. A table is by one hand, so a
cell that shows its mark settles it for all columns. Where none does, a cell that could be either is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from planner_core import ConfigError
from planner_tables.cells import EITHER, SAY_MARK, Mark, is_empty, mark_of
from planner_tables.rows import Table
from planner_tables.survey import Survey

_SAID: dict[str, Mark] = {"point": ".", ".": ".", "comma": ",", ",": ","}


def said_mark(option: str | None) -> Mark:
    """The mark that the user named; None where nothing was said. :class:`ConfigError` for another word."""
    if option is None:
        return None
    if option not in _SAID:
        raise ConfigError(f"--set decimal={option}: expected point or comma")
    return _SAID[option]


def decimal_mark(table: Table, seen: Survey, columns: Iterable[str], said: Mark) -> Mark:
    """The mark of ``columns``, those that may hold numbers; a :class:`planner_core.DataError` where it is not clear.

    Cells between commas have a point; and so have JSON and Parquet, where a number in quotation marks is a program's.
    """
    if said is not None:
        return said
    shown: dict[str, tuple[str, str]] = {}
    for column in columns:
        for cell in seen.columns[column].cells:
            if (mark := mark_of(cell)) is not None:
                shown.setdefault(mark, (column, cell))
    if "," in shown and "." in shown:
        (column, cell), (other, pointed) = shown[","], shown["."]
        found = f"{cell!r} here and {pointed!r} in column {other!r}"
        raise table.error(_line_of(table, column, cell), column, found, f"one decimal mark in a table: {SAY_MARK}")
    if "," in shown:
        return ","
    if "." in shown or table.delimiter in (None, ","):
        return "."
    if EITHER in shown:
        column, cell = shown[EITHER]
        expected = f"a number that says which mark is decimal: {SAY_MARK}"
        raise table.error(_line_of(table, column, cell), column, repr(cell), expected)
    return None


def _line_of(table: Table, column: str, cell: str) -> int | None:
    return next((line for line, row in table.rows() if not is_empty(row.get(column)) and row[column] == cell), None)
