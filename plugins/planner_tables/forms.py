"""Which form of table a file's first bytes are of, and how its cells are told apart."""

from __future__ import annotations

import csv
import json
from typing import Literal

Form = Literal["csv", "jsonl", "json", "parquet"]

PARQUET_MAGIC = b"PAR1"
BOM = b"\xef\xbb\xbf"
DELIMITERS = ",;\t|"
_RECORDS = 20


def form_of(head: bytes, whole: bool) -> Form | None:
    """The form of the table that begins with ``head`` (all of the file if ``whole``); None for what is no table."""
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    start = head.removeprefix(BOM).lstrip()
    if start.startswith(b"["):
        inside = start[1:].lstrip()
        return "json" if inside.startswith(b"{") else None
    if start.startswith(b"{"):
        return "jsonl" if _begins_with_a_document(start, whole) else None
    return "csv" if delimiter_of(head, whole) else None


def _begins_with_a_document(start: bytes, whole: bool) -> bool:
    """Whether the first line is a JSON object by itself; a longer line than the head is taken for one."""
    line, end, _ = start.partition(b"\n")
    if not end and not whole:
        return True
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def delimiter_of(head: bytes, whole: bool) -> str | None:
    """The character that splits most of the first records into as many cells as the first one, which has several.

    None where none does. Bytes that are no UTF-8 do not matter here: they are refused with their place when the table
    is read, and so is a record that has another number of cells than the others.
    """
    text = head.removeprefix(BOM).decode("utf-8", "replace")
    if "\x00" in text:
        return None
    best, most = None, (0.5, 1)
    for delimiter in DELIMITERS:
        columns, alike = _alike(text, delimiter, whole)
        if columns > 1 and (alike, columns) >= most:
            best, most = delimiter, (alike, columns)
    return best


def _alike(text: str, delimiter: str, whole: bool) -> tuple[int, float]:
    """Cells of the first record, and the share of the others that have as many, not counting empty ones at the end."""
    records: list[list[str]] = []
    try:
        for record in csv.reader(text.splitlines(keepends=True), delimiter=delimiter):
            if record:
                records.append(record)
            if len(records) == _RECORDS:
                break
        else:
            if not whole and len(records) > 1:
                records.pop()  # cut by the sample
    except csv.Error:
        pass  # what was read before tells
    if not records:
        return 0, 0.0
    columns = len(records[0])
    fit = [len(record) >= columns and not any(record[columns:]) for record in records[1:]]
    return columns, sum(fit) / len(fit) if fit else 1.0
