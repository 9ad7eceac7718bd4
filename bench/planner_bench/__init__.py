"""Benchmarks: latency of a decision by stage, and the ``planner bench`` command."""

from __future__ import annotations

from typing import Any

from planner_core import hookimpl

__all__ = ["planner_register_commands"]


@hookimpl
def planner_register_commands(app: Any) -> None:
    """Register ``planner bench``."""
    from planner_bench.command import bench

    app.command("bench")(bench)
