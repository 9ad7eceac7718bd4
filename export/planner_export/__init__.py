"""Exporting policies: the graph interface, the parity gate, the bundle, and the ``planner export`` command."""

from __future__ import annotations

from typing import Any

from planner_core import hookimpl

__all__ = ["planner_register_commands"]


@hookimpl
def planner_register_commands(app: Any) -> None:
    """Register ``planner export``."""
    from planner_export.command import export

    app.command("export")(export)
