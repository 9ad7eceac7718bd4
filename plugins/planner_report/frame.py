"""What every page of ours is set in: one file with its own style, charts and the code that draws them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from planner_core import __version__
from planner_core.cli.console import printable
from planner_report.charts import drawing_code

HERE = Path(__file__).parent


def rendered(
    template: Path,
    mark: bytes,
    filters: Mapping[str, Callable[..., Any]],
    charts: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]] = (),
    /,
    **values: Any,
) -> bytes:
    """A page as UTF-8, beginning with ``mark``: ``template``, which extends ``frame.html.j2``, filled with ``values``.

    ``charts`` are Vega-Lite by name, drawn where an element ``chart-NAME`` stands; ``steps`` those of a slider. What is
    filled in is escaped; what comes from outside goes through ``safe_text`` besides.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "safe_text": lambda value: printable(str(value)),
        "shell": lambda value: shlex.quote(printable(str(value))),
        **filters,
    }
    text = environment.get_template(template.name).render(
        version=__version__,
        charts=sorted(charts),
        data_json=_inline_json({"charts": charts, "steps": steps}),
        style=_raw("page.css"),
        script=_raw("page.js"),
        vega=_inline_script(drawing_code()) if charts else "",
        **values,
    )
    return mark + text.encode()


def _raw(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _inline_json(value: Any) -> str:
    """JSON that no script element ends in: every character that HTML reads is escaped."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _inline_script(code: str) -> str:
    """Code that stands in a script element; ``</script`` in a string of it would end that."""
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
