"""The registry: policies found through the entry point group ``planner.policies``, built-ins included.

Every plugin is imported on its own. One that fails becomes an entry that says so and disturbs nothing else; a name
that two plugins claim belongs to neither until one of them goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from planner_core.errors import RegistryError, suggestion
from planner_core.hookspecs import POLICY_GROUP
from planner_core.plugins import plugin_manager
from planner_core.policy import PROTOCOL_VERSION, PolicySpec


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


def build_registry(points: Any) -> Registry:
    """Load every entry point of ``points`` (an iterable of :class:`importlib.metadata.EntryPoint`)."""
    entries: list[Entry] = []
    for point in sorted(points, key=lambda p: (p.name, _distribution(p))):
        entries.extend(_load(point))
    return Registry(_mark_duplicates(sorted(entries, key=lambda e: (e.name, e.distribution))))


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"


def _load(point: EntryPoint) -> list[Entry]:
    """Import one plugin and collect what it registers; any failure of a stranger's code is an entry, not a crash."""
    distribution, version = _distribution(point), point.dist.version if point.dist else "unknown"
    specs: list[PolicySpec] = []
    manager = plugin_manager()
    try:
        plugin = point.load()
        manager.register(plugin, name=point.name)
        manager.check_pending()
        manager.hook.planner_register_policies(register=specs.append)
    except (Exception, SystemExit) as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        return [Entry(point.name, distribution, version, f"failed to load: {reason}")]
    if not specs:
        return [Entry(point.name, distribution, version, "failed to load: it registers no policy")]
    return [_check(spec, point.name, distribution, version) for spec in specs]


def _check(spec: Any, point_name: str, distribution: str, version: str) -> Entry:
    if not isinstance(spec, PolicySpec):
        return Entry(point_name, distribution, version, f"registered a {type(spec).__name__}, not a PolicySpec")
    if not isinstance(spec.name, str):
        return Entry(point_name, distribution, version, f"its name is {spec.name!r}, not a string")
    if not (isinstance(spec.config_type, type) and issubclass(spec.config_type, msgspec.Struct)):
        return Entry(spec.name, distribution, version, "its config_type is no msgspec.Struct")
    if spec.protocol_version != PROTOCOL_VERSION:
        status = f"made for protocol version {spec.protocol_version}; this is version {PROTOCOL_VERSION}"
        return Entry(spec.name, distribution, version, status)
    return Entry(spec.name, distribution, version, spec=spec)


def _mark_duplicates(entries: list[Entry]) -> list[Entry]:
    claims: dict[str, list[str]] = {}
    for entry in entries:
        if entry.spec:
            claims.setdefault(entry.name, []).append(f"{entry.distribution} {entry.version}")
    return [
        Entry(e.name, e.distribution, e.version, f"claimed by {' and '.join(claims[e.name])}; uninstall one", e.spec)
        if len(claims.get(e.name, ())) > 1
        else e
        for e in entries
    ]
