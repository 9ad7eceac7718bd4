"""The one boundary at which foreign errors become ours, and signals an orderly end."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from planner_core.cli.usage import PLAIN_ERROR
from planner_core.errors import Interrupted, PlannerError, describe
from planner_core.system import END_SIGNALS, path_of

_HINTS = {
    errno.ENOSPC: "free some room and run the same command again",
    errno.EDQUOT: "free some room and run the same command again",
    errno.ENOTDIR: "a part of the path is a file; expected a directory",
    errno.ELOOP: "its links lead in a circle",
}


@contextmanager
def foreign_errors_as_ours() -> Iterator[None]:
    """Raise what is no error of ours as a :class:`PlannerError` that says it in one line.

    ``SystemExit``, :class:`Interrupted`, wrong usage and a reader that went away (``BrokenPipeError``) pass.
    """
    try:
        yield
    except (PlannerError, BrokenPipeError, typer.Abort, PLAIN_ERROR):
        raise
    except OSError as problem:
        raise _of_the_system(problem) from problem
    except RecursionError as problem:
        raise PlannerError("the input is nested too deeply to be read") from problem
    except MemoryError as problem:
        raise PlannerError("there is not enough memory for this; smaller parts, or fewer at a time, need less") from (
            problem
        )
    except UnicodeError as problem:
        raise PlannerError(f"text that is no valid Unicode: {problem}") from problem
    except Exception as problem:
        fault = f"{describe(problem)} (a fault of the program, not yours: PLANNER_DEBUG=1 prints where)"
        raise PlannerError(fault) from problem


class SystemFailed(PlannerError):
    """What the operating system refused; ``source`` is the path, or which stream."""

    def __init__(self, source: str | None, message: str) -> None:
        super().__init__(message if source is None else f"{source}: {message}")
        self.source = source


def _of_the_system(problem: OSError) -> SystemFailed:
    """Place, reason and what to do of an OSError."""
    source = _output_that_fails(problem) if problem.filename is None else os.fsdecode(problem.filename)
    hint = _HINTS.get(problem.errno or 0)
    return SystemFailed(source, (problem.strerror or describe(problem)) + (f" ({hint})" if hint else ""))


def _output_that_fails(problem: OSError) -> str | None:
    """Standard output and where it leads, if what it still holds cannot be written for the same reason."""
    try:
        sys.stdout.flush()
    except OSError as again:
        if again.errno == problem.errno:
            path = path_of(sys.stdout.fileno())
            return "standard output" if path is None else f"standard output ({path})"
    return None


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise :class:`Interrupted` where the process is told to end, so that what is being written is put in order.

    A second signal ends it at once. A signal that was ignored when the process began (``nohup``) stays ignored.
    """
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def interrupted(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise Interrupted(number, signal.Signals(number).name)

    for number in END_SIGNALS:
        handler = signal.getsignal(number)
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            before[number] = handler
            signal.signal(number, interrupted)
    try:
        yield
    finally:
        restore()
