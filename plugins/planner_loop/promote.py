"""``planner promote``: the candidate takes the incumbent's place where it is shown not to be worse."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from planner_core import PlannerError, hookimpl
from planner_core.cli.console import (
    JsonFlag,
    ReplayOption,
    ValueOption,
    out,
    print_json,
    replay_use,
    step_progress,
)

if TYPE_CHECKING:
    from planner_core import Promotion, Registry

__all__ = ["Promoted", "planner_register_commands", "promote", "promote_run"]

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
        float | None,
        typer.Option("--margin", min=0.0, help="By how much utility a run it may be worse at most; 0.02 if not given."),
    ] = None,
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
    from planner_core import load_registry

    with step_progress(json) as progress:
        done = promote_run(
            candidate,
            incumbent,
            out_dir,
            load_registry(),
            dataset=dataset,
            margin=margin,
            value=worth,
            replay=replay_use(replay),
            progress=progress,
        )
    found = done.judged
    if json:
        kept = None if done.kept is None else str(done.kept)
        bundle = None if done.bundle is None else str(done.bundle)
        print_json({**found.to_dict(), "bundle": bundle, "kept": kept, "export": done.export})
        return
    out.print(found.text, soft_wrap=True, markup=False)
    for note in found.notes:
        out.print(note, soft_wrap=True, markup=False)
    if done.kept is not None:
        out.print(f"kept what was there as {done.kept}", soft_wrap=True, markup=False)
    if done.export is not None:
        out.print(f"wrote {out_dir}, digest {done.export['digest']}", soft_wrap=True, markup=False)


@dataclass(frozen=True)
class Promoted:
    """What came of a candidate: ``judged``, and the ``bundle`` that is to serve from now on, None for the rules.

    ``export`` is what an export measures, None where the incumbent stays; ``kept`` where the bundle is that gave way.
    """

    judged: Promotion
    bundle: Path | None
    kept: Path | None
    export: dict[str, Any] | None


def promote_run(
    candidate: Path,
    incumbent: Path | str,
    place: Path,
    registry: Registry,
    *,
    dataset: Path,
    margin: float | None = None,
    value: list[str] | None = None,
    replay: Literal["checked", "assumed", "off"] = "checked",
    progress: Any = None,
) -> Promoted:
    """Judge a run as of :func:`planner_core.judge_promotion`, and export it to ``place`` where it is promoted.

    ``margin`` None is :data:`planner_core.MARGIN`.

    Raises what judging and exporting raise, :class:`planner_core.PlannerError` where the incumbent was replaced
    meanwhile, and :class:`planner_core.MissingExtra` without the ``train`` extra.
    """
    from planner_core import MARGIN, MissingExtra, judge_promotion, promotion_gate, refuse, weight_table

    try:
        from planner_export.bundle import export_bundle
    except ModuleNotFoundError as problem:
        raise MissingExtra("planner promote", "train", str(problem.name)) from None
    served = _digest(incumbent)
    found = judge_promotion(
        candidate,
        incumbent,
        registry,
        dataset=dataset,
        margin=MARGIN if margin is None else margin,
        value=value,
        replay=replay,
        progress=progress,
    )
    if not found.promoted:
        return Promoted(found, None if served is None else Path(incumbent), None, None)
    # Forced, because what it would replace was judged to be no better; the bundle says what the gate said.
    worth = weight_table(found.utility)
    gate = refuse(promotion_gate(found.policy, candidate, registry, utility=worth), force=True)
    if _digest(incumbent) != served:
        raise PlannerError(f"--incumbent {incumbent}: it was replaced while the candidate was judged against it")
    kept = _keep(place)
    report = export_bundle(found.policy, registry, place, run=candidate, utility=worth, gate=gate)
    return Promoted(found, place, kept, report)


def _digest(incumbent: Path | str) -> str | None:
    """Digest of the bundle that serves, which is verified; None for the rules. BundleError where it cannot be read."""
    from planner_core import BASELINE, read_bundle

    return None if str(incumbent) == BASELINE else read_bundle(Path(incumbent)).digest


def _keep(place: Path) -> Path | None:
    """Copy the bundle at ``place`` beside it, under its own digest; None where there is none.

    Raises :class:`planner_core.PlannerError` where that name is taken by anything but the same bundle, whole.
    """
    from planner_core import new_directory, read_bundle
    from planner_core.runtime.bundle import is_bundle

    if not is_bundle(place):
        return None
    digest = read_bundle(place).digest
    copy = place.with_name(f"{place.name}.{digest[:DIGITS]}")
    if is_bundle(copy):
        kept = read_bundle(copy).digest
        if kept != digest:
            raise PlannerError(
                f"{copy}: found another bundle ({kept}); expected what {place} is to be kept as, {digest}"
            )
        return copy
    with new_directory(copy) as made:
        shutil.copytree(place, made, dirs_exist_ok=True)
    return copy
