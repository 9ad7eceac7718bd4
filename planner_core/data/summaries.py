"""Run summaries as a log has them, and what came of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from planner_core.clock import rfc3339
from planner_core.contracts import RunSummary
from planner_core.data.lines import iter_objects
from planner_core.errors import DataError
from planner_core.jsonio import convert


def iter_summaries(paths: Sequence[Path]) -> Iterator[RunSummary]:
    """Every row of ``run_summary.v1`` JSONL files, packed with gzip or not.

    Raises :class:`planner_core.errors.DataError` naming file, line and JSON path of what breaks the contract.
    """
    for path in paths:
        for line, _, document in iter_objects(path, "run_summary.v1"):
            summary = convert(document, RunSummary, str(path), line)
            check_time(summary, str(path), line)
            yield summary


def has_passed(summary: RunSummary) -> bool:
    """Whether a run succeeded and no gate refused what it made."""
    return summary.outcome.status == "success" and all(gate.passed for gate in summary.outcome.gates)


def check_time(run: RunSummary, source: str, line: int | None) -> None:
    """:class:`DataError` for a start that no calendar has."""
    try:
        rfc3339(run.started_ms)
    except OverflowError:
        found, expected = str(run.started_ms), "Unix milliseconds before the year 10000"
        raise DataError(source, line=line, path="$.started_ms", found=found, expected=expected) from None
