"""The decision log: one JSON line a decision, from any number of threads and processes.

A line is one ``write`` to a file opened for appending, which the kernel does not mix with another's. It stays when its
process is killed; it is not synced, so that a decision never waits for a disk. Who is killed within a write, or fills
the disk, leaves a torn line: the next one begins on a line of its own, and readers count and skip the torn one.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import threading
import time
import weakref
from pathlib import Path
from typing import NamedTuple

import msgspec

from planner_core import system
from planner_core.contracts import DECISION_SCHEMA, ActionDocument, ExpectedDocument
from planner_core.errors import describe
from planner_core.failures import UNREADABLE, is_foreign
from planner_core.runtime.intake import Request
from planner_core.runtime.reasons import Mode
from planner_core.runtime.rollout import Rollout, action_key
from planner_core.runtime.settling import Settled

logger = logging.getLogger("planner")

LOG_BYTES = 64 << 20
"""Size from which a log is set aside and a new one begun, unless another is given."""
LOOK_S = 1.0
"""Seconds between two looks whether the log is still where it was, and between two tries to open one that cannot be."""

_LOST = "decisions are not logged, and counted as 'unlogged' from now on"
_DIGITS = 6
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | system.NO_WAIT | system.PLAIN
_encode = msgspec.json.Encoder().encode


class Decided(NamedTuple):
    """A decision: its ``planner_action.v1``, how it was settled, its name, and what the model expects of it."""

    action: ActionDocument
    settled: Settled
    decision_id: str = ""
    expected: ExpectedDocument | None = None


def new_decision_id() -> str:
    """32 hexadecimal digits that no other decision has; they begin with the time, in milliseconds."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def set_aside(path: Path) -> list[Path]:
    """The earlier parts of a log, oldest first: ``decisions.jsonl.000001`` and so on."""
    ours = re.compile(re.escape(path.name) + rf"\.(\d{{{_DIGITS},18}})")
    with os.scandir(path.parent) as entries:
        found = [(int(match[1]), entry.name) for entry in entries if (match := ours.fullmatch(entry.name))]
    return [path.with_name(name) for _, name in sorted(found)]


