"""A watch in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rich.markup import escape
from rich.table import Table

from planner_core.cli.console import printable
from planner_loop.intervals import Interval
from planner_loop.watch_report import WatchReport

NONE = "-"
NAMES = {"passed": "passes", "minutes": "minutes", "cost_usd": "USD"}
_WIDTHS = (21, 9, 9, 10, 18, 7)
SHOWN_GROUPS = 5
"""Groups of inputs that are shown: those that shifted, and the nearest to it."""


def tables(found: WatchReport) -> Iterator[Table]:
    """What was found, a table a finding."""
    yield _predictions(found)
    yield _ab(found)
    yield _fallbacks(found)
    if found.inputs is not None and found.inputs.groups:
        yield _inputs(found)


def _predictions(found: WatchReport) -> Table:
    drawn = _empty("realised against predicted, a run", "came", "predicted", "difference", "95 % interval", "runs")
    for name, label in NAMES.items():
        row = getattr(found.predictions, name)
        interval = _interval(row.difference)
        drawn.add_row(label, _plain(row.realised), _plain(row.predicted), *interval, f"{row.runs:,}")
    drift = found.calibration
    if drift.changed:
        drawn.add_row("passes since then", "", _plain(drift.before), *_interval(drift.since), f"{drift.runs:,}")
    return drawn


def _ab(found: WatchReport) -> Table:
    test = found.ab
    title = f"A/B: model less baseline, an issue, {test.window_hours:g} hours"
    drawn = _empty(title, "model", "baseline", "difference", "95 %, any look", "issues")
    drawn.add_row("utility", "", "", *_interval(test.utility), f"{sum(test.issues.values()):,}")
    for name, label in NAMES.items():
        arms = (_plain(test.arms[arm][name]) for arm in ("model", "baseline"))
        drawn.add_row(label, *arms, _signed(test.parts[name]), "", "")
    drawn.add_row("issues that entered", *(f"{test.issues[arm]:,}" for arm in ("model", "baseline")), "", "", "")
    return drawn


def _fallbacks(found: WatchReport) -> Table:
    fell = found.fallbacks
    drawn = _empty("fallbacks in the model's arms", "share", "", "", "95 % interval", "of")
    share = fell.share
    ends = f"{share.low:.1%} to {share.high:.1%}" if share.low is not None and share.high is not None else NONE
    total = NONE if share.estimate is None else f"{share.estimate:.1%}"
    drawn.add_row("all", total, "", "", ends, f"{fell.decisions:,}")
    for reason, count in fell.by_reason.items():
        drawn.add_row(f"  {escape(printable(reason))}", f"{count / fell.decisions:.1%}", "", "", "", f"{count:,}")
    return drawn


def _inputs(found: WatchReport) -> Table:
    assert found.inputs is not None
    title = f"inputs: {found.inputs.issues:,} issues against {found.inputs.trained:,} of the training"
    drawn = _empty(title, "index", "p", "shifted", "most, then and now", "")
    for shift in [*found.inputs.groups][: max(SHOWN_GROUPS, len(found.inputs.shifted))]:
        most = shift.values[0]
        told = f"{most.value[:8]} {most.trained:.0%} → {most.now:.0%}"
        shifted = "yes" if shift.shifted else "no"
        drawn.add_row(shift.group, f"{shift.stability_index:.3f}", f"{shift.p_value:.1g}", shifted, escape(told), "")
    return drawn


def _empty(title: str, *columns: str) -> Table:
    drawn = Table(title=title, title_style="bold", title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for i, (name, width) in enumerate(zip(("", *columns), _WIDTHS, strict=True)):
        justify: Literal["left", "right"] = "right" if i else "left"
        drawn.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", min_width=width, max_width=width)
    return drawn


def _plain(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def _signed(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:+.3f}" if abs(value) < 10 else f"{value:+,.1f}"


def _interval(found: Interval) -> tuple[str, str]:
    """(estimate, ends)."""
    if found.low is None or found.high is None:
        return _signed(found.estimate), NONE
    return _signed(found.estimate), f"{_signed(found.low)} to {_signed(found.high)}"
