"""Loading plugins, each on its own: what one does wrong costs one message and nothing else.

A plugin is a module that an entry point names. A stranger's is imported, and its hooks are called, in a thread that is
given up after ``PLANNER_PLUGIN_TIMEOUT`` seconds; whatever it raises becomes a :class:`PluginFailed` of one line.
``PLANNER_PLUGINS`` is an allow-list of distributions. The plugins of this distribution take the same way, but need
neither thread nor permission: whoever runs this code already trusts it.
"""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import pluggy

from planner_core.errors import PlannerError, describe, suggestion
from planner_core.plugins import hookspecs

logger = logging.getLogger("planner")
T = TypeVar("T")

OWN_DISTRIBUTION = "swarm-planner"
"""What makes a plugin a built-in: that it comes in this distribution, and nothing else."""

ALLOW_LIST, TIMEOUT = "PLANNER_PLUGINS", "PLANNER_PLUGIN_TIMEOUT"
DEFAULT_TIMEOUT = 20.0

_hung: set[str] = set()
"""Origins that did not come back. Their thread may hold import locks, so they are not entered again."""


class PluginFailed(PlannerError):
    """A plugin that could not be loaded, or a hook of it that could not be called; one line."""


@dataclass(frozen=True)
class Plugin:
    """One entry point: where it comes from, and what loading it gave: a ``manager``, or the ``problem``."""

    name: str
    distribution: str
    version: str
    manager: pluggy.PluginManager | None = None
    problem: str | None = None

    @classmethod
    def of(cls, point: EntryPoint) -> Plugin:
        """The plugin of an entry point, not loaded."""
        try:
            dist = point.dist
            return cls(point.name, dist.name, dist.version) if dist else cls(point.name, "unknown", "unknown")
        except Exception as problem:  # metadata that cannot be read
            return cls(point.name, "unknown", "unknown", problem=f"its metadata cannot be read: {describe(problem)}")

    @property
    def own(self) -> bool:
        """Whether it is built in."""
        return canonical(self.distribution) == OWN_DISTRIBUTION

    @property
    def origin(self) -> str:
        """Its distribution and version, as messages name it."""
        return f"{self.distribution} {self.version}"

    def run(self, doing: str, task: Callable[[], T]) -> T:
        """``task()``, code of this plugin. Whatever it raises, or where it hangs ``doing`` it: :class:`PluginFailed`.

        What a stranger prints goes to standard error, since standard output belongs to ``--json``; its thread is left
        to itself after the time limit. An interrupt stays the user's: it arrives in the calling thread.
        """
        if self.own:
            try:
                return task()
            except (Exception, SystemExit) as problem:
                raise self._failed(doing, problem) from problem
        if self.origin in _hung:
            raise PluginFailed(f"not tried again: {self.origin} already hung in this process")
        results: list[T] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                results.append(task())
            except BaseException as problem:  # in a thread of its own even KeyboardInterrupt can only be the plugin's
                raised.append(problem)

        limit = time_limit()
        thread = threading.Thread(target=work, name=f"planner-plugin {self.origin}", daemon=True)
        with redirect_stdout(sys.stderr):
            thread.start()
            thread.join(limit)
        if results:
            return results[0]
        if raised:
            raise self._failed(doing, raised[0]) from raised[0]
        _hung.add(self.origin)
        remedies = f"{TIMEOUT} sets the limit; {ALLOW_LIST} can leave it out"
        raise PluginFailed(f"{doing} did not finish within {limit:g} s ({remedies})")

    def _failed(self, doing: str, problem: BaseException) -> PluginFailed:
        logger.debug("%s failed in %s", self.origin, doing, exc_info=problem)
        absent = isinstance(problem, ImportError) and (problem.name or "").partition(".")[0] == "planner_core"
        unknown = isinstance(problem, TypeError) and "unexpected keyword argument" in str(problem)
        if not (absent or unknown):  # a name or a field of a later version
            return PluginFailed(describe(problem))
        from planner_core import __version__

        return PluginFailed(f"{describe(problem)}; it may need a later {OWN_DISTRIBUTION} than {__version__}")

    def call(self, hook: str, **arguments: Any) -> None:
        """Call a hook of this plugin, if it implements it. Raises :class:`PluginFailed`."""
        manager = self.manager
        if manager is not None:
            self.run(hook, lambda: getattr(manager.hook, hook)(**arguments))


def load_group(group: str) -> list[Plugin]:
    """Every allowed plugin of an entry point group: the built-in ones first, then by name."""
    return load_points(entry_points(group=group))


def load_points(points: Iterable[EntryPoint]) -> list[Plugin]:
    """Load entry points that ``PLANNER_PLUGINS`` allows. One that fails is in the result, with its problem."""
    wanted = allowed()
    found = [(Plugin.of(point), point) for point in points]
    found = [pair for pair in found if wanted is None or pair[0].own or canonical(pair[0].distribution) in wanted]
    found.sort(key=lambda pair: (not pair[0].own, pair[0].name, pair[0].distribution))
    return [_loaded(plugin, point) for plugin, point in found]


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
        return replace(plugin, problem=str(problem))
    return replace(plugin, manager=manager)


def plugin_manager() -> pluggy.PluginManager:
    """A pluggy manager that knows our hooks and no plugin yet."""
    manager = pluggy.PluginManager("planner")
    manager.add_hookspecs(hookspecs)
    return manager


def canonical(name: str) -> str:
    """A distribution's name as package indexes compare it: ``Acme.Planner`` is ``acme-planner``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def allowed() -> frozenset[str] | None:
    """The distributions of ``PLANNER_PLUGINS``; None where it is not set and everything installed may load.

    A name that no distribution with a plugin has costs a warning: a typo would look like a plugin that does nothing.
    """
    given = os.environ.get(ALLOW_LIST)
    if given is None:
        return None
    wanted = frozenset(canonical(name) for name in given.replace(",", " ").split())
    known = _installed() if wanted else frozenset()
    for name in sorted(wanted - known):
        lacking = f"{ALLOW_LIST} names '{name}', and no installed distribution of that name has a plugin"
        warn_once(lacking + suggestion(name, known))
    return wanted


@cache
def _installed() -> frozenset[str]:
    groups = {group for _, group in hookspecs.HOOKS.values()}
    return frozenset(canonical(Plugin.of(point).distribution) for g in groups for point in entry_points(group=g))


def time_limit() -> float:
    """Seconds a plugin may take, from ``PLANNER_PLUGIN_TIMEOUT``; 20 where that is not set."""
    given = os.environ.get(TIMEOUT) or DEFAULT_TIMEOUT
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if 0.0 < seconds <= threading.TIMEOUT_MAX:
        return seconds
    warn_once(f"{TIMEOUT} is '{given}', expected seconds above 0; it is {DEFAULT_TIMEOUT:g} s now")
    return DEFAULT_TIMEOUT


@cache
def warn_once(text: str) -> None:
    """A warning, once a process: plugins are asked again for every training, evaluation and check."""
    logger.warning("%s", text)
