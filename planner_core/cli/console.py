"""What the commands share: consoles, JSON output, tables of numbers, progress bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from planner_core import jsonio

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
DatasetOption = Annotated[
    Path | None,
    typer.Option("--dataset", help="Dataset directory; the simulated world, made once and reused, if not given."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one configuration key; repeatable.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML or JSON file of configuration keys.")]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(jsonio.pretty(value).decode())


def number(value: Any) -> str:
    """A metric for a table: four digits, or a dash."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


@contextmanager
def step_progress(quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A bar a step for work that reports (what, done, of how many)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err, disable=quiet) as bar:
        tasks: dict[str, Any] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report
