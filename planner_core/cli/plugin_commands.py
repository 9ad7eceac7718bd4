"""The plugins' commands: each plugin fills a command line of its own, and what it may add is moved into ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer
from typer.main import get_command_name, get_group
from typer.models import CommandInfo, DefaultPlaceholder, TyperInfo

from planner_core.cli.groups import Group
from planner_core.cli.usage import PLAIN_ERROR
from planner_core.errors import PlannerError, describe
from planner_core.plugins.collecting import collect, handed
from planner_core.plugins.loading import Plugin

_MEANT: tuple[type[BaseException], ...] = (PlannerError, BrokenPipeError, typer.Exit, typer.Abort, PLAIN_ERROR)
"""What a command raises on purpose."""


@dataclass(frozen=True)
class Command:
    """A command, or a group of them, by the word on the command line."""

    name: str
    info: CommandInfo | TyperInfo


def add_plugin_commands(target: typer.Typer) -> None:
    """Let the plugins of ``planner.commands`` add their commands; one that fails costs a warning, not the rest.

    A command that ``target`` has stays its own. A stranger's command that raises ends with one line that names its
    distribution.
    """
    given = handed("planner_register_commands", ask=_asked)
    taken = {command.name for command in _commands(target)}
    for offer in collect("planner_register_commands", Command, taken=taken, given=given):
        info = offer.record.info
        if isinstance(info, TyperInfo):
            _take_group(info)
            target.registered_groups.append(info)
        else:
            target.registered_commands.append(info)


def _asked(plugin: Plugin) -> list[Command]:
    """What a plugin adds to a command line. Raises :class:`PluginFailed` where it cannot be built from it."""
    own = typer.Typer()
    plugin.call("planner_register_commands", app=own)
    commands = _commands(own)
    if commands and not plugin.own:
        # Typer reads signatures when the whole command line is built: one that it cannot read would end all of it.
        plugin.run("planner_register_commands", lambda: get_group(own))
        _guard(own, plugin.origin)
    return commands


def _commands(app: typer.Typer) -> list[Command]:
    infos: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
    return [Command(_name(info), info) for info in infos]


def _take_group(info: TyperInfo) -> None:
    """Let a group that has no class of its own be one of ours: ``--json`` before its commands, suggestions."""
    inner = info.typer_instance
    if inner is None:
        return
    if isinstance(info.cls, DefaultPlaceholder) and isinstance(inner.info.cls, DefaultPlaceholder):
        info.cls = Group
    for each in inner.registered_groups:
        _take_group(each)


def _name(info: CommandInfo | TyperInfo) -> str:
    """The word on the command line."""
    if isinstance(info.name, str):
        return info.name
    inner = info.typer_instance if isinstance(info, TyperInfo) else None
    if inner is not None and isinstance(inner.info.name, str):
        return inner.info.name
    callback = info.callback or (inner.registered_callback.callback if inner and inner.registered_callback else None)
    return get_command_name(getattr(callback, "__name__", ""))


def _guard(app: typer.Typer, origin: str) -> None:
    """Make every command of ``app`` blame its distribution for what it raises."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _blaming(command.callback, f"command '{_name(command)}' ({origin})")
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _guard(group.typer_instance, origin)


def _blaming(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    @functools.wraps(function)  # Typer reads the signature through it
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except _MEANT:
            raise
        except Exception as problem:
            raise PlannerError(f"{label} failed: {describe(problem)}") from problem

    return call
