"""The plugins' commands: each plugin fills a command line of its own, and what it may add is moved into ours."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import typer
from typer.main import get_command_name, get_group
from typer.models import CommandInfo, TyperInfo

from planner_core.errors import PlannerError, describe
from planner_core.plugins.hookspecs import COMMAND_GROUP
from planner_core.plugins.loading import OWN_DISTRIBUTION, Plugin, PluginFailed, load_group

logger = logging.getLogger("planner")

# The base class of wrong usage is Typer's own or Click's, depending on Typer's version.
_USAGE = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
_MEANT: tuple[type[BaseException], ...] = (PlannerError, BrokenPipeError, typer.Exit, typer.Abort, _USAGE)
"""What a command raises on purpose."""

Info = CommandInfo | TyperInfo
Claims = list[tuple[Plugin, Info]]


def add_plugin_commands(target: typer.Typer) -> None:
    """Let the plugins of ``planner.commands`` add their commands; one that fails costs a warning, not the rest.

    A command that ``target`` or a built-in plugin already has stays theirs; one that two strangers bring belongs to
    neither. A stranger's command that raises ends with one line that names its distribution.
    """
    claims: dict[str, Claims] = {_name(info): [] for info in _infos(target)}
    taken = set(claims)
    for plugin in load_group(COMMAND_GROUP):
        try:
            brought = _brought(plugin)
        except PluginFailed as problem:
            logger.warning("the command plugin '%s' of %s failed to load: %s", plugin.name, plugin.origin, problem)
            continue
        for info in brought:
            claims.setdefault(_name(info), []).append((plugin, info))
    for name, found in claims.items():
        _add(target, name, found, name in taken)


def _add(target: typer.Typer, name: str, claims: Claims, taken: bool) -> None:
    """Give a name to whom it belongs, and say who does not get it."""
    own = [claim for claim in claims if claim[0].own]
    if not (taken or own) and len(claims) > 1:
        origins = " and ".join(plugin.origin for plugin, _ in claims)
        logger.warning("the command '%s' is claimed by %s; uninstall one", name, origins)
        return
    for plugin, info in claims:
        if not plugin.own and (taken or own):
            logger.warning(
                "the command '%s' of %s shadows the built-in '%s' of %s; rename it",
                *(name, plugin.origin, name, OWN_DISTRIBUTION),
            )
        elif isinstance(info, TyperInfo):
            target.registered_groups.append(info)
        else:
            target.registered_commands.append(info)


def _brought(plugin: Plugin) -> list[Info]:
    """What a plugin adds to a command line. Raises :class:`PluginFailed` where it cannot be built from it."""
    if plugin.problem:
        raise PluginFailed(plugin.problem)
    own = typer.Typer()
    plugin.call("planner_register_commands", app=own)
    brought = list(_infos(own))
    if not brought:
        raise PluginFailed("it adds no command")
    if not plugin.own:
        # Typer reads signatures when the whole command line is built: one that it cannot read would end all of it.
        plugin.run("planner_register_commands", lambda: get_group(own))
        _guard(own, plugin.origin)
    return brought


def _infos(app: typer.Typer) -> Iterator[Info]:
    yield from app.registered_commands
    yield from app.registered_groups


def _name(info: Info) -> str:
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
