"""Loading plugins, for all three groups, each on its own: what one does wrong costs one message and nothing else.

A stranger's code is imported, and its hooks are called, in a thread that is given up after ``PLANNER_PLUGIN_TIMEOUT``
seconds; whatever it raises becomes a :class:`PluginFailed` of one line. ``PLANNER_PLUGINS`` is an allow-list of
distributions. The distribution of this package itself takes the same way, but needs neither thread nor permission:
whoever runs this code already trusts it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar, cast

import pluggy

from planner_core.errors import PlannerError, describe, suggestion
from planner_core.plugins import hookspecs
from planner_core.plugins.hookspecs import COMMAND_GROUP, EXTENSION_GROUP, POLICY_GROUP

logger = logging.getLogger("planner")
T = TypeVar("T")

OWN_DISTRIBUTION = "swarm-planner"
"""What makes a plugin a built-in: that it comes in this distribution, and nothing else."""

ALLOW_LIST, TIMEOUT = "PLANNER_PLUGINS", "PLANNER_PLUGIN_TIMEOUT"
DEFAULT_TIMEOUT = 20.0
GROUPS = (POLICY_GROUP, COMMAND_GROUP, EXTENSION_GROUP)


class PluginFailed(PlannerError):
    """A plugin that could not be loaded, or a hook of it that could not be called; one line."""


class TimedOut(PluginFailed):
    """A plugin that did not come back within the time limit."""


@dataclass(frozen=True)
class Plugin:
    """One entry point: where it comes from, and what loading it gave: a ``manager``, or the ``problem``."""

    name: str
    distribution: str
    version: str
    manager: pluggy.PluginManager | None = None
    problem: str | None = None

    @property
    def own(self) -> bool:
        """Whether it is built in."""
        return canonical(self.distribution) == OWN_DISTRIBUTION

    @property
    def origin(self) -> str:
        """Its distribution and version, as messages name it."""
        return f"{self.distribution} {self.version}"

    def run(self, doing: str, task: Callable[[], T]) -> T:
        """``task()``, code of this plugin, isolated. Raises :class:`PluginFailed`, which says what it was ``doing``."""
        return isolated(self.origin, doing, task, trusted=self.own)

    def call(self, hook: str, **arguments: Any) -> None:
        """Call a hook of this plugin. Raises :class:`PluginFailed`."""
        manager = self.manager
        if manager is not None:
            self.run(hook, lambda: getattr(manager.hook, hook)(**arguments))


def canonical(name: str) -> str:
    """A distribution's name as package indexes compare it: ``Acme.Planner`` is ``acme-planner``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def plugin_manager() -> pluggy.PluginManager:
    """A pluggy manager that knows our hooks and no plugin yet."""
    manager = pluggy.PluginManager("planner")
    manager.add_hookspecs(hookspecs)
    return manager


# -- which


def load_group(group: str) -> list[Plugin]:
    """Every allowed plugin of an entry point group: the built-in ones first, then by name."""
    return load_points(entry_points(group=group))


def load_points(points: Iterable[EntryPoint]) -> list[Plugin]:
    """Load entry points that ``PLANNER_PLUGINS`` allows. One that fails is in the result, with its problem."""
    wanted = allowed()
    described = [_described(point) for point in points]
    plugins = [pair for pair in described if wanted is None or pair[0].own or canonical(pair[0].distribution) in wanted]
    plugins.sort(key=lambda pair: (not pair[0].own, pair[0].name, pair[0].distribution))
    return [_loaded(plugin, point) for plugin, point in plugins]


def allowed() -> frozenset[str] | None:
    """The distributions of ``PLANNER_PLUGINS``; None where it is not set and everything installed may load."""
    given = os.environ.get(ALLOW_LIST)
    if given is None:
        return None
    wanted = frozenset(canonical(name) for name in given.replace(",", " ").split())
    if wanted:
        _warn_of_unknown(wanted)
    return wanted


@cache
def _warn_of_unknown(wanted: frozenset[str]) -> None:
    """Say once which allowed names no distribution has: a typo there would look like a plugin that does nothing."""
    installed = {_described(point)[0].distribution for group in GROUPS for point in entry_points(group=group)}
    known = {canonical(name) for name in installed}
    for name in sorted(wanted - known):
        logger.warning(
            "%s names '%s', and no installed distribution of that name has a plugin%s",
            *(ALLOW_LIST, name, suggestion(name, known)),
        )


def _described(point: EntryPoint) -> tuple[Plugin, EntryPoint]:
    dist = point.dist
    if dist is None:
        return Plugin(point.name, "unknown", "unknown"), point
    try:
        return Plugin(point.name, dist.name, dist.version), point
    except Exception as problem:  # metadata that cannot be read
        return Plugin(
            point.name, "unknown", "unknown", problem=f"its metadata cannot be read: {describe(problem)}"
        ), point


