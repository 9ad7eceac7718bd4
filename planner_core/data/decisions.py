"""Reading decision logs: the parts of a log in their order, torn lines counted and left out.

A log may be written while it is read. What is read is what was there when reading began: the file that was open then,
even if it was set aside meanwhile, and the parts that had been set aside before.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
from msgspec import Meta, Struct

from planner_core.bounds import MAX_PROPENSITIES
from planner_core.contracts import Label, ModelIdentity, NonNegative, Probability, Text, Timestamp
from planner_core.data.lines import opened_lines
from planner_core.errors import DataError
from planner_core.jsonio import read
from planner_core.runtime.decision_log import set_aside
from planner_core.system import open_input


class Expected(Struct, gc=False):
    """What a model predicted of an action."""

    passed: float
    minutes: float
    cost_usd: float


class ExpectedOfBoth(Struct, gc=False):
    """Of the action that was decided and of the baseline's."""

    action: Expected | None = None
    baseline: Expected | None = None


class RolloutOptions(Struct, gc=False):
    """How much of the work the model decided."""

    share: Probability
    explore: Probability
    salt: Text
    explore_within: NonNegative


class LoggedDecision(Struct, gc=False):
    """One line of a decision log without the input it was made of (:func:`input_of`); unknown keys are ignored."""

    schema_version: Literal["swarm_planner.decision.v1"]
    decision_id: Text
    time: Timestamp
    issue_id: Text
    job_type: Text
    input_hash: Text
    mode: Text
    rollout: RolloutOptions
    arm: Literal["baseline", "model", "explore"]
    action: Label
    propensity: Probability | None
    propensities: Annotated[dict[Text, Probability], Meta(max_length=MAX_PROPENSITIES)]
    confidence: Probability | None = None
    expected: ExpectedOfBoth | None = None
    reason: str | None = None
    model: ModelIdentity | None = None

    @property
    def at_ms(self) -> int:
        """When it was decided, in Unix milliseconds."""
        return round(self.time.timestamp() * 1000)

    @property
    def bins(self) -> tuple[Any, ...]:
        """The action: swarm, candidates, minutes, iterations."""
        return (self.action.swarm_id, *msgspec.structs.astuple(self.action.budgets))


class _Given(Struct):
    planner_input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def input_of(line: bytes) -> bytes | None:
    """The ``planner_input`` of a line of a log, as JSON; None for a line without one."""
    found = msgspec.json.decode(line, type=_Given).planner_input
    return None if isinstance(found, msgspec.UnsetType) or bytes(found) == b"null" else bytes(found)


class DecisionReader:
    """The decisions of a log with its earlier parts; ``torn`` counts the lines that were not written to their end.

    ``on_damaged`` is told of every line that is whole and no decision, which is then left out; without it the first one
    is raised.
    """

    def __init__(self, path: Path, on_damaged: Callable[[DataError], None] | None = None) -> None:
        self.path, self.torn, self._on_damaged = path, 0, on_damaged
        self._current: os.stat_result | None = None

    def __iter__(self) -> Iterator[LoggedDecision]:
        """All of them, in the order of the log.

        Raises DataError for a log that cannot be read and for a line that is no decision, with its place.
        """
        for decision, _ in self.lines():
            yield decision

    def lines(self) -> Iterator[tuple[LoggedDecision, bytes]]:
        """The same, each with its line."""
        for part, stream in self._parts():
            yield from self._read(part, stream)

    def last(self, count: int) -> list[LoggedDecision]:
        """The newest ``count``, oldest first; no more parts are read than that takes, and no more is held."""
        found: deque[LoggedDecision] = deque()
        for part, stream in reversed(self._parts()):
            newest = deque(self._read(part, stream), maxlen=count - len(found))
            found.extendleft(decision for decision, _ in reversed(newest))
            if len(found) >= count:
                break
        return list(found)

    def _parts(self) -> list[tuple[Path, BinaryIO | None]]:
        """The earlier parts, and the log itself with what was opened as it (None: open it by its name)."""
        path = Path(os.path.realpath(self.path))
        try:
            # First, for it may be set aside at any moment: then it is known among the parts by what it is.
            stream = open_input(path)
        except OSError as problem:
            if not isinstance(problem, FileNotFoundError) or not path.parent.is_dir() or not set_aside(path):
                raise DataError(str(self.path), expected=f"a readable decision log ({problem.strerror})") from None
            return [(part, None) for part in set_aside(path)]
        self._current = os.fstat(stream.fileno())
        return [*((part, None) for part in set_aside(path)), (self.path, stream)]

    def _read(self, path: Path, stream: BinaryIO | None) -> Iterator[tuple[LoggedDecision, bytes]]:
        if stream is None:
            try:
                stream = open_input(path)
            except OSError as problem:
                raise DataError(str(path), expected=f"a readable file ({problem.strerror})") from None
            if self._current is not None and os.path.samestat(os.fstat(stream.fileno()), self._current):
                stream.close()  # it was set aside since reading began, and is read as the log itself
                return
        opened = stream
        for line, raw in opened_lines(path, lambda: opened):
            if _is_torn(raw):
                self.torn += 1
                continue
            try:
                decision = read(raw, LoggedDecision, str(path), line)
            except DataError as problem:
                if self._on_damaged is None:
                    raise
                self._on_damaged(problem)
                continue
            yield decision, raw


def _is_torn(raw: bytes) -> bool:
    """Whether a line is the beginning of a decision that never came to its end."""
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except msgspec.DecodeError:
        return raw.lstrip().startswith(b"{")
    except RecursionError:
        return False  # whole or not, it is no decision: what reads it says so, with its place
    return False
