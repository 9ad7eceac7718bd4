"""An import from end to end: sources are chosen, read, checked, counted, and written whole or not at all."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from planner_core.data.sources.choosing import Chosen, choose
from planner_core.data.sources.documents import Issues, Runs
from planner_core.data.sources.inputs import FileInput, FolderInput, open_inputs
from planner_core.data.sources.lacking import Lack, Lacking
from planner_core.data.sources.mapping_file import MAPPING, GivenMapping, saved_mapping
from planner_core.errors import DataError, PlannerError, describe
from planner_core.files import new_directory
from planner_core.jsonio import pretty
from planner_core.plugins.collecting import Offer
from planner_core.plugins.loading import PluginFailed
from planner_core.plugins.log_sources import LogAccount, LogInput, LogIssue, LogReading, LogRun, LogSource

ISSUES, RUNS = "issues.jsonl", "runs.jsonl"
SHOWN = 20
"""Files that no source knows, which are named."""
OTHER_RUNS = "runs on standby: other logs have runs of their issues"

Progress = Callable[[int, int, int | None], None]
"""Told of (documents, bytes of the inputs read, all bytes or None)."""

_TOLD_EVERY = 500


class SourceReport(Struct):
    """What one source made of its inputs; the fields are those of :class:`planner_core.LogAccount`.

    ``values`` is ``{column: {value: [meaning, how often]}}``; ``issues`` and ``runs`` are the documents it gave.
    """

    source: str
    distribution: str
    inputs: list[str]
    issues: int
    runs: int
    fields: dict[str, str]
    values: dict[str, dict[str, tuple[str, int]]]
    unused: list[str]
    guessed: dict[str, int]
    left_out: dict[str, int]
    notes: list[str]


class ImportReport(Struct):
    """What was understood, what was written and what is missing.

    ``files`` are the written ones (empty for a trial), ``not_understood`` at most :data:`SHOWN` names of files in
    folders that no source knows and how many there are beside them. ``repeated`` counts documents that were said
    before; ``next`` is the command that goes on from here, None where there is nothing to go on with.
    """

    out: str
    written: bool
    files: list[str]
    issues: int
    runs: int
    repeated_issues: int
    repeated_runs: int
    sources: list[SourceReport]
    not_understood: list[str]
    lacks: list[Lack]
    next: str | None


def import_logs(
    sources: Sequence[Path],
    out: Path,
    *,
    source: str | None = None,
    maps: Sequence[str] = (),
    values: Sequence[str] = (),
    options: Sequence[str] = (),
    write: bool = True,
    stdin: BinaryIO | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Read files and folders of other tools into ``issues.jsonl``, ``runs.jsonl`` and ``mapping.json`` in ``out``.

    ``source`` names the one source that is to read all of them; ``maps``, ``values`` and ``options`` are what
    ``--map``, ``--map-value`` and ``--set`` take. ``Path("-")`` is ``stdin``, by default this process's. With ``write``
    False everything is done but the writing.

    Raises :class:`DataError` naming file, line, field, found and expected for anything wrong in the inputs, and
    :class:`planner_core.errors.ConfigError` for a mapping that cannot be read or that no source knows; nothing is
    written then.
    """
    given = GivenMapping(maps, values, options)
    with ExitStack() as stack:
        spool = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="planner-import-")))
        told = _Told(progress)
        inputs = open_inputs(list(sources), spool, stdin or sys.stdin.buffer, told.read)
        told.total = sum(map(_size, inputs))
        chosen = choose(inputs, source)
        # The place is claimed before the work, which may take long.
        directory = stack.enter_context(new_directory(out)) if write else None
        return _Import(given, chosen, told).run(out, directory)


