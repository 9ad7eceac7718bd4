"""The page of a report: what the template is given, and the one file that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from planner_report import words
from planner_report.charts import charts, given_step, steps
from planner_report.frame import rendered
from planner_report.place import MARK

HERE = Path(__file__).parent


def page(document: Mapping[str, Any]) -> bytes:
    """The page of a report document (:class:`planner_core.Report` as plain values), as UTF-8."""
    filters: dict[str, Callable[..., Any]] = {
        "action": words.action,
        "share": words.share,
        "multiple": words.multiple,
        "reasons": _kinds_of_reasons,
    }
    drawn = charts(document)
    taken = _slider(document) if "frontier" in drawn else []
    return rendered(
        HERE / "page.html.j2",
        MARK,
        filters,
        drawn,
        taken,
        report=document,
        evaluation=document["evaluation"],
        w=words,
        headline=words.headline(document),
        verdict=document["evaluation"].get("verdict"),
        value=_own_value(document),
        steps=taken,
        given=given_step(taken) if taken else 0,
        options=_options(document),
        first=words.date(document["first_ms"]),
        last=words.date(document["last_ms"]),
    )


def _own_value(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The value of the policy against what it is judged against, with everything needed to doubt it."""
    found: Mapping[str, Mapping[str, Any]] = document["evaluation"].get("values") or {}
    return found.get(f"policy against {document['evaluation']['against']}")


def _slider(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of the slider, each with the sentence that stands beside it."""
    taken = steps(document)
    given = given_step(taken) if taken else 0
    for step in taken:
        times = "as given" if step["step"] == given else f"{step['multiple']:.3g} times the given worth"
        worth = times if step["worth"] is None else f"{words.usd(step['worth'])} ({times})"
        changed = "" if not step["changed"] else f" {words.share(step['changed'])} of the decisions change."
        step["text"] = (
            f"A pass is worth {worth}: {step['name']} passes {words.passes(step['pass_rate_estimate'])} of "
            f"{words.PER} issues for {words.usd(step['cost_usd_estimate'])}.{changed}"
        )
    return taken


def _kinds_of_reasons(reasons: list[str]) -> str:
    """What keeps groups from having figures, each kind once: the numbers in a reason are those of one group."""
    kinds = {
        "the log could not have shown it": "the log could not have shown it",
        "assumed, not checked": "that agents work alike under other budgets is not checked",
        "run its way in full": "too few issues were run its way in full",
        "is worth": "the evidence is worth too few issues",
        "mean weight": "the mean weight is far from 1",
    }
    found = dict.fromkeys(next((said for part, said in kinds.items() if part in reason), reason) for reason in reasons)
    return "; ".join(found)


def _options(document: Mapping[str, Any]) -> str:
    """The options that make the same page: the weights, whether they are the dataset's or were given, and replay."""
    keys = {"pass": "pass", "time": "hour", "cost": "usd"}
    use = document["evaluation"]["replay"]
    replay = "" if use == "checked" else f" --replay {use}"
    return replay + "".join(
        f" --value {priority}.{keys[name]}={weight:g}"
        for priority, weights in document["evaluation"]["utility"].items()
        for name, weight in weights.items()
    )
