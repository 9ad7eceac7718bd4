"""Reading a dataset directory: every line checked once, encoded once, and kept as memory-mapped arrays.

The arrays are cached beside the dataset in ``.encoded/``, under the hash of the data and of the encoder, so that a
second load costs a hash and a few ``mmap`` calls whatever the number of examples.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.action_space import ActionSpace
from planner_core.contracts import DATASET_SCHEMA, DatasetExample, DatasetMeta, PlannerInput
from planner_core.data.cache import Arrays, cached_arrays, passing_arrays
from planner_core.data.encode import SPLIT_NAMES as SPLITS
from planner_core.data.encode import Progress, encode_dataset
from planner_core.data.executed_rows import executed_arrays
from planner_core.data.writer import ENCODED, dataset_hash, meta_hash
from planner_core.encoder import EncoderConfig
from planner_core.errors import DataError
from planner_core.examples import OUTCOME_ARRAYS, Examples, Inputs, Outcomes
from planner_core.features import SparseFeatures

CACHE_FORMAT = 3

logger = logging.getLogger("planner")


class LazyInputs(Inputs):
    """Planner inputs read from the dataset file when they are asked for; holds offsets, not objects."""

    def __init__(self, path: Path, offsets: NDArray[np.int64], lines: NDArray[np.int64]) -> None:
        self._path, self._offsets, self._lines = path, offsets, lines

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, row: int) -> PlannerInput: ...
    @overload
    def __getitem__(self, row: slice) -> Self: ...
    def __getitem__(self, row: int | slice) -> PlannerInput | Self:
        if isinstance(row, slice):
            return type(self)(self._path, self._offsets[row], self._lines[row])
        with self._path.open("rb") as stream:
            return self._read(stream, row)

    def __iter__(self) -> Iterator[PlannerInput]:
        with self._path.open("rb") as stream:
            for row in range(len(self)):
                yield self._read(stream, row)

    def take(self, rows: NDArray[np.integer]) -> Self:
        """The inputs of the given rows, in the given order."""
        return type(self)(self._path, self._offsets[rows], self._lines[rows])

    def _read(self, stream: Any, row: int) -> PlannerInput:
        stream.seek(self._offsets[row])
        example = jsonio.read(stream.readline(), DatasetExample, str(self._path), int(self._lines[row]))
        return example.planner_input


@dataclass(frozen=True)
class Dataset:
    """A dataset directory, loaded. ``raw_meta`` is ``meta.json`` with every key it has."""

    directory: Path
    meta: DatasetMeta
    raw_meta: dict[str, Any]
    encoder: EncoderConfig
    action_space: ActionSpace
    everything: Examples
    split_of: NDArray[np.int8]
    _splits: dict[str, Examples] = field(default_factory=dict, repr=False, compare=False)

    def split(self, name: str) -> Examples:
        """The examples of ``train``, ``val`` or ``test``; may be empty. KeyError for any other name.

        They are to be read only: a split that stands in one piece, as where splits are by time, is not copied.
        """
        if name not in self._splits:
            if name not in SPLITS:
                raise KeyError(name)
            rows = np.flatnonzero(self.split_of == SPLITS.index(name))
            if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
                self._splits[name] = self.everything.between(int(rows[0]), int(rows[-1]) + 1)
            else:
                self._splits[name] = self.everything.take(rows)
        return self._splits[name]

    def with_rows(self, name: str, rows: NDArray[np.integer]) -> Dataset:
        """The dataset with one more split: copies of the given rows of ``everything``, under a name of its own."""
        if name in SPLITS:
            raise ValueError(f"'{name}' is a split of every dataset")
        return replace(self, _splits={**self._splits, name: self.everything.take(rows)})


def load_dataset(
    directory: Path,
    encoder: EncoderConfig | None = None,
    *,
    progress: Progress | None = None,
    cache: bool = True,
) -> Dataset:
    """Load and check a dataset directory.

    Raises :class:`DataError` with file, line and JSON path for anything that breaks the contract: a line that does not
    fit, a label outside the request's action space or forbidden by its rules, counts or a hash that do not agree with
    ``meta.json``.
    """
    directory = Path(directory)
    encoder = encoder or EncoderConfig()
    meta, raw_meta = read_meta(directory)
    actual = dataset_hash(directory, progress)
    space = ActionSpace()

    def encode(into: Path) -> None:
        encode_dataset(directory, encoder, space, into, meta.example_count, progress)
        if meta.dataset_hash == actual:
            _check_counts(directory, meta, np.load(into / "split.npy", mmap_mode="r"))

    if meta.dataset_hash != actual:
        # A line that was edited by hand may be wrong as well, and its own message says more than that of a hash.
        passing_arrays(encode)
        raise DataError(
            str(directory / "meta.json"),
            path="$.dataset_hash",
            found=meta.dataset_hash[:16] + "...",
            expected=f"{actual[:16]}..., the hash of the files beside it (they have changed since it was written)",
        )
    place = directory / ENCODED / _cache_key(actual, encoder)
    arrays = cached_arrays(place, encode) if cache else passing_arrays(encode)
    _check_counts(directory, meta, arrays["split"])
    return Dataset(
        directory, meta, raw_meta, encoder, space, _examples(directory, arrays, encoder.d_in), arrays["split"]
    )


def read_meta(directory: Path) -> tuple[DatasetMeta, dict[str, Any]]:
    """``meta.json`` as a checked struct and as the raw dict; a ``meta_hash`` that does not fit is a :class:`DataError`.

    It protects what decides about money: the utility weights, the ceiling, the floor.
    """
    path = directory / "meta.json"
    if not directory.is_dir():
        raise DataError(str(directory), expected="a dataset directory (dataset.jsonl and meta.json)")
    meta = jsonio.read_file(path, DatasetMeta)
    if meta.schema_version != DATASET_SCHEMA:
        raise DataError(
            str(path), path="$.schema_version", found=f'"{meta.schema_version}"', expected=f'"{DATASET_SCHEMA}"'
        )
    raw_meta: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    if meta.meta_hash is None:
        logger.info("%s has no meta_hash, as in older datasets: a change of it would go unnoticed", path)
    elif meta.meta_hash != (actual := meta_hash(raw_meta)):
        raise DataError(
            str(path),
            path="$.meta_hash",
            found=meta.meta_hash[:16] + "...",
            expected=f"{actual[:16]}..., the hash of the rest of the file (it has changed since it was written)",
        )
    return meta, raw_meta


def _cache_key(data_hash: str, encoder: EncoderConfig) -> str:
    text = f"{CACHE_FORMAT}:{data_hash}:".encode() + jsonio.canonical(encoder)
    return hashlib.sha256(text).hexdigest()[:24]


def _check_counts(directory: Path, meta: DatasetMeta, split: NDArray[np.int8]) -> None:
    counts = {name: int((split == i).sum()) for i, name in enumerate(SPLITS)}
    given = {name: meta.split_counts.get(name, 0) for name in SPLITS}
    for path, found, expected in (
        ("$.example_count", meta.example_count, len(split)),
        ("$.split_counts", given, counts),
    ):
        if found != expected:
            raise DataError(
                str(directory / "meta.json"), path=path, found=str(found), expected=f"{expected}, as dataset.jsonl has"
            )


def _examples(directory: Path, arrays: Arrays, d_in: int) -> Examples:
    def wide(name: str) -> NDArray[np.int64]:
        return arrays[name].astype(np.int64)

    outcomes = Outcomes(*(arrays[name] for name in OUTCOME_ARRAYS)) if OUTCOME_ARRAYS[0] in arrays else None
    return Examples(
        SparseFeatures(arrays["indices"], arrays["starts"], d_in, arrays.get("figures")),
        wide("job_type"),
        wide("labels"),
        wide("action"),
        wide("priority"),
        outcomes,
        LazyInputs(directory / "dataset.jsonl", arrays["offsets"], arrays["lines"]),
        executed_arrays(arrays),
    )
