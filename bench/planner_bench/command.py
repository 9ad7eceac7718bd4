"""``planner bench``: latency by itself; ``train``, ``peers``, ``serve``, ``acceptance``: what their names say."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner_bench.acceptance.command import acceptance
from planner_core.cli.console import DatasetOption, JsonFlag, SeedOption, SetOption, out, print_json

if TYPE_CHECKING:
    from planner_bench.tables import Grid
    from planner_core import EncoderConfig

app = typer.Typer()
app.command("acceptance")(acceptance)


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    policies: Annotated[
        list[str] | None, typer.Option("--policy", "-p", help="Policy to export from its newest run and measure.")
    ] = None,
    bundles: Annotated[list[Path] | None, typer.Option("--bundle", help="Bundle to measure.")] = None,
    repeats: Annotated[int | None, typer.Option("--repeats", min=100, help="Calls of each stage [5000].")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the calls.")] = False,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Directory to make: bench.json, bench.md, latency.png.")
    ] = None,
    old: Annotated[
        Path | None, typer.Option("--compare", help="An earlier bench.json; exit code 1 where a stage became slower.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", min=1.0, help="How many times as slow is still the same [1.25].")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Every table: stages, history, batches, threads, start and memory.")
    ] = False,
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Measure the latency of a decision, stage by stage; exit code 1 if a promise is broken (p99 over 10 ms).

    `train` measures training speed instead, `peers` quality and latency beside other learners, `serve` what HTTP adds,
    `acceptance` every criterion of the design.

    Without --policy and --bundle, every registered policy that can be exported now is measured.

    Example: planner bench --bundle bundles/mlp --out before
    """
    if context.invoked_subcommand is not None:
        if policies or bundles or repeats or quick or out_dir or old or tolerance or full or seed or json:
            raise typer.BadParameter(f"options go after the subcommand: planner bench {context.invoked_subcommand} ...")
        return
    if tolerance is not None and old is None:
        raise typer.BadParameter("--tolerance goes with --compare")
    from planner_bench import compare_results, latency, picture, report, results
    from planner_bench.progress import still_progress
    from planner_bench.subjects import subjects
    from planner_core import TargetMissed, new_directory

    before = results.read_results(old) if old else None
    if out_dir:
        picture.require_matplotlib()
    with ExitStack() as stack:
        made = stack.enter_context(new_directory(out_dir)) if out_dir else None
        measured = stack.enter_context(subjects(policies or [], bundles or []))
        with still_progress(json) as progress:
            result = latency.bench(
                measured,
                repeats=repeats or (latency.QUICK_REPEATS if quick else latency.REPEATS),
                seed=seed,
                tell=progress,
            )
        comparison = grid = None
        if before and old:
            comparison = compare_results.compare_results(before, result, tolerance or compare_results.TOLERANCE)
            grid = compare_results.grid(comparison, old)
        if made:
            report.write(result, made, comparison, grid)
    if json:
        print_json(report.document(result, comparison))
    else:
        _print([*(report.grids(result) if full else [report.summary(result)]), *([grid] if grid else [])])
    broken = report.complaints(result, comparison)
    if broken:
        raise TargetMissed("; ".join(broken))


