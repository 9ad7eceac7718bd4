"""What an ablation found: means and spreads over seeds as JSON, and one picture a factor."""

from __future__ import annotations

import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from planner_core import jsonio
from planner_core.ablation.design import FACTORS, Cell, CellResult, Design, Point, cell_name, points
from planner_core.ablation.run import require
from planner_core.errors import PlannerError
from planner_core.files import write_bytes
from planner_core.harness.run_dir import RESULTS
from planner_core.plugins.registry import Registry

SUMMARY_SCHEMA = "swarm_planner.ablation.v1"
SUMMARY = "summary.json"
SPLITS = ("val", "test")
METRICS = ("exact_match_accuracy", "mean_utility", "gap_closed", "ece")

_FIT_SECONDS = (
    "fit_seconds: runs may have trained side by side, and a worker's first one includes torch's own start; "
    "train one alone to time it"
)
_LABELS = {
    "exact_match_accuracy": "exact match (share of examples)",
    "mean_utility": "mean utility",
    "gap_closed": "gap closed (0 heuristic, 1 ceiling)",
}
_COLOURS = {"val": "#0072b2", "test": "#d55e00"}  # told apart by the colour-blind too (Okabe and Ito)
_MARKERS = {"val": "o", "test": "s"}


def spread(values: Sequence[float]) -> dict[str, Any]:
    """``{n, mean, std}``: the sample standard deviation (n - 1), None for fewer than two values."""
    return {
        "n": len(values),
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
    }


def summarise(
    design: Design, out: Path, planned: Sequence[Cell], outcomes: Iterable[CellResult], registry: Registry
) -> dict[str, Any]:
    """The document of ``summary.json``, from the results of every finished cell of the design.

    ``outcomes`` are those of this session: its failures are listed.
    """
    failures = [
        {"cell": o.cell, "error": o.error} | ({"traceback": o.trace} if o.trace else {})
        for o in outcomes
        if o.error is not None
    ]
    results = {}
    for cell in planned:
        if not cell.finished:
            continue
        try:
            results[cell.name] = jsonio.read_file(cell.path / RESULTS, dict[str, Any])
        except PlannerError as problem:
            failures.append({"cell": cell.name, "error": str(problem)})
    failed = {failure["cell"] for failure in failures}
    by_key: dict[str, list[dict[str, Any]]] = {}
    for point in points(design, registry):
        by_key.setdefault(point.key, []).append(_entry(point, design.seeds, results))
    return {
        "schema_version": SUMMARY_SCHEMA,
        "policy": design.policy,
        "directory": str(out),
        "plan": design,
        "notes": [*design.notes, _FIT_SECONDS],
        "cells": {"planned": len(planned), "finished": len(results), "failed": len(failures)},
        "factors": {
            factor.key: {
                "name": factor.name,
                "title": factor.title,
                "unit": factor.unit,
                "picture": f"{factor.key}.png",
                "values": by_key[factor.key],
            }
            for factor in FACTORS
            if factor.key in by_key
        },
        "failures": failures,
        "missing": [cell.name for cell in planned if cell.name not in results and cell.name not in failed],
    }


def _entry(point: Point, seeds: Iterable[int], results: Mapping[str, Any]) -> dict[str, Any]:
    """One value of a factor over the seeds that have finished."""
    found = {seed: results[name] for seed in seeds if (name := cell_name(point, seed)) in results}
    entry: dict[str, Any] = {
        "value": point.value,
        "base": point.is_base,
        "n": len(found),
        "seeds": list(found),
        "cells": [cell_name(point, seed) for seed in found],
        "fit_seconds": spread([result["training"]["fit_seconds"] for result in found.values()]),
    }
    for split in SPLITS:
        documents = [result[split] for result in found.values() if split in result]
        metrics = {}
        for name in METRICS:
            values = [document[name] for document in documents if document.get(name) is not None]
            if values:
                metrics[name] = spread(values)
        if metrics:
            entry[split] = metrics
    return entry


def write_report(summary: Mapping[str, Any], out: Path) -> None:
    """Write ``summary.json`` and one PNG a factor."""
    for key, factor in summary["factors"].items():
        write_bytes(out / factor["picture"], picture(key, summary))
    write_bytes(out / SUMMARY, jsonio.pretty(summary))


def picture(key: str, summary: Mapping[str, Any]) -> bytes:
    """One factor as a PNG: exact match, and what the choices were worth, against its values.

    Values stand at equal distances, whatever lies between them; bars are one sample standard deviation.
    """
    figure_module = require("the pictures of an ablation", "train", "matplotlib.figure")
    agg = require("the pictures of an ablation", "train", "matplotlib.backends.backend_agg")
    factor = summary["factors"][key]
    panels = _panels(factor["values"])
    # Not pyplot: it keeps figures in global state and may look for a display.
    figure = figure_module.Figure(figsize=(1 + 4.5 * len(panels), 4.2), dpi=120, layout="constrained")
    agg.FigureCanvasAgg(figure)
    for axes, metric in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, factor, metric)
    seeds = max((entry["n"] for entry in factor["values"]), default=0)
    figure.suptitle(
        f"{summary['policy']}: {factor['title']}, "
        f"mean ± standard deviation over {seeds} seed{'' if seeds == 1 else 's'}"
    )
    handles = {label: handle for a in figure.axes for handle, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _panels(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Exact match, and the gap closed or, where it is not known, utility; where there are outcomes at all."""
    known = {name for entry in values for split in SPLITS for name in entry.get(split, ())}
    worth = next((name for name in ("gap_closed", "mean_utility") if name in known), None)
    return ["exact_match_accuracy", *([worth] if worth else [])]


def _draw(axes: Any, factor: Mapping[str, Any], metric: str) -> None:
    values = factor["values"]
    for place, entry in enumerate(values):
        if entry["base"]:
            axes.axvspan(place - 0.2, place + 0.2, color="0.93", zorder=0, label="base configuration")
    for shift, split in zip((-0.05, 0.05), SPLITS, strict=True):  # apart, so that neither hides the other's bar
        drawn = [
            (place + shift, entry[split][metric])
            for place, entry in enumerate(values)
            if metric in entry.get(split, ())
        ]
        if drawn:
            axes.errorbar(
                [place for place, _ in drawn],
                [found["mean"] for _, found in drawn],
                yerr=[found["std"] or 0.0 for _, found in drawn],
                color=_COLOURS[split],
                marker=_MARKERS[split],
                linestyle="none" if factor["name"] == "heads" else "-",
                capsize=4,
                label="validation" if split == "val" else "test",
            )
    axes.set_xticks(range(len(values)), [str(entry["value"]) for entry in values])
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_xlabel(f"{factor['title']} ({factor['unit']})")
    axes.set_ylabel(_LABELS[metric])
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
