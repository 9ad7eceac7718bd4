"""Writes docs/reference/commands.md: every command, its arguments, options and example, from the command line itself.

Run by ``make reference``; the suite checks the page. Only the built-in commands are listed, whatever is installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import typer

PAGE = Path(__file__).with_name("reference") / "commands.md"
HEAD = """# Commands

*Made from the command line by `make reference`; edit that.*

Exit code 0: done. 1: the work failed, and nothing half-written is left. 2: wrong usage. 130 and 143: ended by Ctrl-C
and by SIGTERM. What each error means: [errors](errors.md). `planner help TOPIC` shows a page of this documentation.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_sections("planner", command_line())])


def command_line() -> Any:
    """The command line with the built-in plugins' commands."""
    from planner_core.cli.app import app
    from planner_core.cli.plugin_commands import add_plugin_commands

    ours = typer.Typer()
    ours.callback()(lambda: None)
    with mock.patch.dict(os.environ, {"PLANNER_PLUGINS": ""}):
        add_plugin_commands(ours)
    root: Any = typer.main.get_command(app)
    built_in = typer.main.get_command(ours).commands  # type: ignore[attr-defined]  # a callback makes it a group
    root.commands = {**root.commands, **built_in}
    return root


def _sections(path: str, command: Any) -> Iterator[str]:
    """The sections of a command and of those below it. A group that is a command itself comes before them."""
    inner = getattr(command, "commands", {})
    alone = not inner or getattr(command, "invoke_without_command", False)
    listed = [p for p in command.params if not getattr(p, "hidden", False)]
    if alone or (path != "planner" and any(p.name != "help" for p in listed)):
        yield _section(path, command, listed, group=bool(inner))
    for name in sorted(inner):
        if not inner[name].hidden:
            yield from _sections(f"{path} {name}", inner[name])


def _section(path: str, command: Any, parameters: list[Any], group: bool) -> str:
    text, _, example = (command.help or "").replace("\b", "").partition("Example:")
    if not text.strip():
        raise SystemExit(f"'{path}' has no help")
    lines = [f"## `{path}`\n", *(f"{_joined(part)}\n" for part in text.strip().split("\n\n"))]
    if group:
        lines.append("Its options come before the command that follows.\n")
    if example.strip():
        lines.append(f"```sh\n{_joined(example)}\n```\n")
    rows = [_row(parameter) for parameter in parameters if parameter.name != "help"]
    if rows:
        lines += ["| argument or option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        shown = (parameter.metavar or parameter.name.upper()).strip("[]")
        names = f"`{shown}`"
    else:
        value = "" if parameter.is_flag else f" {parameter.metavar or parameter.opts[0].lstrip('-').upper()}"
        names = ", ".join(f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts))
    notes = []
    if parameter.required:
        notes.append("required")
    if (parameter.nargs == -1 or getattr(parameter, "multiple", False)) and "repeatable" not in (parameter.help or ""):
        notes.append("may be repeated")
    default = parameter.default
    if isinstance(default, str | int | float | Path) and not isinstance(default, bool) and str(default):
        notes.append(f"`{default}` if not given")
    said = _joined(parameter.help or "")
    return f"| {_cell(names)} | {_cell(said)}{' *(' + ', '.join(notes) + ')*' if notes else ''} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _joined(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE.name}")
