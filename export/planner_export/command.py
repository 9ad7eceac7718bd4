"""``planner export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner_core.cli.console import JsonFlag, SetOption, ValueOption, err, out, print_json, step_progress


def export(
    policy: Annotated[str, typer.Option("--policy", "-p", help="Name of the policy.")],
    run: Annotated[Path | None, typer.Option("--run", help="Run directory; the newest run if not given.")] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Bundle directory to write; bundles/POLICY if not given.")
    ] = None,
    accuracy: Annotated[
        float | None,
        typer.Option("--accuracy", min=0.0, max=1.0, help="Abstain below the confidence that gives this accuracy."),
    ] = None,
    assignments: SetOption = None,
    worth: ValueOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Export a run even where it is worse than the rules or the best constant.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Export a policy to an ONNX bundle that passed the parity gate, unless it is worse than what it would replace.

    A trained run whose dataset is found is judged beside the rules and the best constant, on rows that it has not seen;
    one that is worse is refused without --force. The verdict stands in the bundle's metadata.

    Example: planner export --policy mlp --out bundles/mlp
    """
    from planner_core import (
        ConfigError,
        MissingExtra,
        load_registry,
        newest_run,
        parse_assignments,
        parse_value,
        promotion_gate,
        refuse,
    )
    from planner_core.runtime.bundle import INDEX_MODEL, MODEL

    registry = load_registry()
    spec = registry.spec(policy)
    values = parse_assignments(assignments or [])
    try:
        from planner_export.bundle import export_bundle, weights_of
    except ModuleNotFoundError as problem:
        raise MissingExtra("planner export", "train", str(problem.name)) from None
    if spec.trainable:
        if values:
            raise ConfigError(f"--set {next(iter(values))}: a run carries its own configuration")
        run = run or newest_run(policy)
    elif run is not None:
        raise ConfigError(f"--run: policy '{policy}' is not trained and has no runs")
    target = out_dir or Path("bundles") / policy
    utility = parse_value(worth or [], weights_of(run))
    with step_progress(json) as progress:
        gate = refuse(promotion_gate(policy, run, registry, utility=utility, progress=progress), force)
    with err.status(f"exporting {policy}"):
        report = export_bundle(
            policy, registry, target, run=run, values=values, accuracy=accuracy, utility=utility, gate=gate
        )
    if json:
        print_json(report)
        return
    for name in (MODEL, INDEX_MODEL):
        graph = report if name == MODEL else report.get(name)
        if graph is None:
            continue
        worst = max(max(case["max_abs_diff"].values()) for case in graph["parity"]["cases"])
        latency = graph["latency_ms"]
        out.print(
            f"{name}: {graph['model_bytes'] / 1e6:.2f} MB, parity passed, largest difference {worst:.1e} (tolerance "
            f"{graph['parity']['tolerance']:.0e}), one row p50 {latency['p50'] * 1000:.0f} us, "
            f"p99 {latency['p99'] * 1000:.0f} us",
            soft_wrap=True,
        )
    out.print(("worse, but forced: " if gate.forced else "") + gate.text, soft_wrap=True)
    out.print(f"exported in {report['seconds']:.1f} s")
    if accuracy is not None:
        out.print(f"abstains below a confidence of {report['threshold']:.4f}")
    out.print(f"wrote {target}, digest {report['digest']}", soft_wrap=True)
