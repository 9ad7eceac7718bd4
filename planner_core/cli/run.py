"""``planner run --policy P``: train, evaluate, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from planner_core.cli import reports
from planner_core.cli.ablate import ablate
from planner_core.cli.console import (
    AgainstOption,
    ConfigOption,
    DatasetOption,
    JsonFlag,
    ReplayOption,
    SetOption,
    ValueOption,
    byte_progress,
    err,
    out,
    print_json,
    replay_use,
    step_progress,
)

app = typer.Typer(no_args_is_help=True, help="Train, evaluate or apply one policy.")

FromOption = Annotated[
    Path | None, typer.Option("--from", help="Run directory or bundle; the policy's newest run if not given.")
]
ThresholdOption = Annotated[
    float | None, typer.Option("--threshold", min=0.0, max=1.0, help="Confidence below which the heuristic decides.")
]


@app.callback()
def _policy(
    context: typer.Context, policy: Annotated[str, typer.Option("--policy", "-p", help="Name of the policy.")]
) -> None:
    """Train, evaluate or apply one policy."""
    context.obj = policy


def _load(directory: Path | None, encoder: Any = None, quiet: bool = False) -> Any:
    from planner_core.data.dataset import load_dataset
    from planner_core.world.source import default_dataset

    with step_progress(quiet) as progress:
        return load_dataset(directory or default_dataset(progress), encoder, progress=progress)


def _given_values(config: Path | None, assignments: list[str] | None) -> dict[str, Any]:
    """Configuration keys from a file and from --set, which wins."""
    from planner_core.settings import merge, parse_assignments, read_config_file

    return merge(read_config_file(config) if config else {}, parse_assignments(assignments or []))


@app.command("config")
def show_config(
    context: typer.Context,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Print the effective configuration, every default included, as YAML that --config takes back.

    Example: planner run --policy mlp config --set lr=0.001 > mlp.yaml
    """
    import msgspec

    from planner_core.errors import MissingExtra
    from planner_core.plugins.registry import load_registry
    from planner_core.settings import make_settings

    spec = load_registry().spec(context.obj)
    values = make_settings(context.obj, spec.config_type, _given_values(config, assignments)).to_dict()
    if json:
        print_json(values)
    else:
        try:
            text = msgspec.yaml.encode(values).decode()
        except ImportError:
            raise MissingExtra("YAML output (--json needs nothing)", "train", "pyyaml") from None
        typer.echo(text, nl=False)


@app.command()
def train(
    context: typer.Context,
    dataset: DatasetOption = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Run directory to write; runs/POLICY/TIME if not given.")
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    worth: ValueOption = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of everything random; 0 if not given.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with --out, or with the policy's newest interrupted run.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Train the policy and write a run directory.

    Example: planner run --policy mlp train --dataset data/world --set d_hidden=256
    """
    from planner_core.harness.run_dir import new_run_path
    from planner_core.harness.train import newest_interrupted, taken_up
    from planner_core.harness.train import train as train_policy
    from planner_core.plugins.guard import policy_class
    from planner_core.plugins.registry import load_registry
    from planner_core.settings import make_settings
    from planner_core.utility import parse_value, weight_table

    policy, registry = context.obj, load_registry()
    spec = registry.spec(policy)
    values = _given_values(config, assignments)
    path = out_dir or (newest_interrupted(policy) if resume else None) or new_run_path(policy)
    if resume:
        values, seed, dataset = taken_up(path, values, seed, dataset)
    settings = make_settings(policy, spec.config_type, values)
    if spec.trainable:
        policy_class(spec)  # a missing extra is said before minutes of data are made
    data = _load(dataset, settings.encoder, json)
    results = train_policy(
        policy,
        data,
        path,
        settings,
        registry,
        seed=seed or 0,
        resume=resume,
        show_progress=not json,
        utility=parse_value(worth or [], weight_table(data.meta.utility)),
    )
    if json:
        print_json({"run": str(path), **results})
        return
    for note in results["notes"]:
        err.print(f"note: {note}", style="yellow", soft_wrap=True)
    if "val" in results:
        for block in reports.evaluation_blocks(results["val"]):
            out.print(block)
    training = results["training"]
    rate = training["examples_per_second"]
    peak = training["peak_memory_mib"]
    out.print(
        f"{training['epochs']} epochs (best: {training['best_epoch']}) in {training['fit_seconds']:.1f} s"
        + (f", {rate:,.0f} examples/s" if rate else "")
        + ("" if peak is None else f", peak memory {peak:.0f} MiB")
    )
    out.print(f"wrote {path}", soft_wrap=True)


@app.command()
def evaluate(
    context: typer.Context,
    dataset: DatasetOption = None,
    source: FromOption = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="train, val or test; of another dataset than it learnt from, all later runs."),
    ] = None,
    threshold: ThresholdOption = None,
    objective: Annotated[
        str, typer.Option("--objective", help="What makes an action the best: utility, duration or cost.")
    ] = "utility",
    assignments: SetOption = None,
    worth: ValueOption = None,
    against: AgainstOption = None,
    replay: ReplayOption = "checked",
    json: JsonFlag = False,
) -> None:
    """Judge the policy on one split, beside what was run, the rules and the best constant on the same rows.

    A run or bundle is judged on rows later than those it learnt from.

    Example: planner run --policy mlp evaluate --against bundles/mlp
    """
    from planner_core.data.writer import SPLITS
    from planner_core.harness.judging import Datasets, evaluate_source
    from planner_core.harness.sources import open_source
    from planner_core.plugins.registry import load_registry
    from planner_core.settings import parse_assignments
    from planner_core.utility import OBJECTIVES, parse_value, weight_table

    use = replay_use(replay)
    if split is not None and split not in SPLITS:
        raise typer.BadParameter(f"'{split}' is no split; choose {', '.join(SPLITS)}", param_hint="--split")
    if objective not in OBJECTIVES:
        raise typer.BadParameter(f"'{objective}' is none; choose {', '.join(OBJECTIVES)}", param_hint="--objective")
    registry = load_registry()
    opened = open_source(context.obj, registry, source, parse_assignments(assignments or []))
    with step_progress(json) as progress:
        datasets = Datasets(dataset, progress)
        data = datasets.encoded(opened.context.encoder)
        document = evaluate_source(
            opened,
            datasets,
            registry,
            split=split,
            against=against,
            threshold=threshold,
            objective=objective,
            utility=parse_value(worth or [], weight_table(data.meta.utility)),
            replay=use,
            sensitivity=True,
        ).to_dict()
    if json:
        print_json({"from": opened.name, **document})
        return
    for block in reports.evaluation_blocks(document):
        out.print(block)
    out.print(f"from {opened.name}", soft_wrap=True)


@app.command()
def predict(
    context: typer.Context,
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

    Example: planner run --policy mlp predict --from bundles/mlp inputs.jsonl
    """
    from planner_core.errors import PlannerError
    from planner_core.harness.predict import batch_of, count_actions, error_record, read_inputs, write_actions
    from planner_core.harness.sources import open_planner
    from planner_core.plugins.registry import load_registry
    from planner_core.settings import parse_assignments

    planner = open_planner(
        context.obj,
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
        print_json(rows) if json else out.print(reports.counts_table(context.obj, rows))
    if refused:
        err.print(f"{refused} of the inputs were refused", style="red", soft_wrap=True)
        raise typer.Exit(1)


app.command()(ablate)