def _print(grids: Iterable[Grid]) -> None:
    from planner_bench.tables import as_rich

    for grid in grids:
        out.print(as_rich(grid))
        for note in grid.notes:
            out.print(f"  {note}", soft_wrap=True)
        out.print()


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
    from planner_bench.progress import still_status
    from planner_bench.training import speed_table, verdicts
    from planner_core import MissingExtra, TargetMissed

    try:
        from planner_bench.training import HARNESS, bench_training
    except ModuleNotFoundError as problem:
        raise MissingExtra("planner bench train", "train", str(problem.name)) from None
    data = _load(dataset, json)
    with still_status(json) as tell:
        result = bench_training(
            data,
            examples=examples,
            epochs=epochs,
            rounds=rounds,
            threads=tuple(threads or [1]),
            seed=seed,
            tell=tell,
        )
    if json:
        print_json(result)
    else:
        out.print(speed_table(result))
        for line in verdicts(result):
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
    repeats: Annotated[int | None, typer.Option("--repeats", min=100, help="Timed decisions of each [1000].")] = None,
    logs: Annotated[bool, typer.Option("--logs", help="Learn from logged runs only, on simulated worlds.")] = False,
    worlds: Annotated[
        list[str] | None, typer.Option("--world", help="World of --logs [default]; repeatable; not with --dataset.")
    ] = None,
    sizes: Annotated[
        list[int] | None, typer.Option("--runs", min=20, help="Runs to learn from [3000]; repeatable.")
    ] = None,
    explored: Annotated[
        list[float] | None,
        typer.Option("--exploration", min=0.0, max=1.0, help="Share of the runs drawn at random [0.2]; repeatable."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="So many worlds of each, from --seed on [3].")
    ] = None,
    log_figures: Annotated[
        bool, typer.Option("--log-figures", help="Ours read the figures of the log before the issue too; with --logs.")
    ] = False,
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Judge other learners on the same features and splits, beside ours: quality, fit time, latency of a decision.

    With --logs everyone learns from what was run and what came of it, and nothing else.

    Example: planner bench peers --policy mlp --policy joint
    """
    of_worlds = {"--world": worlds, "--runs": sizes, "--exploration": explored, "--seeds": seeds}
    if logs:
        _refuse({"--run": runs, "--set": assignments, "--repeats": repeats}, "goes without --logs")
        if dataset:
            _refuse(of_worlds, "makes worlds; there is a --dataset")
        cells = [(w, n, e) for w in worlds or ["default"] for n in sizes or [3000] for e in explored or [0.2]]
        _peers_of_logs(dataset, cells, range(seed, seed + (seeds or 3)), policies, only, log_figures, json)
        return
    _refuse({**of_worlds, "--log-figures": log_figures}, "goes with --logs")
    from planner_bench.peers.learners import PEERS, require_peers
    from planner_bench.peers.report import grids
    from planner_bench.progress import still_status
    from planner_core import ConfigError, load_registry, parse_assignments, suggestion

    for name in only or []:
        if name not in PEERS:
            raise ConfigError(f"--peer {name}: no such peer{suggestion(name, PEERS)}; there are {', '.join(PEERS)}")
    require_peers(only or tuple(PEERS))  # before minutes of work
    from planner_bench.peers.compare import compare

    data = _load(dataset, json)
    with still_status(json) as tell:
        result = compare(
            data,
            load_registry(),
            runs=runs or [],
            policies=policies or [],
            values=parse_assignments(assignments or []),
            peers=only or tuple(PEERS),
            repeats=repeats or 1000,
            seed=seed,
            tell=tell,
        )
    if json:
        print_json(result)
    else:
        _print(grids(result))


@app.command("serve")
def serve(
    bundle: Annotated[Path, typer.Option("--bundle", help="Bundle to serve.")],
    connections: Annotated[
        list[int] | None, typer.Option("--connections", min=1, max=256, help="At a time [1 and 8]; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns of each contestant.")] = 10,
    requests: Annotated[int, typer.Option("--requests", min=10, help="Requests of a turn.")] = 500,
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Load a server with decisions, beside the same server answering a constant and the planner without a server.

    Example: planner bench serve --bundle bundles/mlp
    """
    from planner_bench.progress import still_status
    from planner_core import MissingExtra

    try:
        import planner_serve.server  # noqa: F401  # what it needs is said before anything is measured
    except ModuleNotFoundError as problem:
        raise MissingExtra("planner bench serve", "serve", str(problem.name)) from None
    from planner_bench.serving.contest import CONNECTIONS, contest, grid

    with still_status(json) as tell:
        result = contest(
            bundle, connections=connections or CONNECTIONS, rounds=rounds, requests=requests, seed=seed, tell=tell
        )
    if json:
        print_json(result)
    else:
        _print([grid(result)])


def _refuse(options: dict[str, Any], why: str) -> None:
    for name, value in options.items():
        if value:
            raise typer.BadParameter(f"{name} {why}")


def _peers_of_logs(
    dataset: Path | None,
    cells: list[tuple[str, int, float]],
    seeds: range,
    policies: list[str] | None,
    only: list[str] | None,
    log_figures: bool,
    json: bool,
) -> None:
    """``planner bench peers --logs``."""
    from planner_bench.peers.log_learners import LOG_LEARNERS
    from planner_bench.peers.logs import OURS, Cell, compare_logs, compare_logs_of
    from planner_bench.peers.report import log_grids
    from planner_bench.progress import still_status
    from planner_core import ConfigError, EncoderConfig, load_registry, suggestion

    for name in only or []:
        if name not in LOG_LEARNERS:
            known = ", ".join(LOG_LEARNERS)
            raise ConfigError(f"--peer {name}: no such learner{suggestion(name, LOG_LEARNERS)}; there are {known}")
    who: dict[str, Any] = {"policies": policies or OURS, "learners": only or tuple(LOG_LEARNERS)}
    encoder = EncoderConfig(log_figures=log_figures)
    registry, data = load_registry(), None if dataset is None else _load(dataset, json, encoder)
    with still_status(json) as tell:
        if data is not None:
            result = compare_logs_of(data, registry, seed=seeds.start, tell=tell, **who)
        else:
            result = compare_logs([Cell(*cell) for cell in cells], seeds, registry, encoder=encoder, tell=tell, **who)
    if json:
        print_json(result)
    else:
        _print(log_grids(result))


def _load(directory: Path | None, quiet: bool, encoder: EncoderConfig | None = None) -> Any:
    from planner_core import default_dataset, load_dataset
    from planner_core.cli.console import step_progress

    with step_progress(quiet) as progress:
        return load_dataset(directory or default_dataset(progress), encoder, progress=progress)
