"""The runs of a log in a file: a million of them need no more memory than a few numbers each."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import system
from planner_core.action_space import Action
from planner_core.contracts import Bin, ExecutedRun, RunSummary
from planner_core.data.joining import Decision


class Run(NamedTuple):
    """One run of a known issue. ``propensities`` is its logging distribution as JSON.

    ``label`` is what was executed on the bins; where several actions were tried, the one that won.
    ``decision`` is the one that led to it, where decision logs were read and have it.
    """

    summary: RunSummary
    history: msgspec.Raw
    label: Action
    executed: ExecutedRun
    propensities: msgspec.Raw | None
    decision: Decision | None = None


def executed_run(summary: RunSummary, propensity: float | None, *, passed: bool, evidence: bool) -> ExecutedRun:
    """What was run, and what came of it, as an example has it."""
    action = summary.action_executed
    return ExecutedRun(
        action=(action.swarm_id, action.max_candidates, action.max_minutes, action.max_iterations),
        status=summary.outcome.status,
        passed=passed,
        duration_ms=summary.runtime.duration_ms,
        cost_usd=summary.cost_usd_est,
        fail_codes=summary.outcome.fail_codes,
        propensity=propensity,
        candidates=summary.candidates,
        evidence=evidence,
    )


class _Record(msgspec.Struct, array_like=True, gc=False):
    """A run as the file holds it, but its history, which lies before it, and its decision."""

    summary: RunSummary
    label: tuple[str, Bin, Bin, Bin]
    propensity: float | None
    passed: bool
    evidence: bool
    propensities: bytes | None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Record)


class RunStore:
    """Runs by number, from 0 in the order in which they were added; each is decoded when it is asked for.

    They lie in a file without a name in the directory ``scratch``, else in that of the system for such files, which is
    gone when the store is closed. Not safe to share between threads.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  # closed with the store
        self._end = self._readable = 0
        # Of each run: where its history begins, how many bytes that has, and how many the rest, which follows it.
        self._starts, self._histories, self._rests = array("q"), array("q"), array("q")
        self._decisions: dict[int, Decision] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Run]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Run:
        start, history, rest = self._starts[number], self._histories[number], self._rests[number]
        content = self._read(start, history + rest)
        record = _DECODER.decode(memoryview(content)[history:])
        summary = record.summary
        return Run(
            summary,
            msgspec.Raw(content[:history]),
            Action(*record.label),
            executed_run(summary, record.propensity, passed=record.passed, evidence=record.evidence),
            None if record.propensities is None else msgspec.Raw(record.propensities),
            self._decisions.get(number),
        )

    def history(self, number: int) -> msgspec.Raw:
        """A run's JSON as history shows it."""
        return msgspec.Raw(self._read(self._starts[number], self._histories[number]))

    def add(self, run: Run) -> int:
        """Takes in a run; returns its number."""
        number = len(self)
        for column in (self._starts, self._histories, self._rests):
            column.append(0)
        self.replace(number, run)
        return number

    def replace(self, number: int, run: Run) -> None:
        """Puts a run in the place of another."""
        executed = run.executed
        record = _Record(
            run.summary,
            run.label,
            executed.propensity,
            executed.passed,
            executed.evidence,
            None if run.propensities is None else bytes(run.propensities),
        )
        history, rest = bytes(run.history), _ENCODER.encode(record)
        self._file.write(history)
        self._file.write(rest)
        self._starts[number], self._histories[number], self._rests[number] = self._end, len(history), len(rest)
        self._end += len(history) + len(rest)
        if run.decision is not None:
            self._decisions[number] = run.decision

    def arrange(self, order: NDArray[np.int64]) -> None:
        """Numbers the runs anew: run ``i`` is what was ``order[i]``, an int64 [runs] of all numbers."""
        for column in (self._starts, self._histories, self._rests):
            column[:] = array("q", np.frombuffer(column, np.int64)[order].tobytes())
        if self._decisions:
            numbers = {old: new for new, old in enumerate(order.tolist())}
            self._decisions = {numbers[old]: decision for old, decision in self._decisions.items()}

    def _read(self, start: int, length: int) -> bytes:
        if start + length > self._readable:
            self._file.flush()
            self._readable = self._end
        return system.read_part(self._file.fileno(), length, start)
