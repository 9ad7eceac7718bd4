"""The page of a watch, set as the report's: one file that asks nobody for anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import altair as alt

from planner_report.charts import Chart, data_of, dressed
from planner_report.frame import rendered

MARK = b"<!doctype html>\n<!-- swarm_planner.watch.v1 -->\n"
"""How every page of a watch begins."""
NONE = "–"
NAMES = {"passed": "Passes", "minutes": "Minutes", "cost_usd": "USD"}
PER = 100


def page(document: Mapping[str, Any]) -> bytes:
    """The page of a :class:`planner_loop.watch_report.WatchReport` as plain values, as UTF-8."""
    filters: dict[str, Callable[..., Any]] = {
        "plain": plain,
        "signed": signed,
        "ends": ends,
        "share": share,
        "date": date,
    }
    values = {"watch": document, "names": NAMES, "options": _options(document), "rows": _rows(document)}
    return rendered(Path(__file__).with_name("watch.html.j2"), MARK, filters, charts(document), **values)


def plain(value: float | None) -> str:
    """Three digits, or a dash."""
    if value is None:
        return NONE
    return _digits(value).replace("-", "−")


def signed(value: float | None) -> str:
    """The same with its sign."""
    if value is None:
        return NONE
    return ("−" if value < 0 else "+") + _digits(abs(value))


def _digits(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def ends(interval: Mapping[str, Any]) -> str:
    """``+0.01 to +0.20``, or that there is none."""
    if interval["low"] is None or interval["high"] is None:
        return "no interval yet"
    return f"{signed(interval['low'])} to {signed(interval['high'])}"


def share(value: float | None) -> str:
    """``12.3 %``."""
    return NONE if value is None else f"{PER * value:.1f} %"


def date(at: str | int | None) -> str:
    """The day of a time, given as RFC 3339 or in Unix milliseconds."""
    if at is None:
        return NONE
    return at[:10] if isinstance(at, str) else datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d")


def _rows(document: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(label, document["predictions"][name]) for name, label in NAMES.items()]


def _options(document: Mapping[str, Any]) -> str:
    """The options that make the same page again."""
    keys, limits = {"pass": "pass", "time": "hour", "cost": "usd"}, document["limits"]
    worth = "".join(
        f" --value {priority}.{keys[name]}={weight:g}"
        for priority, weights in document["utility"].items()
        for name, weight in weights.items()
    )
    return (
        f" --window-hours {document['ab']['window_hours']:g} --tolerance {limits['tolerance']:g}"
        f" --most-fallbacks {limits['fallbacks']:g}{worth}"
    )


# -- charts


def charts(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The charts there is something to draw for, by name, as Vega-Lite."""
    found = {
        "ab": _course(document["ab"]["course"]),
        "passes": _passes(document["predictions"]["course"]),
        "inputs": _inputs(document["inputs"]),
    }
    return {name: dressed(chart) for name, chart in found.items() if chart is not None}


def _course(course: Sequence[Mapping[str, Any]]) -> Chart | None:
    """The confidence sequence as issues entered."""
    rows = [{"issues": point["issues"], **point["utility"]} for point in course if point["utility"]["low"] is not None]
    if len(rows) < 2:
        return None
    title = "utility an issue, model less baseline"
    base = alt.Chart(data_of(rows)).encode(
        x=alt.X("issues:Q", title="issues that had entered", scale=alt.Scale(nice=False, zero=False))
    )
    # The first intervals are so wide that nothing else would be seen; what is cut off is the widest tenth at most.
    reach = sorted(max(abs(row["low"]), abs(row["high"])) for row in rows)[int(0.9 * (len(rows) - 1))]
    y = alt.Y("low:Q", title=title, scale=alt.Scale(domain=[-reach, reach], clamp=True))
    zero = alt.Chart(data_of([{"y": 0}])).mark_rule(color="var(--muted)", strokeDash=[4, 4]).encode(y="y:Q")
    return alt.layer(
        base.mark_area(color="var(--accent)", opacity=0.18).encode(y=y, y2="high:Q"),
        zero,
        base.mark_line(color="var(--accent)", strokeWidth=2).encode(y=alt.Y("estimate:Q", title=title)),
    )


def _passes(course: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Realised pass rates, with intervals, and predicted ones, part by part of the runs."""
    rows = [
        {
            "until": period["until_ms"],
            "realised": PER * period["realised"],
            "predicted": PER * period["predicted"],
            "low": PER * (period["predicted"] + period["difference"]["low"]),
            "high": PER * (period["predicted"] + period["difference"]["high"]),
        }
        for period in course
        if period["difference"]["low"] is not None
    ]
    if len(rows) < 2:
        return None
    x = alt.X(
        "until:T",
        title="runs that ended until",
        scale=alt.Scale(type="utc", nice=False, padding=20),
        axis=alt.Axis(format="%d %b", grid=False, values=[row["until"] for row in rows[:: max(1, len(rows) // 4)]]),
    )
    title, scale = f"passes per {PER} runs", alt.Scale(zero=False, nice=True)
    base = alt.Chart(data_of(rows)).encode(x=x)
    lines = base.transform_fold(["realised", "predicted"], as_=["what", "rate"])
    colour = alt.Color(
        "what:N", scale=alt.Scale(domain=["realised", "predicted"], range=["var(--accent)", "var(--muted)"])
    )
    dash = alt.StrokeDash("what:N", scale=alt.Scale(domain=["realised", "predicted"], range=[[1, 0], [5, 4]]))
    return alt.layer(
        base.mark_rule(color="var(--accent)", strokeWidth=1.5).encode(
            y=alt.Y("low:Q", title=title, scale=scale), y2="high:Q"
        ),
        lines.mark_line(strokeWidth=2).encode(y=alt.Y("rate:Q", title=title), color=colour, strokeDash=dash),
        base.mark_point(filled=True, size=70, color="var(--accent)", opacity=1).encode(
            y=alt.Y("realised:Q", title=title)
        ),
    )


def _inputs(drift: Mapping[str, Any] | None) -> Chart | None:
    """The stability index of each group, and the mark from which on it may count as shifted."""
    if drift is None or not drift["groups"]:
        return None
    rows = [
        {"group": shift["group"], "index": shift["stability_index"], "shifted": shift["shifted"]}
        for shift in drift["groups"]
    ]
    bars = (
        alt.Chart(data_of(rows))
        .mark_bar(height=12)
        .encode(
            y=alt.Y("group:N", title=None, sort=None, axis=alt.Axis(grid=False, ticks=False, labelLimit=150)),
            x=alt.X("index:Q", title="stability index", scale=alt.Scale(zero=True, nice=True)),
            color=alt.condition("datum.shifted", alt.value("var(--worse)"), alt.value("var(--accent)")),
        )
    )
    mark = alt.Chart(data_of([{"x": 0.2}])).mark_rule(color="var(--muted)", strokeDash=[4, 4]).encode(x="x:Q")
    return alt.layer(bars, mark)
