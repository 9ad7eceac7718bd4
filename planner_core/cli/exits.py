"""What a command that failed says, to a person or under ``--json`` to a machine, and its exit code."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from rich.markup import escape

from planner_core.cli.boundary import SystemFailed
from planner_core.cli.console import err
from planner_core.cli.usage import JSON_OPTION, PLAIN_ERROR, USAGE_ERROR, Misuse, misuse
from planner_core.errors import DataError, Interrupted, PlannerError

MEANT: tuple[type[BaseException], ...] = (PlannerError, Interrupted, PLAIN_ERROR, typer.Abort)
"""What ends a command and is told to the user."""

_HELP_WAS_SHOWN = "NoArgsIsHelpError"


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether ``--json`` was given, however wrong the rest is."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return JSON_OPTION in options


def tell(problem: BaseException, *, debug: bool = False, as_json: bool = False) -> int:
    """Print ``problem``, one of :data:`MEANT`, to standard error; its exit code. ``debug`` prints its traceback too.

    As JSON it is one object on one line, the last one: ``{"error": {"kind", "message", "place", ...}}``.
    """
    if debug:
        traceback.print_exception(problem)
    code = exit_code(problem)
    if type(problem).__name__ == _HELP_WAS_SHOWN:
        return code
    wrong = misuse(problem) if isinstance(problem, USAGE_ERROR) else None
    if as_json:
        sys.stderr.write(json.dumps({"error": error_document(problem, wrong)}) + "\n")
    elif wrong is not None:
        _print_misuse(wrong)
    else:
        _print_error("stopped" if isinstance(problem, Interrupted) else "error", _text(problem))
    return code


def exit_code(problem: BaseException) -> int:
    """1 the work failed, 2 wrong usage, 128 and its number for a signal."""
    if isinstance(problem, Interrupted):
        return problem.exit_code
    return int(getattr(problem, "exit_code", 1))


def error_document(problem: BaseException, wrong: Misuse | None = None) -> dict[str, Any]:
    """``kind`` (name of the exception), ``message``, ``place`` and ``exit_code``; the rest where there is any.

    ``place`` is null, or of ``source``, ``line``, ``path`` (of data), ``command``, ``parameter`` (of wrong usage) those
    that are known.
    """
    document: dict[str, Any] = {
        "kind": _kind(problem),
        "message": wrong.message if wrong else _text(problem),
        "place": _place(problem, wrong) or None,
        "exit_code": exit_code(problem),
    }
    more: dict[str, Any] = {}
    if isinstance(problem, DataError):
        more = {"found": problem.found, "expected": problem.expected}
    elif wrong is not None:
        more = {"suggestions": list(wrong.suggestions), "usage": wrong.usage, "example": wrong.example}
    return document | {name: value for name, value in more.items() if value}


def _kind(problem: BaseException) -> str:
    if isinstance(problem, USAGE_ERROR):
        return "UsageError"
    cause = problem.__cause__
    if type(problem) in (PlannerError, SystemFailed) and isinstance(cause, Exception):
        return type(cause).__name__
    return type(problem).__name__


def _place(problem: BaseException, wrong: Misuse | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(problem, DataError):
        found = {"source": problem.source, "line": problem.line, "path": problem.path}
    elif wrong is not None:
        found = {"command": wrong.command, "parameter": wrong.parameter}
    else:
        found = {"source": getattr(problem, "source", None)}
    return {name: value for name, value in found.items() if value is not None}


def _text(problem: Any) -> str:
    if isinstance(problem, typer.Abort):
        return "aborted"
    said = problem.format_message() if isinstance(problem, PLAIN_ERROR) else str(problem)
    return "\n".join([said, *getattr(problem, "__notes__", [])])


def _print_error(word: str, text: str) -> None:
    err.print(f"[bold red]{word}:[/] {escape(text)}", soft_wrap=True)


def _print_misuse(wrong: Misuse) -> None:
    meant = " or ".join(f"'{each}'" for each in wrong.suggestions)
    if wrong.usage:
        err.print(f"Usage: {escape(wrong.usage)}", soft_wrap=True)
    _print_error("error", wrong.message + (f" (did you mean {meant}?)" if meant else ""))
    if wrong.example and not meant:
        err.print(f"[dim]Example: {escape(wrong.example)}[/]", soft_wrap=True)
    if wrong.command:
        err.print(f"[dim]Help: {escape(wrong.command)} --help[/]", soft_wrap=True)
