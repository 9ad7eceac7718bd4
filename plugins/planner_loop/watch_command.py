"""The command line of ``planner watch``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner_core.cli.console import JsonFlag, ValueOption, err, out, print_json
from planner_loop.watch import MOST_FALLBACKS, TOLERANCE, WINDOW_HOURS

if TYPE_CHECKING:
    from planner_loop.watch_report import WatchReport

COMMAND = "planner watch"


def watch(
    decisions: Annotated[
        list[Path], typer.Option("--decisions", metavar="FILE|DIR", help="Decision log, or a directory of them.")
    ],
    runs: Annotated[list[Path], typer.Option("--runs", metavar="FILE", help="Run logs, run_summary.v1 JSONL.")],
    bundle: Annotated[Path, typer.Option("--from", metavar="BUNDLE", help="Bundle that decides.")],
    window: Annotated[
        float,
        typer.Option(
            "--window-hours", help="Longest time from an issue's first decision to the start of its last attempt."
        ),
    ] = WINDOW_HOURS,
    worth: ValueOption = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="How far off the predicted pass rate may be, as a share.")
    ] = TOLERANCE,
    most_fallbacks: Annotated[
        float, typer.Option("--most-fallbacks", help="Share of the model's decisions that may fall back.")
    ] = MOST_FALLBACKS,
    out_file: Annotated[Path | None, typer.Option("--out", metavar="PAGE.html", help="Page to write.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is not one of these pages.")] = False,
    json: JsonFlag = False,
) -> None:
    """Say what happened since a bundle decides: realised against predicted, A/B, fallbacks, drift.

    The exit code is 1 when the model is stale, and 0 otherwise, also where there is too little data to say.

    Example: planner watch --decisions decisions.jsonl --runs runs.jsonl --from bundles/outcome
    """
    from planner_core import MissingExtra, PlannerError
    from planner_loop.watch import watch as look

    if out_file is not None:
        try:
            from planner_loop.page import MARK, page
        except ModuleNotFoundError as problem:
            raise MissingExtra("planner watch --out", "report", str(problem.name)) from None
        from planner_report.place import check_place, write_page

        if out_file.exists() and any(path.exists() and path.samefile(out_file) for path in (*decisions, *runs)):
            raise PlannerError(f"{out_file}: is a log that is to be read; --out names the page to write")
        check_place(out_file, force, MARK, COMMAND)
    with err.status("reading"):
        found = look(
            decisions,
            runs,
            bundle,
            window_hours=window,
            value=worth or (),
            tolerance=tolerance,
            most_fallbacks=most_fallbacks,
        )
    document = found.to_json()
    if out_file is not None:
        with err.status("drawing the page"):
            content = page(document)
        write_page(out_file, content, force, MARK, COMMAND)
    if json:
        print_json(document if out_file is None else {"page": str(out_file), **document})
    else:
        show(found)
        if out_file is not None:
            out.print(f"wrote {out_file}, {len(content) / 1e6:.2f} MB", soft_wrap=True, markup=False)
    if found.stale:
        raise typer.Exit(1)


def show(found: WatchReport) -> None:
    """The sentence, the tables, and what must be known."""
    from planner_loop.watch_tables import tables

    out.print(found.text, soft_wrap=True, markup=False, style="bold red" if found.stale else "bold")
    if found.decisions:
        span = f"{(found.begin or '')[:10]} to {(found.end or '')[:10]}"
        out.print(
            f"{found.decisions:,} decisions of {found.issues:,} issues by {found.policy} ({found.checkpoint_id}), "
            f"{span}; {found.runs:,} runs.",
            soft_wrap=True,
            markup=False,
        )
        for drawn in tables(found):
            out.print(drawn)
    for note in found.notes:
        out.print(f"note: {note}", soft_wrap=True, markup=False)
