"""``latency.png``: how long the calls of each stage take, by percentile, far into the tail."""

from __future__ import annotations

from importlib.util import find_spec
from math import log10
from pathlib import Path
from typing import Any

from planner_bench.results import BenchResult, Measurement, PolicyResult
from planner_bench.stages import JSON, STAGES
from planner_bench.targets import AIM_P99_MS
from planner_bench.timing import REFERENCE
from planner_core import MissingExtra

FILE = "latency.png"
COLOURS = [f"C{i}" for i in (0, 1, 2, 3, 4, 5, 6, 8, 9)] + ["k"]
"""Matplotlib's ten, without the grey that is the reference's."""
TICKS = (0, 50, 90, 99, 99.9, 99.99)


def require_matplotlib() -> None:
    """Raise :class:`MissingExtra` before minutes of measuring, rather than after them."""
    if find_spec("matplotlib") is None:
        raise MissingExtra("planner bench --out", "train", "matplotlib")


def draw(result: BenchResult, path: Path) -> None:
    """One panel a policy, side by side on one scale; every line ends where five calls lie beyond it."""
    from matplotlib.figure import Figure

    lines = [_lines(found) for found in result.policies]
    stages = list(dict.fromkeys(stage for each in lines for stage in each))
    looks = {stage: _look(i, stage) for i, stage in enumerate(stages)}
    count = len(lines)
    figure = Figure(figsize=(1.5 + 5.2 * count, 6.4), layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for panel, found, each in zip(panels, result.policies, lines, strict=True):
        _panel(panel, found, each, looks)
    panels[0].set_ylabel("milliseconds a call")
    figure.savefig(path, dpi=130)


def _lines(found: PolicyResult) -> dict[str, Measurement]:
    """What is drawn, the stages of a decision first; a stage measured twice as it is measured among them."""
    out: dict[str, Measurement] = {}
    for m in (*found.table("stages").measurements, *found.table("others").measurements):
        out.setdefault(m.stage, m)
    return out


def _look(place: int, stage: str) -> dict[str, Any]:
    if stage == REFERENCE:
        return {"color": "0.45", "linewidth": 1.3}
    style = "-" if stage in STAGES else "--"
    return {
        "color": COLOURS[(place - 1) % len(COLOURS)],
        "linewidth": 2.6 if stage == JSON else 1.3,
        "linestyle": style,
    }


def _panel(panel: Any, found: PolicyResult, lines: dict[str, Measurement], looks: dict[str, dict[str, Any]]) -> None:
    farthest = 0.0
    for stage, m in lines.items():
        points = [(q, y) for q, y in m.curve if q < 100]
        farthest = max(farthest, points[-1][0])
        panel.plot(
            [_place(q) for q, _ in points], [y for _, y in points], label=f"{stage}  {m.p50:.3f}", **looks[stage]
        )
    panel.axhline(AIM_P99_MS, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    panel.annotate("p99 aimed at", (0, AIM_P99_MS), (2, 3), textcoords="offset points", fontsize=7, color="0.4")
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter("{x:g}")
    ticks = [q for q in TICKS if q <= farthest]
    panel.set_xticks([_place(q) for q in ticks], [f"{q:g}" for q in ticks])
    panel.set_xlabel("percentile of the calls")
    quiet = "quiet" if found.table("stages").noise.quiet else "noisy"
    panel.set_title(f"{found.policy} ({quiet} machine)", fontsize=11)
    panel.grid(alpha=0.25, which="major")
    panel.legend(
        fontsize=7, title="stage, p50 in ms", title_fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2
    )


def _place(percentile: float) -> float:
    """Every further nine is one step to the right."""
    return -log10(1 - percentile / 100)
