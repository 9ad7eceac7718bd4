"""What is compared, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.errors import ConfigError, suggestion
from planner_core.harness.latency import Served, served_opened
from planner_core.harness.run_dir import is_run
from planner_core.harness.sources import Opened, open_path
from planner_core.plugins.registry import Registry
from planner_core.runtime.bundle import is_bundle
from planner_core.value import Figures, KnownValue, Range, Value, ValueFigures, Verdict, holm_verdicts

CONSTANT_NAMES = ("best constant", "2nd constant", "3rd constant")
"""The constants that are shown: the best by what is known before the rows judged."""

Kind = Literal["policy", "run", "bundle", "constant", "as_run"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a comparison; ``problem`` says why it could not be judged, and then nothing else is known.

    ``rows`` of ``issues`` issues were judged, ``coverage`` of the dataset's. ``holds``: the verdict survives
    Holm's correction over all rows. ``latency_ms`` is the median of single decisions, JSON bytes to action on one
    thread, by ``latency_of`` (``bundle`` or ``python``); ``bundle_bytes`` is null where there is no bundle at hand.
    """

    name: str
    kind: Kind
    problem: str | None = None
    rows: int = 0
    issues: int = 0
    coverage: float = 0.0
    value: ValueFigures = ValueFigures()
    estimator: str | None = None
    n_full: int | None = None
    ess: float | None = None
    support: float | None = None
    differing: float | None = None
    verdict: Verdict | None = None
    holds: bool = False
    latency_ms: float | None = None
    latency_of: str | None = None
    bundle_bytes: int | None = None
    actions: dict[str, list[Any]] | None = None
    notes: list[str] = []


@dataclass(frozen=True)
class Contender:
    """Something to judge: a policy by its name, or a run or bundle that was opened."""

    name: str
    policy: str
    opened: Opened | None = None

    def refused(self, problem: str) -> Row:
        """The row of what cannot be judged."""
        kind: Kind = "policy" if self.opened is None else kind_of(self.opened)
        return Row(name=self.name, kind=kind, problem=problem)


@dataclass(frozen=True)
class Side:
    """What something decides on n rows: ``action`` int64 [n] joint classes, good where ``mask`` bool [n]."""

    name: str
    kind: Kind
    action: NDArray[np.int64]
    mask: NDArray[np.bool_]
    actions: dict[str, list[Any]] | None = None
    latency: Served | None = None
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of_opened(cls, opened: Opened, action: NDArray[np.int64], mask: NDArray[np.bool_], notes: list[str]) -> Side:
        """A run or bundle."""
        return cls(opened.name, kind_of(opened), action, mask, latency=served_opened(opened), notes=notes)

    @property
    def called(self) -> str:
        """How a sentence names it."""
        return f"the {self.name}" if self.kind == "constant" else self.name

    def refused(self, problem: str) -> Row:
        """The row where there is nothing to judge it by."""
        return Row(name=self.name, kind=self.kind, problem=problem, notes=self.notes)

    def row(self, value: Value | KnownValue, with_verdict: bool = True) -> Row:
        """The row of what it is worth."""
        latency = self.latency
        extra: dict[str, Any] = {}
        if isinstance(value, Value):
            extra = {name: getattr(value, name) for name in ("estimator", "n_full", "ess", "support")}
        return Row(
            name=self.name,
            kind=self.kind,
            rows=value.rows,
            issues=value.issues,
            coverage=value.coverage,
            value=value.value,
            differing=value.differing,
            verdict=value.verdict if with_verdict else None,
            latency_ms=None if latency is None else latency.p50_ms,
            latency_of=None if latency is None else latency.by,
            bundle_bytes=None if latency is None else latency.bundle_bytes,
            actions=self.actions,
            notes=self.notes,
            **extra,
        )


def kind_of(opened: Opened) -> Kind:
    """Whether it is a run or a bundle."""
    return "run" if opened.path is not None and is_run(opened.path) else "bundle"


def contenders(words: Sequence[str], registry: Registry) -> list[Contender]:
    """What the words name: a registered policy, else a run directory or a bundle; every usable policy without words.

    Raises :class:`ConfigError` for a word that is none, and what opening a run or bundle raises.
    """
    usable = [entry.name for entry in registry.entries if entry.spec is not None]
    out = []
    for word in dict.fromkeys(words or usable):
        path = Path(word)
        if word in usable:
            out.append(Contender(word, word))
        elif is_run(path) or is_bundle(path):
            opened = open_path(path, registry)
            out.append(Contender(word, opened.policy, opened))
        else:
            what = (
                "neither a run directory nor a bundle" if path.exists() else "there is no such policy and no such path"
            )
            raise ConfigError(f"{word}: {what}{suggestion(word, usable)}; policies: {', '.join(usable) or 'none'}")
    return out


def holding(rows: Sequence[Row]) -> list[Row]:
    """The rows, each told whether its verdict holds after Holm's correction over all of them."""
    judged = [row for row in rows if row.verdict is not None]
    holds = iter(holm_verdicts([row.verdict for row in judged if row.verdict is not None]))
    return [row if row.verdict is None else msgspec.structs.replace(row, holds=next(holds)) for row in rows]


def best_first(rows: Sequence[Row]) -> list[Row]:
    """By utility difference to the reference; rows without a figure come after those, and refused ones last."""

    def place(row: Row) -> tuple[int, float, str]:
        gap = row.value.difference.utility.estimate
        return (2 if row.problem else 1 if gap is None else 0, -(gap or 0.0), row.name)

    return sorted(rows, key=place)


def opposite(gaps: Figures) -> Figures:
    """Differences the other way round."""

    def minus(value: float | None) -> float | None:
        return None if value is None else 0.0 - value  # and no -0.0

    def turned(gap: Range) -> Range:
        return Range(minus(gap.estimate), minus(gap.high), minus(gap.low))

    return Figures(turned(gaps.pass_rate), turned(gaps.minutes), turned(gaps.cost_usd), turned(gaps.utility))
