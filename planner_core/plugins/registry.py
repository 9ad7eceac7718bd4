"""The registry: policies found through the entry point group ``planner.policies``, built-ins included.

A plugin that fails becomes an entry that says so and disturbs nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import msgspec

from planner_core import __version__
from planner_core.encoder import EncoderConfig
from planner_core.errors import RegistryError, describe, suggestion
from planner_core.plugins.collecting import Refusal, collect, handed
from planner_core.plugins.hookspecs import POLICY_GROUP
from planner_core.plugins.loading import OWN_DISTRIBUTION, Plugin, load_points
from planner_core.policy import OLDEST_PROTOCOL, PROTOCOL_VERSION, PolicySpec
from planner_core.search_space import problem_of
from planner_core.system import reserved

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of policies are names of directories, and words of a command line."""

HOOK = "planner_register_policies"


@dataclass(frozen=True)
class Entry:
    """One registered policy, or one plugin that could not be used (``spec`` is None and ``status`` says why)."""

    name: str
    distribution: str
    version: str
    status: str = "ok"
    spec: PolicySpec | None = None

    @property
    def trainable(self) -> bool | None:
        """Whether the policy learns; None where it cannot be used."""
        return self.spec.trainable if self.spec else None


@dataclass
class Registry:
    """All policies of one load, in the order of their names."""

    entries: list[Entry] = field(default_factory=list)

    def get(self, name: str) -> Entry:
        """The usable entry called ``name``.

        Raises :class:`RegistryError` for an unknown name (with a suggestion), one that failed to load (with its reason)
        and one that several distributions claim (naming them).
        """
        named = [entry for entry in self.entries if entry.name == name]
        usable = [entry for entry in named if entry.spec is not None]
        if usable:
            return usable[0]
        if named:
            raise RegistryError(f"policy '{name}' cannot be used: {named[0].status}")
        names = sorted(entry.name for entry in self.entries if entry.spec is not None)
        raise RegistryError(
            f"no policy is called '{name}'{suggestion(name, names)}; registered: {', '.join(names) or 'none'}"
        )

    def spec(self, name: str) -> PolicySpec:
        """The :class:`PolicySpec` of :meth:`get`."""
        found = self.get(name).spec
        assert found is not None
        return found


@cache
def load_registry() -> Registry:
    """The registry of this process, loaded once."""
    return build_registry(entry_points(group=POLICY_GROUP))


def build_registry(points: Iterable[EntryPoint]) -> Registry:
    """Load every entry point of ``points`` that the allow-list lets in."""
    refusals: list[Refusal] = []
    given = handed(HOOK, load_points(points), refuse=refusals.append)
    offers = collect(HOOK, PolicySpec, _problem, given=given, refuse=refusals.append)
    entries = [Entry(r.name, r.plugin.distribution, r.plugin.version, r.problem) for r in refusals]
    for offer in offers:
        # A plain PolicySpec, whatever subclass was registered: its attributes have been read and stay what they are.
        values = {f.name: getattr(offer.record, f.name) for f in fields(PolicySpec)}
        spec = PolicySpec(**{**values, "origin": offer.plugin.origin})
        entries.append(Entry(offer.name, offer.plugin.distribution, offer.plugin.version, spec=spec))
    return Registry(sorted(entries, key=lambda entry: (entry.name, entry.distribution)))


def _problem(spec: PolicySpec, plugin: Plugin) -> str | None:
    """Why a specification cannot be used; None where it can."""
    if not NAME.fullmatch(spec.name):
        return f"its name is {spec.name!r}; expected letters, digits and ._- only"
    reason = reserved(spec.name)
    if reason is not None:
        return f"its name is {spec.name!r}: {reason}, and runs are kept in a directory of that name"
    version = spec.protocol_version
    if not isinstance(version, int):
        return f"its protocol version is {version!r}, not an integer"
    if not OLDEST_PROTOCOL <= version <= PROTOCOL_VERSION:
        ours = f"version {PROTOCOL_VERSION} ({OWN_DISTRIBUTION} {__version__})"
        behind = OWN_DISTRIBUTION if version > PROTOCOL_VERSION else plugin.distribution
        return f"made for protocol version {version}; this is {ours}: upgrade {behind}"
    if not isinstance(spec.summary, str) or not isinstance(spec.trainable, bool) or not callable(spec.load):
        return "its summary is no string, its trainable no bool or its load not callable"
    if not (isinstance(spec.config_type, type) and issubclass(spec.config_type, msgspec.Struct)):
        return "its config_type is no msgspec.Struct"
    try:
        defaults = msgspec.to_builtins(spec.config_type())
    except Exception as problem:
        return f"its default configuration cannot be made: {describe(problem)}"
    try:
        return problem_of(spec.search_space, {**msgspec.to_builtins(EncoderConfig()), **defaults})
    except Exception as problem:  # a mapping is a stranger's code too
        return f"its search_space cannot be read: {describe(problem)}"
