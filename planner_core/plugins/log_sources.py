"""What a source of logs hands over: how to know its files, and how to read them as issues and runs of our contracts.

A source is a :class:`LogSource`, registered through the hook ``planner_log_sources``. ``planner data import`` asks each
source how sure it is of an input, hands all inputs of one source to its ``read`` together, checks every document that
comes back against its contract, and writes them whole or not at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

MAX_WHOLE_BYTES = 256 << 20
"""What a file may have, unpacked, that is read as one document."""


@dataclass(slots=True)
class LogIssue:
    """One issue: a Beads row of the ``dk_*`` dialect (``id``, ``dk_priority``, ..., ``tags``) and where it stood.

    A field that the source does not know is left out, not guessed: the default is then counted where it is used.
    ``file``, ``line`` (1-based; None: the whole file) and ``path`` are what an error names; ``path`` is the place in
    a file that is one document (``$[3]``, ``row 4``).
    """

    document: dict[str, Any]
    file: str
    line: int | None = None
    path: str = field(default="$", kw_only=True)


@dataclass(slots=True)
class LogRun:
    """One run: a ``run_summary.v1`` document and where it stood, as a :class:`LogIssue` has it.

    One on ``standby`` counts only where nothing else that is read has a run of its issue: what a tracker says of times,
    beside a log of what was run.
    """

    document: dict[str, Any]
    file: str
    line: int | None = None
    standby: bool = False
    path: str = field(default="$", kw_only=True)


class LogInput(ABC):
    """A file, a folder or standard input, as a source reads it; packed files read as what is packed in them.

    ``name`` is what messages call it. Everything may be read more than once; standard input was put aside for that.
    All errors are :class:`planner_core.errors.DataError` with ``name``: an unreadable or empty file, a damaged
    archive, a line or a document that is too long.
    """

    name: str
    path: Path
    """Where it is on disk. A packed file is packed there: use :meth:`open`."""
    is_folder: bool

    @abstractmethod
    def lines(self) -> Iterator[tuple[int, bytes]]:
        """(1-based number, line) of every line that is not blank, each of at most 64 MiB."""

    @abstractmethod
    def read(self, limit: int = MAX_WHOLE_BYTES) -> bytes:
        """The whole content, of at most ``limit`` bytes."""

    @abstractmethod
    def json(self, limit: int = MAX_WHOLE_BYTES) -> Any:
        """The whole content as one JSON document of dicts, lists and scalars."""

    @abstractmethod
    def json_lines(self) -> Iterator[tuple[int, Any]]:
        """(1-based line number, document) of a JSON Lines file."""

    @abstractmethod
    def open(self) -> BinaryIO:
        """A stream of the bytes, unpacked; the caller closes it. Its errors are still those of :meth:`lines`."""

    @abstractmethod
    def files(self, pattern: str = "*") -> Iterator[LogInput]:
        """The regular files below a folder whose relative path matches (``*`` also crosses ``/``), in order of names.

        Hidden ones and links are left out; ``name`` is the folder's with the relative path.
        """


@dataclass(frozen=True)
class LogSample:
    """What a sniff may look at: a file's first bytes, or the names of a folder's files.

    ``head`` is at most 64 KiB, unpacked, empty for a folder; ``whole`` says that it is all there is. ``files`` are
    relative paths in a folder, in order, at most 1,000. ``peek`` gives the head of one of them, empty where there is
    no such file.
    """

    name: str
    head: bytes = b""
    whole: bool = True
    files: tuple[str, ...] = ()
    is_folder: bool = False
    peek: Callable[[str], bytes] = lambda name: b""


class LogMapping:
    """What the user said of columns and values: ``--map FIELD=COLUMN``, ``--map-value COLUMN:VALUE=MEANING``, a file.

    A source asks for what it may use; what no source has asked for is refused in the end, so that a typing mistake is
    not taken for a wish. ``column`` is whatever has names in a format: a table's column, a JSON key, ``labels``.
    """

    def __init__(self, fields: Mapping[str, str], values: Mapping[str, Mapping[str, str]]) -> None:
        self._fields, self._values = dict(fields), {column: dict(pairs) for column, pairs in values.items()}
        self._asked: set[tuple[str, ...]] = set()

    def column(self, field: str) -> str | None:
        """The column that the user named for ``field``; None where it is the source's to choose."""
        self._asked.add((field,))
        return self._fields.get(field)

    def fields(self) -> dict[str, str]:
        """``{field: column}`` of all that the user named."""
        return dict(self._fields)

    def meaning(self, column: str, value: str) -> str | None:
        """What the user said that ``value`` of ``column`` stands for; None where nothing was said."""
        self._asked.add((column, value))
        return self._values.get(column, {}).get(value)

    def meanings(self, column: str) -> dict[str, str]:
        """``{value: meaning}`` of all that the user said of a column."""
        found = dict(self._values.get(column, {}))
        self._asked.update((column, value) for value in found)
        return found

    def unused(self) -> list[str]:
        """What was given and never asked for, as it is written on the command line."""
        left = [f"{name}={column}" for name, column in self._fields.items() if (name,) not in self._asked]
        for column, pairs in self._values.items():
            left += [f"{column}:{value}={to}" for value, to in pairs.items() if (column, value) not in self._asked]
        return left


