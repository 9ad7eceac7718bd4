"""Faults at every step of writing: each step of an operation fails once, or is where the process is killed.

A step is what the file system is asked to do: an open for writing, a write, a sync, a new directory, a rename, an
exchange, a removal, a change of mode. Every walk runs its operation in forked children, so that a kill is a real one.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from planner_core import system
from planner_core.errors import PlannerError

EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.chmod"}
DONE, REFUSED, WRONG = 0, 1, 2
KILLED = -signal.SIGKILL
FAULTS = ("ENOSPC", "EACCES", "kill")


class _Faults:
    """Counts steps below ``root``; the one numbered ``at`` goes wrong, and with a full disk all after it as well."""

    def __init__(self, root: Path, kind: str, at: int) -> None:
        self.root, self.kind, self.at, self.count = str(root), kind, at, 0

    def step(self, what: str) -> None:
        self.count += 1
        # On a full disk things can still be taken away.
        full = self.kind == "ENOSPC" and self.count >= self.at and what not in ("os.remove", "os.rmdir", "os.chmod")
        if not (full or self.count == self.at):
            return
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if full or self.kind == "EACCES":
            code = getattr(errno, self.kind)
            raise OSError(code, os.strerror(code))

    def touches(self, path: object) -> bool:
        return isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(self.root)


def _install(faults: _Faults) -> None:
    def audit(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and faults.touches(args[0]):
            if isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                faults.step("open")
        elif event in EVENTS and faults.touches(args[0]):
            faults.step(event)

    class CountedFile(io.FileIO):
        def write(self, data: object) -> int:  # what reaches the kernel, after all buffers
            view = memoryview(data).cast("B")  # type: ignore[arg-type]
            before = faults.count + 1
            if before == faults.at and len(view) > 1:
                super().write(view[: len(view) // 2])  # a part of it is there when the disk is full or the process ends
            faults.step("write")
            return super().write(data)  # type: ignore[arg-type]

    plain = io.open

    def counted(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        inside = isinstance(file, int) or faults.touches(file)
        if not inside or not set(mode) & set("wax+") or "+" in mode or buffering == 0:
            return plain(file, mode, buffering, encoding, errors, newline, closefd, opener)
        stream = io.BufferedWriter(CountedFile(file, mode.replace("b", "").replace("t", ""), closefd, opener))
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)

    def around(module: object, name: str) -> None:
        original = getattr(module, name)

        def call(*args, **kwargs):
            faults.step(name)
            return original(*args, **kwargs)

        setattr(module, name, call)

    sys.addaudithook(audit)
    io.open = builtins.open = counted
    for name in ("fsync", "pwrite", "ftruncate", "fchmod"):
        around(os, name)
    around(system, "exchange")


def _child(operation: Callable[[], object], root: Path, kind: str, at: int, answer: int) -> None:
    code = WRONG
    try:
        faults = _Faults(root, kind, at)
        _install(faults)
        try:
            operation()
            code = DONE
        except (OSError, PlannerError):
            code = REFUSED
        os.write(answer, str(faults.count).encode())
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def run(operation: Callable[[], object], root: Path, kind: str = "none", at: int = 0) -> tuple[int, int]:
    """Run ``operation`` in a child with one fault: how it ended, and the number of steps it came to."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _child(operation, root, kind, at, write)
    os.close(write)
    with os.fdopen(read) as stream:
        steps = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, int(steps or 0)


def walk(
    make: Callable[[], Path], operation: Callable[[Path], object], check: Callable[[Path, int], None], every: int = 1
) -> dict[str, int]:
    """Let every step of ``operation`` (or one in ``every``) go wrong in every way; returns the tries of each way.

    ``make`` gives a fresh place for each try, ``check(place, how it ended)`` looks at it as a reader would, before the
    operation is tried again without a fault; after that, ``check(place, DONE)``.
    """
    place = make()
    code, steps = run(lambda: operation(place), place)
    assert code == DONE and steps > 3, (code, steps)
    check(place, DONE)
    tries = dict.fromkeys(FAULTS, 0)
    for first, kind in enumerate(FAULTS, 1):
        for at in range(1 + first % every, steps + 1, every):
            place = make()
            code, _ = run(lambda place=place: operation(place), place, kind, at)
            assert code in ((KILLED,) if kind == "kill" else (DONE, REFUSED)), (kind, at, code)
            check(place, REFUSED if code == DONE else code)  # done, but perhaps not tidied up
            code, _ = run(lambda place=place: operation(place), place)
            assert code == DONE, (kind, at, "the next try failed")
            check(place, DONE)
            tries[kind] += 1
    return tries
