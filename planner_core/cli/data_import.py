"""``planner data import``: logs and trackers of other tools as issues and runs of our contracts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner_core.cli.console import JsonFlag, byte_progress, out, print_json

if TYPE_CHECKING:
    from planner_core.data.sources.importing import ImportReport, SourceReport

VALUES_SHOWN = 12
"""Values of one column that are printed; --json has them all."""

SourcesArgument = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SOURCE", help="Files and folders, gzip or not; - for standard input."),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN|FILE",
        help="Which column a field is in ('FIELD=' for none), or a saved mapping; repeatable.",
    ),
]


def import_logs(
    sources: SourcesArgument = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Directory to write; must not hold anything yet.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Read all of it as this source; found by content if not given."),
    ] = None,
    maps: MapOption = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--map-value", metavar="COLUMN:VALUE=MEANING", help="What a value stands for; repeatable."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An option of a source, see --list; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, write nothing.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the sources there are, with their options.")] = False,
    json: JsonFlag = False,
) -> None:
    """Read the logs and trackers of other tools into issues.jsonl and runs.jsonl, and say what was made of them.

    Example: planner data import runs.csv issues.json.gz --out data/logs --map outcome.status=result
    --map-value result:ok=success --dry-run
    """
    import msgspec

    from planner_core.data.sources.importing import import_logs as read

    if listed:
        _list(json)
        return
    if not sources:
        raise typer.BadParameter("name at least one file or folder, or - for standard input", param_hint="SOURCE...")
    if out_dir is None and not dry_run:
        raise typer.BadParameter("say where to write, or --dry-run", param_hint="--out")
    with byte_progress(quiet=json, unit="documents") as progress:
        report = read(
            sources,
            out_dir or Path("data/logs"),
            source=source,
            maps=maps or (),
            values=values or (),
            options=options or (),
            write=not dry_run,
            progress=progress,
        )
    if json:
        print_json(msgspec.to_builtins(report))
        return
    for line in report_lines(report):
        out.print(line, markup=False)


def _list(json: bool) -> None:
    from planner_core.data.sources.choosing import log_sources

    offers = sorted(log_sources(), key=lambda offer: offer.name)
    if json:
        rows = [(o.name, o.record.summary, o.plugin.origin, dict(o.record.options)) for o in offers]
        print_json([dict(zip(("name", "summary", "distribution", "options"), row, strict=True)) for row in rows])
        return
    for offer in offers:
        out.print(f"{offer.name}: {offer.record.summary} ({offer.plugin.origin})", markup=False)
        for name, meaning in offer.record.options.items():
            out.print(f"  --set {name}=...: {meaning}", markup=False)


# --------------------------------------------------------------------------------------------- what was understood


def report_lines(report: ImportReport) -> Iterator[str]:
    """The report as text; the console wraps it at its width."""
    for source in report.sources:
        yield from _source_lines(source)
    if report.not_understood:
        yield f"files that no source knows: {', '.join(report.not_understood)}"
    for kind, count in (("issues", report.repeated_issues), ("runs", report.repeated_runs)):
        if count:
            yield f"{count} {kind} were there before, the same, and count once"
    if report.lacks:
        yield "missing for an estimate of value:"
    for lack in report.lacks:
        share = f" in {lack.count} of {lack.of} runs" if lack.of and not lack.what.startswith("other") else ""
        yield f"- {lack.what}{share}: {lack.costs}"
    found = f"{report.issues} issues and {report.runs} runs"
    yield f"wrote {report.out}: {found}, {', '.join(report.files)}" if report.written else f"{found}; nothing written"
    if report.next:
        yield f"next: {report.next}" if report.written else f"next: the same without --dry-run, and then {report.next}"


def _source_lines(source: SourceReport) -> Iterator[str]:
    names = ", ".join(source.inputs[:3]) + (f" and {len(source.inputs) - 3} more" if len(source.inputs) > 3 else "")
    yield f"{names}: read as {source.source} ({source.issues} issues, {source.runs} runs)"
    for name, column in source.fields.items():
        yield f"  {column} -> {name}"
    for column, told in source.values.items():
        yield f"  {column}: {_values(told)}"
    if source.unused:
        yield f"  not used: {', '.join(source.unused)}"
    for title, counts in (("assumed", source.guessed), ("left out", source.left_out)):
        for what, count in counts.items():
            yield f"  {title}: {what} ({count})"
    for note in source.notes:
        yield f"  {note}"


def _values(told: Mapping[str, tuple[str, int]]) -> str:
    shown = sorted(told.items(), key=lambda item: (-item[1][1], item[0]))
    rest = f", and {len(shown) - VALUES_SHOWN} more" if len(shown) > VALUES_SHOWN else ""
    return ", ".join(f"{value} = {meaning} ({n})" for value, (meaning, n) in shown[:VALUES_SHOWN]) + rest
