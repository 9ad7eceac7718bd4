"""What the library logs, on the terminal: warnings in yellow, above any progress bar; with ``PLANNER_DEBUG`` all."""

from __future__ import annotations

import logging
import traceback

from rich.markup import escape

from planner_core.cli.console import err

LOGGER = logging.getLogger("planner")


class _Terminal(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            err.print(f"{record.levelname.lower()}: {escape(record.getMessage())}", style="yellow", soft_wrap=True)
            if record.exc_info:
                err.print(escape("".join(traceback.format_exception(*record.exc_info))), soft_wrap=True)
        except Exception:  # as logging asks of a handler: a message that cannot be printed ends nothing
            self.handleError(record)


def show_log(debug: bool = False) -> None:
    """Print the log of this process to standard error, warnings only unless ``debug``; once, however often called."""
    if not any(isinstance(handler, _Terminal) for handler in LOGGER.handlers):
        LOGGER.addHandler(_Terminal())
    LOGGER.setLevel(logging.DEBUG if debug else logging.WARNING)
