"""The ``planner`` command: its groups, the plugins' commands, and what a user's mistake looks like."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from planner_core.cli import data, policies, run
from planner_core.cli.console import err
from planner_core.errors import PlannerError
from planner_core.hookspecs import COMMAND_GROUP

app = typer.Typer(
    name="planner",
    help="Decide how to run an issue: train, judge, export and benchmark planning policies.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from planner_core import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Decide how to run an issue: train, judge, export and benchmark planning policies."""


app.command("policies")(policies.policies)
app.add_typer(data.app, name="data")
app.add_typer(run.app, name="run")


def add_plugin_commands(target: typer.Typer) -> None:
    """Let the plugins of ``planner.commands`` add their commands; one that fails costs a warning, not the rest."""
    from planner_core.plugins import plugin_manager

    for point in sorted(entry_points(group=COMMAND_GROUP), key=lambda p: p.name):
        manager = plugin_manager()
        try:
            manager.register(point.load(), name=point.name)
            manager.hook.planner_register_commands(app=target)
        except Exception as problem:  # a stranger's plugin must not take the command line with it
            err.print(f"warning: the command plugin '{point.name}' failed to load: {problem}", style="yellow")


def main() -> None:
    """Run the command line: 0 done, 1 the work failed, 2 wrong usage; a user's mistake prints no traceback."""
    add_plugin_commands(app)
    try:
        app()
    except PlannerError as problem:
        err.print(f"[bold red]error:[/] {_escaped(str(problem))}", soft_wrap=True, highlight=False)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
