"""Progress that is drawn only when it is told something: a thread that redraws would be measured too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from planner_core.cli.console import err


@contextmanager
def still_progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar a step for work that reports (what, done, of how many) while no clock runs; nothing where ``quiet``."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=quiet, auto_refresh=False) as bar:
        tasks = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total, refresh=True)

        yield report


@contextmanager
def still_status(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A bar for every thing that is told of, one after the other, each full when the next begins."""
    with still_progress(quiet) as progress:
        last: list[str] = []

        def tell(what: str) -> None:
            for before in last:
                progress(before, 1, 1)
            last[:] = [what]
            progress(what, 0, 1)

        yield tell
        for before in last:
            progress(before, 1, 1)
