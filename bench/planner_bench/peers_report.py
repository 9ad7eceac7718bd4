"""What ``planner bench peers`` says of its results."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table


def peers_table(result: dict[str, Any]) -> Table:
    """Quality, fit time and latency of every contestant."""
    n = result["n"]
    title = f"train {n['train']}, val {n['val']}, test {n['test']} examples; one row in ms, one thread"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", overflow="fold")
    for column in ("val exact", "util", "gap", "test exact", "util", "gap", "fit s", "row p50", "p99"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in result["contestants"]:
        cells = []
        for split in ("val", "test"):
            metrics = row.get(split, {})
            for name in ("exact_match_accuracy", "mean_utility", "gap_closed"):
                value = metrics.get(name)
                cells.append("-" if value is None else f"{value:.3f}")
        cells.append("-" if row["fit_seconds"] is None else f"{row['fit_seconds']:.1f}")
        for i, (way, times) in enumerate(row["latency_ms"].items()):
            name = row["name"] if i == 0 else f"  {way}"
            table.add_row(name, *(cells if i == 0 else [""] * len(cells)), f"{times['p50']:.3f}", f"{times['p99']:.3f}")
    return table
