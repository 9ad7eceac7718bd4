"""The lines of JSONL files, packed with gzip or not."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from planner_core.errors import DataError
from planner_core.os_files import open_input

MAX_LINE_BYTES = 64 << 20
"""What one line may have; a packed file of a few megabytes may otherwise fill any memory."""

_GZIP_MAGIC = b"\x1f\x8b"


def iter_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (1-based line number, line) of a JSONL file without its blank lines; gzip is known by its first bytes.

    Raises :class:`DataError` when the file cannot be read, is a damaged archive, has a line of more than
    :data:`MAX_LINE_BYTES`, or holds no line at all.
    """
    empty = True
    try:
        with open_input(path) as stream:
            packed = cast(io.BufferedReader, stream).peek(2).startswith(_GZIP_MAGIC)
            content = cast(IO[bytes], gzip.GzipFile(fileobj=stream)) if packed else stream
            for number, line in _lines(content, str(path)):
                if line.strip():
                    empty = False
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise DataError(str(path), found="a damaged gzip file", expected=f"a whole one ({problem})") from None
    except OSError as problem:
        raise DataError(str(path), expected=f"a readable file ({problem.strerror})") from None
    if empty:
        raise DataError(str(path), found="an empty file", expected="at least one JSON line")


def _lines(stream: IO[bytes], source: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            found, expected = f"more than {MAX_LINE_BYTES >> 20} MiB in one line", "one JSON document a line"
            raise DataError(source, line=number, found=found, expected=expected)
        yield number, line
