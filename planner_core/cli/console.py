"""What the commands share: consoles, JSON output, tables of numbers, progress bars."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from planner_core import jsonio
from planner_core.cli.usage import WrongUsage
from planner_core.errors import ConfigError

__all__ = [
    *("AgainstOption", "ConfigOption", "DatasetOption", "FromOption", "JsonFlag", "PolicyArgument", "ReplayOption"),
    *("SeedOption", "SetOption", "ThresholdOption", "ValueOption", "byte_progress", "counted", "err", "number", "out"),
    *("print_json", "printable", "replay_use", "show", "step_progress", "table"),
]

_UNPRINTED = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
"""Characters that a terminal acts on, or that reorder what is read: all but tab and line feed; and lone surrogates."""


def printable(text: str) -> str:
    """``text`` with every character that a terminal would act on shown as an escape (``\\x1b``)."""
    return _UNPRINTED.sub(lambda found: ascii(found.group())[1:-1], text)


class _SafeConsole(Console):
    """A console for text of any origin: ids, paths and messages cannot move the cursor or colour the screen."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text that is measured and printed."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The same for text that came as an object of Rich's own."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style, None)


out = _SafeConsole(highlight=False)
err = _SafeConsole(stderr=True, highlight=False)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for machines; errors too.")]
PolicyArgument = Annotated[str, typer.Argument(metavar="POLICY", help="Name of a registered policy.")]
FromOption = Annotated[
    Path | None, typer.Option("--from", help="Run directory or bundle; the policy's newest run if not given.")
]
ThresholdOption = Annotated[
    float | None, typer.Option("--threshold", min=0.0, max=1.0, help="Confidence below which the heuristic decides.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
DatasetOption = Annotated[
    Path | None,
    typer.Option("--dataset", help="Dataset directory; the simulated world, made once and reused, if not given."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one configuration key; repeatable.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="YAML or JSON file of configuration keys.")]


def _value_checked(given: list[str] | None) -> list[str] | None:
    """A key that there is not is wrong usage, and is said before anything is read."""
    if given:
        from planner_core.utility import parse_value, weight_table

        _checked(lambda: parse_value(given, weight_table()))
    return given


def _against_checked(given: str | None) -> str | None:
    if given is not None:
        from planner_core.harness.judging import check_reference

        _checked(lambda: check_reference(given))
    return given


def _checked(check: Callable[[], object]) -> None:
    try:
        check()
    except ConfigError as problem:
        raise WrongUsage(str(problem)) from None


ValueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--value",
        callback=_value_checked,
        metavar="KEY=NUMBER",
        help="What a pass, an hour or a USD is worth: pass=2, hour=0.6, usd=0.2, or for one priority P0.pass=4.",
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        callback=_against_checked,
        metavar="as_run|heuristic|PATH",
        help="What the verdict compares with; what was run on a log, the rules where outcomes are known.",
    ),
]
_REPLAY_USES: tuple[Literal["checked", "assumed", "off"], ...] = ("checked", "assumed", "off")
ReplayOption = Annotated[
    str,
    typer.Option(
        "--replay",
        metavar="checked|assumed|off",
        help="Whether a run tells of other budgets: if the log shows so, as you know so (assumed), or not.",
    ),
]


def replay_use(given: str) -> Literal["checked", "assumed", "off"]:
    """A ``--replay`` as the value of a log has it."""
    for use in _REPLAY_USES:
        if given == use:
            return use
    raise typer.BadParameter(f"'{given}' is none; choose {', '.join(_REPLAY_USES)}", param_hint="--replay")


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(jsonio.pretty(value).decode())


def number(value: Any, digits: int = 4, sign: str = "") -> str:
    """A figure for a table: as many digits, or a dash for None; what rounds to 0 has no minus sign."""
    if value is None:
        return "-"
    return f"{value:{sign}z,.{digits}f}" if isinstance(value, float) else f"{value}"


def counted(counts: Mapping[str, int]) -> str:
    """``1200 train, 150 val``."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table for a terminal of 80 columns: numbers stand right, and are never broken.

    A column whose name begins with ``<`` holds text: it stands left, and folds where there is no room.
    """
    found = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    found.pad_edge, found.padding = False, (0, 1, 0, 0)
    for column in columns:
        text = column.startswith("<")
        found.add_column(
            column.removeprefix("<"), justify="left" if text else "right", no_wrap=not text, overflow="fold"
        )
    return found


def show(blocks: Iterable[Table | str]) -> None:
    """Print tables, an empty line before each but the first thing printed, and lines of text with their markup."""
    for place, block in enumerate(blocks):
        if place and isinstance(block, Table):
            out.print()
        out.print(block)


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


PROGRESS_AFTER_S = 1.0


@contextmanager
def byte_progress(quiet: bool = False, unit: str = "inputs") -> Iterator[Callable[[int, int, int | None], None]]:
    """A bar for work that reports (``unit`` done, bytes done, of how many bytes or None); drawn after a second.

    Only where standard error is a terminal: a bar that nobody watches is noise in a log.
    """
    columns = (
        TextColumn(f"{{task.fields[rows]:,}} {unit}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    quiet = quiet or not err.is_terminal
    began, task = time.monotonic(), None
    bar = Progress(*columns, console=err, disable=quiet)

    def report(rows: int, done: int, total: int | None) -> None:
        nonlocal task
        if quiet:
            return
        if task is None:
            if time.monotonic() - began < PROGRESS_AFTER_S:
                return
            task = bar.add_task("reading", total=total, rows=rows, completed=done)
            bar.start()
        bar.update(task, completed=done, rows=rows)

    try:
        yield report
    finally:
        bar.stop()
