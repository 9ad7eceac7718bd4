"""Collecting what plugins hand over through a hook: each record read on its own, each name given to one owner.

A record is what a hook hands over: a policy's specification, a command, a metric... What does not count is refused, in
one line that names the distribution it comes from.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Generic, TypeVar

from planner_core.plugins.hookspecs import EXTENSION_GROUP, HOOKS
from planner_core.plugins.loading import OWN_DISTRIBUTION, Plugin, PluginFailed, load_group, warn_once

T = TypeVar("T")
SHOWN = re.compile(r"\w[\w. -]{0,63}")
"""A name that a message may repeat; a record of any other is called after its plugin."""


@dataclass(frozen=True)
class Refusal:
    """A record that does not count, or a plugin that gave none, and why; as text, the line for a user."""

    what: str
    name: str
    plugin: Plugin
    problem: str

    def __str__(self) -> str:
        return f"the {self.what} '{self.name}' of {self.plugin.origin} is left out: {self.problem}"


@dataclass(frozen=True)
class Offer(Generic[T]):
    """A sound record under the name that belongs to it, and the plugin it comes from."""

    what: str
    name: str
    plugin: Plugin
    record: T

    def refused(self, problem: str) -> Refusal:
        """What to say of it where it does not count after all."""
        return Refusal(self.what, self.name, self.plugin, problem)


def warn(refusal: Refusal) -> None:
    """Say a refusal, once a process."""
    warn_once(str(refusal))


def collect(
    hook: str,
    kind: type[T],
    problem: Callable[[T, Plugin], str | None] = lambda record, plugin: None,
    *,
    taken: Collection[str] = (),
    given: Iterable[tuple[Plugin, Any]] | None = None,
    refuse: Callable[[Refusal], object] = warn,
) -> list[Offer[T]]:
    """The records of a hook that count, by plugin: the built-in ones first.

    A record has to be a ``kind`` with a ``name`` of text and without a ``problem`` (which runs isolated, like all code
    that a record brings). A name that is ``taken`` or a built-in plugin's stays theirs; one that several strangers
    claim is nobody's. ``refuse`` is told of everything else. ``given`` is what :func:`handed` gives.
    """
    what, _ = HOOKS[hook]
    offers: list[Offer[T]] = []
    for plugin, record in handed(hook, refuse=refuse) if given is None else given:
        try:
            name, wrong = plugin.run("it", partial(_read, plugin, record, kind, problem))
        except PluginFailed as raised:
            name, wrong = plugin.name, f"its registration cannot be read: {raised}"
        if wrong is None:
            offers.append(Offer(what, name, plugin, record))
        else:
            refuse(Refusal(what, name if SHOWN.fullmatch(name) else plugin.name, plugin, wrong))
    claimants: dict[str, list[Plugin]] = defaultdict(list)
    for offer in offers:
        claimants[offer.name].append(offer.plugin)
    owned = []
    for offer in offers:
        if wrong := _not_its_own(offer, claimants[offer.name], offer.name in taken):
            refuse(offer.refused(wrong))
        else:
            owned.append(offer)
    return owned


def handed(
    hook: str,
    plugins: Iterable[Plugin] | None = None,
    ask: Callable[[Plugin], Collection[Any]] | None = None,
    refuse: Callable[[Refusal], object] = warn,
) -> list[tuple[Plugin, Any]]:
    """Whatever the plugins hand over through a hook, unread. What one had registered when it failed does not count.

    ``ask`` calls the hook of one plugin, where that takes more than a ``register``; ``plugins`` are those of the hook's
    group, loaded once a process.
    """
    what, group = HOOKS[hook]
    found: list[tuple[Plugin, Any]] = []
    for plugin in loaded(group) if plugins is None else plugins:
        # The one hook of its group belongs to loading a plugin; an extension fails in one of several.
        extension = group == EXTENSION_GROUP
        failed = f"failed in {hook}" if extension and not plugin.problem else "failed to load"
        try:
            if plugin.problem:
                raise PluginFailed(plugin.problem)
            records = ask(plugin) if ask else _registered(plugin, hook)
            if not records and not extension:
                raise PluginFailed(f"it registers no {what}")
        except PluginFailed as problem:
            called = "plugin" if extension else f"{what} plugin"
            refuse(Refusal(called, plugin.name, plugin, f"{failed}: {problem}"))
        else:
            found += [(plugin, record) for record in records]
    return found


@cache
def loaded(group: str) -> tuple[Plugin, ...]:
    """The plugins of a group, loaded once a process, when the first of its hooks is called."""
    return tuple(load_group(group))


def _registered(plugin: Plugin, hook: str) -> list[Any]:
    records: list[Any] = []
    plugin.call(hook, register=records.append)
    return records


def _read(
    plugin: Plugin, record: Any, kind: type[T], problem: Callable[[T, Plugin], str | None]
) -> tuple[str, str | None]:
    """The name of a record, and what is wrong with it."""
    if not isinstance(record, kind):
        return plugin.name, f"registered a {type(record).__name__}, not a {kind.__name__}"
    name = getattr(record, "name", None)
    if not isinstance(name, str):
        return plugin.name, f"its name is {name!r}, not a string"
    return name, problem(record, plugin)


def _not_its_own(offer: Offer[Any], claimants: list[Plugin], taken: bool) -> str | None:
    """Why a name is not this offer's; None where it is."""
    own = [plugin for plugin in claimants if plugin.own]
    if not taken and len(own or claimants) == 1 and offer.plugin.own == bool(own):
        return None
    if taken or own:
        return f"shadows the built-in '{offer.name}' of {OWN_DISTRIBUTION}; rename it"
    return f"claimed by {' and '.join(plugin.origin for plugin in claimants)}; uninstall one"
