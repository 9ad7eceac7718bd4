"""``planner train``, ``evaluate`` and ``config``: the commands of one policy, see :mod:`planner_core.cli.forms`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from planner_core.cli import reports
from planner_core.cli.console import (
    AgainstOption,
    ConfigOption,
    DatasetOption,
    FromOption,
    JsonFlag,
    PolicyArgument,
    ReplayOption,
    SetOption,
    ThresholdOption,
    ValueOption,
    err,
    out,
    print_json,
    replay_use,
    show,
    step_progress,
)


def _load(directory: Path | None, encoder: Any = None, quiet: bool = False) -> Any:
    from planner_core.data.dataset import load_dataset
    from planner_core.world.source import default_dataset

    with step_progress(quiet) as progress:
        return load_dataset(directory or default_dataset(progress), encoder, progress=progress)


def _given_values(config: Path | None, assignments: list[str] | None) -> dict[str, Any]:
    """Configuration keys from a file and from --set, which wins."""
    from planner_core.settings import merge, parse_assignments, read_config_file

    return merge(read_config_file(config) if config else {}, parse_assignments(assignments or []))


def show_config(
    policy: PolicyArgument,
    config: ConfigOption = None,
    assignments: SetOption = None,
    json: JsonFlag = False,
) -> None:
    """Print the effective configuration, every default included, as YAML that --config takes back.

    Example: planner config mlp --set lr=0.001 > mlp.yaml
    """
    import msgspec

    from planner_core.errors import MissingExtra
    from planner_core.plugins.registry import load_registry
    from planner_core.settings import make_settings

    spec = load_registry().spec(policy)
    values = make_settings(policy, spec.config_type, _given_values(config, assignments)).to_dict()
    if json:
        print_json(values)
    else:
        try:
            text = msgspec.yaml.encode(values).decode()
        except ImportError:
            raise MissingExtra("YAML output (--json needs nothing)", "train", "pyyaml") from None
        typer.echo(text, nl=False)


def train(
    policy: PolicyArgument,
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

    Example: planner train mlp --dataset data/world --set d_hidden=256
    """
    from planner_core.harness.run_dir import new_run_path
    from planner_core.harness.train import newest_interrupted, taken_up
    from planner_core.harness.train import train as train_policy
    from planner_core.plugins.guard import policy_class
    from planner_core.plugins.registry import load_registry
    from planner_core.settings import make_settings
    from planner_core.utility import parse_value, weight_table

    registry = load_registry()
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
        show(reports.evaluation_blocks(results["val"]))
    training = results["training"]
    rate = training["examples_per_second"]
    peak = training["peak_memory_mib"]
    out.print(
        f"{training['epochs']} epochs (best: {training['best_epoch']}) in {training['fit_seconds']:.1f} s"
        + (f", {rate:,.0f} examples/s" if rate else "")
        + ("" if peak is None else f", peak memory {peak:.0f} MiB")
    )
    out.print(f"wrote {path}", soft_wrap=True)


def evaluate(
    policy: PolicyArgument,
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
    details: Annotated[bool, typer.Option("--details", help="Print every metric, not the first ones alone.")] = False,
    json: JsonFlag = False,
) -> None:
    """Judge the policy on one split, beside what was run, the rules and the best constant on the same rows.

    A run or bundle is judged on rows later than those it learnt from.

    Example: planner evaluate mlp --against bundles/mlp
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
    opened = open_source(policy, registry, source, parse_assignments(assignments or []))
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
    show(reports.evaluation_blocks(document, details))
    out.print(f"from {opened.name}", soft_wrap=True)
