"""``planner bench``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from planner_core.cli.console import JsonFlag, err, out, print_json


def bench(
    policies: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="Policy to export from its newest run and measure.")
    ] = None,
    bundles: Annotated[list[Path] | None, typer.Option("--bundle", help="Bundle to measure.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=100, help="Calls of each stage.")] = 2000,
    json: JsonFlag = False,
) -> None:
    """Measure the latency of a decision; exit code 1 if the 99th percentile breaks the 10 ms promise.

    Without --policy and --bundle, every registered policy that can be exported now is measured.

    Example: planner bench --bundle bundles/mlp
    """
    from planner_bench.latency import bench_bundle
    from planner_core.errors import TargetMissed

    results = []
    with _bundles(policies or [], bundles or []) as paths:
        for path, policy in paths:
            with err.status(f"measuring {path.name}"):
                results.append(bench_bundle(path, repeats=repeats, policy=policy))
    if json:
        print_json(results)
    else:
        out.print(_table(results))
    broken = [r for r in results if not r["kept"]]
    if broken:
        worst = max(broken, key=lambda r: r["stages"]["JSON to action"]["p99"])
        p99 = worst["stages"]["JSON to action"]["p99"]
        raise TargetMissed(f"{worst['policy']}: p99 of JSON to action is {p99:.2f} ms, over {worst['promise_ms']} ms")


@contextmanager
def _bundles(policies: list[str], given: list[Path]) -> Iterator[list[tuple[Path, Any]]]:
    """What to measure: bundles as they are, and policies freshly exported into a temporary directory.

    A policy that was named must be there; with nothing named, policies without a run are left out and said.
    """
    from planner_core.errors import MissingExtra, PlannerError
    from planner_core.harness.run_dir import load_run, newest_run
    from planner_core.registry import load_registry
    from planner_core.runtime.planner import PolicyScorer

    registry = load_registry()
    everything = not policies and not given
    names = policies or ([e.name for e in registry.entries if e.status == "ok"] if everything else [])
    with tempfile.TemporaryDirectory() as scratch:
        found: list[tuple[Path, Any]] = [(path, None) for path in given]
        for name in names:
            spec = registry.spec(name)
            try:
                run = newest_run(name) if spec.trainable else None
            except PlannerError as problem:
                if not everything:
                    raise
                err.print(f"left out: {problem}", style="yellow", soft_wrap=True)
                continue
            try:
                from planner_export.bundle import export_bundle
            except ModuleNotFoundError as problem:
                raise MissingExtra("planner bench --policy", "train", str(problem.name)) from None
            path = Path(scratch) / name
            with err.status(f"exporting {name}"):
                export_bundle(name, registry, path, run=run)
            found.append((path, load_run(run, registry, name).policy if run else PolicyScorer.untrained(name).policy))
        yield found


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(title="one decision, one thread, 8 history runs; milliseconds", title_justify="left")
    for column in ("policy", "stage", "p50", "p90", "p99", "mean", "p50 / bare"):
        table.add_column(column, justify="left" if column in ("policy", "stage") else "right")
    for result in results:
        bare = result["stages"]["bare session"]["p50"]
        for row, (stage, figures) in enumerate(result["stages"].items()):
            numbers = [f"{figures[key]:.3f}" for key in ("p50", "p90", "p99", "mean")]
            table.add_row(result["policy"] if row == 0 else "", stage, *numbers, f"{figures['p50'] / bare:.2f}")
        p99 = result["stages"]["JSON to action"]["p99"]
        verdict = "kept" if result["kept"] else "BROKEN"
        table.add_row(
            "", f"promise {result['promise_ms']:.0f} ms: {verdict}", "", "", f"{p99:.3f}", "", "", end_section=True
        )
    return table
