"""``planner bench``: latency by itself; ``train`` for training speed, ``peers`` for quality beside other learners."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from planner_core.cli.console import DatasetOption, JsonFlag, SeedOption, SetOption, err, number, out, print_json

app = typer.Typer()


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    policies: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="Policy to export from its newest run and measure.")
    ] = None,
    bundles: Annotated[list[Path] | None, typer.Option("--bundle", help="Bundle to measure.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=100, help="Calls of each stage.")] = 2000,
    json: JsonFlag = False,
) -> None:
    """Measure the latency of a decision; exit code 1 if the 99th percentile breaks the 10 ms promise.

    `train` measures training speed instead, `peers` quality beside other learners.

    Without --policy and --bundle, every registered policy that can be exported now is measured.

    Example: planner bench --bundle bundles/mlp
    """
    if context.invoked_subcommand is not None:
        if policies or bundles or json:
            raise typer.BadParameter(f"options go after the subcommand: planner bench {context.invoked_subcommand} ...")
        return
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


@app.command("train")
def train_speed(
    dataset: DatasetOption = None,
    examples: Annotated[int, typer.Option("--examples", min=64, help="Training examples to use at most.")] = 4096,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Epochs of the accuracy comparison.")] = 3,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Timed turns of each loop.")] = 8,
    threads: Annotated[list[int] | None, typer.Option("--threads", min=1, help="Torch threads; repeatable.")] = None,
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Measure training speed against plain dense loops, in turns; exit code 1 under 100 examples a second.

    Example: planner bench train --threads 1 --threads 2
    """
    from planner_core.errors import MissingExtra, TargetMissed

    try:
        from planner_bench.training import HARNESS, bench_training
    except ModuleNotFoundError as problem:
        raise MissingExtra("planner bench train", "train", str(problem.name)) from None
    data = _load(dataset, json)
    with err.status("measuring") as status:
        result = bench_training(
            data,
            examples=examples,
            epochs=epochs,
            rounds=rounds,
            threads=tuple(threads or [1]),
            seed=seed,
            tell=status.update,
        )
    if json:
        print_json(result)
    else:
        out.print(_speed_table(result))
        for line in _verdicts(result):
            out.print(line)
    if not result["kept"]:
        slowest = min(run["examples_per_second"][HARNESS] for run in result["speeds"])
        raise TargetMissed(
            f"the harness trains {slowest:.0f} examples a second, under the promised {result['promise_per_second']:.0f}"
        )


@app.command("peers")
def peers(
    dataset: DatasetOption = None,
    runs: Annotated[list[Path] | None, typer.Option("--run", help="Run directory of ours; repeatable.")] = None,
    policies: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="Policy of ours to train now; repeatable.")
    ] = None,
    assignments: SetOption = None,
    only: Annotated[list[str] | None, typer.Option("--peer", help="Peer to fit; all if not given.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=100, help="Timed decisions of each.")] = 300,
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Judge other learners on the same features and splits, beside ours: quality, fit time, one-row latency.

    Example: planner bench peers --policy mlp --policy joint
    """
    from planner_bench.peers import PEERS, require_peers
    from planner_core.errors import ConfigError, suggestion
    from planner_core.harness.settings import parse_assignments
    from planner_core.registry import load_registry

    require_peers()  # before minutes of work
    for name in only or []:
        if name not in PEERS:
            raise ConfigError(f"--peer {name}: no such peer{suggestion(name, PEERS)}; there are {', '.join(PEERS)}")
    from planner_bench.compare import compare

    data = _load(dataset, json)
    with err.status("comparing") as status:
        result = compare(
            data,
            load_registry(),
            runs=runs or [],
            policies=policies or [],
            values=parse_assignments(assignments or []),
            peers=only or tuple(PEERS),
            repeats=repeats,
            seed=seed,
            tell=status.update,
        )
    if json:
        print_json(result)
    else:
        out.print(_peers_table(result))


def _load(directory: Path | None, quiet: bool) -> Any:
    from planner_core.cli.console import step_progress
    from planner_core.data.dataset import load_dataset
    from planner_core.harness.world_source import default_dataset

    with step_progress(quiet) as progress:
        return load_dataset(directory or default_dataset(progress), progress=progress)


def _speed_table(result: dict[str, Any]) -> Table:
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


def _verdicts(result: dict[str, Any]) -> Iterator[str]:
    """What the figures say of the promises and the aim."""
    peak, limit = result["peak_memory_mib"], result["promise_memory_mib"]
    yield f"promise {result['promise_per_second']:.0f} examples/s: {'kept' if result['kept'] else 'BROKEN'}"
    yield f"promise {limit:.0f} MiB resident: {'kept' if peak < limit else 'BROKEN'} ({peak:.0f} MiB, one epoch of all)"
    yield f"aim {result['aimed_ratio']:.0f}x the plain loop: {'holds' if result['aim_held'] else 'missed'}"


def _peers_table(result: dict[str, Any]) -> Table:
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
