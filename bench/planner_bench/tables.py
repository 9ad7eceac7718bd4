"""Tables as plain text cells, so that the terminal and ``bench.md`` show the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable


@dataclass
class Grid:
    """A titled table: the first ``words`` columns are text, the others numbers; ``notes`` are lines below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]] = ()
    notes: list[str] = field(default_factory=list)
    words: int = 1


def as_rich(grid: Grid) -> RichTable:
    """For the terminal."""
    table = RichTable(title=grid.title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for i, column in enumerate(grid.columns):
        table.add_column(column, justify="left" if i < grid.words else "right", no_wrap=True)
    for row in grid.rows:
        table.add_row(*row)
    return table


def as_markdown(grid: Grid) -> str:
    """For a page: a heading, the table, the notes as a list."""
    rule = ["---" if i < grid.words else "---:" for i in range(len(grid.columns))]
    lines = [f"| {' | '.join(row)} |" for row in (grid.columns, rule, *grid.rows)]
    notes = ["", *(f"- {note}" for note in grid.notes)] if grid.notes else []
    return "\n".join([f"## {grid.title}", "", *lines, *notes]) + "\n"
