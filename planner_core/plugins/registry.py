"""The registry: policies found through the entry point group ``planner.policies``, built-ins included.

Every plugin is loaded on its own (:mod:`planner_core.plugins.loading`). One that fails becomes an entry that says so
and disturbs nothing else. A built-in keeps its name whoever else claims it; a name that two others claim belongs to
neither until one of them goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from planner_core import __version__
from planner_core.errors import RegistryError, describe, suggestion
from planner_core.plugins.hookspecs import POLICY_GROUP
from planner_core.plugins.loading import OWN_DISTRIBUTION, Plugin, PluginFailed, canonical, load_points
from planner_core.policy import OLDEST_PROTOCOL, PROTOCOL_VERSION, PolicySpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of policies are names of directories, and words of a command line."""


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
        """Whether the policy learns; None where it could not be read."""
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
        claims = [entry for entry in self.entries if entry.name == name]
        usable = [entry for entry in claims if entry.spec is not None and entry.status == "ok"]
        if len(usable) == 1:
            return usable[0]
        if claims:
            raise RegistryError(f"policy '{name}' cannot be used: {claims[0].status}")
        names = sorted({entry.name for entry in self.entries if entry.status == "ok"})
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
    entries: list[Entry] = []
    for plugin in load_points(points):
        entries.extend(_entries(plugin))
    return Registry(_settle_names(sorted(entries, key=lambda e: (e.name, e.distribution))))


def _entries(plugin: Plugin) -> list[Entry]:
    """What one plugin registers; any failure of a stranger's code is an entry, not a crash."""
    specs: list[Any] = []
    wrong = plugin.problem
    if wrong is None:
        try:
            plugin.call("planner_register_policies", register=specs.append)
        except PluginFailed as problem:
            wrong = str(problem)
        else:
            wrong = None if specs else "it registers no policy"
    if wrong is not None:
        return [Entry(plugin.name, plugin.distribution, plugin.version, f"failed to load: {wrong}")]
    return [_entry(plugin, spec) for spec in specs]


def _entry(plugin: Plugin, spec: Any) -> Entry:
    """One thing that a plugin registered."""
    try:
        wrong = plugin.run("its configuration", lambda: _problem(spec, plugin))
    except PluginFailed as problem:
        wrong = f"its registration cannot be read: {problem}"
    if wrong is not None:
        named = isinstance(spec, PolicySpec) and isinstance(spec.name, str) and NAME.fullmatch(spec.name)
        return Entry(spec.name if named else plugin.name, plugin.distribution, plugin.version, wrong)
    # A plain PolicySpec, whatever subclass was registered: its make and policy_class are the guarded ones.
    values = {f.name: getattr(spec, f.name) for f in fields(PolicySpec)}
    ours = PolicySpec(**{**values, "origin": plugin.origin})
    return Entry(ours.name, plugin.distribution, plugin.version, spec=ours)


def _problem(spec: Any, plugin: Plugin) -> str | None:
    """Why a registered thing cannot be used; None where it can."""
    if not isinstance(spec, PolicySpec):
        return f"registered a {type(spec).__name__}, not a PolicySpec"
    if not isinstance(spec.name, str):
        return f"its name is {spec.name!r}, not a string"
    if not NAME.fullmatch(spec.name):
        return f"its name is {spec.name!r}; expected letters, digits and ._- only"
    version = spec.protocol_version
    if not isinstance(version, int):
        return f"its protocol version is {version!r}, not an integer"
    if not OLDEST_PROTOCOL <= version <= PROTOCOL_VERSION:
        newer = version > PROTOCOL_VERSION
        remedy = f"upgrade {OWN_DISTRIBUTION if newer else plugin.distribution}"
        ours = f"{OWN_DISTRIBUTION} {__version__}"
        return f"made for protocol version {version}; this is version {PROTOCOL_VERSION} ({ours}): {remedy}"
    if not isinstance(spec.summary, str) or not isinstance(spec.trainable, bool) or not callable(spec.load):
        return "its summary is no string, its trainable no bool or its load not callable"
    if not (isinstance(spec.config_type, type) and issubclass(spec.config_type, msgspec.Struct)):
        return "its config_type is no msgspec.Struct"
    try:
        msgspec.to_builtins(spec.config_type())
    except Exception as problem:
        return f"its default configuration cannot be made: {describe(problem)}"
    return None


def _settle_names(entries: list[Entry]) -> list[Entry]:
    """Who owns a name that several claim."""
    claims: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.spec:
            claims.setdefault(entry.name, []).append(entry)
    return [_settled(entry, claims.get(entry.name, [])) for entry in entries]


def _settled(entry: Entry, claims: list[Entry]) -> Entry:
    if entry.spec is None or len(claims) < 2:
        return entry
    own = [claim for claim in claims if canonical(claim.distribution) == OWN_DISTRIBUTION]
    if entry in own and len(own) == 1:
        return entry
    if own:
        return replace(entry, spec=None, status=f"shadows the built-in '{entry.name}' of {OWN_DISTRIBUTION}; rename it")
    claimed = " and ".join(f"{claim.distribution} {claim.version}" for claim in claims)
    return replace(entry, status=f"claimed by {claimed}; uninstall one")
