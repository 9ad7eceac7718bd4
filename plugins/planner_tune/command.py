"""The command ``planner tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner_core.cli.console import (
    ConfigOption,
    DatasetOption,
    JsonFlag,
    SeedOption,
    SetOption,
    ValueOption,
    print_json,
    step_progress,
)


def tune(
    policy: Annotated[str, typer.Argument(help="Policy whose configuration is tuned: mlp, joint, outcome, ...")],
    dataset: DatasetOption = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials of the study, earlier ones included.")] = 20,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.0, help="Begin no further trial after so many minutes.")
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Directory of the study; one of its own under runs/POLICY/studies if not given."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Trials side by side.")] = 1,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            help="joblib backend: sequential (for one worker), loky (for several), multiprocessing, threading, dask, "
            "ray.",
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="Dask scheduler or Ray head to use.")
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    worth: ValueOption = None,
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Search the configuration of a policy that is worth most on the validation split.

    The default configuration is the first trial. Keys that are set (--config, --set) stay as they are. At the end the
    best trial is judged once on the test split, beside the default. The same command goes on with an interrupted study,
    and with more --trials it goes further.

    Example: planner tune mlp --dataset data/world --trials 20 --out studies/mlp
    """
    from planner_core import (
        MissingExtra,
        TrialRuns,
        default_dataset,
        load_dataset,
        load_registry,
        merge,
        parse_assignments,
        parse_value,
        read_config_file,
        weight_table,
    )

    try:
        from planner_tune.study import default_out, run_study
    except ModuleNotFoundError as problem:
        missing = (problem.name or "").partition(".")[0]
        if missing == "planner_tune":
            raise
        raise MissingExtra("planner tune", "tune", missing) from None
    from planner_tune.show import show

    registry = load_registry()
    registry.spec(policy)
    values = merge(read_config_file(config) if config else {}, parse_assignments(assignments or []))
    with step_progress(json) as progress:
        place = dataset or default_dataset(progress)
        utility = parse_value(worth, weight_table(load_dataset(place).meta.utility)) if worth else None
        runs = TrialRuns(
            policy,
            registry,
            place,
            values=values,
            seed=seed,
            utility=utility,
            backend=backend or ("sequential" if workers == 1 else "loky"),
            workers=workers,
            scheduler=scheduler,
            progress=progress,
        )
        result = run_study(runs, out_dir or default_out(runs), trials=trials, minutes=minutes, progress=progress)
    if json:
        print_json(result)
    else:
        show(result)
