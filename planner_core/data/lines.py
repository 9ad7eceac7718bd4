"""The lines of files, packed with gzip or not."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from planner_core.errors import DataError
from planner_core.jsonio import decode
from planner_core.system import open_input

MAX_LINE_BYTES = 64 << 20
"""What one line may have; a packed file of a few megabytes may otherwise fill any memory."""

_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER_BYTES = 1 << 18


class _Content(io.RawIOBase):
    """The bytes of a file, unpacked where it is packed; all that can go wrong is a :class:`DataError`.

    ``tell_read`` is told of every piece of the file on disk that was read: how many bytes more.
    """

    def __init__(
        self,
        source: str,
        tell_read: Callable[[int], None] | None,
        opened: Callable[[], BinaryIO],
    ) -> None:
        self._source, self._tell, self._told = source, tell_read, 0
        try:
            self._file = cast(io.BufferedReader, opened())
            packed = self._file.peek(2).startswith(_GZIP_MAGIC)
        except OSError as problem:
            raise self._unreadable(problem) from None
        self._stream = cast(IO[bytes], gzip.GzipFile(fileobj=self._file)) if packed else self._file
        self._seekable = self._file.seekable()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        try:
            piece = self._stream.read(len(view))
        except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
            found, expected = "a damaged gzip file", f"a whole one ({problem})"
            raise DataError(self._source, found=found, expected=expected) from None
        except OSError as problem:
            raise self._unreadable(problem) from None
        view[: len(piece)] = piece
        if self._tell is not None:
            at = self._file.tell() if self._seekable else self._told + len(piece)
            self._tell(at - self._told)
            self._told = at
        return len(piece)

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()

    def _unreadable(self, problem: OSError) -> DataError:
        return DataError(self._source, expected=f"a readable file ({problem.strerror})")


def open_unpacked(
    path: Path, source: str | None = None, tell_read: Callable[[int], None] | None = None
) -> io.BufferedReader:
    """A stream of a file's bytes; gzip is known by its first bytes, and unpacked.

    Opening and reading raise :class:`DataError` under the name ``source`` (else the path) when the file cannot be read
    or is a damaged archive.
    """
    return io.BufferedReader(_Content(source or str(path), tell_read, lambda: open_input(path)), _BUFFER_BYTES)


def opened_lines(path: Path, opened: Callable[[], BinaryIO]) -> Iterator[tuple[int, bytes]]:
    """:func:`iter_lines` of a stream that ``opened`` gives, which may be empty; ``path`` is what errors name."""
    source = str(path)
    with io.BufferedReader(_Content(source, None, opened), _BUFFER_BYTES) as stream:
        for number, line in numbered_lines(stream, source):
            if line.strip():
                yield number, line


def iter_lines(
    path: Path, source: str | None = None, tell_read: Callable[[int], None] | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield (1-based line number, line) of a file without its blank lines; a byte order mark of UTF-8 is left out.

    Raises :class:`DataError` as :func:`open_unpacked` does, for a line of more than :data:`MAX_LINE_BYTES`, and for a
    file that holds no line at all.
    """
    source = source or str(path)
    empty = True
    with open_unpacked(path, source, tell_read) as stream:
        for number, line in numbered_lines(stream, source):
            if line.strip():
                empty = False
                yield number, line
    if empty:
        raise DataError(source, found="an empty file", expected="at least one JSON line")


def iter_objects(path: Path, what: str) -> Iterator[tuple[int, bytes, Any]]:
    """Yield (1-based line number, line, JSON document) of a file of ``what``, as :func:`iter_lines` does.

    A file that does not begin with an object is none of ours: a table, one JSON array, a packed folder. It is a
    :class:`DataError` that names the command that reads such files.
    """
    first = True
    for number, line in iter_lines(path):
        if first and not line.lstrip().startswith(b"{"):
            found = f"a file that begins with {line[:40].decode('utf-8', 'replace').strip()!a}"
            expected = (
                f"{what}, one JSON object a line ('planner data import' makes it of tables, trackers and other logs)"
            )
            raise DataError(str(path), line=number, found=found, expected=expected)
        first = False
        yield number, line, decode(line, str(path), number)


def numbered_lines(stream: IO[bytes], source: str) -> Iterator[tuple[int, bytes]]:
    """Every line of a stream with its 1-based number, each of at most :data:`MAX_LINE_BYTES`."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            found, expected = f"more than {MAX_LINE_BYTES >> 20} MiB in one line", "shorter lines"
            raise DataError(source, line=number, found=found, expected=expected)
        yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
