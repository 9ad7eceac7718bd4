"""What comes back from sources, checked against its contract: issues put together, runs taken once."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec

from planner_core.contracts import RunSummary
from planner_core.data.counterfactuals import best_of
from planner_core.data.executed import read_propensities
from planner_core.data.issues import IssueRow, planned_issue
from planner_core.data.summaries import check_time
from planner_core.errors import DataError
from planner_core.jsonio import canonical_document, convert, shortened
from planner_core.plugins.log_sources import LogIssue, LogRun


class _Files:
    """The names of files as numbers, so that a place takes twelve bytes."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = len(self._names)
            self._names.append(name)
        return self._numbers[name]

    def place(self, number: int, line: int, path: str = "$") -> str:
        return self._names[number] + (f", line {line}" if line else "") + (f", at {path}" if path != "$" else "")


@contextmanager
def _within(path: str) -> Iterator[None]:
    """Put ``path`` before the path of a :class:`DataError` about a document that stands there in its file."""
    try:
        yield
    except DataError as problem:
        if path == "$":
            raise
        inner = problem.path.removeprefix("$")
        whole = path + inner if path.startswith("$") else ", ".join(filter(None, (path, inner.removeprefix("."))))
        raise DataError(
            problem.source, line=problem.line, path=whole, found=problem.found, expected=problem.expected
        ) from None


class Issues:
    """The issues of all sources by id, in the order in which they came; what several say of one is put together."""

    def __init__(self) -> None:
        self._files = _Files()
        self._found: dict[str, tuple[bytes, int, int, str]] = {}
        self.repeated = 0
        """Documents that said nothing new."""

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, issue_id: object) -> bool:
        return issue_id in self._found

    def add(self, issue: LogIssue) -> None:
        """Take an issue. :class:`DataError` for what breaks the contract, or contradicts what was said before."""
        with _within(issue.path):
            self._add(issue)

    def _add(self, issue: LogIssue) -> None:
        document = issue.document
        row = convert(document, IssueRow, issue.file, issue.line)
        planned_issue(row, issue.file, issue.line)
        encoded = canonical_document(document, issue.file, issue.line)
        known = self._found.get(row.id)
        if known is not None:
            if known[0] == encoded:
                self.repeated += 1
                return
            merged = self._merged(msgspec.json.decode(known[0]), issue, self._files.place(*known[1:]))
            encoded = canonical_document(merged, issue.file, issue.line)
            if encoded == known[0]:
                self.repeated += 1
        self._found[row.id] = (encoded, self._files.number(issue.file), issue.line or 0, issue.path)

    @staticmethod
    def _merged(before: dict[str, Any], issue: LogIssue, place: str) -> dict[str, Any]:
        merged = dict(before)
        for key, value in issue.document.items():
            known = merged.get(key)
            if known is None or value is None or known == value:
                merged[key] = value if known is None else known
            elif isinstance(known, list) and isinstance(value, list):
                merged[key] = [*known, *(item for item in value if item not in known)]
            else:
                expected = f"{shortened(known)}, as {place} says of the same issue"
                found = f"{shortened(value)} of issue {before['id']}"
                raise DataError(issue.file, line=issue.line, path=f"$.{key}", found=found, expected=expected)
        return merged

    def write(self, stream: BinaryIO) -> None:
        """Every issue as a line of JSON."""
        for encoded, *_ in self._found.values():
            stream.write(encoded)
            stream.write(b"\n")


class Runs:
    """The runs of all sources, written as they come, each once; some 130 bytes of each are kept."""

    def __init__(self, stream: BinaryIO | None) -> None:
        self._stream = stream
        self._files = _Files()
        self._row_of: dict[int, int] = {}
        self._content, self._file, self._line = array("q"), array("L"), array("Q")
        self._path: dict[int, str] = {}
        self.repeated = 0
        """Documents that were said before, word by word."""
        self.of_issue: Counter[str | None] = Counter()

    def __len__(self) -> int:
        return len(self._content)

    def add(self, run: LogRun) -> RunSummary | None:
        """Take a run; None where it was taken before.

        :class:`DataError` for what breaks the contract, and for another document of the same ``run_id``.
        """
        with _within(run.path):
            return self._add(run)

    def _add(self, run: LogRun) -> RunSummary | None:
        summary = convert(run.document, RunSummary, run.file, run.line)
        check_time(summary, run.file, run.line)
        best_of(summary.counterfactuals or (), summary.job_type, run.file, run.line)
        if summary.propensities:
            read_propensities(summary.propensities, summary.job_type, run.file, run.line, "$.propensities")
        encoded = canonical_document(run.document, run.file, run.line)
        key, content = hash(summary.run_id), hash(encoded)
        row = self._row_of.setdefault(key, len(self._content))
        if row < len(self._content):
            if self._content[row] != content:
                place = self._files.place(self._file[row], self._line[row], self._path.get(row, "$"))
                expected = f"the same run as {place}, or a run_id of its own"
                found = f"another run of the id {shortened(summary.run_id)}"
                raise DataError(run.file, line=run.line, path="$.run_id", found=found, expected=expected)
            self.repeated += 1
            return None
        self._content.append(content)
        self._file.append(self._files.number(run.file))
        self._line.append(run.line or 0)
        if run.path != "$":
            self._path[len(self._line) - 1] = run.path
        self.of_issue[summary.issue_id] += 1
        if self._stream is not None:
            self._stream.write(encoded)
            self._stream.write(b"\n")
        return summary

    def strangers(self, issues: Issues) -> int:
        """Runs whose issue is not among ``issues``, or that name none."""
        return sum(count for issue_id, count in self.of_issue.items() if issue_id not in issues)

    def issue_ids(self) -> Sequence[str]:
        """The issues that the runs name."""
        return [issue_id for issue_id in self.of_issue if issue_id is not None]
