"""Loading the plugins of the group ``planner.extensions``, each on its own."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from planner_core import hookspecs
from planner_core.hookspecs import EXTENSION_GROUP

logger = logging.getLogger("planner")


def plugin_manager() -> pluggy.PluginManager:
    """A pluggy manager that knows our hooks and no plugin yet."""
    manager = pluggy.PluginManager("planner")
    manager.add_hookspecs(hookspecs)
    return manager


@cache
def _extensions() -> tuple[pluggy.PluginManager, ...]:
    return load_extensions(entry_points(group=EXTENSION_GROUP))


def load_extensions(points: Iterable[EntryPoint]) -> tuple[pluggy.PluginManager, ...]:
    """One manager a plugin that could be loaded; one that could not costs a warning."""
    managers = []
    for point in sorted(points, key=lambda p: p.name):
        manager = plugin_manager()
        try:
            manager.register(point.load(), name=point.name)
            manager.check_pending()
        except Exception as problem:  # a stranger's plugin must not take the work with it
            logger.warning("the plugin '%s' failed to load: %s", point.name, problem)
            continue
        managers.append(manager)
    return tuple(managers)


def collect(hook: str) -> list[Any]:
    """Everything the plugins hand to ``register`` of a hook, in the order of the plugins' names."""
    found: list[Any] = []
    for manager in _extensions():
        given: list[Any] = []
        try:
            getattr(manager.hook, hook)(register=given.append)
        except Exception as problem:
            logger.warning("the plugin '%s' failed in %s: %s", manager.list_name_plugin()[0][0], hook, problem)
            continue
        found += given
    return found
