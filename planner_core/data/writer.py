"""Writing a dataset directory: the lines, the outcomes, and a ``meta.json`` that carries the hash of both.

The same content always gives the same bytes, so the hash names the data and two equal directories compare equal.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from planner_core import jsonio
from planner_core.action_space import Action, action_dict
from planner_core.contracts import ACTION_SCHEMA, DATASET_SCHEMA
from planner_core.data.cache import cache_files
from planner_core.data.npy import NpzMember, write_npz
from planner_core.errors import DataError
from planner_core.examples import OUTCOME_ARRAYS
from planner_core.files import DirectoryKind
from planner_core.jsonio import canonical, pretty
from planner_core.system import require_regular

ENCODED = ".encoded"
"""The directory of a dataset that holds its encoded arrays, one directory an encoder."""
DATASET_FILE, OUTCOMES_FILE, META_FILE = "dataset.jsonl", "outcomes.npz", "meta.json"

SPLITS = ("train", "val", "test")

UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What reading a file that is no ``.npz`` may raise."""

_CHUNK = 1 << 20
_LARGE = 100 * _CHUNK  # what takes a while to be read


def _members(directory: Path) -> set[str]:
    """The files of a dataset, its encoded arrays among them. Raises DataError for what is no dataset of ours."""
    schema = jsonio.read_file(directory / META_FILE, _Schema).schema_version
    if schema != DATASET_SCHEMA:
        raise DataError(str(directory / META_FILE), path="$.schema_version", found=schema, expected=DATASET_SCHEMA)
    caches = directory / ENCODED
    arrays = {f"{ENCODED}/{place.name}/{name}" for place in caches.glob("*") for name in cache_files(place)}
    return {DATASET_FILE, OUTCOMES_FILE, META_FILE, *arrays}


class _Schema(msgspec.Struct):
    """What is read of ``meta.json`` to know a dataset."""

    schema_version: str


DATASET = DirectoryKind("a dataset", META_FILE, _members)
"""What may be replaced by another dataset."""


def label_action(action: Action, created_at: str) -> dict[str, Any]:
    """An action as the ``planner_action.v1`` of a label."""
    return {"schema_version": ACTION_SCHEMA, "created_at": created_at, **action_dict(action)}


def assign_splits(started_ms: Sequence[int], run_ids: Sequence[str]) -> list[str]:
    """Split of each example: the first 80 % by (start, run id) train, the next 10 % val, the rest test.

    One example is a training example; below six there is no validation split.
    """
    n = len(run_ids)
    splits = [""] * n
    for i, split in zip(sorted(range(n), key=lambda i: (started_ms[i], run_ids[i])), ordered_splits(n), strict=True):
        splits[i] = split
    return splits


def ordered_splits(n: int) -> list[str]:
    """Splits of ``n`` examples that are in order of (start, run id) already."""
    train = min(n, max(1, n * 8 // 10))
    val = max(train, n * 9 // 10)
    return [SPLITS[0]] * train + [SPLITS[1]] * (val - train) + [SPLITS[2]] * (n - val)


def dataset_hash(directory: Path, progress: Callable[[str, int, int], None] | None = None) -> str:
    """SHA-256 hex digest of ``dataset.jsonl`` and, where there are outcomes, of each array's name and C-order bytes.

    ``progress`` is called with (stage, MiB read, all) while a large ``dataset.jsonl`` is read. An unreadable file is a
    :class:`DataError`.
    """
    digest = hashlib.sha256()
    try:
        require_regular(directory / DATASET_FILE)  # it is read again later, line by line
        with (directory / DATASET_FILE).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                if progress and size > _LARGE:
                    progress("checking the hash, MiB", stream.tell() // _CHUNK, size // _CHUNK)
    except OSError as problem:
        raise DataError(str(directory / DATASET_FILE), expected=f"a readable file ({problem.strerror})") from None
    outcomes = directory / OUTCOMES_FILE
    if outcomes.exists():
        try:
            require_regular(outcomes)
            with zipfile.ZipFile(outcomes) as archive:
                for name in OUTCOME_ARRAYS:
                    digest.update(name.encode())
                    for rows in NpzMember(archive, name).chunks():
                        digest.update(rows.data)
        except UNREADABLE as problem:
            raise DataError(
                str(outcomes), found=str(problem), expected=f"an npz file with the arrays {', '.join(OUTCOME_ARRAYS)}"
            ) from None
    return digest.hexdigest()


def write_dataset(
    directory: Path,
    lines: Iterable[bytes],
    splits: Sequence[str],
    meta: Mapping[str, Any],
    outcomes: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Write lines (one JSON document each, no newline), outcomes and meta into an empty directory; returns the meta.

    ``outcomes`` names a ``.npy`` file for each of :data:`OUTCOME_ARRAYS`. ``meta`` gives everything but schema version,
    hash and counts, which are added here. Call it inside :func:`planner_core.files.new_directory`, so that a failure
    leaves nothing.
    """
    with (directory / DATASET_FILE).open("wb") as stream:
        for line in lines:
            stream.write(line)
            stream.write(b"\n")
    if outcomes is not None:
        write_npz(directory / OUTCOMES_FILE, {name: outcomes[name] for name in OUTCOME_ARRAYS})
    complete = {
        "schema_version": DATASET_SCHEMA,
        "dataset_hash": dataset_hash(directory),
        "example_count": len(splits),
        "split_counts": {split: splits.count(split) for split in SPLITS},
        **meta,
    }
    complete["meta_hash"] = meta_hash(complete)
    (directory / META_FILE).write_bytes(pretty(complete))
    return complete


def meta_hash(meta: Mapping[str, Any]) -> str:
    """SHA-256 hex digest of the canonical JSON of a ``meta.json`` without its ``meta_hash``."""
    rest = {key: value for key, value in meta.items() if key != "meta_hash"}
    return hashlib.sha256(canonical(rest)).hexdigest()


def example_line(
    *,
    run_id: str,
    started_ms: int,
    split: str,
    planner_input: Mapping[str, Any] | msgspec.Raw,
    label: Mapping[str, Any],
    executed: Mapping[str, Any] | None = None,
    candidates: msgspec.Raw | None = None,
) -> bytes:
    """One line of ``dataset.jsonl``; values may hold :class:`msgspec.Raw` for parts that are JSON already.

    ``executed`` is what was run, as of :class:`planner_core.contracts.ExecutedRun`; ``candidates`` what came of several
    actions, each as of :class:`planner_core.contracts.Candidate`.
    """
    line: dict[str, Any] = {
        "run_id": run_id,
        "started_ms": started_ms,
        "split": split,
        "planner_input": planner_input,
        "label_action": label,
    }
    known = {"candidates": candidates, "executed": executed}
    return msgspec.json.encode(line | {key: value for key, value in known.items() if value is not None})
