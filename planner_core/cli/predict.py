"""``planner predict``: inputs in, actions out; or how they are spread."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from planner_core.cli import reports
from planner_core.cli.console import (
    FromOption,
    JsonFlag,
    PolicyArgument,
    SetOption,
    ThresholdOption,
    byte_progress,
    err,
    out,
    print_json,
)


def predict(
    policy: PolicyArgument,
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="JSON or JSONL of inputs; standard input: -")] = "-",
    source: FromOption = None,
    threshold: ThresholdOption = None,
    assignments: SetOption = None,
    out_file: Annotated[Path | None, typer.Option("--out", help="File to write; standard output if not given.")] = None,
    counts: Annotated[bool, typer.Option("--counts", help="Print a table of counts instead of the actions.")] = False,
    fallback: Annotated[
        bool, typer.Option("--fallback", help="Let the heuristic decide where the bundle is missing or broken.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Write an error record in the place of an input that is refused.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Decide planner inputs: JSON or JSONL in, planner_action.v1 JSONL out.

    A line of a dataset is decided on its planner_input. With --counts, --json prints the counts as JSON. From a pipe
    each line is answered as it comes. An input that is refused ends the run after the answers of all before it; with
    --keep-going the exit code is 1 in the end.

    Example: planner predict mlp --from bundles/mlp inputs.jsonl
    """
    from planner_core.errors import PlannerError
    from planner_core.harness.predict import batch_of, count_actions, error_record, read_inputs, write_actions
    from planner_core.harness.sources import open_planner
    from planner_core.plugins.registry import load_registry
    from planner_core.settings import parse_assignments

    planner = open_planner(
        policy,
        load_registry(),
        source,
        parse_assignments(assignments or []),
        threshold=threshold,
        fallback=fallback,
    )
    refused = 0

    def record(problem: PlannerError) -> dict[str, Any]:
        nonlocal refused
        refused += 1
        return error_record(problem)

    # A bar between the lines of actions on the same terminal would spoil both.
    lines_on_terminal = not counts and out_file is None and out.is_terminal
    with byte_progress(quiet=json or lines_on_terminal) as progress:
        inputs = read_inputs(file, progress, keep_going=keep_going)
        batch = batch_of(file)
        actions = planner.decide_many(inputs, batch, record if keep_going else None)
        if counts:
            rows = count_actions(actions)
        else:
            write_actions(actions, out_file, flush=batch == 1)
    if counts:
        print_json(rows) if json else out.print(reports.counts_table(policy, rows))
    if refused:
        err.print(f"{refused} of the inputs were refused", style="red", soft_wrap=True)
        raise typer.Exit(1)
