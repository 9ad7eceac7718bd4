"""``planner check P``: the conformance kit."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from planner_core.cli.console import JsonFlag, SeedOption, SetOption, err, out, print_json, table

if TYPE_CHECKING:
    from planner_core.testing import CheckResult, KitReport

STYLES = {"passed": "green", "does not apply": "dim", "expected failure": "yellow"}


def check(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="Name of a registered policy.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Run only this check; repeatable.")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option("--expect", metavar="NAME=REASON", help="A check that is expected to fail, and why; repeatable."),
    ] = None,
    assignments: SetOption = None,
    seed: SeedOption = 0,
    json: JsonFlag = False,
) -> None:
    """Run the conformance kit on a policy.

    The policy is trained on a small simulated world that is made for the purpose. Exit code 0: every check passed, does
    not apply, or failed as expected. 1: one failed, one that was expected to fail passed, or one could not run; the
    checks of the graph cannot without the 'train' extra, and a policy whose graph was not checked has not passed.

    Example: planner check mlp --only determinism --only graph-parity
    """
    from planner_core.errors import ConfigError
    from planner_core.settings import parse_assignments
    from planner_core.testing.kit import KitReport, Subject, all_checks, check_expectations, results, select

    expected = _expectations(expect or [])
    try:
        check_expectations(expected, all_checks())
        chosen = select(only)
    except ConfigError as problem:
        raise typer.BadParameter(str(problem)) from None
    subject = Subject(policy, parse_assignments(assignments or []), seed)
    report = KitReport(subject.spec.name, [], expected)
    # A policy may print, and standard output belongs to the report.
    with err.status(f"{policy}: making a small world") as status, contextlib.redirect_stdout(sys.stderr):
        subject.setup()
        running = results(chosen, subject, expected)
        for number, current in enumerate(chosen, 1):
            status.update(f"{policy}: {current.name} ({number} of {len(chosen)})")
            report.results.append(next(running))
    if json:
        print_json(report.to_dict())
    else:
        out.print(_table(report.results))
        _print_summary(policy, report)
    if not report.ok:
        raise typer.Exit(1)


def _expectations(given: list[str]) -> dict[str, str]:
    expected = {}
    for text in given:
        name, equals, reason = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"'{text}' is not NAME=REASON", param_hint="--expect")
        expected[name.strip()] = reason.strip()
    return expected


def _table(results: list[CheckResult]) -> Any:
    from rich.markup import escape

    shown = table("<check", "<result", "<what was found, and why it is checked", "seconds")
    for column in shown.columns[:2]:
        column.no_wrap = True
    for r in results:
        style = STYLES.get(r.status, "bold red")
        # Why it is checked matters where it failed, or nothing else is said.
        parts = [f"[{style}]{escape(r.found)}[/]"] * bool(r.found)
        if r.status not in STYLES or not parts:
            parts.append(escape(r.reason))
        shown.add_row(r.name, f"[{style}]{r.status}[/]", "\n".join(parts), f"{r.seconds:.1f}")
    return shown


def _print_summary(policy: str, report: KitReport) -> None:
    """The failures once more, where the eye is after a long table, how to repeat them, and the count."""
    from rich.markup import escape

    from planner_core.testing.kit import BAD

    bad = [r for r in report.results if r.status in BAD]
    for r in sorted(bad, key=lambda r: r.status == "cannot run"):  # mostly for what another one found
        out.print(f"[bold red]{r.status}[/] {escape(r.name)}: {escape(r.found)}", soft_wrap=True)
    causes = [r for r in bad if r.status != "cannot run"] or bad
    if causes:
        again = " ".join(f"--only {r.name}" for r in causes)
        out.print(f"again: planner check {policy} {again}", soft_wrap=True, markup=False, highlight=False)
    out.print(escape(report.summary()), style="green" if report.ok else "bold red", soft_wrap=True)
