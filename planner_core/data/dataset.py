"""Reading a dataset directory: every line checked once, encoded once, and kept as memory-mapped arrays.

The arrays are cached beside the dataset in ``.encoded/``, under the hash of the data and of the encoder, so that a
second load costs a hash and a few ``mmap`` calls whatever the number of examples.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.action_space import (
    JOB_TYPES,
    Action,
    ActionEncoder,
    ActionSpace,
    job_type_index,
    obeys,
)
from planner_core.contracts import DATASET_SCHEMA, DatasetExample, DatasetMeta, PlannerInput, Split
from planner_core.data.writer import dataset_hash
from planner_core.encoder import PRIORITIES, EncoderConfig, PlannerInputEncoder
from planner_core.errors import DataError, PlannerError
from planner_core.files import new_directory
from planner_core.policy import Batch, SparseFeatures

SPLITS: tuple[Split, ...] = get_args(Split)
OUTCOME_ARRAYS = ("passed", "minutes", "cost_usd")
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""

CACHE_FORMAT = 1
_PROGRESS_STEP = 512


@dataclass(frozen=True)
class Outcomes:
    """Known outcomes of every joint class, float32 [n, n_joint] each, NaN where unknown.

    ``passed`` is a probability or 0/1, ``minutes`` wall-clock minutes, ``cost_usd`` US dollars.
    """

    passed: NDArray[np.float32]
    minutes: NDArray[np.float32]
    cost_usd: NDArray[np.float32]


class LazyInputs(Sequence[PlannerInput]):
    """Planner inputs read from the dataset file when they are asked for; holds offsets, not objects."""

    def __init__(self, path: Path, offsets: NDArray[np.int64], lines: NDArray[np.int64]) -> None:
        self._path, self._offsets, self._lines = path, offsets, lines

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, row: int) -> PlannerInput: ...
    @overload
    def __getitem__(self, row: slice) -> LazyInputs: ...
    def __getitem__(self, row: int | slice) -> PlannerInput | LazyInputs:
        if isinstance(row, slice):
            return LazyInputs(self._path, self._offsets[row], self._lines[row])
        with self._path.open("rb") as stream:
            return self._read(stream, row)

    def __iter__(self) -> Iterator[PlannerInput]:
        with self._path.open("rb") as stream:
            for row in range(len(self)):
                yield self._read(stream, row)

    def take(self, rows: NDArray[np.integer]) -> LazyInputs:
        """The inputs of the given rows, in the given order."""
        return LazyInputs(self._path, self._offsets[rows], self._lines[rows])

    def _read(self, stream: Any, row: int) -> PlannerInput:
        stream.seek(self._offsets[row])
        example = jsonio.read(stream.readline(), DatasetExample, str(self._path), int(self._lines[row]))
        return example.planner_input


@dataclass(frozen=True)
class Examples:
    """n examples as arrays.

    ``job_type`` int64 [n] indexes JOB_TYPES; ``labels`` int64 [n, 4] head classes; ``action`` int64 [n] joint class
    of the label; ``priority`` int64 [n] indexes P0..P3; ``outcomes`` None where the dataset has none.
    """

    features: SparseFeatures
    job_type: NDArray[np.int64]
    labels: NDArray[np.int64]
    action: NDArray[np.int64]
    priority: NDArray[np.int64]
    outcomes: Outcomes | None = None
    inputs: LazyInputs | None = None

    def __len__(self) -> int:
        return len(self.job_type)

    def batch(self, rows: NDArray[np.integer] | None = None) -> Batch:
        """The given rows (all by default) as a policy sees them."""
        if rows is None:
            return Batch(self.features, self.job_type, self.inputs)
        inputs = self.inputs.take(rows) if self.inputs is not None else None
        return Batch(self.features.take(rows), self.job_type[rows], inputs)

    def take(self, rows: NDArray[np.integer]) -> Examples:
        """The given rows, in the given order."""
        outcomes = self.outcomes
        return Examples(
            self.features.take(rows),
            self.job_type[rows],
            self.labels[rows],
            self.action[rows],
            self.priority[rows],
            Outcomes(*(getattr(outcomes, name)[rows] for name in OUTCOME_ARRAYS)) if outcomes else None,
            self.inputs.take(rows) if self.inputs is not None else None,
        )


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

    @cached_property
    def _splits(self) -> dict[str, Examples]:
        return {name: self.everything.take(np.flatnonzero(self.split_of == i)) for i, name in enumerate(SPLITS)}

    def split(self, name: str) -> Examples:
        """The examples of ``train``, ``val`` or ``test``; may be empty."""
        return self._splits[name]


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
    actual = dataset_hash(directory)
    space = ActionSpace()
    if meta.dataset_hash != actual:
        # A line that was edited by hand may be wrong as well, and its own message says more than that of a hash.
        _encode(directory, encoder, space, meta.example_count, progress)
        raise DataError(
            str(directory / "meta.json"),
            path="$.dataset_hash",
            found=meta.dataset_hash[:16] + "...",
            expected=f"{actual[:16]}..., the hash of the files beside it (they have changed since it was written)",
        )
    arrays = None
    place = directory / ".encoded" / _cache_key(actual, encoder)
    if cache and place.is_dir():
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(place.glob("*.npy"))}
        _check_counts(directory, meta, arrays["split"])
    if not arrays:
        arrays = _encode(directory, encoder, space, meta.example_count, progress)
        _check_counts(directory, meta, arrays["split"])
        if cache:
            arrays = _store(place, arrays)
    return Dataset(
        directory, meta, raw_meta, encoder, space, _examples(directory, arrays, encoder.d_in), arrays["split"]
    )


def read_meta(directory: Path) -> tuple[DatasetMeta, dict[str, Any]]:
    """``meta.json`` as a checked struct and as the raw dict."""
    path = directory / "meta.json"
    if not directory.is_dir():
        raise DataError(str(directory), expected="a dataset directory (dataset.jsonl and meta.json)")
    meta = jsonio.read_file(path, DatasetMeta)
    if meta.schema_version != DATASET_SCHEMA:
        raise DataError(
            str(path), path="$.schema_version", found=f'"{meta.schema_version}"', expected=f'"{DATASET_SCHEMA}"'
        )
    return meta, msgspec.json.decode(path.read_bytes())


def _cache_key(data_hash: str, encoder: EncoderConfig) -> str:
    text = f"{CACHE_FORMAT}:{data_hash}:".encode() + jsonio.canonical(encoder)
    return hashlib.sha256(text).hexdigest()[:24]


def _store(place: Path, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Write the arrays and return them memory-mapped; where the disk refuses, keep them in memory."""
    try:
        with new_directory(place, replace=True) as made:
            for name, values in arrays.items():
                np.save(made / f"{name}.npy", values)
    except (OSError, PlannerError):  # a read-only dataset directory costs time at the next load, nothing else
        return arrays
    return {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in arrays}


