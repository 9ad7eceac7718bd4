"""How a comparison and a list of runs look in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from planner_core.cli.console import number, table
from planner_core.harness.compare import Comparison
from planner_core.harness.compare_rows import Row
from planner_core.harness.run_list import ListedRun
from planner_core.value import Range

_ANSWERS = {"better": "better", "worse": "worse", "cannot_tell": "cannot\ntell"}
_LONGEST_PATH = 18
_REFERENCES = {"as_run": "what was run", "heuristic": "the rules"}


def comparison_blocks(found: Comparison) -> Iterator[Table | str]:
    """The table, what its signs mean, the verdicts that answer, problems and notes."""
    against = _REFERENCES.get(found.against, found.against)
    known = {"all": "outcomes of many actions are known", "executed": "only what was run is known"}[found.known]
    yield f"{escape(found.dataset)}: {known}; differences and verdicts against {escape(against)}"
    yield _table(found.rows)
    holds = [row for row in found.rows if row.verdict is not None and row.holds]
    yield (
        "Means a run, utility and its difference with 95 % intervals by issue. sup: share of the runs on which the "
        "log supports it; ms: median decision (p: in Python, no bundle at hand); MB: of the bundle."
    )
    if holds:
        yield f"*: holds after Holm's correction over {sum(row.verdict is not None for row in found.rows)} verdicts"
    for row in found.rows:
        if row.verdict is not None and row.kind in ("policy", "run", "bundle"):
            style = {"better": "green", "worse": "red"}.get(row.verdict.answer, "dim")
            yield f"[{style}]{escape(row.verdict.text)}[/{style}]"
    for row in found.rows:
        if row.problem:
            yield f"[yellow]{escape(row.name)}:[/yellow] {escape(row.problem)}"
        for note in row.notes:
            yield f"[yellow]note on {escape(row.name)}:[/yellow] {escape(note)}"
    for note in found.notes:
        yield f"[yellow]note:[/yellow] {escape(note)}"


def _table(rows: Sequence[Row]) -> Table:
    """Columns that no row has a figure in are left out; where rows judge different runs, each says how many."""
    judged = [row for row in rows if not row.problem]
    alike = len({row.rows for row in judged}) < 2
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("utility", lambda row: _interval(row.value.utility)),
        ("difference", lambda row: _interval(row.value.difference.utility, "+")),
        ("pass", lambda row: number(row.value.pass_rate.estimate, 2)),
        ("min", lambda row: number(row.value.minutes.estimate, 1)),
        ("USD", lambda row: number(row.value.cost_usd.estimate, 2)),
        ("sup", lambda row: "" if row.support is None else f"{100 * row.support:.0f}%"),
        ("ms", _latency),
        ("MB", lambda row: "" if row.bundle_bytes is None else f"{row.bundle_bytes / 1e6:.1f}"),
    ]
    shown = [(heading, cell) for heading, cell in columns if any(cell(row) for row in judged)]
    found = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True, show_edge=False)
    found.add_column("", overflow="fold", min_width=13)
    for heading, _ in shown:
        found.add_column(heading, justify="right", no_wrap=True)
    found.add_column("verdict", overflow="fold", min_width=7, max_width=7)
    for row in rows:
        name = escape(row.name.replace("_", " ") if row.kind == "as_run" else _folded(row.name))
        if row.problem:
            found.add_row(name, *["-"] * len(shown), "not judged")
            continue
        name += "" if alike else f"\n{row.rows:,} runs"
        verdict = "" if row.verdict is None else _ANSWERS[row.verdict.answer] + ("*" if row.holds else "")
        found.add_row(name, *(cell(row) for _, cell in shown), verdict)
    return found


def _latency(row: Row) -> str:
    if row.latency_ms is None:
        return ""
    return f"{row.latency_ms:.2f}{'p' if row.latency_of == 'python' else ''}"


def _interval(found: Range, sign: str = "") -> str:
    """The estimate, and its interval in a second line."""
    if found.estimate is None:
        return "-"
    low, high = ("?" if end is None else number(end, 2, sign) for end in (found.low, found.high))
    return f"{number(found.estimate, 3, sign)}\n{low} {high}"


def _folded(path: str) -> str:
    """A path in two lines where it is long, so that no name in it is broken."""
    directory, slash, name = path.rpartition("/")
    return path if len(path) <= _LONGEST_PATH else f"{directory}{slash}\n{name}"


def runs_blocks(found: Sequence[ListedRun], root: Path) -> Iterator[Table | str]:
    """The runs, and what is wrong with the bad ones."""
    good = [run for run in found if run.problem is None]
    if not found:
        yield f"no run directory under {escape(str(root))}; make one: planner run --policy outcome train"
        return
    if good:
        shown = table("<run", "<date", "<dataset", "utility", "<verdict")
        for run in good:
            against = _REFERENCES.get(run.against or "", run.against or "")
            shown.add_row(
                escape(_folded(run.path)),
                (run.started_at or "-")[:16].replace("T", " "),
                escape(Path(run.dataset or "-").name) + f" {(run.dataset_hash or '')[:8]}",
                number(run.utility, 3),
                f"{run.answer.replace('_', ' ')} ({escape(against)})" if run.answer else "-",
            )
        yield shown
        yield "utility: mean a run on the test split, estimated where only what was run is known; verdict (against)"
    for run in found:
        if run.problem is not None:
            yield f"[yellow]{escape(run.path)}:[/yellow] {escape(run.problem)}"
