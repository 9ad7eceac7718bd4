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
    out,
    print_json,
    show,
)
from planner_core.cli.usage import WrongUsage


def predict(
    policy: PolicyArgument,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="JSON or JSONL of inputs; standard input: -")] = "-",
    source: FromOption = None,
    threshold: ThresholdOption = None,
    assignments: SetOption = None,
    out_file: Annotated[Path | None, typer.Option("--out", help="File to write; standard output if not given.")] = None,
    counts: Annotated[
        bool, typer.Option("--counts", help="Print how many decisions whose they are, why, and of which action.")
    ] = False,
    ids: Annotated[
        bool, typer.Option("--ids", help='Write {"id": the issue\'s, "line": of the input, "action": the action}.')
    ] = False,
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
    --keep-going the exit code is 1 in the end. An action does not say which issue it is for: with --ids each line does.

    Example: planner predict mlp --from bundles/mlp inputs.jsonl
    """
    from planner_core.errors import PlannerError
    from planner_core.harness.predict import (
        batch_of,
        count_decisions,
        error_record,
        read_inputs,
        with_ids,
        write_actions,
    )
    from planner_core.harness.sources import open_planner
    from planner_core.plugins.registry import load_registry
    from planner_core.settings import parse_assignments

    if ids and counts:
        raise WrongUsage("--ids is for the lines of actions, and --counts prints none; give one of them")
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
        on_error = record if keep_going else None
        if counts:
            found = count_decisions(planner.decide_many(inputs, batch, on_error), policy)
        elif ids:
            answers = with_ids(inputs, lambda noted: planner.decide_many(noted, batch, on_error))
            write_actions(answers, out_file, flush=batch == 1)
        else:
            write_actions(planner.decide_many(inputs, batch, on_error), out_file, flush=batch == 1)
    if counts and json:
        print_json(found)
    elif counts:
        show(reports.counts_blocks(policy, found))
    if refused:
        raise PlannerError(f"{refused} of the inputs were refused")