def _encode(
    directory: Path, config: EncoderConfig, space: ActionSpace, expected: int, progress: Progress | None
) -> dict[str, NDArray[Any]]:
    path = directory / "dataset.jsonl"
    encoder = PlannerInputEncoder(config)
    narrow = config.d_in <= np.iinfo(np.uint16).max
    indices = array("H" if narrow else "I")
    starts, offsets, lines = array("q", [0]), array("q"), array("q")
    columns = {name: array("b") for name in ("job_type", "priority", "split")}
    labels, actions = array("b"), array("h")
    candidates: dict[int, Any] = {}
    offset = 0
    checker = _LabelChecker(path, space)
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            begin, offset = offset, offset + len(line)
            if not line.strip():
                continue
            example = jsonio.read(line, DatasetExample, str(path), number)
            head_classes, joint = checker.check(example, number)
            indices.extend(encoder.positions(example.planner_input))
            starts.append(len(indices))
            offsets.append(begin)
            lines.append(number)
            columns["job_type"].append(job_type_index(example.planner_input.job_type))
            columns["priority"].append(PRIORITIES.index(example.planner_input.issue.dk_priority))
            columns["split"].append(SPLITS.index(example.split))
            labels.extend(head_classes)
            actions.append(joint)
            if example.candidates:
                candidates[len(lines) - 1] = example.candidates
            if progress and len(lines) % _PROGRESS_STEP == 0:
                progress("encoding", len(lines), expected)
    if not lines:
        raise DataError(str(path), found="an empty file", expected="at least one example")
    if progress:
        progress("encoding", len(lines), len(lines))
    arrays: dict[str, NDArray[Any]] = {
        "indices": np.array(indices),
        "starts": np.array(starts),
        "offsets": np.array(offsets),
        "lines": np.array(lines),
        "labels": np.array(labels).reshape(-1, 4),
        "action": np.array(actions),
        **{name: np.array(values) for name, values in columns.items()},
    }
    return arrays | _outcome_arrays(directory, candidates, arrays["lines"], space)


