"""The one boundary at which foreign errors become ours, and signals an orderly end."""

from __future__ import annotations

import errno
import os
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.markup import escape

from planner_core.cli.console import err
from planner_core.errors import Interrupted, PlannerError, describe
from planner_core.system import END_SIGNALS

_HINTS = {
    errno.ENOSPC: "free some room and run the same command again",
    errno.EDQUOT: "free some room and run the same command again",
    errno.ENOTDIR: "a part of the path is a file; expected a directory",
    errno.ELOOP: "its links lead in a circle",
}


@contextmanager
def foreign_errors_as_ours() -> Iterator[None]:
    """Raise what is no error of ours as a :class:`PlannerError` that says it in one line.

    ``SystemExit``, :class:`Interrupted` and a reader that went away (``BrokenPipeError``) pass.
    """
    try:
        yield
    except (PlannerError, BrokenPipeError):
        raise
    except OSError as problem:
        raise PlannerError(_of_the_system(problem)) from problem
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


def _of_the_system(problem: OSError) -> str:
    """Place, reason and what to do of an OSError."""
    place = "" if problem.filename is None else f"{os.fsdecode(problem.filename)}: "
    hint = _HINTS.get(problem.errno or 0)
    return f"{place}{problem.strerror or describe(problem)}" + (f" ({hint})" if hint else "")


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


def say(problem: BaseException, debug: bool) -> None:
    """Print an error, with what was noted on it; ``debug`` prints its traceback too."""
    if debug:
        traceback.print_exception(problem)
    word = "stopped" if isinstance(problem, Interrupted) else "error"
    text = "\n".join([str(problem), *getattr(problem, "__notes__", [])])
    err.print(f"[bold red]{word}:[/] {escape(text)}", soft_wrap=True, highlight=False)
