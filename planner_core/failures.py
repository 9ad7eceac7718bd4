"""Which exceptions are the failure of a model or a bundle, and which only passed through while it worked."""

from __future__ import annotations

import functools
import signal
from types import CodeType
from typing import Any

from planner_core.errors import PlannerError

BROKEN: tuple[type[Exception], ...] = (
    *(PlannerError, ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError),
    *(AssertionError, MemoryError),
)
"""What code that is wrong, or is given what is wrong, raises.

Any other exception is somebody else's, such as a caller's own deadline, and passes.
"""

UNREADABLE: tuple[type[Exception], ...] = (*BROKEN, OSError)
"""The same for reading files."""


def is_foreign(problem: BaseException) -> bool:
    """Whether an exception of those types was raised by a caller's signal handler in the middle of our work.

    A handler that raises is how a caller bounds a call in time. Its exception surfaces wherever the interpreter
    happens to be, and may well be a ``TimeoutError``, which is an ``OSError``, or a ``RuntimeError``.
    """
    if isinstance(problem, OSError) and problem.errno is None:
        return True  # the operating system's have a number
    handlers = _handler_codes()
    trace = problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def _handler_codes() -> set[CodeType]:
    """The code of every signal handler written in Python."""
    handlers = (signal.getsignal(number) for number in signal.valid_signals())
    return {code for handler in handlers if (code := _code(handler)) is not None}


def _code(handler: Any) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    # A function has its code, a bound method that of its function; any other object is called through its class.
    for candidate in (handler, vars(type(handler)).get("__call__")):
        code = getattr(candidate, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None
