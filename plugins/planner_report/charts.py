"""The charts of a page: Vega-Lite by Altair, in the colours of the page's own style sheet.

A colour is a CSS variable, which works because the charts are drawn as SVG: light, dark and print need no second chart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import altair as alt
import vl_convert

from planner_report.words import PER, known

Chart = alt.LayerChart | alt.FacetChart

CHOSEN = "chosen"
"""The signal that holds the step of the slider."""

_SHAPES = ("square", "triangle-up", "diamond", "circle", "cross")
_SIZE = 90


def charts(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The charts there is something to draw for, by name, as Vega-Lite."""
    found = {"frontier": frontier(document), "worth": worth(document), "calibration": calibration(document)}
    return {name: dressed(chart) for name, chart in found.items() if chart is not None}


@cache
def drawing_code() -> str:
    """Vega's own code, with Vega-Lite and Vega-Embed, as ``window.vegaEmbed``."""
    wanted = ".".join(alt.VEGALITE_VERSION.split(".")[:2])
    has = [str(version) for version in vl_convert.get_vegalite_versions()]
    version = wanted if wanted in has else has[-1]
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version))


def dressed(chart: Chart) -> dict[str, Any]:
    """A chart as Vega-Lite, as wide as its place and in the colours of the page."""
    spec = chart.properties(width="container", height=300, autosize={"type": "fit-x", "contains": "padding"})
    spec = spec.configure(
        background="transparent",
        font="system-ui, sans-serif",
        view={"stroke": None},
        axis={
            "labelColor": "var(--muted)",
            "titleColor": "var(--muted)",
            "gridColor": "var(--line)",
            "domainColor": "var(--line)",
            "tickColor": "var(--line)",
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 10,
            "tickCount": 5,
        },
        legend={
            "labelColor": "var(--ink)",
            "labelFontSize": 12,
            "title": None,
            "orient": "bottom",
            "columns": 2,
            "symbolFillColor": "var(--ink)",
            "symbolStrokeColor": "var(--ink)",
        },
    )
    found: dict[str, Any] = spec.to_dict()
    return found


