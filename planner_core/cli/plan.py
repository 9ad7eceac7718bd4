"""``planner plan``: how to run the open issues of a tracker now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner_core.cli.console import JsonFlag, ValueOption, out, print_json, step_progress
from planner_core.cli.decisions import expected_cells, plan_text

if TYPE_CHECKING:
    from rich.table import Table

    from planner_core.contracts import ExpectedOutcome
    from planner_core.harness.planning import TrackerPlan

_WIDTHS = {"issue": 14, "plan": 14, "pass": 4, "min": 4, "USD": 6, "rules": 14, " pass": 4, " min": 4, " USD": 6}


def plan(
    issues: Annotated[
        list[Path],
        typer.Option("--issues", help="Issue tracker export, Beads JSONL of either dialect; repeatable."),
    ],
    bundle: Annotated[Path, typer.Option("--from", help="Bundle that plans.")],
    runs: Annotated[
        list[Path] | None, typer.Option("--runs", help="Run logs, run_summary.v1 JSONL, to learn of similar runs.")
    ] = None,
    worth: ValueOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All issues that are not done, not only those that can be worked on now.")
    ] = False,
    job_type: Annotated[str, typer.Option("--job-type", help="What the issues are; trackers do not say.")] = "code",
    json: JsonFlag = False,
) -> None:
    """Plan the issues of a tracker that are ready now, and say what is expected of the plan and of the rules'.

    Example: planner plan --issues issues.jsonl --runs runs.jsonl --from bundles/outcome
    """
    import msgspec

    from planner_core.harness.planning import plan_tracker

    with step_progress(quiet=json) as progress:
        found = plan_tracker(
            issues,
            bundle,
            runs=runs or (),
            value=worth or (),
            everything=everything,
            job_type=job_type,
            progress=progress,
        )
    if json:
        print_json(msgspec.to_builtins(found))
        return
    if found.issues:
        out.print(_table(found))
    for sentence in _sentences(found, everything):
        out.print(sentence, markup=False)


def _table(found: TrackerPlan) -> Table:
    """At most 80 columns: issue and plans are cut short where they are long."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name, width in _WIDTHS.items():
        justify: Any = "left" if name in ("issue", "plan", "rules") else "right"
        table.add_column(name.strip(), justify=justify, no_wrap=True, overflow="ellipsis", max_width=width)
    for run in found.issues:
        table.add_row(
            run.issue_id if run.ready else f"({run.issue_id})",
            plan_text(_bins(run.plan)),
            *expected_cells(_figures(run.expected)),
            plan_text(_bins(run.rules)),
            *expected_cells(_figures(run.rules_expected)),
        )
    return table


def _bins(plan: Mapping[str, Any]) -> tuple[Any, ...]:
    return plan["swarm_id"], *plan["budgets"].values()


def _figures(expected: ExpectedOutcome | None) -> tuple[float, float, float] | None:
    return None if expected is None else (expected["passed"], expected["minutes"], expected["cost_usd"])


def _sentences(found: TrackerPlan, everything: bool) -> list[str]:
    """What the table says, in words; a prediction is called one."""
    counts, own, rules = found.counts, found.totals["plan"], found.totals["rules"]
    told = [
        f"{counts['issues']} issues: {counts['done']} done, {counts['ready']} ready, {counts['not_ready']} not ready"
        + ("." if everything or not counts["not_ready"] else " (--all plans them too).")
    ]
    if not found.issues:
        return [*told, "There is nothing to plan."]
    if not all(run.ready for run in found.issues):
        told.append("In brackets is what cannot be worked on now; --json says why.")
    fallbacks = sum(run.reason is not None for run in found.issues)
    if fallbacks:
        told.append(f"{fallbacks} of {len(found.issues)} plans are the rules' own; --json says why.")
    if not own.issues:
        return [*told, f"Policy {found.policy} predicts no outcomes, so nothing is said of what to expect."]
    told += [
        f"Predicted for one run each: {own.passed:.1f} of {own.issues} pass, for {own.cost_usd:.2f} USD and"
        f" {own.minutes:.0f} minutes.",
        f"The rules: {rules.passed:.1f}, for {rules.cost_usd:.2f} USD and {rules.minutes:.0f} minutes.",
        "The model's own prediction, and no measured saving: it errs in favour of what",
        "it chose. What it saves, 'planner run ... evaluate' estimates from logs.",
    ]
    return told
