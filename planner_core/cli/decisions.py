"""``planner log``: the newest decisions of a decision log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner_core.cli.console import JsonFlag, err, out, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from planner_core.data.decisions import LoggedDecision

DEFAULT_LOG = Path("decisions.jsonl")
_WIDTHS = {"UTC": 11, "issue": 15, "plan": 14, "p": 5, "pass": 4, "min": 3, "USD": 5, "decided by": 16}
_SHORT = {"serial_handoff": "serial", "speculate_vote": "vote"}


def log(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Decision log that a planner writes.")] = DEFAULT_LOG,
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the newest decisions.")] = 20,
    json: JsonFlag = False,
) -> None:
    """Show the newest decisions of a decision log, oldest first, with what the model expected of them.

    Example: planner log var/decisions.jsonl --last 5
    """
    from planner_core.data.decisions import DecisionReader

    reader = DecisionReader(path)
    decisions = reader.last(last)
    if json:
        print_json({"log": str(path), "torn": reader.torn, "decisions": [_document(d) for d in decisions]})
        return
    if decisions:
        out.print(_table(decisions))
    else:
        out.print(f"{path}: no decision yet", soft_wrap=True)
    if reader.torn:
        err.print(f"{reader.torn} torn lines were left out", style="yellow")


def _document(decision: LoggedDecision) -> dict[str, Any]:
    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(decision)
    return document


def _table(decisions: list[LoggedDecision]) -> Table:
    """At most 80 columns: what is long and of any length is cut short."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name, width in _WIDTHS.items():
        justify: Any = "right" if name in ("p", "pass", "min", "USD") else "left"
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", max_width=width)
    for decision in decisions:
        told = decision.expected.action if decision.expected else None
        expected = None if told is None else (told.passed, told.minutes, told.cost_usd)
        table.add_row(
            decision.time.strftime("%m-%d %H:%M"),
            decision.issue_id,
            plan_text(decision.bins),
            "-" if decision.propensity is None else f"{decision.propensity:.3f}",
            *expected_cells(expected),
            decision.arm if decision.reason is None else decision.reason.split(":")[0],
        )
    return table


def plan_text(bins: tuple[Any, ...]) -> str:
    """``vote 3/60/NA``: swarm, candidates, minutes, iterations."""
    swarm, *budgets = bins
    return f"{_SHORT.get(swarm, swarm)} {'/'.join(map(str, budgets))}"


def expected_cells(expected: tuple[float, float, float] | None) -> tuple[str, str, str]:
    """Pass, minutes and USD for a table; dashes where nothing is expected."""
    if expected is None:
        return "-", "-", "-"
    passed, minutes, cost_usd = expected
    return f"{passed:z.2f}", f"{minutes:z.0f}", f"{cost_usd:z.2f}"
