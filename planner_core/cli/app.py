"""The ``planner`` command: its groups, the plugins' commands, and what a user's mistake looks like."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from planner_core.cli import check, compare, data, decisions, forms, help, plan, plugin, policies
from planner_core.cli.boundary import foreign_errors_as_ours, interruptible
from planner_core.cli.console import JsonFlag
from planner_core.cli.exits import MEANT, tell, wants_json
from planner_core.cli.groups import Group
from planner_core.cli.log import show_log
from planner_core.cli.plugin_commands import add_plugin_commands
from planner_core.system import OUTPUT_ENCODING

app = typer.Typer(
    name="planner",
    cls=Group,
    no_args_is_help=True,
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
    json: JsonFlag = False,
) -> None:
    """Decide how to run an issue: train, judge, export and benchmark planning policies.

    Example: planner train mlp
    """


app.command("policies")(policies.policies)
app.command("check")(check.check)
app.command("compare")(compare.compare)
app.command("runs")(compare.runs)
app.command("log")(decisions.log)
app.command("plan")(plan.plan)
app.command("help")(help.help_topic)
app.add_typer(data.app, name="data")
forms.add_commands(app)
app.add_typer(plugin.app, name="plugin")


def main() -> None:
    """Run the command line: 0 done, 1 the work failed, 2 wrong usage, 130 and 143 ended by Ctrl-C and by SIGTERM.

    Nothing that a user can do prints a traceback. ``PLANNER_DEBUG=1`` does, for every error and for every plugin that
    could not be loaded.
    """
    debug = bool(os.environ.get("PLANNER_DEBUG"))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding=OUTPUT_ENCODING, errors="backslashreplace")  # type: ignore[union-attr]  # Python's own are text streams
    show_log(debug)
    code = 1
    try:
        with interruptible(), foreign_errors_as_ours():
            add_plugin_commands(app)
            try:
                code = app(standalone_mode=False, prog_name=_called())
            finally:
                sys.stdout.flush()  # a full disk is said here, and not by the interpreter on its way out
    except MEANT as problem:
        code = tell(problem, debug=debug, as_json=wants_json(sys.argv[1:]))
    except BrokenPipeError:
        sys.stderr.close()
    else:
        sys.exit(code)
    _give_up_output()
    sys.exit(code)


def _called() -> str | None:
    """The name that this program was called by, for usages and suggestions; None where it is none of its own."""
    name = os.path.basename(sys.argv[0])
    return name if name in ("planner", "swarm-planner") else None


def _give_up_output() -> None:
    """Let what standard output still holds go nowhere: it could not be written, and must not be tried again at exit."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError:  # no standard output, nothing to give up
        return
