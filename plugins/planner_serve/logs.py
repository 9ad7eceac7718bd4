"""The server's log: one JSON object a line on standard error, for whatever collects logs."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from planner_core import canonical, rfc3339

logger = logging.getLogger("planner.serve")

LOGGERS = ("planner", "uvicorn.error", "asyncio")
MAX_TEXT = 2000
"""Characters of one text in a line; a message may quote what somebody sent."""


class JsonLines(logging.Formatter):
    """``time``, ``level``, ``logger`` and ``message`` of a record, and the fields that :func:`event` gave it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        line: dict[str, Any] = {
            "time": rfc3339(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _text(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return canonical(
            {key: _text(value) if isinstance(value, str) else value for key, value in line.items()}
        ).decode()


def event(message: str, level: int = logging.INFO, problem: BaseException | None = None, **fields: Any) -> None:
    """Log that something happened: a constant ``message``, what varies in ``fields``."""
    logger.log(level, message, exc_info=problem, extra={"fields": fields})


@contextmanager
def json_log() -> Iterator[None]:
    """Write what this process logs as JSON lines to standard error; afterwards all is as it was."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    before = [(log, log.handlers, log.level, log.propagate) for log in map(logging.getLogger, LOGGERS)]
    for log, *_ in before:
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.INFO if log.name == "planner" else logging.WARNING)
    try:
        yield
    finally:
        for log, handlers, level, propagate in before:
            log.handlers, log.propagate = handlers, propagate
            log.setLevel(level)


def _text(value: str) -> str:
    """``value`` as JSON can hold it, shortened."""
    text = value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + "..."
    return text.encode("utf-8", "backslashreplace").decode()
