"""``planner report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner_core.cli.console import (
    AgainstOption,
    DatasetOption,
    JsonFlag,
    ReplayOption,
    ValueOption,
    err,
    out,
    print_json,
    replay_use,
    step_progress,
)


def report(
    out_file: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="Page to write.")],
    dataset: DatasetOption = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="Run directory or bundle; the newest run if not given.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", "-p", help="Policy of --from, or one that needs no training.")
    ] = None,
    worth: ValueOption = None,
    against: AgainstOption = None,
    replay: ReplayOption = "checked",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is not one of these pages.")] = False,
    json: JsonFlag = False,
) -> None:
    """Write one page that says whether a policy saves money, and how sure that is.

    The page is one file that needs no network. It replaces an earlier page; any other file only with --force.

    Example: planner report --dataset data/mine --from bundles/outcome --out report.html
    """
    import msgspec

    from planner_core import MissingExtra, load_registry, make_report
    from planner_report.place import check_place, write_page

    check_place(out_file, force)
    try:
        from planner_report.page import page
    except ModuleNotFoundError as problem:
        raise MissingExtra("planner report", "report", str(problem.name)) from None
    use = replay_use(replay)
    with step_progress(json) as progress:
        found = make_report(
            load_registry(),
            dataset=dataset,
            source=source,
            policy=policy,
            value=worth,
            against=against,
            replay=use,
            progress=progress,
        )
    document = msgspec.to_builtins(found)
    with err.status("drawing the page"):
        content = page(document)
    write_page(out_file, content, force)
    if json:
        print_json({"page": str(out_file), **document})
        return
    from planner_report.words import headline

    out.print(headline(document), soft_wrap=True, markup=False)
    out.print(f"wrote {out_file}, {len(content) / 1e6:.2f} MB", soft_wrap=True, markup=False)
