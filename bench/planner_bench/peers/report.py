"""What ``planner bench peers`` says of its results."""

from __future__ import annotations

from typing import Any

import msgspec

from planner_bench.report import micro
from planner_bench.tables import Grid
from planner_bench.timing import Noise

METRICS = ("exact_match_accuracy", "mean_utility", "gap_closed")


def grids(result: dict[str, Any]) -> list[Grid]:
    """Quality and fit time of every contestant; and a single decision of each, way by way."""
    n = result["n"]
    title = f"train {n['train']}, val {n['val']}, test {n['test']} examples"
    rows, times = [], []
    for row in result["contestants"]:
        for split in ("val", "test"):
            values = [row.get(split, {}).get(metric) for metric in METRICS]
            fit = "" if split == "test" else "-" if row["fit_seconds"] is None else f"{row['fit_seconds']:.1f}"
            found = ["-" if value is None else f"{value:.3f}" for value in values]
            rows.append([row["name"] if split == "val" else "", split, *found, fit])
        for i, (way, figures) in enumerate(row["latency_ms"].items()):
            measured = [micro(figures[key]) for key in ("p50", "p99")]
            ours, cold = ("-" if figures[k] is None else f"{figures[k]:.2f}" for k in ("to_ours", "cold_to_ours"))
            warm = [*measured, f"{figures['ratio']:.2f}", ours]
            times.append([row["name"] if i == 0 else "", way, *warm, micro(figures["cold_p50"]), cold])
    quality = Grid(title, ("", "split", "exact match", "utility", "gap closed", "fit s"), rows, words=2)
    verdict = msgspec.convert(result["noise"], Noise).sentence
    decision = Grid(
        "one decision, JSON to action, one thread; microseconds",
        ("", "by", "p50", "p99", "/ ref", "/ ours", "cold", "/ ours"),
        times,
        [
            f"{result['repeats']} decisions each, in turns, each after an untimed one of its own; cold: p50 without",
            "that, the caches full of the others",
            verdict,
        ],
        words=2,
    )
    return [quality, decision]


def log_grids(result: dict[str, Any]) -> list[Grid]:
    """Of ``planner bench peers --logs``: who closes how much of the gap, or what a log says of them."""
    if "values" in result:
        return [_estimates(result)]
    out = []
    for cell in result["cells"]:
        title = result.get("dataset") or f"{cell['world']}, {cell['runs']} runs, {cell['exploration']:.0%} explored"
        rows = [
            [
                row["name"],
                f"{row['gap_closed']:.3f}",
                "-" if row["gap_se_over_seeds"] is None else f"{row['gap_se_over_seeds']:.3f}",
                f"{row['gap_se_by_issue']:.3f}",
                f"{row['mean_utility']:.3f}",
                "-" if row["fit_seconds"] is None else f"{row['fit_seconds']:.1f}",
                str(row["seeds"]),
            ]
            for row in cell["learners"]
        ]
        columns = ("", "gap closed", "se, seeds", "se, issues", "utility", "fit s", "seeds")
        out.append(
            Grid(title, columns, rows, ["gap closed: 0 the rules, 1 the policy that knows the world; test split"])
        )
    return out


def _estimates(result: dict[str, Any]) -> Grid:
    """What the log of the test split says of everyone, and of the difference to the rules."""

    def ends(figure: dict[str, Any]) -> str:
        if figure["estimate"] is None:
            return "-"
        sides = [figure[side] for side in ("low", "high")]
        return f"{figure['estimate']:.3f} [{', '.join('-' if x is None else f'{x:.3f}' for x in sides)}]"

    rows = [
        [row["name"], ends(row["utility"]), ends(row["difference"]), f"{row['support']:.0%}"]
        for row in result["values"]
    ]
    return Grid(
        result["dataset"],
        ("", "utility", "minus the rules", "support"),
        rows,
        ["estimates from the log by augmented replay, with 95 % intervals by issue; test split"],
    )
