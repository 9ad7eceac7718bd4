"""``planner tune``: a study of a policy's configuration, searched by Optuna and judged by value."""

from __future__ import annotations

import typer

from planner_core import hookimpl
from planner_tune.command import tune

__all__ = ["planner_register_commands"]


@hookimpl
def planner_register_commands(app: typer.Typer) -> None:
    """Add ``planner tune``."""
    app.command("tune")(tune)
