"""A study in a terminal: its trials in a table of 80 columns, the best one, and what the test split says of it."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table

from planner_core.cli.console import err, out
from planner_tune.documents import Result, TrialRow


def show(result: Result) -> None:
    """Print a result; notes on standard error."""
    out.print(_table(result))
    for row in result.trials:
        if row.error is not None and row.same_as is None:
            err.print(f"note: trial {row.number} failed: {row.error.splitlines()[0]}", style="yellow", markup=False)
    for note in result.notes:
        err.print(f"note: {note}", style="yellow", soft_wrap=True, markup=False)
    for line in _sentences(result):
        out.print(line, soft_wrap=True, markup=False)


def _table(result: Result) -> Table:
    """One row a trial, best first."""
    told = "known outcomes" if result.known == "all" else "estimated from the log"
    title = f"{result.policy}: utility a run on {result.rows:,} validation rows ({told})"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("utility", justify="right", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("configuration", overflow="fold")
    for row in sorted(result.trials, key=lambda row: (row.utility is None, -(row.utility or 0.0), row.number)):
        name = f"{row.number}{' *' if row.number == result.best else ''}"
        interval = "-" if row.low is None or row.high is None else f"{row.low:.3f} to {row.high:.3f}"
        utility = "failed" if row.utility is None else f"{row.utility:.4f}"
        table.add_row(name, utility, interval, _configuration(row))
    return table


def _configuration(row: TrialRow) -> str:
    if row.same_as is not None:
        return f"as trial {row.same_as}"
    words = " ".join(f"{key}={_short(value)}" for key, value in row.values.items())
    return f"default: {words}" if row.number == 0 else words


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)


def _sentences(result: Result) -> list[str]:
    best = next(row for row in result.trials if row.number == result.best)
    lines = [f"best on validation: trial {best.number}; {result.config} has its configuration, {best.run} is its run"]
    if result.finished < result.asked:
        lines.append(
            f"{result.finished} of {result.asked} trials have ended: the same command goes on, "
            f"--trials {result.finished} ends it here. The test split was not looked at."
        )
    test = result.test
    if test is not None:
        lines.append(f"on {test.rows:,} test rows: {test.verdict.get('text', 'nothing is known of outcomes')}")
        lines.append(
            "The interval is of these two trained runs: another seed of the same configurations gives another one."
        )
    return lines
