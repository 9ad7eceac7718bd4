"""``planner report``: one page for the person who pays (SPEC section 13).

Altair writes the charts as Vega-Lite, because a chart as data can be checked before it is drawn and drawn at the size
and in the colours of the reader's screen; Jinja2 fills the page, because it escapes what it is given; vl-convert brings
Vega's own code as one script, so that the page carries what draws it and asks no network for anything.
"""

from __future__ import annotations

from typing import Any

from planner_core import hookimpl

__all__ = ["planner_register_commands"]


@hookimpl
def planner_register_commands(app: Any) -> None:
    """Register ``planner report``."""
    from planner_report.command import report

    app.command("report")(report)
