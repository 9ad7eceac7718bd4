"""Tables as a source of logs: CSV, JSON Lines, JSON arrays and Parquet, a row a run, a candidate or an issue."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from planner_core import LogIssue, LogReading, LogRun, LogSample, LogSource, hookimpl


def _sniff(sample: LogSample) -> float:
    from planner_tables.forms import form_of

    return LogSource.GENERAL if not sample.is_folder and form_of(sample.head, sample.whole) else 0.0


def _read(reading: LogReading) -> Iterator[LogIssue | LogRun]:
    from planner_tables.reading import read

    return read(reading)


@hookimpl
def planner_log_sources(register: Callable[[LogSource], None]) -> None:
    """Register the source ``tables``."""
    register(
        LogSource(
            name="tables",
            summary="CSV, JSON Lines, a JSON array or Parquet; a row is a run, a candidate of one, or an issue",
            sniff=_sniff,
            read=_read,
            options={
                "job_type": "of runs whose row names none: code (the default), fab-world, fab-asset or another",
                "decimal": "point or comma: the decimal mark of numbers, where no cell of a table shows it",
                "timezone": "of times that name none, as Europe/Berlin or +02:00; UTC if not given",
            },
        )
    )