class DecisionLog:
    """Adds decisions to a file. Safe to share between threads and over a fork; several may write to one path.

    A link is followed when it is made. Missing directories are made. What cannot be written fails nothing: it is
    logged once as a warning, and :meth:`add` says so each time.
    """

    def __init__(self, path: str | Path, mode: Mode, rollout: Rollout, max_bytes: int = LOG_BYTES) -> None:
        if not isinstance(path, str | Path):
            raise TypeError(f"log must be the path of a file, not {path!r:.80}")
        if not isinstance(max_bytes, int) or isinstance(max_bytes, bool) or max_bytes < 1:
            raise ValueError(f"log_bytes must be an integer of at least 1, not {max_bytes!r:.80}")
        self.path, self.max_bytes = Path(os.path.realpath(path)), max_bytes
        self._mode, self._rollout = mode, msgspec.Raw(_encode(rollout.document()))
        # Only ever tried, never waited for: who does not get it writes to the file that is open.
        self._upkeep, self._pid = threading.Lock(), os.getpid()
        self._handle: int | None = None
        self._unopened: OSError | None = None
        self._looked, self._warned = time.monotonic(), set[str]()
        try:
            self._open()
        except OSError as problem:
            self._warn(problem, _LOST)

    def add(self, request: Request, decided: Decided) -> bool:
        """Add one decision; whether it is in the log."""
        try:
            self._append(self._line(request, decided))
        except UNREADABLE as problem:  # a reason may repeat a stranger's message, which need not be valid text
            if is_foreign(problem):
                raise
            self._warn(problem, _LOST)
            return False
        return True

    def _line(self, request: Request, decided: Decided) -> bytes:
        action, settled = decided.action, decided.settled
        propensities = settled.propensities or {}
        job_type = request.x.job_type
        given = b'{"created_at":%b,%b' % (_encode(request.created_at), request.rest[1:])
        document = {
            "schema_version": DECISION_SCHEMA,
            "decision_id": decided.decision_id,
            "time": action["created_at"],
            "issue_id": request.x.issue.issue_id,
            "job_type": job_type,
            "input_hash": request.digest,
            "model": action.get("model"),
            "mode": self._mode,
            "rollout": self._rollout,
            "arm": settled.arm,
            "action": {"swarm_id": action["swarm_id"], "budgets": action["budgets"]},
            "confidence": action.get("confidence"),
            "propensity": propensities.get(action_key(settled.action, job_type)),
            "propensities": propensities,
            "expected": decided.expected,
            "reason": action["reason"],
            "planner_input": msgspec.Raw(given),
        }
        return _encode(document) + b"\n"

    def _append(self, line: bytes) -> None:
        handle = self._handle
        if handle is None or time.monotonic() - self._looked > LOOK_S:
            handle = self._look()
        size = os.fstat(handle).st_size
        if size and size + len(line) > self.max_bytes:
            try:
                self._rotate(handle, len(line))
            except OSError as problem:  # better a log that is too long than none
                if is_foreign(problem):
                    raise
                self._warn(problem, "the decision log cannot be set aside, and grows")
            size = os.fstat(handle).st_size
        if size and system.read_part(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # somebody's torn one; or it is being written, and this makes a blank line
        if system.append(handle, line) < len(line):
            raise OSError(errno.ENOSPC, "only a part of a line could be written", str(self.path))

    def _look(self) -> int:
        """The handle of the file that is at the path now, opened anew where it was moved or could not be opened."""
        if self._mine():
            try:
                if self._handle is None and self._unopened is not None:
                    if time.monotonic() - self._looked <= LOOK_S:
                        raise _again(self._unopened)
                    self._open()
                elif self._handle is not None:
                    self._looked = time.monotonic()
                    if not system.is_at(self._handle, self.path):
                        self._open()
            finally:
                self._upkeep.release()
        if self._handle is None:
            raise _again(self._unopened or OSError(errno.EBUSY, "another thread is opening it", str(self.path)))
        return self._handle

    def _rotate(self, handle: int, more: int) -> None:
        """Set a full file aside, unless another thread or process is doing it, and go on with a new one."""
        if not self._mine():
            return
        try:
            if os.fstat(handle).st_size + more <= self.max_bytes:
                return  # another thread has just done it
            if system.is_at(handle, self.path) and not self._set_aside(handle):
                return  # another process is doing it
            self._open()
        finally:
            self._upkeep.release()

    def _set_aside(self, handle: int) -> bool:
        """Rename the file that is open as ``handle``, unless another process holds its lock: False."""
        # Opened once more, for a child of a fork shares our handle, and with it our lock.
        try:
            own = os.open(self.path, os.O_RDONLY | system.NO_WAIT | system.PLAIN)
        except FileNotFoundError:
            return True  # another one has just done it
        try:
            if system.try_lock(own) is False:
                return False
            if os.path.samestat(os.fstat(own), os.fstat(handle)) and system.is_at(own, self.path):
                self._rename()
        finally:
            os.close(own)
        return True

    def _rename(self) -> None:
        name = self._free_name()
        try:
            os.rename(self.path, name)
        except OSError as problem:
            name.unlink()  # the empty file that held the name
            if not isinstance(problem, FileNotFoundError):  # without locks another one may have been faster
                raise

    def _free_name(self) -> Path:
        """A name for a part, taken by an empty file: where there are no locks, nobody's part is written over."""
        number = sum([int(path.suffix[1:]) for path in set_aside(self.path)][-1:]) + 1
        while True:
            name = Path(f"{self.path}.{number:0{_DIGITS}}")
            try:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.PLAIN, 0o666))
            except FileExistsError:
                number += 1
            else:
                return name

    def _mine(self) -> bool:
        """Whether this thread may open and rotate; it then has to release ``_upkeep``."""
        if self._pid != os.getpid():  # a fork may have copied a lock that nobody here will release
            self._upkeep, self._pid = threading.Lock(), os.getpid()
        return self._upkeep.acquire(blocking=False)

    def _open(self) -> None:
        self._looked = time.monotonic()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, _FLAGS, 0o666)
            if not stat.S_ISREG(mode := os.fstat(handle).st_mode):
                os.close(handle)
                raise OSError(errno.EINVAL, f"it is {system.kind_of(mode)}", str(self.path))
        except OSError as problem:
            self._unopened = problem
            raise
        if self._handle is None:
            self._handle = handle
            weakref.finalize(self, os.close, handle)
        else:
            # The number stays: another thread may be about to write to it, and must not find another file there.
            os.dup2(handle, self._handle, inheritable=False)
            os.close(handle)

    def _warn(self, problem: Exception, what: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            said = getattr(problem, "strerror", None) or describe(problem)
            said = f"{self.path}: {said}".encode("utf-8", "backslashreplace").decode()
            logger.warning("%s (%s)", what, said)


def _again(problem: OSError) -> OSError:
    """The same anew: an exception that is raised over and over gathers all its tracebacks."""
    return OSError(problem.errno, problem.strerror, problem.filename)
