"""Wrong usage: what was typed that there is not, what was probably meant, and what to type instead."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import typer

from planner_core.errors import PlannerError

__all__ = [
    *(
        "JSON_OPTION",
        "PLAIN_ERROR",
        "USAGE_ERROR",
        "Misuse",
        "UnknownCommand",
        "WrongUsage",
        "known_policies",
        "misuse",
    ),
    *("note_context", "option_names"),
]

JSON_OPTION = "--json"


def _base(name: str) -> Any:
    # Typer's own or Click's, depending on Typer's version; neither is importable from one place in both.
    return next(base for base in typer.BadParameter.__mro__ if base.__name__ == name)


USAGE_ERROR = _base("UsageError")
PLAIN_ERROR = _base("ClickException")
"""What the parser raises for a user: wrong usage, and the base class of that."""

_POLICY_COMMANDS = "run"
"""The group whose commands take a policy."""


class WrongUsage(typer.BadParameter):
    """Wrong usage whose message says all of it."""

    def format_message(self) -> str:
        """The message alone."""
        return self.message


class UnknownCommand(WrongUsage):
    """A word that names no command of a group; ``suggestions`` are whole command lines."""

    def __init__(self, context: Any, word: str, rest: Sequence[str]) -> None:
        self.suggestions = tuple(_commands_meant(context, word, rest))
        super().__init__(f"'{context.command_path}' has no command '{word}'", ctx=context)


@dataclass(frozen=True)
class Misuse:
    """Wrong usage in words: of which command, which option or argument (where known), and what was probably meant."""

    message: str
    command: str | None
    parameter: str | None
    suggestions: tuple[str, ...]
    usage: str | None
    example: str | None


def misuse(problem: Any) -> Misuse:
    """``problem``, a :data:`USAGE_ERROR`, as it is told to the user."""
    context = _leaf(problem.ctx)
    meant = getattr(problem, "suggestions", ())
    message, parameter = problem.format_message(), _parameter(problem)
    if hasattr(problem, "option_name") and hasattr(problem, "possibilities"):
        message = f"'{context.command_path}' has no option '{problem.option_name}'"
        meant = tuple(_options_meant(context, problem.option_name))
    elif getattr(problem, "param", None) is not None and type(problem).__name__ == "MissingParameter":
        message = _missing(context, problem)
    return Misuse(
        message,
        context.command_path if context else None,
        parameter,
        tuple(meant),
        " ".join(context.get_usage().split()).removeprefix("Usage: ") if context else None,
        _example(context.command) if context else None,
    )


def note_context(problem: Any, context: Any) -> None:
    """Let an error that bears no context, as one that a command raises, bear that of its group."""
    if problem.ctx is None:
        problem.ctx = context


def _leaf(context: Any) -> Any:
    """The context of the command that was invoked, where an error bears only that of its group."""
    name = getattr(context, "invoked_subcommand", None)
    inner = getattr(context.command, "commands", {}).get(name) if name else None
    if inner is None:
        return context
    return inner.make_context(name, [], parent=context, resilient_parsing=True)


def _parameter(problem: Any) -> str | None:
    given = getattr(problem, "param_hint", None) or getattr(problem, "option_name", None)
    if given is not None:
        return given if isinstance(given, str) else " / ".join(given)
    parameter = getattr(problem, "param", None)
    if parameter is None:
        return None
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper())


def _missing(context: Any, problem: Any) -> str:
    if problem.param.name == "policy":
        named = "--policy POLICY" if problem.param.param_type_name == "option" else "POLICY"
        return f"say which policy: {context.command_path} {named}{known_policies()}"
    return str(problem.format_message())


def known_policies() -> str:
    """``"; there are heuristic, mlp"``, or nothing where the registry cannot be read."""
    names = _policies()
    return f"; there are {', '.join(names)}" if names else ""


def _example(command: Any) -> str | None:
    """The command line that the help gives as an example."""
    _, found, example = (command.help or "").partition("Example: ")
    return " ".join(example.split("\n\n")[0].split()) if found else None


def _policies() -> list[str]:
    from planner_core.plugins.registry import load_registry

    try:
        return sorted(entry.name for entry in load_registry().entries if entry.status == "ok")
    except PlannerError:  # the mistake at hand is said in any case
        return []


# ------------------------------------------------------------------------------------------------- what was meant


def option_names(command: Any) -> list[str]:
    """The names of the options of a command that its help shows."""
    shown = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
    return [name for parameter in shown for name in (*parameter.opts, *parameter.secondary_opts)]


def _commands_meant(context: Any, word: str, rest: Sequence[str]) -> Iterator[str]:
    """Command lines, the likeliest first, at most two."""
    root = context.find_root()
    of_a_policy = _subcommands(root.command.commands.get(_POLICY_COMMANDS))
    elsewhere = _paths(root)
    if word in elsewhere:
        yield elsewhere[word]
        return
    if word in _policies():
        yield from _policy_first(context, word, [name for name in rest if name in of_a_policy][:1], of_a_policy)
        return
    given = context.params.get("policy")
    prefix = context.command_path + (f" --policy {given}" if given else "")
    here = [name for name, command in _subcommands(context.command).items() if not command.hidden]
    near = [f"{prefix} {name}" for name in get_close_matches(word, here, n=1)]
    yield from near or [elsewhere[name] for name in get_close_matches(word, elsewhere, n=1, cutoff=0.7)]


def _policy_first(context: Any, policy: str, commands: Sequence[str], of_a_policy: Mapping[str, Any]) -> Iterator[str]:
    """A policy stands where a command should: ``planner mlp train``, ``planner run mlp train``."""
    in_run = context.parent is not None and context.info_name == _POLICY_COMMANDS
    for name in commands or list(of_a_policy)[:2]:
        if in_run:
            yield f"{context.command_path} --policy {policy} {name}"
        else:
            yield f"{context.find_root().command_path} {name} {policy}"


def _options_meant(context: Any, option: str) -> Iterator[str]:
    """Where an option of this name stands, else names like it."""
    above = context.parent
    while above is not None:
        if option in option_names(above.command):
            yield f"{above.command_path} {option}"
            return
        above = above.parent
    below = [name for name, command in _subcommands(context.command).items() if option in option_names(command)]
    below.sort(key=lambda name: name != _POLICY_COMMANDS)  # whose option --policy is met first
    asked = [name for name in below if name in sys.argv]
    if below:
        yield from (f"{context.command_path} {name} {option}" for name in (asked or below)[:2])
        return
    yield from get_close_matches(option, option_names(context.command), n=1)


def _subcommands(command: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(command, "commands", {})
    return found


def _paths(root: Any) -> dict[str, str]:
    """Every command line by its last word; where two end alike, the shorter one."""
    found: dict[str, str] = {}
    waiting = [(root.command_path, root.command)]
    while waiting:
        path, command = waiting.pop(0)
        for name, inner in _subcommands(command).items():
            if not inner.hidden:
                found.setdefault(name, f"{path} {name}")
                waiting.append((f"{path} {name}", inner))
    return found