def steps(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the slider steps through, a worth of a pass each: what is chosen there, at which cost and pass rate.

    A policy that weighs outcomes chooses anew; any other keeps its choice, and what is chosen is that policy or what it
    is judged against, whichever is estimated to be better.
    """
    found = document["evaluation"].get("sensitivity")
    if found is None or not document["priced"]:
        return []
    if found["choices"]:
        chosen = [
            (row, choice, "the policy's choice") for row, choice in zip(found["rows"], found["choices"], strict=True)
        ]
    else:
        rows = {row["key"]: row for row in document["rows"]}
        against = document["evaluation"]["against"]
        if "policy" not in rows or against not in rows:
            return []
        chosen = []
        for row in found["rows"]:
            if not known(row["difference"]):
                return []
            best = rows["policy" if row["difference"]["estimate"] >= 0 else against]
            chosen.append((row, best["figures"], best["name"]))
    if not all(known(at[name]) for _, at, _ in chosen for name in ("pass_rate", "cost_usd")):
        return []
    return [
        {
            "step": step,
            "multiple": row["multiple"],
            "worth": row["pass_usd"],
            "name": name,
            "changed": at.get("changed"),
            **{f"{key}_{end}": _times(at[key][end]) for key in ("pass_rate", "cost_usd") for end in _ENDS},
        }
        for step, (row, at, name) in enumerate(chosen)
    ]


_ENDS = ("estimate", "low", "high")


def data_of(rows: Sequence[Mapping[str, Any]]) -> alt.InlineData:
    """Rows that a chart carries itself."""
    return alt.InlineData(values=[dict(row) for row in rows])


def _times(value: float | None) -> float | None:
    return None if value is None else PER * value


def given_step(taken: Sequence[Mapping[str, Any]]) -> int:
    """The step of the worth that a pass is taken to have."""
    return min(range(len(taken)), key=lambda i: abs(taken[i]["multiple"] - 1.0))


def frontier(document: Mapping[str, Any]) -> Chart | None:
    """Passes against USD as the worth of a pass varies, beside what else may be run."""
    taken = steps(document)
    if not taken:
        return None
    x = alt.X("cost_usd_estimate:Q", title=f"USD per {PER} issues", scale=alt.Scale(zero=False, nice=True))
    y = alt.Y("pass_rate_estimate:Q", title=f"passes per {PER} issues", scale=alt.Scale(zero=False, nice=True))
    param = alt.param(name=CHOSEN, value=given_step(taken))
    path = alt.Chart(data_of(taken)).encode(x=x, y=y)
    layers = []
    if document["evaluation"]["sensitivity"]["choices"]:
        layers.append(path.mark_line(color="var(--accent)", strokeWidth=1.5, opacity=0.6).encode(order="step:O"))
        layers.append(path.mark_point(color="var(--accent)", filled=True, size=22, opacity=0.7))
    points = [
        {
            "name": row["name"],
            **{f"{key}_estimate": PER * row["figures"][key]["estimate"] for key in ("pass_rate", "cost_usd")},
        }
        for row in document["rows"]
        if known(row["figures"]["pass_rate"]) and known(row["figures"]["cost_usd"])
    ]
    names = [point["name"] for point in points]
    layers.append(
        alt.Chart(data_of(points))
        .mark_point(filled=True, size=_SIZE, color="var(--ink)", opacity=1)
        .encode(x=x, y=y, shape=alt.Shape("name:N", scale=alt.Scale(domain=names, range=list(_SHAPES[: len(names)]))))
    )
    at = path.transform_filter(f"datum.step == {CHOSEN}")
    layers.append(
        at.transform_filter("isValid(datum.pass_rate_low) && isValid(datum.pass_rate_high)")
        .mark_rule(color="var(--accent)", strokeWidth=1.5)
        .encode(x=x, y="pass_rate_low:Q", y2="pass_rate_high:Q")
    )
    layers.append(
        at.transform_filter("isValid(datum.cost_usd_low) && isValid(datum.cost_usd_high)")
        .mark_rule(color="var(--accent)", strokeWidth=1.5)
        .encode(y=y, x="cost_usd_low:Q", x2="cost_usd_high:Q")
    )
    layers.append(
        at.mark_point(color="var(--accent)", fill="var(--paper)", strokeWidth=3, size=210, opacity=1).encode(
            description=alt.value("chosen point")
        )
    )
    return alt.layer(*layers).add_params(param)


def worth(document: Mapping[str, Any]) -> Chart | None:
    """The utility difference, with its interval, by the worth of a pass."""
    found = document["evaluation"].get("sensitivity")
    rows = [] if found is None else [row for row in found["rows"] if known(row["difference"])]
    if not rows:
        return None
    by_usd = document["priced"] and all(row["pass_usd"] for row in rows)
    values = [
        {"step": step, "worth": row["pass_usd"] if by_usd else row["multiple"], **row["difference"]}
        for step, row in enumerate(rows)
    ]
    title = "USD that a pass is worth" if by_usd else "worth of a pass, in multiples of the given one"
    base = alt.Chart(data_of(values)).encode(
        x=alt.X(
            "worth:Q",
            title=title,
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=_decades(values[0]["worth"], values[-1]["worth"]), format="~g", grid=False),
        )
    )
    given = min(range(len(rows)), key=lambda i: abs(rows[i]["multiple"] - 1.0))
    zero = alt.Chart(data_of([{"y": 0}])).mark_rule(color="var(--muted)", strokeDash=[4, 4]).encode(y="y:Q")
    axis = f"utility a run, less that of {document['against']}"
    layers = [
        base.transform_filter("isValid(datum.low) && isValid(datum.high)")
        .mark_area(color="var(--accent)", opacity=0.18)
        .encode(y=alt.Y("low:Q", title=axis), y2="high:Q"),
        zero,
        base.mark_line(color="var(--accent)", strokeWidth=2).encode(y=alt.Y("estimate:Q", title=axis)),
        base.transform_filter(f"datum.step == {CHOSEN}")
        .mark_point(color="var(--accent)", fill="var(--paper)", strokeWidth=3, size=160, opacity=1)
        .encode(y=alt.Y("estimate:Q", title=axis)),
    ]
    return alt.layer(*layers).add_params(alt.param(name=CHOSEN, value=given))


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two positive numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for power in powers for k in (1, 2, 5) if low <= (tick := k * 10.0**power) <= high]


def calibration(document: Mapping[str, Any]) -> Chart | None:
    """Predicted against realised pass rate, in bins."""
    bins = document["calibration"]
    if not bins:
        return None
    values = [
        {"rows": row["rows"], **{key: PER * row[key] for key in ("predicted", "realised", "low", "high")}}
        for row in bins
    ]
    scale = alt.Scale(domain=[0, PER])
    x = alt.X("predicted:Q", title=f"passes per {PER} that were predicted", scale=scale)
    y = alt.Y("realised:Q", title=f"passes per {PER} that happened", scale=scale)
    honest = alt.Chart(data_of([{"predicted": 0, "realised": 0}, {"predicted": PER, "realised": PER}]))
    base = alt.Chart(data_of(values)).encode(x=x)
    return alt.layer(
        honest.mark_line(color="var(--muted)", strokeDash=[4, 4], strokeWidth=1).encode(x=x, y=y),
        base.mark_rule(color="var(--accent)", strokeWidth=1.5).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        base.mark_point(filled=True, color="var(--accent)", opacity=1).encode(
            y=y, size=alt.Size("rows:Q", legend=None, scale=alt.Scale(range=[30, 260], zero=True))
        ),
    )