# -- one


def _loaded(plugin: Plugin, point: EntryPoint) -> Plugin:
    """The plugin with its manager, or with its problem."""
    if plugin.problem:
        return plugin
    manager = plugin_manager()

    def load() -> None:
        manager.register(point.load(), name=point.name)
        manager.check_pending()

    try:
        plugin.run("import", load)
    except PluginFailed as problem:
        return Plugin(plugin.name, plugin.distribution, plugin.version, problem=str(problem))
    return Plugin(plugin.name, plugin.distribution, plugin.version, manager)


_hung: set[str] = set()
"""Distributions that did not come back. Their thread may hold import locks, so they are not entered again."""


def isolated(origin: str, doing: str, task: Callable[[], T], *, trusted: bool = False) -> T:
    """``task()``, or a :class:`PluginFailed` of one line, whatever it does.

    What it prints goes to standard error, since standard output belongs to ``--json``. Code that is not ``trusted``
    runs in a daemon thread that is left to itself after the time limit. An interrupt stays the user's: it arrives in
    the calling thread, and is not caught.
    """
    if origin in _hung:
        raise TimedOut(f"not tried again: {origin} already hung in this process")
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append((True, task()))
        except BaseException as problem:  # in a thread of its own even KeyboardInterrupt can only be the plugin's
            outcome.append((False, problem))

    if trusted:
        try:
            return task()
        except (Exception, SystemExit) as problem:
            raise _failed(origin, doing, problem) from problem
    limit = time_limit()
    thread = threading.Thread(target=work, name=f"planner-plugin {origin}", daemon=True)
    with redirect_stdout(sys.stderr):
        thread.start()
        thread.join(limit)
    if not outcome:
        _hung.add(origin)
        raise TimedOut(
            f"{doing} did not finish within {limit:g} s ({TIMEOUT} sets the limit; {ALLOW_LIST} can leave it out)"
        )
    worked, result = outcome[0]
    if worked:
        return cast(T, result)
    raise _failed(origin, doing, result) from result


def _failed(origin: str, doing: str, problem: BaseException) -> PluginFailed:
    logger.debug("%s failed in %s", origin, doing, exc_info=problem)
    return PluginFailed(describe(problem) + _hint(problem))


def _hint(problem: BaseException) -> str:
    """A plugin written for a later version fails on a name or a field that this one does not have."""
    missing = isinstance(problem, ImportError) and (problem.name or "").partition(".")[0] == "planner_core"
    unknown = isinstance(problem, TypeError) and "unexpected keyword argument" in str(problem)
    if not (missing or unknown):
        return ""
    from planner_core import __version__

    return f"; it may need a later {OWN_DISTRIBUTION} than {__version__}"


def time_limit() -> float:
    """Seconds a plugin may take, from ``PLANNER_PLUGIN_TIMEOUT``; 20 where that is not set."""
    return _seconds(os.environ.get(TIMEOUT))


@lru_cache(maxsize=8)
def _seconds(given: str | None) -> float:
    if not given:
        return DEFAULT_TIMEOUT
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0.0 < seconds <= threading.TIMEOUT_MAX:
        logger.warning("%s is '%s', expected seconds above 0; it is %g s now", TIMEOUT, given, DEFAULT_TIMEOUT)
        return DEFAULT_TIMEOUT
    return seconds


# -- extensions


@cache
def _extensions() -> tuple[Plugin, ...]:
    """The plugins of ``planner.extensions``, loaded once, when the first hook is called; the broken ones left out."""
    plugins = load_group(EXTENSION_GROUP)
    for plugin in plugins:
        if plugin.problem:
            logger.warning("the plugin '%s' of %s failed to load: %s", plugin.name, plugin.origin, plugin.problem)
    return tuple(plugin for plugin in plugins if plugin.manager)


def collect(hook: str) -> list[Any]:
    """Everything the plugins hand to ``register`` of a hook, the built-in plugins' first, then by plugin name."""
    return [item for _, item in collect_with_origin(hook)]


def collect_with_origin(hook: str) -> list[tuple[Plugin, Any]]:
    """:func:`collect`, each with the plugin it comes from.

    A plugin that fails in the hook costs a warning, and what it had registered by then does not count.
    """
    found: list[tuple[Plugin, Any]] = []
    for plugin in _extensions():
        given: list[Any] = []
        try:
            plugin.call(hook, register=given.append)
        except PluginFailed as problem:
            logger.warning("the plugin '%s' of %s failed in %s: %s", plugin.name, plugin.origin, hook, problem)
            continue
        found += [(plugin, item) for item in given]
    return found
