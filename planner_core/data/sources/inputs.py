"""The files, folders and standard input that an import reads, and the samples by which their sources are found."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, cast

from planner_core import jsonio
from planner_core.data.lines import iter_lines, open_unpacked
from planner_core.errors import DataError
from planner_core.plugins.log_sources import MAX_WHOLE_BYTES, LogInput, LogSample

STDIN = "-"
MAX_FILES = 200_000
"""Files of one folder, with the folders below it; more are not a log."""

_HEAD_BYTES = 64 << 10
_SAMPLED_FILES = 1000
_UTF8_MARK = b"\xef\xbb\xbf"
"""The byte order mark that tools on Windows write first; nothing is read of it."""

TellRead = Callable[[int], None]
"""Told how many bytes more of the inputs, as they lie on disk, were read."""


class FileInput(LogInput):
    """One file, packed or not."""

    is_folder = False

    def __init__(self, path: Path, name: str | None = None, tell_read: TellRead | None = None) -> None:
        self.path, self.name, self._tell = path, name or str(path), tell_read

    def open(self) -> BinaryIO:
        """See :class:`LogInput`."""
        return cast(BinaryIO, open_unpacked(self.path, self.name, self._tell))

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """See :class:`LogInput`."""
        return iter_lines(self.path, self.name, self._tell)

    def read(self, limit: int = MAX_WHOLE_BYTES) -> bytes:
        """See :class:`LogInput`."""
        with self.open() as stream:
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise DataError(self.name, found=f"more than {limit:,} bytes", expected="a smaller file")
        if not content.strip():
            raise DataError(self.name, found="an empty file", expected="a document")
        return content

    def json(self, limit: int = MAX_WHOLE_BYTES) -> Any:
        """See :class:`LogInput`."""
        return jsonio.decode(self.read(limit).removeprefix(_UTF8_MARK), self.name)

    def json_lines(self) -> Iterator[tuple[int, Any]]:
        """See :class:`LogInput`."""
        for number, line in self.lines():
            yield number, jsonio.decode(line, self.name, number)

    def files(self, pattern: str = "*") -> Iterator[LogInput]:
        """The file itself, where its name matches."""
        if fnmatchcase(self.path.name, pattern):
            yield self

    def sample(self) -> LogSample:
        """Its first bytes."""
        head = self.head()
        return LogSample(self.name, head[:_HEAD_BYTES], len(head) <= _HEAD_BYTES)

    def head(self) -> bytes:
        """One byte more than a sample has, which tells whether there is more; without a byte order mark."""
        with open_unpacked(self.path, self.name) as stream:
            return stream.read(_HEAD_BYTES + 1).removeprefix(_UTF8_MARK)


class FolderInput(LogInput):
    """A folder with all that is in it."""

    is_folder = True

    def __init__(self, path: Path, name: str | None = None, tell_read: TellRead | None = None) -> None:
        self.path, self.name, self._tell = path, name or str(path), tell_read

    def open(self) -> BinaryIO:
        """A folder has no bytes."""
        raise self._no_file()

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """A folder has no lines."""
        raise self._no_file()

    def read(self, limit: int = MAX_WHOLE_BYTES) -> bytes:
        """A folder has no content."""
        raise self._no_file()

    def json(self, limit: int = MAX_WHOLE_BYTES) -> Any:
        """A folder is no document."""
        raise self._no_file()

    def json_lines(self) -> Iterator[tuple[int, Any]]:
        """A folder has no documents."""
        raise self._no_file()

    def _no_file(self) -> DataError:
        return DataError(self.name, found="a folder", expected="a file")

    def files(self, pattern: str = "*") -> Iterator[LogInput]:
        """See :class:`LogInput`."""
        for relative in self.relative_paths():
            if fnmatchcase(relative, pattern):
                yield FileInput(self.path / relative, os.path.join(self.name, relative), self._tell)

    def relative_paths(self) -> list[str]:
        """Of all regular files below, in order; hidden ones and links are left out."""
        found: list[str] = []
        for place, folders, names in os.walk(self.path, onerror=self._unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inside = Path(place).relative_to(self.path)
            for name in names:
                if not name.startswith(".") and stat.S_ISREG(os.lstat(os.path.join(place, name)).st_mode):
                    found.append(str(inside / name))
            if len(found) > MAX_FILES:
                raise DataError(self.name, found=f"more than {MAX_FILES:,} files", expected="a folder with fewer")
        return sorted(found)

    def _unreadable(self, problem: OSError) -> None:
        raise DataError(os.fsdecode(problem.filename), expected=f"a readable folder ({problem.strerror})") from None

    def sample(self) -> LogSample:
        """The names of its files, with a look into any of them."""
        paths = self.relative_paths()[:_SAMPLED_FILES]
        known = frozenset(paths)

        def peek(name: str) -> bytes:
            return FileInput(self.path / name).head()[:_HEAD_BYTES] if name in known else b""

        return LogSample(self.name, files=tuple(paths), is_folder=True, peek=peek)

    def parts(self) -> Iterator[FileInput | FolderInput]:
        """The folders and files right in it, in order, without hidden ones and links."""
        for name in sorted(os.listdir(self.path)):
            path, shown = self.path / name, os.path.join(self.name, name)
            mode = path.lstat().st_mode
            if name.startswith("."):
                continue
            if stat.S_ISDIR(mode):
                yield FolderInput(path, shown, self._tell)
            elif stat.S_ISREG(mode):
                yield FileInput(path, shown, self._tell)


def open_inputs(given: list[Path], spool: Path, stdin: BinaryIO, tell_read: TellRead) -> list[FileInput | FolderInput]:
    """What the user named, in order; ``-`` is put aside into the folder ``spool``, so that it can be read twice.

    :class:`DataError` for what does not exist, is no file or folder, or is named twice.
    """
    found: list[FileInput | FolderInput] = []
    seen: set[str] = set()
    for path in given:
        real = STDIN if str(path) == STDIN else os.path.realpath(path)
        if real in seen:
            raise DataError(str(path), found="the same input twice", expected="each file once")
        seen.add(real)
        if real == STDIN:
            found.append(_spooled(spool, stdin, tell_read))
        elif path.is_dir():
            found.append(FolderInput(path, tell_read=tell_read))
        elif path.exists():
            found.append(_regular(path, spool, tell_read))
        else:
            raise DataError(str(path), found="nothing of this name", expected="a file, a folder, or - for the input")
    return found


def _regular(path: Path, spool: Path, tell_read: TellRead) -> FileInput:
    if stat.S_ISREG(path.stat().st_mode):
        return FileInput(path, tell_read=tell_read)
    # A pipe, as of `<(...)`, can be read once only.
    aside = spool / f"pipe-{len(os.listdir(spool))}"
    with open_unpacked(path) as stream, aside.open("wb") as copy:
        _copy(cast(BinaryIO, stream), copy)
    return FileInput(aside, str(path), tell_read)


def _spooled(spool: Path, stdin: BinaryIO, tell_read: TellRead) -> FileInput:
    aside = spool / "standard-input"
    with aside.open("wb") as copy:
        _copy(stdin, copy)
    return FileInput(aside, "standard input", tell_read)


def _copy(stream: BinaryIO, copy: BinaryIO) -> None:
    while piece := stream.read(1 << 20):
        copy.write(piece)
