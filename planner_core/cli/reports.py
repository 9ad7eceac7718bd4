"""How results look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from planner_core.cli.console import number

# name, and whether more (+) or less (-) is better; 0 where neither
_ROWS = (
    ("exact_match_accuracy", 1),
    ("per_head_accuracy", 1),
    ("action_entropy", 0),
    ("top1_frequency", 0),
    ("unique_actions", 0),
    ("unique_action_ratio", 0),
    ("ece", -1),
    ("ece_before", -1),
    ("mce", -1),
    ("mce_before", -1),
    ("joint_ece", -1),
    ("joint_ece_before", -1),
    ("abstain_rate", 0),
    ("pass_rate", 1),
    ("mean_time_to_pass_min", -1),
    ("minutes_per_pass", -1),
    ("cost_per_pass_usd", -1),
    ("mean_utility", 1),
    ("mean_regret", -1),
    ("oracle_match_rate", 1),
    ("gap_closed", 1),
)


def metrics_table(document: Mapping[str, Any]) -> Table:
    """The metrics of an evaluation beside the heuristic's, the interval of their difference, and the ceiling."""
    from planner_core.harness.extra_metrics import extra_metrics

    policy, baseline = document["policy"], document["heuristic"]
    intervals, ceiling = document.get("intervals") or {}, document.get("ceiling") or {}
    columns = [
        "metric",
        policy,
        "heuristic",
        *(["difference 95 %"] if intervals else []),
        *(["ceiling"] * bool(ceiling)),
    ]
    table = Table(title=f"{policy} on {document['split']} ({document['n']} examples)", title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    extra = [(metric.name, metric.better) for _, metric in extra_metrics()]
    for name, better in (*_ROWS, *extra):
        if name not in document:
            continue
        mark = {1: " ↑", -1: " ↓"}.get(better, "")
        if isinstance(document[name], dict):
            for part, value in document[name].items():
                table.add_row(f"  {part}{mark}", number(value), number(baseline[name][part]))
            continue
        cells = [number(document[name]), number(baseline.get(name))]
        cells += [_range(intervals.get(name))] if intervals else []
        table.add_row(name + mark, *cells, *([number(ceiling[name])] if name in ceiling else []))
    area = document["risk_coverage"]["area"]
    table.add_row("risk_coverage ↓", number(area), number(baseline["risk_coverage"]["area"]))
    return table


def _range(interval: Mapping[str, Any] | None) -> str:
    """The interval of policy minus heuristic."""
    ends = (interval or {}).get("difference to heuristic")
    if ends is None:
        return ""
    low, high = ends
    return f"{low:+.3f} {high:+.3f}"


def counts_table(policy: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """How often each action was chosen."""
    total = sum(row["count"] for row in rows)
    table = Table(title=f"{policy}: {total} decisions", title_justify="left")
    for column in ("swarm", "candidates", "minutes", "iterations", "abstained", "count", "share"):
        table.add_column(column, justify="left" if column == "swarm" else "right")
    for row in rows:
        table.add_row(
            row["swarm_id"],
            *(str(row[key]) for key in ("max_candidates_bin", "max_minutes_bin", "max_iterations_bin")),
            "yes" if row["abstain_to_default"] else "no",
            str(row["count"]),
            f"{row['count'] / total:.1%}",
        )
    return table
