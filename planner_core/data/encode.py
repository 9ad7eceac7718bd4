"""Encoding a dataset file: every line checked once and written as rows of ``.npy`` files, a few lines in memory.

Files: ``indices`` and ``starts`` are the sparse features (:class:`planner_core.SparseFeatures`), and ``figures``
float32 [n, 19] their numbers, where the encoder has any; ``offsets`` and ``lines`` say where in ``dataset.jsonl`` an
example stands; ``labels`` int8 [n, 4] are head classes, ``action`` int16 the joint class of the label; ``job_type``,
``priority`` and ``split`` int8 index their lists of names; and, where outcomes are known, ``passed``, ``minutes`` and
``cost_usd`` float32 [n, 150].
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import numpy as np

from planner_core import jsonio
from planner_core.action_space import Action, ActionEncoder, ActionSpace, job_type_index, obeys
from planner_core.contracts import DatasetExample, Split
from planner_core.data.executed_rows import ExecutedRows
from planner_core.data.npy import Columns, NpyWriter, NpzMember
from planner_core.data.writer import DATASET_FILE, OUTCOMES_FILE, UNREADABLE
from planner_core.encoder import PRIORITIES, EncoderConfig, PlannerInputEncoder
from planner_core.errors import DataError
from planner_core.examples import OUTCOME_ARRAYS

SPLIT_NAMES: tuple[Split, ...] = get_args(Split)
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""

_ROWS_AT_ONCE = 512


def encode_dataset(
    directory: Path,
    config: EncoderConfig,
    space: ActionSpace,
    into: Path,
    expected: int,
    progress: Progress | None = None,
) -> None:
    """Write the arrays of ``directory`` into the empty directory ``into``; raises :class:`DataError` for a bad line."""
    path = directory / DATASET_FILE
    known_outcomes = directory / OUTCOMES_FILE
    with ExitStack() as stack:
        rows = _Rows(into, config, space, path, stack)
        executed = ExecutedRows(into, path, stack)
        counterfactual = None if known_outcomes.exists() else _Counterfactual(into, space, path, stack)
        with path.open("rb") as stream:
            offset = 0
            for number, line in enumerate(stream, 1):
                begin, offset = offset, offset + len(line)
                if not line.strip():
                    continue
                example = jsonio.read(line, DatasetExample, str(path), number)
                rows.add(example, begin, number)
                executed.add(example, number)
                if counterfactual is not None:
                    counterfactual.add(example, number)
                if rows.count % _ROWS_AT_ONCE == 0:
                    rows.flush()
                    executed.flush()
                    if progress:
                        progress("encoding", rows.count, expected)
        if not rows.count:
            raise DataError(str(path), found="an empty file", expected="at least one example")
        rows.flush()
        executed.flush()
        if progress:
            progress("encoding", rows.count, rows.count)
    executed.forget_if_empty()
    if counterfactual is None:
        _copy_outcomes(known_outcomes, (rows.count, len(space.actions)), into)


class _Rows:
    """The arrays every example has a row in."""

    def __init__(self, into: Path, config: EncoderConfig, space: ActionSpace, path: Path, stack: ExitStack) -> None:
        narrow = config.d_in <= np.iinfo(np.uint16).max
        kinds: dict[str, tuple[Any, tuple[int, ...]]] = {
            "indices": (np.uint16 if narrow else np.uint32, ()),
            "starts": (np.int64, ()),
            "offsets": (np.int64, ()),
            "lines": (np.int64, ()),
            "labels": (np.int8, (4,)),
            "action": (np.int16, ()),
            "job_type": (np.int8, ()),
            "priority": (np.int8, ()),
            "split": (np.int8, ()),
            **({"figures": (np.float32, (config.n_figures,))} if config.n_figures else {}),
        }
        self._columns = Columns(into, kinds, stack)
        self._columns.append(starts=0)
        self._end = self.count = 0
        self._encoder, self._checker = PlannerInputEncoder(config), _LabelChecker(path, space)

    def add(self, example: DatasetExample, offset: int, line: int) -> None:
        """Check and encode one example."""
        x = example.planner_input
        labels, action = self._checker.check(example, line)
        on = self._encoder.positions(x)
        self._end += len(on)
        self.count += 1
        self._columns.extend(indices=on)
        self._columns.append(
            starts=self._end,
            offsets=offset,
            lines=line,
            labels=labels,
            action=action,
            job_type=job_type_index(x.job_type),
            priority=PRIORITIES.index(x.issue.dk_priority),
            split=SPLIT_NAMES.index(example.split),
        )
        if self._encoder.config.n_figures:
            self._columns.append(figures=self._encoder.figures(x))

    def flush(self) -> None:
        """Write what was added since."""
        self._columns.flush()


class _LabelChecker:
    """A label must be in the request's action space, in ours, and obey both sets of rules."""

    def __init__(self, path: Path, space: ActionSpace) -> None:
        self._path, self._space, self._encoder = str(path), space, ActionEncoder(space)

    def check(self, example: DatasetExample, line: int) -> tuple[tuple[int, ...], int]:
        """Head classes and joint class of the label."""
        label, request = example.label_action, example.planner_input.action_space
        try:
            encoded = self._encoder.encode_label(label)
        except DataError as problem:
            path = "$.label_action" + problem.path.removeprefix("$")
            raise DataError(self._path, line=line, path=path, found=problem.found, expected=problem.expected) from None
        budgets = label.budgets
        action = Action(label.swarm_id, budgets.max_candidates_bin, budgets.max_minutes_bin, budgets.max_iterations_bin)
        allowed: tuple[tuple[Any, ...], ...] = (
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


class _Counterfactual:
    """Outcomes that stand with the examples, as ``candidates``. Nothing is written before the first one comes."""

    def __init__(self, into: Path, space: ActionSpace, path: Path, stack: ExitStack) -> None:
        self._into, self._space, self._path, self._stack = into, space, str(path), stack
        self._writers: list[NpyWriter] = []
        self._rows = 0

    def add(self, example: DatasetExample, line: int) -> None:
        """One example, with candidates or without."""
        if example.candidates and not self._writers:
            self._writers = [
                self._stack.enter_context(
                    NpyWriter(self._into / f"{name}.npy", np.float32, (len(self._space.actions),))
                )
                for name in OUTCOME_ARRAYS
            ]
            for begin in range(0, self._rows, _ROWS_AT_ONCE):
                unknown = np.full((min(_ROWS_AT_ONCE, self._rows - begin), len(self._space.actions)), np.nan)
                for writer in self._writers:
                    writer.append(unknown)
        self._rows += 1
        if not self._writers:
            return
        passed, minutes, cost = np.full((3, 1, len(self._space.actions)), np.nan, np.float32)
        for candidate in example.candidates or ():
            joint = self._space.index.get(Action(*candidate.action))
            if joint is None:
                raise DataError(
                    self._path,
                    line=line,
                    path="$.candidates[...].action",
                    found="(" + ", ".join(map(str, candidate.action)) + ")",
                    expected="an action of the default action space",
                )
            outcome = candidate.outcome
            passed[0, joint] = float(outcome.all_gates_passed)
            minutes[0, joint] = outcome.duration_ms / 60_000
            cost[0, joint] = np.nan if outcome.cost_usd is None else outcome.cost_usd
        for writer, values in zip(self._writers, (passed, minutes, cost), strict=True):
            writer.append(values)


def _copy_outcomes(path: Path, shape: tuple[int, int], into: Path) -> None:
    """The arrays of ``outcomes.npz`` as files that can be mapped."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: NpzMember(archive, name) for name in OUTCOME_ARRAYS}
            for name, member in members.items():
                if member.shape != shape:
                    raise DataError(str(path), path=name, found=f"shape {member.shape}", expected=f"shape {shape}")
                with NpyWriter(into / f"{name}.npy", np.float32, shape[1:]) as writer:
                    for rows in member.chunks():
                        writer.append(rows)
    except DataError:
        raise
    except UNREADABLE as problem:
        raise DataError(str(path), expected=f"the arrays {', '.join(OUTCOME_ARRAYS)} ({problem})") from None