class LogAccount:
    """What a source understood, told while it reads; printed by ``--dry-run`` and kept beside the files.

    Issues and runs are counted by whoever called, and so is what their documents lack for an estimate of value. Counts
    may be of any size; of distinct values and reasons the first 200 are kept by name.
    """

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.values: dict[str, dict[str, tuple[str, int]]] = {}
        self.left_out: Counter[str] = Counter()
        self.guessed: Counter[str] = Counter()
        self.unused: list[str] = []
        self.notes: list[str] = []

    def field(self, name: str, column: str) -> None:
        """``column`` was read as the field ``name`` (``outcome.status``, ``issue.dk_risk``); saved for ``--map``."""
        self.fields[name] = column

    def value(self, column: str, value: str, meaning: str, count: int = 1) -> None:
        """``value`` of ``column`` was read as ``meaning``, ``count`` times more; saved for ``--map-value``."""
        told = self.values.setdefault(column, {})
        if value in told or len(told) < MAX_TOLD:
            told[value] = (meaning, told.get(value, ("", 0))[1] + count)

    def leave_out(self, reason: str, count: int = 1) -> None:
        """``count`` more rows, files or records are left out: "deleted", "no issue of this id"."""
        self.left_out[_bounded(self.left_out, reason)] += count

    def guess(self, what: str, count: int = 1) -> None:
        """``count`` more times something was assumed that no file says: "one agent, so serial_handoff"."""
        self.guessed[_bounded(self.guessed, what)] += count

    def not_used(self, column: str) -> None:
        """``column`` is there and nothing was made of it."""
        if column not in self.unused and len(self.unused) < MAX_TOLD:
            self.unused.append(column)

    def note(self, text: str) -> None:
        """A sentence that the user should read."""
        if text not in self.notes and len(self.notes) < MAX_TOLD:
            self.notes.append(text)


MAX_TOLD = 200
"""Values of a column, reasons, guesses and notes that an account keeps by name."""


def _bounded(counts: Counter[str], name: str) -> str:
    return name if name in counts or len(counts) < MAX_TOLD else "others"


class LogReading:
    """What a source's ``read`` is handed: its inputs, the user's mapping and options, an account, and links.

    A link says which issue something belongs to: a session, a branch, a workcell. Sources that read issues make them
    (:meth:`link`), sources with ``follows_links`` are read after all others and look them up (:meth:`issues_of`).
    """

    def __init__(
        self,
        inputs: tuple[LogInput, ...],
        mapping: LogMapping,
        options: Mapping[str, str],
        account: LogAccount,
        links: dict[tuple[str, str], list[str]],
    ) -> None:
        self.inputs, self.mapping, self.options, self.account = inputs, mapping, options, account
        self._links = links

    def link(self, kind: str, key: str, issue_id: str) -> None:
        """``key`` of a ``kind`` ("session", "branch") belongs to an issue; to several, if it is said of several."""
        issues = self._links.setdefault((kind, key), [])
        if issue_id not in issues:
            issues.append(issue_id)

    def issues_of(self, kind: str, key: str) -> tuple[str, ...]:
        """The issues that ``key`` was said to belong to, in the order in which it was said; mostly one or none."""
        return tuple(self._links.get((kind, key), ()))


@dataclass(frozen=True)
class LogSource:
    """A kind of logs that ``planner data import`` reads.

    ``name`` is what ``--as`` takes, ``summary`` one line. ``sniff`` decides by content, never by the name's ending
    alone: how sure it is that an input is its own, from 0 (no) over ``GENERAL`` (any table) and ``TYPICAL`` (keys that
    are typical of it) to ``SURE`` (a mark that no other format has). The surest source reads the input; where two are
    equally sure the user is asked. A folder that no source claims is taken apart: each file in it is sniffed by itself.

    ``read`` yields every issue and every run of all its inputs, one at a time, in any order, and tells the account what
    it made of them. What is wrong is raised as :class:`planner_core.errors.DataError` with file, line, field, found and
    expected, and nothing is written then; a row that is not usable by its nature (deleted, still running) is left out
    and counted. Repeated equal documents are taken once by whoever called; contradictory ones are refused there.

    ``options`` are the names and meanings of what ``--set NAME=VALUE`` may give it. ``follows_links``: see
    :class:`LogReading`.
    """

    SURE: ClassVar[float] = 1.0
    TYPICAL: ClassVar[float] = 0.5
    GENERAL: ClassVar[float] = 0.1

    name: str
    summary: str
    sniff: Callable[[LogSample], float]
    read: Callable[[LogReading], Iterator[LogIssue | LogRun]]
    options: Mapping[str, str] = field(default_factory=dict)
    follows_links: bool = False
