"""Decisions over HTTP: ``planner serve``. Needs the ``serve`` extra, and neither torch nor onnx."""

from __future__ import annotations

from typing import Any

from planner_core import hookimpl

__all__ = ["planner_register_commands"]


@hookimpl
def planner_register_commands(app: Any) -> None:
    """Register ``planner serve``."""
    from planner_serve.command import serve

    app.command("serve")(serve)
