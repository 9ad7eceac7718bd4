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
    """The character that splits the first records into equally many cells, of more than one; None where none does.

    Bytes that are no UTF-8 do not matter here: they are refused with their place when the table is read.
    """
    text = head.removeprefix(BOM).decode("utf-8", "replace")
    if "\x00" in text:
        return None
    best, most = None, 1
    for delimiter in DELIMITERS:
        sizes = _sizes(text, delimiter, whole)
        # The last record may be cut, by the sample or by whoever wrote the file.
        if sizes and sizes[0] > most and all(size == sizes[0] for size in sizes[1:-1] or sizes[1:]):
            best, most = delimiter, sizes[0]
    return best


def _sizes(text: str, delimiter: str, whole: bool) -> list[int]:
    """Cells of the first records."""
    sizes: list[int] = []
    try:
        for record in csv.reader(text.splitlines(keepends=True), delimiter=delimiter):
            if record:
                sizes.append(len(record))
            if len(sizes) == _RECORDS:
                break
        else:
            if not whole and len(sizes) > 1:
                sizes.pop()
    except csv.Error:
        return sizes[:1]
    return sizes
