"""Two results side by side: what became slower or faster, by each one's ratio to its own reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from planner_bench.environment import SAME
from planner_bench.results import BenchResult, Measurement, Place
from planner_bench.tables import Grid
from planner_bench.timing import REFERENCE
from planner_core import PlannerError

TOLERANCE = 1.25


@dataclass(frozen=True)
class Change:
    """One place of a policy in both results; ``change`` is the new ratio to the reference over the old one."""

    policy: str
    table: str
    place: Place
    old: Measurement
    new: Measurement

    @property
    def change(self) -> float:
        """Above 1: slower than it was."""
        return self.new.ratio / self.old.ratio


@dataclass
class Comparison:
    """What :func:`compare_results` found; ``notes`` are reasons to read it with care."""

    tolerance: float
    same: int = 0
    slower: list[Change] = field(default_factory=list)
    faster: list[Change] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


_Key = tuple[str, str, Place]


def compare_results(old: BenchResult, new: BenchResult, tolerance: float = TOLERANCE) -> Comparison:
    """Compare every place measured in both; beyond ``tolerance`` (above 1) either way it is slower or faster.

    Raises :class:`PlannerError` where nothing was measured in both.
    """
    before, after = dict(_places(old)), dict(_places(new))
    shared = [key for key in after if key in before]
    if not shared:
        raise PlannerError(
            f"nothing to compare: the old result is of {_policies(old)}, the new one of {_policies(new)}"
        )
    out = Comparison(tolerance, notes=[*_once(old, new, tolerance), *_cautions(old, new)])
    changes = sorted((Change(*key, before[key], after[key]) for key in shared), key=lambda c: -c.change)
    out.slower = [c for c in changes if c.change > tolerance]
    out.faster = [c for c in reversed(changes) if c.change < 1 / tolerance]
    out.same = len(changes) - len(out.slower) - len(out.faster)
    out.missing = _only(before, after)
    out.added = _only(after, before)
    return out


def grid(found: Comparison, old: Path) -> Grid:
    """What changed as a table, the slowest first; what did not, in a line."""
    rows = [
        [
            c.policy,
            _name((c.policy, c.table, c.place)).split(", ", 1)[1],
            *(f"{value:.2f}" for value in (c.old.ratio, c.new.ratio)),
            f"{c.change:.2f} x" + (" SLOWER" if c.change > 1 else " faster"),
        ]
        for c in (*found.slower, *found.faster)
    ]
    notes = [f"{found.same} unchanged within {found.tolerance:g} x"]
    if found.missing:
        notes.append(f"no longer measured: {'; '.join(found.missing)}")
    if found.added:
        notes.append(f"new: {'; '.join(found.added)}")
    title = f"against {old}: p50 by the reference's"
    return Grid(title, ("policy", "what", "was", "is", "change"), rows, [*notes, *found.notes], words=2)


def document(found: Comparison) -> dict[str, object]:
    """For machines."""

    def row(c: Change) -> dict[str, object]:
        place = {name: getattr(c.place, name) for name in c.place.__struct_fields__}
        return {
            "policy": c.policy,
            "table": c.table,
            **place,
            "was": c.old.ratio,
            "is": c.new.ratio,
            "change": c.change,
        }

    return {
        "tolerance": found.tolerance,
        "slower": [row(c) for c in found.slower],
        "faster": [row(c) for c in found.faster],
        "unchanged": found.same,
        "missing": found.missing,
        "added": found.added,
        "notes": found.notes,
    }


def _places(result: BenchResult) -> Iterator[tuple[_Key, Measurement]]:
    for policy in result.policies:
        for table in policy.tables:
            for m in table.measurements:
                if m.stage != REFERENCE:
                    yield (policy.policy, table.name, m.place), m


def _name(key: _Key) -> str:
    policy, table, place = key
    extra = {
        "history": f", {place.history_runs} history runs",
        "threads": f", batch {place.batch}, {place.threads} threads",
    }.get(table, f", batch {place.batch}" if table.startswith("batch") else "")
    return f"{policy}, {place.stage}{extra}"


def _only(these: Mapping[_Key, Measurement], those: Mapping[_Key, Measurement]) -> list[str]:
    """Names of what is not among ``those``: a policy that is not there at all by its name alone."""
    known = {policy for policy, _, _ in those}
    return list(dict.fromkeys(_name(key) if key[0] in known else key[0] for key in these if key not in those))


def _once(old: BenchResult, new: BenchResult, tolerance: float) -> Iterator[str]:
    """Start, memory and files of policies in both; said, but no reason to fail: they have no reference."""
    before = {policy.policy: policy for policy in old.policies}
    for now in new.policies:
        was = before.get(now.policy)
        if was is None:
            continue
        for what, unit, a, b in (
            ("start to the first decision", "ms", was.cold_start.total, now.cold_start.total),
            ("peak memory", "MiB", was.memory.peak, now.memory.peak),
            ("files", "kB", sum(was.files.values()) / 1e3, sum(now.files.values()) / 1e3),
        ):
            if a and b and not 1 / tolerance <= b / a <= tolerance:
                yield f"{now.policy}, {what}: {a:.0f} {unit} before, {b:.0f} now"


def _policies(result: BenchResult) -> str:
    return ", ".join(dict.fromkeys(policy.policy for policy in result.policies))


def _cautions(old: BenchResult, new: BenchResult) -> Iterator[str]:
    for name in SAME:
        was, now = old.environment.get(name), new.environment.get(name)
        if was != now:
            yield f"another {name}: {was} before, {now} now"
    for when, result in (("the old", old), ("the new", new)):
        noisy = [f"{p.policy} {t.name}" for p in result.policies for t in p.tables if not t.noise.quiet]
        if noisy:
            yield f"{when} result was measured on a noisy machine ({', '.join(noisy)})"
    if old.repeats != new.repeats:
        yield f"{old.repeats} repeats before, {new.repeats} now"
    if old.seed != new.seed:
        yield f"other inputs: seed {old.seed} before, {new.seed} now"
