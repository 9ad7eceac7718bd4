"""``planner data``: make, build, check and describe datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from planner_core.cli.console import JsonFlag, SeedOption, err, number, out, print_json, step_progress

app = typer.Typer(no_args_is_help=True, help="Make, build, check and describe datasets.")

DirArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Dataset directory.")]
OutOption = Annotated[Path, typer.Option("--out", help="Directory to write; must not hold anything yet.")]


@app.command()
def synth(
    out_dir: OutOption,
    examples: Annotated[int, typer.Option("--examples", min=10, help="Number of issues.")] = 20_000,
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Make a dataset of the simulated world, whose best possible policy is known.

    Example: planner data synth --out data/world --examples 20000 --seed 0
    """
    from planner_core.world.source import make_world

    with step_progress() as progress:
        meta = make_world(out_dir, examples, seed, progress)
    if json:
        print_json({"directory": str(out_dir), **meta})
        return
    out.print(f"wrote {out_dir}: {meta['example_count']} examples, {meta['split_counts']}, seed {seed}")
    for name in ("floor", "ceiling"):
        out.print(f"{name}: " + ", ".join(f"{k} {v:.4f}" for k, v in meta[name]["test"].items()) + " (test)")


@app.command()
def build(
    issues: Annotated[
        list[Path], typer.Option("--issues", help="Issue tracker export, Beads JSONL of either dialect; repeatable.")
    ],
    runs: Annotated[list[Path], typer.Option("--runs", help="Run logs, run_summary.v1 JSONL; repeatable.")],
    out_dir: OutOption,
    not_evidence: Annotated[
        list[str] | None,
        typer.Option(
            "--not-evidence",
            metavar="CODE",
            help="Fail code, * for any characters, of runs that ended for reasons that are not the agent's: kept as"
            " history, nothing is learnt from them. Repeatable, adds to infra*, sandbox*, rate_limit*, ratelimit*,"
            " overloaded*, service_unavailable*; 'none' drops these.",
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Build a dataset from an issue tracker and run logs, gzip or not: one example a run, with what came of it.

    Example: planner data build --issues issues.jsonl --runs may.jsonl.gz --runs june.jsonl --out data/mine
    """
    import msgspec

    from planner_core.data.build import build_dataset
    from planner_core.data.executed import NOT_EVIDENCE

    given = not_evidence or []
    codes = [*(() if "none" in given else NOT_EVIDENCE), *(code for code in given if code != "none")]
    with step_progress(quiet=json) as progress:
        report = build_dataset(issues, runs, out_dir, not_evidence=codes, progress=progress)
    if json:
        print_json({"directory": str(out_dir), **msgspec.to_builtins(report)})
        return
    out.print(f"wrote {out_dir}: {report.examples} examples of {report.runs_read} runs and {report.issues_kept} issues")
    out.print(f"{report.passed} passed, {report.examples - report.evidence} are no evidence, {report.split_counts}")
    for message in report.messages:
        out.print(f"- {message}", markup=False)


@app.command()
def validate(directory: DirArgument, json: JsonFlag = False) -> None:
    """Check every line of a dataset, its counts and its hash.

    Example: planner data validate data/world
    """
    from planner_core.data.dataset import describe, load_dataset

    with step_progress() as progress:
        found = describe(load_dataset(directory, progress=progress, cache=False))
    if json:
        print_json({"valid": True, **found})
    else:
        out.print(f"{directory}: valid, {found['example_count']} examples, {found['split_counts']}")


@app.command()
def info(directory: DirArgument, json: JsonFlag = False) -> None:
    """Describe a dataset: sizes, job types, labels, what is known of outcomes.

    Example: planner data info data/world
    """
    from rich.table import Table

    from planner_core.data.dataset import describe, load_dataset

    with step_progress() as progress:
        found = describe(load_dataset(directory, progress=progress))
    if json:
        print_json(found)
        return
    for key in ("directory", "dataset_hash", "label_source", "example_count", "split_counts", "job_types"):
        out.print(f"{key.replace('_', ' ')}: {found[key]}")
    on = found["features_on"]
    out.print(f"features on: {on['mean']:.1f} of {on['d_in']} on average, {on['max']} at most")
    out.print(f"outcomes known: {'yes' if found['has_outcomes'] else 'no'}")
    for name in ("floor", "ceiling"):
        if found[name]:
            values = found[name].get("test", {})
            out.print(f"{name} (test): " + ", ".join(f"{key} {number(value)}" for key, value in values.items()))
    table = Table("label (swarm, candidates, minutes, iterations)", "examples", "share")
    shown = list(found["labels"].items())[:15]
    for label, count in shown:
        table.add_row(label, str(count), f"{count / found['example_count']:.1%}")
    out.print(table)
    rest = found["distinct_labels"] - len(shown)
    if rest > 0:
        err.print(f"... and {rest} rarer labels; --json lists them all")
