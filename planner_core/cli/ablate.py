"""``planner ablate P``: which part of a configuration matters, one factor at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from planner_core.cli.console import (
    ConfigOption,
    DatasetOption,
    JsonFlag,
    PolicyArgument,
    SetOption,
    err,
    number,
    out,
    print_json,
    step_progress,
)
from planner_core.errors import ConfigError, PlannerError

_COLUMNS = (
    ("exact match", "exact_match_accuracy"),
    ("utility", "mean_utility"),
    ("gap closed", "gap_closed"),
    ("ECE", "ece"),
)


def ablate(
    policy: PolicyArgument,
    dataset: DatasetOption = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Directory of the ablation; runs/POLICY/ablations/TIME if not given."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            help="Only this factor; repeatable: history, layers, width, dropout, smoothing, heads.",
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="N|LIST", help="How many (3) or which (0,1,2); 3 if not given.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Runs side by side; as many as there are cores if not given.")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            help="joblib backend: loky, multiprocessing, threading, sequential, or a cluster's: dask, ray.",
        ),
    ] = "loky",
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="Dask scheduler or Ray head to use; a local one is started if not given. "
            "Its workers must see the dataset and --out at the same paths.",
        ),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --out, or with the policy's newest ablation, as it was begun.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Vary one factor at a time around the configuration, over seeds: a summary, a table and a picture each.

    Every run is a run directory under --out. Finished ones are never trained again, and a run that fails is reported
    without stopping the others, so the same command goes on where it was interrupted.

    Example: planner ablate mlp --only history --only dropout --seeds 5
    """
    from planner_core.ablation import design as work
    from planner_core.ablation import run as running
    from planner_core.ablation.report import SUMMARY, summarise, write_report
    from planner_core.claim import claimed_for
    from planner_core.plugins.registry import load_registry
    from planner_core.settings import merge, parse_assignments, read_config_file
    from planner_core.world.source import default_dataset

    registry = load_registry()
    registry.spec(policy)
    factors = _usage("--only", lambda: work.choose_factors(only)) if only else None
    seed_list = _usage("--seeds", lambda: work.parse_seeds(seeds)) if seeds is not None else None
    for module in ("joblib", "matplotlib"):  # said now, not after hours of training
        running.require("an ablation", "train", module)
    _usage("--backend", lambda: running.check_backend(backend, scheduler))
    values = merge(read_config_file(config) if config else {}, parse_assignments(assignments or []))
    place = out_dir or work.default_out(policy, resume=resume)
    recorded = work.read_design(place) if resume else None
    if recorded and recorded.policy == policy:
        values, factors, seed_list, dataset = work.taken_up(recorded, values, factors, seed_list, dataset)
    with step_progress(json) as progress:
        data = dataset or default_dataset(progress)
    asked = work.make_design(policy, data, values, registry, factors or work.FACTORS, seed_list or work.DEFAULT_SEEDS)
    with claimed_for(place, work.PLAN, "ablation"):
        design = work.record_design(place, asked)
        wanted = work.cells(asked, place, registry)
        todo = [cell for cell in wanted if not cell.finished]
        outcomes: list[work.CellResult] = []
        if todo:
            with step_progress(json) as progress:
                running.encode_for(todo, registry, progress)
            threads = int(design.base.get("threads", 1))
            with (
                running.joblib_runner(backend, jobs, threads, scheduler) as run,
                _cell_progress(len(wanted), len(wanted) - len(todo), json) as on_outcome,
            ):

                def settle(outcome: work.CellResult) -> None:
                    outcomes.append(outcome)
                    on_outcome(outcome)

                running.run_cells(todo, run, settle)
        summary = summarise(design, place, work.cells(design, place, registry), outcomes, registry)
        write_report(summary, place)
    if json:
        print_json(summary)
    else:
        _show(summary)
        pictures = len(summary["factors"])
        out.print(f"wrote {place / SUMMARY} and {pictures} picture{'s' * (pictures != 1)}", soft_wrap=True)
    if summary["failures"]:
        lines = [f"  {f['cell']}: {f['error'].splitlines()[0]}" for f in summary["failures"]]
        raise PlannerError(
            f"{len(lines)} of {summary['cells']['planned']} runs failed; the same command tries them again:\n"
            + "\n".join(lines)
        )


def _usage(option: str, read: Callable[[], Any]) -> Any:
    """A value of an option; one that does not fit is wrong usage (exit code 2)."""
    try:
        return read()
    except ConfigError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


@contextmanager
def _cell_progress(total: int, finished: int, quiet: bool) -> Iterator[Callable[[Any], None]]:
    """A bar over runs that counts the failed ones; those finished earlier are in it from the start."""
    columns = (TextColumn("runs"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=err, disable=quiet) as bar:
        task = bar.add_task("0 failed", total=total, completed=finished)
        failed = 0

        def report(outcome: Any) -> None:
            nonlocal failed
            failed += outcome.error is not None
            bar.update(task, advance=1, description=f"{failed} failed")

        yield report


def _show(summary: Mapping[str, Any]) -> None:
    for note in summary["notes"]:
        err.print(f"note: {note}", style="yellow", soft_wrap=True, markup=False)
    for factor in summary["factors"].values():
        out.print(_table(summary["policy"], factor))
    if summary["missing"]:
        err.print(f"note: {len(summary['missing'])} planned runs were not asked for and are not in the tables")


def _table(policy: str, factor: Mapping[str, Any]) -> Table:
    """Mean ± standard deviation over seeds; one row a value and split."""
    title = f"{policy}: {factor['title']} (* base configuration)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for column in ("value", "split", *(name for name, _ in _COLUMNS), "fit s", "seeds"):
        # In a narrow terminal a number breaks before its ±, rather than losing digits.
        whole = column in ("value", "split")
        table.add_column(column, justify="left" if whole else "right", no_wrap=whole)
    for entry in factor["values"]:
        splits = [split for split in ("val", "test") if split in entry] or ["-"]
        for row, split in enumerate(splits):
            metrics = entry.get(split, {})
            table.add_row(
                f"{entry['value']}{' *' if entry['base'] else ''}" if row == 0 else "",
                split,
                *(_spread(metrics.get(key), 3) for _, key in _COLUMNS),
                _spread(entry["fit_seconds"], 1) if row == 0 else "",
                str(entry["n"]) if row == 0 else "",
            )
    return table


def _spread(found: Mapping[str, Any] | None, digits: int) -> str:
    if not found or found["mean"] is None:
        return "-"
    mean = number(found["mean"], digits)
    return mean if found["std"] is None else f"{mean} ±{number(found['std'], digits)}"
