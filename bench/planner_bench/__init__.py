"""Benchmarks: latency of a decision by stage, training speed, other learners; and the ``planner bench`` commands."""

from __future__ import annotations

from typing import Any

from planner_core import hookimpl

__all__ = ["planner_register_commands"]


@hookimpl
def planner_register_commands(app: Any) -> None:
    """Register ``planner bench`` and its subcommands."""
    from planner_bench.command import app as bench

    app.add_typer(bench, name="bench")