class _LabelChecker:
    """A label must be in the request's action space, in ours, and obey both sets of rules."""

    def __init__(self, path: Path, space: ActionSpace) -> None:
        self._path, self._space, self._encoder = str(path), space, ActionEncoder(space)

    def check(self, example: DatasetExample, line: int) -> tuple[tuple[int, ...], int]:
        label, request = example.label_action, example.planner_input.action_space
        try:
            encoded = self._encoder.encode_label(label)
        except DataError as problem:
            path = "$.label_action" + problem.path.removeprefix("$")
            raise DataError(self._path, line=line, path=path, found=problem.found, expected=problem.expected) from None
        budgets = label.budgets
        action = Action(label.swarm_id, budgets.max_candidates_bin, budgets.max_minutes_bin, budgets.max_iterations_bin)
        allowed: tuple[list[Any], ...] = (
            request.swarm_ids,
            request.max_candidates_bins,
            request.max_minutes_bins,
            request.max_iterations_bins,
        )
        for value, choices in zip(action, allowed, strict=True):
            if value not in choices:
                self._refuse(line, action, f"an action of its own action space ({', '.join(map(str, choices))})")
        job_type = example.planner_input.job_type
        if not obeys(action, job_type) or not obeys(action, job_type, request.validity_rules):
            self._refuse(line, action, f"an action the validity rules allow for job type {job_type}")
        joint = self._encoder.joint_index(encoded)
        assert joint is not None  # obeys() holds, so the action is one of the joint classes
        return tuple(encoded), joint

    def _refuse(self, line: int, action: Action, expected: str) -> None:
        found = "(" + ", ".join(map(str, action)) + ")"
        raise DataError(self._path, line=line, path="$.label_action", found=found, expected=expected)


def _outcome_arrays(
    directory: Path, candidates: dict[int, Any], lines: NDArray[np.int64], space: ActionSpace
) -> dict[str, NDArray[Any]]:
    path = directory / "outcomes.npz"
    shape = (len(lines), len(space.actions))
    if path.exists():
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name].astype(np.float32, copy=False) for name in OUTCOME_ARRAYS}
        except (OSError, ValueError, KeyError) as problem:
            raise DataError(str(path), expected=f"the arrays {', '.join(OUTCOME_ARRAYS)} ({problem})") from None
        for name, values in arrays.items():
            if values.shape != shape:
                raise DataError(str(path), path=name, found=f"shape {values.shape}", expected=f"shape {shape}")
        return arrays
    if not candidates:
        return {}
    arrays = {name: np.full(shape, np.nan, np.float32) for name in OUTCOME_ARRAYS}
    for row, tried in candidates.items():
        for candidate in tried:
            joint = space.index.get(Action(*candidate.action))
            if joint is None:
                found = "(" + ", ".join(map(str, candidate.action)) + ")"
                raise DataError(
                    str(directory / "dataset.jsonl"),
                    line=int(lines[row]),
                    path="$.candidates[...].action",
                    found=found,
                    expected="an action of the default action space",
                )
            outcome = candidate.outcome
            arrays["passed"][row, joint] = float(outcome.all_gates_passed)
            arrays["minutes"][row, joint] = outcome.duration_ms / 60_000
            arrays["cost_usd"][row, joint] = np.nan if outcome.cost_usd is None else outcome.cost_usd
    return arrays


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


def _examples(directory: Path, arrays: dict[str, NDArray[Any]], d_in: int) -> Examples:
    def wide(name: str) -> NDArray[np.int64]:
        return arrays[name].astype(np.int64)

    outcomes = Outcomes(*(arrays[name] for name in OUTCOME_ARRAYS)) if OUTCOME_ARRAYS[0] in arrays else None
    return Examples(
        SparseFeatures(arrays["indices"], arrays["starts"], d_in),
        wide("job_type"),
        wide("labels"),
        wide("action"),
        wide("priority"),
        outcomes,
        LazyInputs(directory / "dataset.jsonl", arrays["offsets"], arrays["lines"]),
    )


def describe(dataset: Dataset) -> dict[str, Any]:
    """What ``planner data info`` shows: sizes, label and job-type distribution, what is known of outcomes."""
    everything = dataset.everything
    names = [", ".join(map(str, action)) for action in dataset.action_space.actions]
    labels, counts = np.unique(everything.action, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    on = np.diff(everything.features.starts)
    jobs = np.bincount(everything.job_type, minlength=len(JOB_TYPES))
    return {
        "directory": str(dataset.directory),
        "dataset_hash": dataset.meta.dataset_hash,
        "label_source": dataset.meta.label_source,
        "example_count": len(everything),
        "split_counts": {name: int((dataset.split_of == i).sum()) for i, name in enumerate(SPLITS)},
        "job_types": {name: int(n) for name, n in zip(JOB_TYPES, jobs, strict=True) if n},
        "features_on": {"mean": float(on.mean()), "max": int(on.max()), "d_in": dataset.encoder.d_in},
        "distinct_labels": len(labels),
        "labels": {names[labels[i]]: int(counts[i]) for i in order},
        "has_outcomes": everything.outcomes is not None,
        "ceiling": dataset.meta.ceiling,
        "floor": dataset.meta.floor,
    }
