"""``planner data``: make, build, check and describe datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from planner_core.cli.console import JsonFlag, SeedOption, counted, err, number, out, print_json, step_progress, table
from planner_core.cli.data_check import schema, validate
from planner_core.cli.data_import import import_logs
from planner_core.cli.groups import Group

app = typer.Typer(cls=Group, no_args_is_help=True)


@app.callback()
def _group(json: JsonFlag = False) -> None:
    """Make, build, check and describe datasets.

    Example: planner data synth --out data/world
    """


app.command("import")(import_logs)
app.command()(validate)
app.command()(schema)

DirArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Dataset directory.")]
OutOption = Annotated[Path, typer.Option("--out", help="Directory to write; must not hold anything yet.")]


@app.command()
def synth(
    out_dir: OutOption,
    examples: Annotated[int, typer.Option("--examples", min=10, help="Number of issues.")] = 20_000,
    seed: SeedOption = 0,
    world: Annotated[
        str, typer.Option("--world", help="default, gives-up, same-fate, per-token, expands or formless.")
    ] = "default",
    exploration: Annotated[
        float,
        typer.Option("--exploration", min=0.0, max=1.0, help="Share of the runs whose action was drawn at random."),
    ] = 0.2,
    json: JsonFlag = False,
) -> None:
    """Make a dataset of a simulated world, whose best possible policy is known.

    Example: planner data synth --out data/world --examples 20000 --seed 0 --world default --exploration 0.05
    """
    from planner_core.world.source import make_world

    with step_progress() as progress:
        meta = make_world(out_dir, examples, seed, progress, world=world, exploration=exploration)
    if json:
        print_json({"directory": str(out_dir), **meta})
        return
    examples_of = f"{meta['example_count']} examples, {counted(meta['split_counts'])}"
    out.print(f"wrote {out_dir}: {examples_of}, world {world}, seed {seed}")
    for name in ("floor", "ceiling"):
        out.print(f"{name}: " + ", ".join(f"{k} {number(v)}" for k, v in meta[name]["test"].items()) + " (test)")


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
    decisions: Annotated[
        list[Path] | None,
        typer.Option(
            "--decisions",
            help="Decision log of the runtime, with its earlier parts; repeatable. A run that a decision led to gets"
            " its propensities, and its input as it was decided.",
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
        report = build_dataset(issues, runs, out_dir, not_evidence=codes, decisions=decisions or (), progress=progress)
    if json:
        print_json({"directory": str(out_dir), **msgspec.to_builtins(report)})
        return
    out.print(f"wrote {out_dir}: {report.examples} examples of {report.runs_read} runs and {report.issues_kept} issues")
    no_evidence = report.examples - report.evidence
    out.print(f"{report.passed} passed, {no_evidence} are no evidence, {counted(report.split_counts)}")
    for message in report.messages:
        out.print(f"- {message}", markup=False)


@app.command()
def info(directory: DirArgument, json: JsonFlag = False) -> None:
    """Describe a dataset: sizes, job types, labels, its runs, what is known of outcomes.

    Example: planner data info data/world
    """
    from planner_core.data.dataset import load_dataset
    from planner_core.data.describe import describe

    with step_progress(quiet=json) as progress:
        found = describe(load_dataset(directory, progress=progress))
    if json:
        print_json(found)
        return
    for key in ("directory", "dataset_hash", "label_source", "example_count", "split_counts", "job_types"):
        told = counted(found[key]) if isinstance(found[key], dict) else found[key]
        out.print(f"{key.replace('_', ' ')}: {told}", soft_wrap=True, markup=False)
    on = found["features_on"]
    out.print(f"features on: {on['mean']:.1f} of {on['d_in']} on average, {on['max']} at most")
    out.print("known of outcomes: " + _KNOWN[found["known"]].format(kind=found["outcomes"]), markup=False)
    if found["runs"]:
        _print_runs(found["runs"])
    for part, counts in (found["rounded"] or {}).items():
        out.print(f"{part} rounded: " + ", ".join(f"{what} ({n})" for what, n in counts.items()), markup=False)
    for what, n in (found["noted"] or {}).items():
        out.print(f"{n} runs: {what}", markup=False)
    for name in ("floor", "ceiling"):
        if found[name]:
            values = found[name].get("test", {})
            out.print(f"{name} (test): " + ", ".join(f"{key} {number(value)}" for key, value in values.items()))
    _print_labels(found)
    _note_meta_hash(found)


_KNOWN = {
    "all": "all ({kind} outcomes of several actions an example)",
    "executed": "executed (of the action that was run)",
    "none": "none",
}


def _print_runs(runs: dict[str, Any]) -> None:
    """One fact a line, at most 80 columns."""
    from rich.table import Table

    def mean(figure: dict[str, Any], unit: str) -> str:
        return "unknown" if not figure["n"] else f"{figure['mean']:.4g} {unit} (mean of {figure['n']})"

    passed, propensity = runs["passed"], runs["propensity"]
    status = ", ".join(f"{n} {name}" for name, n in runs["status"].items())
    rate = logged = "unknown"
    if passed["n"]:
        rate = f"{passed['mean']:.1%} (success, no known gate failed)"
    if propensity["n"]:
        logged = f"{propensity['min']:.4g} to {propensity['max']:.4g} (of {propensity['n']} runs)"
    swarms = ", ".join(f"{name} {n}" for name, n in runs["swarms"].items())
    facts = Table(show_header=False, box=None, pad_edge=False)
    facts.add_row("runs", f"{runs['runs']} of {runs['issues']} issues")
    facts.add_row("  no evidence", f"{runs['not_evidence']} (ended for reasons that are not the agent's)")
    facts.add_row("  evidence", f"{runs['evidence']}: {status}")
    facts.add_row("pass rate", rate)
    facts.add_row("minutes a run", mean(runs["minutes"], "min"))
    facts.add_row("cost a run", mean(runs["cost_usd"], "USD"))
    facts.add_row("propensity", logged)
    facts.add_row("  whole distribution", f"of {runs['distributions']} runs")
    facts.add_row("candidates apart", f"of {runs['candidates_known']} runs")
    facts.add_row("actions tried", f"{runs['distinct_actions']} distinct; {swarms}")
    out.print(facts, markup=False)


def _print_labels(found: dict[str, Any]) -> None:
    rows = table("<label (swarm, candidates, minutes, iterations)", "examples", "share")
    shown = list(found["labels"].items())[:15]
    for label, count in shown:
        rows.add_row(label, str(count), f"{count / found['example_count']:.1%}")
    out.print(rows)
    rest = found["distinct_labels"] - len(shown)
    if rest > 0:
        err.print(f"... and {rest} rarer labels; --json lists them all")


def _note_meta_hash(found: dict[str, Any]) -> None:
    if found["meta_hash"] is None:
        out.print("note: meta.json has no meta_hash, as in older datasets; a change of it would go unnoticed")
