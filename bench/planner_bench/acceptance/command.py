"""``planner bench acceptance``."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from planner_core.cli.console import DatasetOption, JsonFlag, SeedOption, SetOption, out, print_json, step_progress


def acceptance(
    dataset: DatasetOption = None,
    assignments: SetOption = None,
    repeats: Annotated[
        int | None, typer.Option("--repeats", min=100, help="Calls of each stage of the decision [5000].")
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Directory to make, with the run and the bundles; else they are removed."),
    ] = None,
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Measure every criterion of the design on a simulated world; exit code 1 if a promise is not kept.

    Trains mlp, evaluates it from its run directory, exports it, times decisions, and holds the exported heuristic
    against the rules, each by the command that is printed beside its figures. Takes minutes.

    Example: planner bench acceptance --out acceptance
    """
    from planner_bench.acceptance.commands import Commands, measure
    from planner_bench.acceptance.criteria import accepted, judge
    from planner_bench.acceptance.report import document, grid
    from planner_bench.progress import still_status
    from planner_bench.tables import as_rich
    from planner_core import PlannerError, TargetMissed, default_dataset, load_dataset, new_directory

    began = time.perf_counter()
    with step_progress(json) as progress:
        place = dataset or default_dataset(progress)
        data = load_dataset(place, progress=progress)
    for split in ("train", "val", "test"):
        if data.split(split).known != "all":
            raise PlannerError(
                f"{place}: the criteria are of data that knows the outcomes of several actions a row, "
                f"as a simulated world does; its split '{split}' knows: {data.split(split).known}"
            )
    del data  # a training in another process is what is measured
    with ExitStack() as stack:
        if out_dir:
            work = stack.enter_context(new_directory(out_dir))
        else:
            work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="acceptance-")))
        with still_status(json) as tell:
            found = measure(Commands.of(place, work, seed, assignments or [], repeats), work, tell)
    # Shown is where things are to stand, not where they were made before they were moved there.
    criteria = judge(found, Commands.of(place, out_dir or Path("acceptance"), seed, assignments or [], repeats))
    seconds = time.perf_counter() - began
    if json:
        print_json(document(criteria, dataset=str(place), seed=seed, seconds=seconds))
    else:
        table = grid(criteria, seconds)
        out.print(as_rich(table))
        for note in table.notes:
            out.print(note, soft_wrap=True, markup=False, highlight=False)
    if not accepted(criteria):
        missed = [row.what for row in criteria if row.kind == "promise" and not row.kept]
        raise TargetMissed(f"{len(missed)} of the design's criteria are not met: {'; '.join(missed)}")
