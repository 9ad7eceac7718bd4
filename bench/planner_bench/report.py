"""What ``planner bench`` says of its results: tables, verdicts, and the page that ``--out`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from planner_bench import compare_results, picture, targets
from planner_bench.compare_results import Comparison
from planner_bench.latency import BATCHES
from planner_bench.results import FILE, BenchResult, Measurement, Memory, PolicyResult, Table
from planner_bench.stages import ENCODE, JSON
from planner_bench.tables import Grid, as_markdown
from planner_core import pretty

FIGURES = ("p50", "p90", "p99", "p99.9", "mean")


def grids(result: BenchResult) -> list[Grid]:
    """Every table of a result, the verdicts among their notes."""
    out = []
    for found in result.policies:
        out += [_stages(found), _history(found), _batches(found), _threads(found), _once(found)]
    return out


def summary(result: BenchResult) -> Grid:
    """One screen: a row a bundle with what is promised and aimed at, and which of that was missed; microseconds."""
    rows, notes = [], []
    for found in result.policies:
        stages = found.table("stages")
        whole, encode = stages[JSON], stages[ENCODE]
        size = sum(found.files.values()) / 1e6
        promises = "kept" if targets.promises_kept(found.targets) else "BROKEN"
        aims = [target for target in found.targets if target.kind == "aim"]
        kept = sum(target.kept is True for target in aims)
        rows.append(
            [
                found.policy,
                *(micro(value) for value in (whole.p50, whole.p99, encode.p50)),
                "" if whole.to_session is None else f"{whole.to_session:.2f}",
                f"{size:.2f}",
                promises,
                f"{kept} of {len(aims)}",
            ]
        )
        notes += [
            f"{found.policy}: {targets.sentence(target)}"
            for target in found.targets
            if target.kept is not True or (target.kind == "promise" and promises == "BROKEN")
        ]
        for reason, count in found.fallbacks.items():
            notes.append(f"{found.policy}: of the inputs, {count} fall back to the rules ({reason})")
        notes += [f"{found.policy}: {stages.noise.sentence}"] if not stages.noise.quiet else []
    notes.append(
        "JSON to action, one thread; encode: its part; / bare: by the bare session's; every stage and table: --full"
    )
    columns = ("bundle", "p50", "p99", "encode", "/ bare", "MB", "promises", "aims")
    return Grid("one decision; microseconds", columns, rows, notes)


def markdown(result: BenchResult, comparison: Grid | None = None, picture: str | None = None) -> str:
    """``bench.md``: where it was measured, every table, the picture."""
    where = ", ".join(f"{name} {value}" for name, value in result.environment.items() if value is not None)
    parts = [f"# Latency of a decision\n\n{result.created_at}, seed {result.seed}, {where}.\n"]
    if picture:
        parts.append(f"![latency by percentile]({picture})\n")
    if comparison:
        parts.append(as_markdown(comparison))
    return "\n".join([*parts, *map(as_markdown, grids(result))])


def document(result: BenchResult, comparison: Comparison | None = None) -> dict[str, Any]:
    """``bench.json``: the result, whether each policy keeps its promises, and the comparison where there is one."""
    out: dict[str, Any] = msgspec.to_builtins(result)
    for entry, found in zip(out["policies"], result.policies, strict=True):
        entry["kept"] = targets.promises_kept(found.targets)
    if comparison:
        out["comparison"] = compare_results.document(comparison)
    return out


def write(result: BenchResult, directory: Path, comparison: Comparison | None = None, grid: Grid | None = None) -> None:
    """Everything into an existing directory. Needs matplotlib."""
    (directory / FILE).write_bytes(pretty(document(result, comparison)))
    (directory / "bench.md").write_text(markdown(result, grid, picture.FILE), "utf-8")
    picture.draw(result, directory / picture.FILE)


def complaints(result: BenchResult, comparison: Comparison | None = None) -> list[str]:
    """Why the command fails: broken promises, and stages that became slower; empty where it does not."""
    out = []
    for found in result.policies:
        broken = [t for t in found.targets if t.kind == "promise" and t.kept is False]
        loud = "" if found.table("stages").noise.quiet else " (the machine was noisy)"
        out += [f"{found.policy}: {t.what} is {t.found:.2f} {t.unit}, over {t.limit:g} {t.unit}{loud}" for t in broken]
    if comparison and comparison.slower:
        worst = comparison.slower[0]
        count = len(comparison.slower)
        more = f", and {count - 1} more" if count > 1 else ""
        out.append(f"slower than before: {worst.policy}, {worst.place.stage} {worst.change:.2f} x{more}")
    return out


def _stages(found: PolicyResult) -> Grid:
    stages, others = found.table("stages"), found.table("others")
    grid = Grid(
        f"{found.policy}: one decision, 8 history runs, one thread; microseconds",
        ("stage", *FIGURES, "/ ref", "/ bare"),
        notes=[targets.sentence(target) for target in found.targets],
    )
    shown = {m.stage: m for m in (*others.measurements, *stages.measurements)}  # the same stage: where it decides
    order = [*(m.stage for m in stages.measurements), *(m.stage for m in others.measurements)]
    grid.rows = [_row(stage, shown[stage]) for stage in dict.fromkeys(order)]
    grid.notes.append(
        "/ ref: p50 by the reference's, round by round; / bare: by the bare session's of the graph that decides"
    )
    grid.notes.append(stages.noise.sentence)
    apart = ", ".join(m.stage for m in others.measurements if m.stage not in {n.stage for n in stages.measurements})
    grid.notes.append(f"{apart}: in turns of their own; {others.noise.sentence}")
    for reason, count in found.fallbacks.items():
        grid.notes.append(f"of the inputs, {count} fall back to the rules ({reason}): their decisions are in the times")
    return Grid(grid.title, grid.columns, grid.rows, [*grid.notes, *found.notes])


def _row(name: str, m: Measurement) -> list[str]:
    figures = [micro(value) for value in (m.p50, m.p90, m.p99, m.p999, m.mean)]
    return [name, *figures, f"{m.ratio:.2f}", "" if m.to_session is None else f"{m.to_session:.2f}"]


def micro(milliseconds: float) -> str:
    """Microseconds, to three digits where there are not more before the point."""
    value = milliseconds * 1000
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _history(found: PolicyResult) -> Grid:
    """A row a stage, the sizes of the history side by side."""
    table = found.table("history")
    sizes = sorted({m.history_runs for m in table.measurements})
    names = [m.stage for m in table.measurements if m.history_runs == sizes[0]]
    at = {(m.stage, m.history_runs): m for m in table.measurements}
    return Grid(
        f"{found.policy}: by history runs in the input; microseconds",
        ("stage", *(f"{what}, {size}" for size in sizes for what in ("p50", "p99"))),
        [[name, *(micro(v) for size in sizes for v in (at[name, size].p50, at[name, size].p99))] for name in names],
        [table.noise.sentence],
    )


def _batches(found: PolicyResult) -> Grid:
    tables = [(size, found.table(f"batch {size}")) for size in BATCHES]
    rows = [
        [
            m.stage,
            str(size),
            *(micro(value) for value in (m.p50, m.p99, m.p50 / size)),
            f"{size / m.p50 * 1000:,.0f}",
            "" if m.to_session is None else f"{m.to_session:.2f}",
        ]
        for size, table in tables
        for m in _measured(table)
    ]
    columns = ("way", "batch", "p50", "p99", "p50 a row", "rows/s", "/ bare")
    title = f"{found.policy}: by batch, dense graph, one thread; microseconds"
    notes = [f"batch {size}, {table.measurements[0].calls} calls: {table.noise.sentence}" for size, table in tables]
    return Grid(title, columns, rows, notes)


def _threads(found: PolicyResult) -> Grid:
    table = found.table("threads")
    rows = [
        [m.stage, str(m.batch), str(m.threads), *(micro(v) for v in (m.p50, m.p90, m.p99)), f"{m.ratio:.2f}"]
        for m in sorted(_measured(table), key=lambda m: (m.batch, m.stage, m.threads))
    ]
    columns = ("stage", "batch", "threads", "p50", "p90", "p99", "/ ref")
    title = f"{found.policy}: by intra-op threads; microseconds"
    return Grid(title, columns, rows, [table.noise.sentence])


def _measured(table: Table) -> Iterator[Measurement]:
    return (m for m in table.measurements if m.stage != "reference")


def _once(found: PolicyResult) -> Grid:
    start = found.cold_start
    rows = [[f"start: {name}", f"{value:.0f} ms"] for name, value in start.parts.items()]
    span = f"{start.fastest:.0f} to {start.slowest:.0f}"
    rows.append(["start: to the first decision", f"{start.total:.0f} ms"])
    rows += _memory(found.memory)
    rows += [[f"file: {name}", f"{size / 1e3:,.1f} kB"] for name, size in found.files.items()]
    rows.append(["files together", f"{sum(found.files.values()) / 1e6:.2f} MB"])
    return Grid(
        f"{found.policy}: once a process",
        ("what", ""),
        rows,
        [f"the start is the median of {start.processes} fresh processes, {span} ms in all"],
    )


def _memory(found: Memory) -> list[list[str]]:
    if found.peak is None or found.loaded is None or found.base is None:
        return [["peak memory", "not told by this system"]]
    return [
        ["peak memory: numpy and onnxruntime", f"{found.base:.0f} MiB"],
        ["peak memory: first decision", f"{found.loaded:.0f} MiB"],
        [f"peak memory: {found.decisions} more and a batch", f"{found.peak:.0f} MiB"],
    ]
