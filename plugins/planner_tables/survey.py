"""A look at the first rows of a table: which columns there are, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from planner_tables.cells import Unfit, is_empty, text
from planner_tables.rows import Table

SAMPLED_ROWS = 5000
MAX_VALUES = 60
"""Distinct values of a column that are kept; a column with more is none of words."""
MAX_TEXT = 64 << 10
"""Characters of a column's cells that are kept; its first cell always is."""
_LONGEST_WORD = 200


@dataclass
class Column:
    """What the first rows have in one column: cells that are not empty, and its distinct values if they are few.

    ``cells`` are the first ones, as far as there is room for them; ``values`` counts all of the rows looked at.
    """

    cells: list[Any] = field(default_factory=list)
    values: dict[str, int] = field(default_factory=dict)
    many: bool = False
    _held: int = 0

    def add(self, cell: Any) -> None:
        """One cell that is not empty."""
        if self._held < MAX_TEXT:
            self.cells.append(cell)
            self._held += len(cell) if isinstance(cell, str) else 16
        if not self.many:
            try:
                value = text(cell)
            except Unfit:
                self.many = True
                return
            self.values[value] = self.values.get(value, 0) + 1
            self.many = len(self.values) > MAX_VALUES or len(value) > _LONGEST_WORD


@dataclass
class Survey:
    """The columns of a table by name, in their order, and how many rows were looked at."""

    columns: dict[str, Column]
    rows: int


def survey(table: Table) -> Survey:
    """Look at the first rows. A table without any is a :class:`planner_core.DataError`."""
    columns: dict[str, Column] = {}
    count = 0
    rows: Iterator[tuple[int, dict[str, Any]]] = islice(table.rows(), SAMPLED_ROWS)
    for _, row in rows:
        count += 1
        for name, cell in row.items():
            column = columns.setdefault(name, Column())
            if not is_empty(cell):
                column.add(cell)
    if not count:
        raise table.error(None, None, "no rows" if table.form == "csv" else "an empty file", "at least one row")
    return Survey(columns, count)
