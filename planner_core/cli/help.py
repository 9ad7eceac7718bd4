"""``planner help``: the pages of the documentation, in the terminal.

A wheel carries the pages in ``planner_core/cli/topics`` (``hatch_build.py`` puts them there); a checkout has them in
``docs``. Those of ``docs/reference`` are named by what they describe: ``planner help BasePolicy``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from planner_core.cli.console import JsonFlag, out, print_json
from planner_core.cli.links import relinked
from planner_core.errors import PlannerError, suggestion

WIDTH = 80
"""Columns of a page, at most: longer lines are hard to read."""

_PACKED = Path(__file__).with_name("topics")
_CHECKOUT = Path(__file__).parents[2] / "docs"
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def help_topic(
    context: typer.Context,
    topic: Annotated[str | None, typer.Argument(metavar="TOPIC", help="Name of a page; without one, a list.")] = None,
    json: JsonFlag = False,
) -> None:
    """Show a page of the documentation, or list what there is to read.

    Example: planner help value
    """
    pages = topics()
    if topic is None:
        _list(pages, json)
        return
    if topic not in pages:
        commands = getattr(context.find_root().command, "commands", {})
        hint = f": it is a command (planner {topic} --help)" if topic in commands else suggestion(topic, pages)
        raise typer.BadParameter(f"there is no page '{topic}'{hint}; 'planner help' lists them", param_hint="TOPIC")
    text = pages[topic].read_text("utf-8")
    if json:
        print_json({"topic": topic, "text": text})
        return
    from rich.markdown import Markdown

    for i, part in enumerate(_FENCE.split(for_terminal(text, pages))):
        if i % 2:  # code is to be copied: not wrapped, not padded
            out.print(f"\n{part}", markup=False, soft_wrap=True, style="cyan")
        elif part.strip():
            out.print(Markdown(part, hyperlinks=False), width=min(WIDTH, out.width))


def topics() -> dict[str, Path]:
    """The file of every page by its name, sorted. Raises :class:`PlannerError` where the installation has none."""
    home = _PACKED if _PACKED.is_dir() else _CHECKOUT
    found = {path.stem: path for path in (home / "reference").glob("*.md") if path.stem != "README"}
    found |= {path.stem: path for path in home.glob("*.md")}
    if not found:
        raise PlannerError(f"this installation has no pages: found neither {_PACKED} nor {_CHECKOUT}")
    return dict(sorted(found.items()))


def title(text: str) -> str:
    """The first heading of a page, without marks of code."""
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1].replace("`", "") if found else ""


def for_terminal(text: str, pages: dict[str, Path]) -> str:
    """A page without pictures, its links as what can be typed (another page) or opened (an address)."""

    def spoken(said: str, target: str, picture: bool) -> str:
        if picture:
            return ""
        if "://" in target:
            return said if said == target else f"{said} ({target})"
        name = Path(target.partition("#")[0])
        return f"{said} (`planner help {name.stem}`)" if name.suffix == ".md" and name.stem in pages else said

    return relinked(text, spoken)


def _list(pages: dict[str, Path], json: bool) -> None:
    titles = {name: title(path.read_text("utf-8")) for name, path in pages.items()}
    if json:
        print_json({"topics": [{"topic": name, "title": titles[name]} for name in pages]})
        return
    from rich.table import Table

    table = Table("topic", "what it is about", box=None, padding=(0, 2, 0, 0))
    for name, said in titles.items():
        if said != name:
            table.add_row(name, said)
    out.print(table)
    described = ", ".join(name for name, said in titles.items() if said == name)
    out.print(f"\nOf the protocol: {described}.", markup=False, width=min(WIDTH, out.width))
    out.print("\n'planner help TOPIC' shows one.", markup=False)
