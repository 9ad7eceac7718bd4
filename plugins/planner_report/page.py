"""The page of a report: what the template is given, and the one file that comes of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from planner_core import __version__
from planner_core.cli.console import printable
from planner_report import words
from planner_report.charts import charts, drawing_code, given_step, steps
from planner_report.place import MARK

HERE = Path(__file__).parent


def page(document: Mapping[str, Any]) -> bytes:
    """The page of a report document (:class:`planner_core.Report` as plain values), as UTF-8."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "action": words.action,
        "share": words.share,
        "multiple": words.multiple,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "reasons": _kinds_of_reasons,
        "safe_text": lambda value: printable(str(value)),
        "shell": lambda value: shlex.quote(printable(str(value))),
    }
    drawn = charts(document)
    taken = _slider(document) if "frontier" in drawn else []
    text = environment.get_template("page.html.j2").render(
        report=document,
        evaluation=document["evaluation"],
        w=words,
        version=__version__,
        headline=words.headline(document),
        verdict=document["evaluation"].get("verdict"),
        value=_own_value(document),
        charts=sorted(drawn),
        steps=taken,
        given=given_step(taken) if taken else 0,
        data_json=_inline_json({"charts": drawn, "steps": taken}),
        style=_raw("page.css"),
        script=_raw("page.js"),
        vega=_inline_script(drawing_code()) if drawn else "",
        options=_options(document),
        first=words.date(document["first_ms"]),
        last=words.date(document["last_ms"]),
    )
    return MARK + text.encode()


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


def _raw(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _inline_json(value: Any) -> str:
    """JSON that no script element ends in: every character that HTML reads is escaped."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _inline_script(code: str) -> str:
    """Code that stands in a script element; ``</script`` in a string of it would end that."""
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
