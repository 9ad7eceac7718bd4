"""``planner promote``: the candidate takes the incumbent's place where it is shown not to be worse."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from planner_core import BASELINE, MARGIN, PlannerError, hookimpl, new_directory, read_bundle
from planner_core.cli.console import (
    JsonFlag,
    ReplayOption,
    ValueOption,
    err,
    out,
    print_json,
    replay_use,
    step_progress,
)
from planner_core.runtime.bundle import is_bundle

__all__ = ["planner_register_commands", "promote"]

DIGITS = 12
"""Of a digest, in the name of a bundle that gave way."""


@hookimpl
def planner_register_commands(app: Any) -> None:
    """Register ``planner promote``."""
    app.command("promote")(promote)


def promote(
    candidate: Annotated[Path, typer.Option("--candidate", metavar="RUN", help="Run directory of the new model.")],
    incumbent: Annotated[
        str, typer.Option("--incumbent", metavar="BUNDLE", help="Bundle that serves; 'heuristic' where none does yet.")
    ],
    dataset: Annotated[
        Path, typer.Option("--dataset", metavar="DIR", help="Dataset whose newest runs neither has learnt from.")
    ],
    out_dir: Annotated[
        Path, typer.Option("--out", metavar="BUNDLE", help="Bundle to write; it may be the incumbent's own place.")
    ],
    margin: Annotated[
        float, typer.Option("--margin", min=0.0, help="By how much utility a run it may be worse at most.")
    ] = MARGIN,
    worth: ValueOption = None,
    replay: ReplayOption = "checked",
    json: JsonFlag = False,
) -> None:
    """Export a candidate if the newest runs show that it is not worse than the incumbent; else the incumbent stays.

    Not worse: the lower end of the 95 % interval of candidate minus incumbent lies above -margin. It stays also where
    the log cannot tell. Both ways the exit code is 0, and --json says which and why. A bundle that gives way is kept
    beside the new one, with the first digits of its digest after its name.

    Example: planner promote --candidate runs/outcome/20260701T000000Z --incumbent bundles/outcome --dataset data/new
    --out bundles/outcome
    """
    from planner_core import MissingExtra, judge_promotion, load_registry, promotion_gate, refuse, weight_table

    try:
        from planner_export.bundle import export_bundle
    except ModuleNotFoundError as problem:
        raise MissingExtra("planner promote", "train", str(problem.name)) from None
    registry = load_registry()
    served = _digest(incumbent)
    with step_progress(json) as progress:
        found = judge_promotion(
            candidate,
            incumbent,
            registry,
            dataset=dataset,
            margin=margin,
            value=worth,
            replay=replay_use(replay),
            progress=progress,
        )
    bundle: str | None = None if served is None else incumbent
    kept, exported = None, None
    if found.promoted:
        # Forced, because what it would replace was judged to be no better; the bundle says what the gate said.
        worth_of = weight_table(found.utility)
        gate = refuse(promotion_gate(found.policy, candidate, registry, utility=worth_of), force=True)
        if _digest(incumbent) != served:
            raise PlannerError(f"--incumbent {incumbent}: it was replaced while the candidate was judged against it")
        with err.status("exporting the candidate"):
            kept = _keep(out_dir)
            exported = export_bundle(found.policy, registry, out_dir, run=candidate, utility=worth_of, gate=gate)
        bundle = str(out_dir)
    if json:
        print_json(
            {**found.to_dict(), "bundle": bundle, "kept": None if kept is None else str(kept), "export": exported}
        )
        return
    out.print(found.text, soft_wrap=True, markup=False)
    for note in found.notes:
        out.print(note, soft_wrap=True, markup=False)
    if kept is not None:
        out.print(f"kept what was there as {kept}", soft_wrap=True, markup=False)
    if exported is not None:
        out.print(f"wrote {out_dir}, digest {exported['digest']}", soft_wrap=True, markup=False)


def _digest(incumbent: str) -> str | None:
    """Digest of the bundle that serves, which is verified; None for the rules. BundleError where it cannot be read."""
    return None if incumbent == BASELINE else read_bundle(Path(incumbent)).digest


def _keep(place: Path) -> Path | None:
    """Copy the bundle at ``place`` beside it, under its own digest; None where there is none."""
    if not is_bundle(place):
        return None
    digest = read_bundle(place).digest
    copy = place.with_name(f"{place.name}.{digest[:DIGITS]}")
    if not copy.exists():
        with new_directory(copy) as made:
            shutil.copytree(place, made, dirs_exist_ok=True)
    return copy
