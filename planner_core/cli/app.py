"""The ``planner`` command: its groups, the plugins' commands, and what a user's mistake looks like."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer
from rich.markup import escape

from planner_core.cli import check, data, plugin, policies, run
from planner_core.cli.console import err
from planner_core.cli.log import show_log
from planner_core.cli.plugin_commands import add_plugin_commands
from planner_core.errors import PlannerError

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
app.command("check")(check.check)
app.add_typer(data.app, name="data")
app.add_typer(run.app, name="run")
app.add_typer(plugin.app, name="plugin")


def main() -> None:
    """Run the command line: 0 done, 1 the work failed, 2 wrong usage; a user's mistake prints no traceback.

    ``PLANNER_DEBUG=1`` prints the traceback of an error, and of every plugin that could not be loaded.
    """
    debug = bool(os.environ.get("PLANNER_DEBUG"))
    show_log(debug)
    add_plugin_commands(app)
    try:
        app()
    except PlannerError as problem:
        if debug:
            traceback.print_exception(problem)
        err.print(f"[bold red]error:[/] {escape(str(problem))}", soft_wrap=True, highlight=False)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
