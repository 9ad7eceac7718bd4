"""The rows of a table, whatever its form: dictionaries of cells, with the line each stands on."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
from collections.abc import Iterator
from typing import Any

from planner_core import DataError, LogInput, MissingExtra, describe
from planner_tables.forms import BOM, PARQUET_MAGIC, Form, delimiter_of, form_of

MAX_COLUMNS = 2000
MAX_CELL = 1 << 20
"""Characters of one cell; more is a quotation mark that is not closed."""

_HEAD_BYTES = 64 << 10
_BATCH = 10_000

Row = dict[str, Any]


class Table:
    """One file as a table. ``lines`` says whether the number of a row is a line of the file, else of a row."""

    def __init__(self, source: LogInput) -> None:
        self.source = source
        with source.open() as stream:
            head = stream.read(_HEAD_BYTES)
        form = form_of(head, len(head) < _HEAD_BYTES)
        if form is None:
            found = "no table" if head.strip() else "an empty file"
            raise DataError(source.name, found=found, expected="CSV, JSON Lines, a JSON array of objects or Parquet")
        self.form: Form = form
        self.delimiter = delimiter_of(head, len(head) < _HEAD_BYTES) if form == "csv" else None

    @property
    def lines(self) -> bool:
        """See the class."""
        return self.form in ("csv", "jsonl")

    def rows(self) -> Iterator[tuple[int, Row]]:
        """(1-based line or row, cells by column), from the beginning each time.

        Cells are text, numbers, booleans, None or lists; nested objects are columns with dots in their names.
        """
        reader = {"csv": self._csv, "jsonl": self._json_lines, "json": self._json, "parquet": self._parquet}[self.form]
        return reader()

    def called(self, line: int) -> str:
        """What messages call a row: the line of the file that it is, or its number."""
        return f"{'line' if self.lines else 'row'} {line}"

    def error(self, line: int | None, column: str | None, found: str | None, expected: str) -> DataError:
        """What is wrong in a row."""
        path = "$" if column is None else f"column {column!r}"
        if line is not None and not self.lines:
            path = self.called(line) + ("" if column is None else f", {path}")
            line = None
        return DataError(self.source.name, line=line, path=path, found=found, expected=expected)

    # ------------------------------------------------------------------------------------------------- CSV

    def _csv(self) -> Iterator[tuple[int, Row]]:
        assert self.delimiter is not None
        with self.source.open() as stream:
            lines = _Decoded(self, stream)
            csv.field_size_limit(MAX_CELL)
            records = csv.reader(lines, delimiter=self.delimiter, strict=True)
            try:
                columns = self._header(next(records))
                width = len(columns)
                for record in records:
                    if len(record) == width:
                        yield records.line_num, dict(zip(columns, record, strict=True))
                    elif record:
                        yield records.line_num, self._ragged(columns, record, records.line_num, lines.ended)
            except csv.Error as problem:
                hint = "one record a line, quotation marks closed"
                raise self.error(records.line_num, None, str(problem), hint) from None

    def _header(self, names: list[str]) -> list[str]:
        columns = [name.strip() or f"(column {i})" for i, name in enumerate(names, 1)]
        if len(columns) > MAX_COLUMNS:
            raise self.error(1, None, f"{len(columns)} columns", f"at most {MAX_COLUMNS}")
        twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
        if twice is not None:
            raise self.error(1, None, f"the column {twice!r} twice", "each column once")
        if all(name.replace(".", "", 1).replace("-", "").isdigit() for name in names if name.strip()):
            raise self.error(1, None, "numbers", "a line with the names of the columns")
        return columns

    def _ragged(self, columns: list[str], record: list[str], line: int, ended: bool) -> Row:
        if len(record) > len(columns) and not any(cell.strip() for cell in record[len(columns) :]):
            return dict(zip(columns, record, strict=False))
        cut = "" if ended else " in the last line, which does not end: the file may be cut off"
        raise self.error(line, None, f"{len(record)} cells{cut}", f"{len(columns)}, as many as there are columns")

    # ------------------------------------------------------------------------------------------------- JSON

    def _json_lines(self) -> Iterator[tuple[int, Row]]:
        for line, document in self.source.json_lines():
            yield line, self._flat(document, line)

    def _json(self) -> Iterator[tuple[int, Row]]:
        documents = self.source.json()
        if not isinstance(documents, list):
            raise DataError(self.source.name, found="no JSON array", expected="an array of objects")
        for number, document in enumerate(documents, 1):
            yield number, self._flat(document, number)

    def _flat(self, document: Any, line: int) -> Row:
        if not isinstance(document, dict):
            raise self.error(line, None, f"a {type(document).__name__}", "an object, as of a row")
        row: Row = {}
        # What may be nested is bounded by the reader of JSON; what is wide is bounded here.
        waiting: list[tuple[str, dict[str, Any]]] = [("", document)]
        while waiting:
            prefix, part = waiting.pop()
            for key, value in part.items():
                name = prefix + key
                if isinstance(value, dict) and name not in _WHOLE:
                    waiting.append((name + ".", value))
                elif name in row:
                    raise self.error(line, name, "the same name twice", "each name once")
                else:
                    row[name] = value
            if len(row) > MAX_COLUMNS:
                raise self.error(line, None, "more columns", f"at most {MAX_COLUMNS}")
        return row

    # ---------------------------------------------------------------------------------------------- Parquet

    def _parquet(self) -> Iterator[tuple[int, Row]]:
        try:
            import pyarrow as arrow
            import pyarrow.parquet as parquet
        except ModuleNotFoundError as problem:
            raise MissingExtra("the source 'tables', for Parquet,", "tables", str(problem.name)) from problem
        number = 0
        try:
            with parquet.ParquetFile(self._parquet_file()) as file:
                for batch in file.iter_batches(batch_size=_BATCH):
                    for document in batch.to_pylist():
                        number += 1
                        yield number, self._flat({key: _plain(value) for key, value in document.items()}, number)
        except (arrow.ArrowException, OSError) as problem:
            found, expected = "a damaged Parquet file", f"a whole one ({describe(problem)})"
            raise DataError(self.source.name, found=found, expected=expected) from None

    def _parquet_file(self) -> str | io.BytesIO:
        """Its path; what is packed with gzip on top is unpacked into memory, since Parquet is not read in order."""
        with self.source.path.open("rb") as stream:
            plain = stream.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        return str(self.source.path) if plain else io.BytesIO(self.source.read())


_WHOLE = frozenset({"propensities"})
"""Objects that are one cell."""


def _plain(value: Any) -> Any:
    """A value of Parquet as JSON has it; times with their zone."""
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


class _Decoded:
    """The lines of a stream as text; bytes that are no UTF-8 are a :class:`DataError` with their place."""

    def __init__(self, table: Table, stream: Any) -> None:
        self._table, self._stream, self._number, self.ended = table, stream, 0, True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line: bytes = self._stream.readline(MAX_CELL + 1)
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) > MAX_CELL:
            raise self._table.error(self._number, None, f"more than {MAX_CELL:,} bytes in one line", "shorter lines")
        if self._number == 1:
            line = line.removeprefix(BOM)
        self.ended = line.endswith(b"\n")
        try:
            return line.decode()
        except UnicodeDecodeError as problem:
            at = f"the byte 0x{line[problem.start]:02x} at position {problem.start + 1} of the line"
            raise self._table.error(self._number, None, at, "UTF-8 (iconv -f LATIN1 -t UTF-8 makes it)") from None
