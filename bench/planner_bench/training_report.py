"""What ``planner bench train`` says of its results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from planner_core.cli.console import number


def speed_table(result: dict[str, Any]) -> Table:
    """Examples a second of every loop, by threads."""
    title = f"training mlp, batch {result['batch_size']}, {result['examples']} examples, {result['rounds']} rounds"
    table = Table(title=title, title_justify="left")
    columns = ("threads", "loop", "examples/s", "harness is faster by", "range", f"val exact, {result['epochs']} ep.")
    for column in columns:
        table.add_column(column, justify="left" if column == "loop" else "right")
    for run in result["speeds"]:
        for row, (name, speed) in enumerate(run["examples_per_second"].items()):
            ratio, ends = run["ratio"].get(name), run["ratio_range"].get(name)
            table.add_row(
                str(run["threads"]) if row == 0 else "",
                name,
                f"{speed:,.0f}",
                f"{ratio:.2f}x" if ratio else "",
                f"{ends[0]:.2f} - {ends[1]:.2f}" if ends else "",
                number(result["valid_exact_match"][name]),
                end_section=row == len(run["examples_per_second"]) - 1,
            )
    return table


def verdicts(result: dict[str, Any]) -> Iterator[str]:
    """What the figures say of the promises and the aim."""
    peak, limit = result["peak_memory_mib"], result["promise_memory_mib"]
    yield f"promise {result['promise_per_second']:.0f} examples/s: {'kept' if result['kept'] else 'BROKEN'}"
    yield f"promise {limit:.0f} MiB resident: {'kept' if peak < limit else 'BROKEN'} ({peak:.0f} MiB, one epoch of all)"
    yield f"aim {result['aimed_ratio']:.0f}x the plain loop: {'holds' if result['aim_held'] else 'missed'}"