class _Told:
    """Puts bytes and documents together for a progress bar."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._bytes, self.total, self.documents = progress, 0, 0, 0

    def read(self, count: int) -> None:
        self._bytes += count

    def document(self) -> None:
        self.documents += 1
        if self._progress is not None and self.documents % _TOLD_EVERY == 0:
            # What is read twice would be more than there is.
            self._progress(self.documents, min(self._bytes, self.total), self.total)


def _size(given: FileInput | FolderInput) -> int:
    if isinstance(given, FileInput):
        return given.path.stat().st_size
    return sum((given.path / name).stat().st_size for name in given.relative_paths())


class _Import:
    def __init__(self, given: GivenMapping, chosen: Chosen, told: _Told) -> None:
        self._given, self._chosen, self._told = given, chosen, told
        self._links: dict[tuple[str, str], list[str]] = {}
        self._accounts: dict[str, LogAccount] = {}
        self._options: dict[str, dict[str, str]] = {}
        self._reports: list[SourceReport] = []
        self._lacking = Lacking()
        self._standby: list[tuple[SourceReport, LogAccount, LogRun]] = []

    def run(self, out: Path, directory: Path | None) -> ImportReport:
        issues = Issues()
        with _opened(directory, RUNS) as stream:
            runs = Runs(stream)
            for offer, inputs in self._chosen.in_reading_order():
                self._read(offer, inputs, issues, runs)
            self._take_standby(runs)
        self._given.check_all_used()
        if not len(issues) and not len(runs):
            names = ", ".join(name for report in self._reports for name in report.inputs[:3])
            reasons = {reason: n for report in self._reports for reason, n in report.left_out.items()}
            found = "no issue and no run" + (f" (left out: {reasons})" if reasons else "")
            raise DataError(names, found=found, expected="at least one")
        files = self._write(directory, issues, runs)
        lacks = self._lacking.found(runs.strangers(issues))
        return ImportReport(
            out=str(out),
            written=directory is not None,
            files=files,
            issues=len(issues),
            runs=len(runs),
            repeated_issues=issues.repeated,
            repeated_runs=runs.repeated,
            sources=self._reports,
            not_understood=_shown(self._chosen.not_understood),
            lacks=lacks,
            next=_next(out, len(issues), len(runs)),
        )

    def _read(self, offer: Offer[LogSource], inputs: tuple[LogInput, ...], issues: Issues, runs: Runs) -> None:
        name, account = offer.name, LogAccount()
        self._accounts[name] = account
        self._options[name] = self._given.options_for(name, offer.record.options)
        reading = LogReading(inputs, self._given.for_source(name), self._options[name], account, self._links)
        counts = {LogIssue: 0, LogRun: 0}
        standby: list[LogRun] = []
        for document in _documents(offer, reading):
            if isinstance(document, LogIssue):
                issues.add(document)
            elif isinstance(document, LogRun) and document.standby:
                standby.append(document)
                continue
            elif isinstance(document, LogRun):
                self._add(document, runs)
            else:
                found = f"it gave a {type(document).__name__}, expected a LogIssue or a LogRun"
                raise PluginFailed(f"{_blamed(offer)}: {found}")
            counts[type(document)] += 1
            self._told.document()
        report = SourceReport(
            source=name,
            distribution=offer.plugin.origin,
            inputs=[given.name for given in inputs],
            issues=counts[LogIssue],
            runs=counts[LogRun],
            fields=account.fields,
            values=account.values,
            unused=account.unused,
            guessed=dict(account.guessed),
            left_out=dict(account.left_out),
            notes=account.notes,
        )
        self._reports.append(report)
        self._standby += [(report, account, run) for run in standby]

    def _add(self, run: LogRun, runs: Runs) -> None:
        if (summary := runs.add(run)) is not None:
            self._lacking.add(summary)

    def _take_standby(self, runs: Runs) -> None:
        """Runs that count only where nothing else has a run of their issue."""
        others = set(runs.issue_ids())
        for report, account, run in self._standby:
            if run.document.get("issue_id") in others:
                account.leave_out(OTHER_RUNS)
            else:
                self._add(run, runs)
                report.runs += 1
            report.left_out = dict(account.left_out)

    def _write(self, directory: Path | None, issues: Issues, runs: Runs) -> list[str]:
        if directory is None:
            return []
        if len(issues):
            with (directory / ISSUES).open("wb") as stream:
                issues.write(stream)
        if not len(runs):
            (directory / RUNS).unlink()
        (directory / MAPPING).write_bytes(pretty(saved_mapping(self._accounts, self._options)))
        return sorted(os.listdir(directory))


def _documents(offer: Offer[LogSource], reading: LogReading) -> Iterator[object]:
    """What a source gives; whatever else its code raises becomes an error that names it."""
    try:
        yield from offer.record.read(reading)
    except (PlannerError, MemoryError):
        raise
    except OSError as problem:
        place = os.fsdecode(problem.filename) if problem.filename is not None else offer.name
        raise DataError(place, expected=f"a readable file ({problem.strerror or describe(problem)})") from problem
    except (Exception, SystemExit) as problem:
        raise PluginFailed(f"{_blamed(offer)}: {describe(problem)}") from problem


def _blamed(offer: Offer[LogSource]) -> str:
    return f"the log source '{offer.name}' of {offer.plugin.origin} failed in read"


@contextmanager
def _opened(directory: Path | None, name: str) -> Iterator[BinaryIO | None]:
    if directory is None:
        yield None
    else:
        with (directory / name).open("wb", buffering=1 << 20) as stream:
            yield stream


def _shown(names: list[str]) -> list[str]:
    rest = len(names) - SHOWN
    return [*names[:SHOWN], *([f"and {rest} more"] if rest > 0 else [])]


def _next(out: Path, issues: int, runs: int) -> str | None:
    if not runs:
        return None
    tracker = shlex.quote(str(out / ISSUES)) if issues else "TRACKER.jsonl"
    return f"planner data build --issues {tracker} --runs {shlex.quote(str(out / RUNS))} --out data/mine"
