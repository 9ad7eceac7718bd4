"""``.npy`` files row by row, so that an array never has to fit into memory to be written or copied."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import DTypeLike, NDArray

BUFFER = 1 << 20
MAX_AT_ONCE = 256 << 20
"""Bytes of what cannot be read in parts: one row, or an array in Fortran order. A header may claim any number, and a
compressed file of 2.9 MB may hold 5.9 GB."""


class NpyWriter:
    """Writes an array [rows, *row_shape] to a ``.npy`` file, rows at a time, their number not known before the end.

    A context manager: the file is a valid array when the block ends without an error.
    """

    def __init__(self, path: Path, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self.rows = 0
        self.dtype, self._row_shape = np.dtype(dtype), row_shape
        self._stream = path.open("wb")
        self._write_header()

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows [any, *row_shape], cast to the array's type."""
        self._stream.write(np.ascontiguousarray(rows, self.dtype).data)
        self.rows += len(rows)

    def _write_header(self) -> None:
        shape = (self.rows, *self._row_shape)
        descr = npy.dtype_to_descr(self.dtype)
        # The header leaves room for the number of rows to grow, so the last one takes the place of the first.
        npy.write_array_header_1_0(self._stream, {"descr": descr, "fortran_order": False, "shape": shape})

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._stream.seek(0)
            self._write_header()
        self._stream.close()


class Columns:
    """Several ``.npy`` files of one table, filled value by value; what waits in memory is written by :meth:`flush`.

    ``kinds`` gives each column's type and the shape of one row.
    """

    def __init__(self, into: Path, kinds: Mapping[str, tuple[DTypeLike, tuple[int, ...]]], stack: ExitStack) -> None:
        """The files are valid arrays once ``stack`` is left without an error."""
        self._writers = {
            name: stack.enter_context(NpyWriter(into / f"{name}.npy", dtype, shape))
            for name, (dtype, shape) in kinds.items()
        }
        self._waiting: dict[str, list[Any]] = {name: [] for name in kinds}

    def append(self, **values: Any) -> None:
        """One value for each column named."""
        for name, value in values.items():
            self._waiting[name].append(value)

    def extend(self, **values: Iterable[Any]) -> None:
        """Any number of values for each column named."""
        for name, more in values.items():
            self._waiting[name] += more

    def write(self, **blocks: NDArray[Any]) -> None:
        """Rows at once, for columns that are filled in no other way."""
        for name, block in blocks.items():
            self._writers[name].append(block)

    def flush(self) -> None:
        """Write what was added since."""
        for name, values in self._waiting.items():
            if values:
                self._writers[name].append(np.array(values, self._writers[name].dtype))
                values.clear()


def write_npz(path: Path, members: Mapping[str, Path]) -> None:
    """An uncompressed ``.npz`` of existing ``.npy`` files by name; the bytes are those of :func:`numpy.savez`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, file in members.items():
            with file.open("rb") as source, archive.open(f"{name}.npy", "w", force_zip64=True) as target:
                while chunk := source.read(BUFFER):
                    target.write(chunk)


class NpzMember:
    """One array of an ``.npz`` file, read in parts: ``shape``, ``dtype``, and its rows."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        """Raises KeyError for an archive without such an array, ValueError for what is none."""
        self._archive, self._name = archive, f"{name}.npy"
        with archive.open(self._name) as stream:
            self.shape, self._fortran, self.dtype = _read_header(stream)
        if self.dtype.hasobject:
            raise ValueError(f"{name} holds Python objects")
        whole = self._fortran or not self.shape
        at_once = math.prod(self.shape if whole else self.shape[1:]) * self.dtype.itemsize
        if at_once > MAX_AT_ONCE:
            what = "array in Fortran order" if whole else "row"
            raise ValueError(f"{name} has {at_once} bytes in one {what}, expected at most {MAX_AT_ONCE}")

    def chunks(self) -> Iterator[NDArray[Any]]:
        """The array in C order, in parts [rows, ...] of about a megabyte; ValueError where it ends too early."""
        with self._archive.open(self._name) as stream:
            if self._fortran or not self.shape:
                yield np.atleast_1d(np.ascontiguousarray(npy.read_array(stream, allow_pickle=False)))
                return
            _read_header(stream)
            row = math.prod(self.shape[1:]) * self.dtype.itemsize
            step = max(1, BUFFER // max(row, 1))
            for begin in range(0, self.shape[0], step):
                rows = min(step, self.shape[0] - begin)
                content = _read_exactly(stream, rows * row)
                yield np.frombuffer(content, self.dtype).reshape(rows, *self.shape[1:])


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"npy version {version} is none of 1.0 and 2.0")
    return read(stream)


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    parts = []
    while size:
        part = stream.read(size)
        if not part:
            raise ValueError("the array ends before all of it is there")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
