"""Lays out what the site is built from, in a folder: every page with its links as they work there, and ``mkdocs.yml``.

    python docs/site/stage.py before build     # writes build/docs and build/mkdocs.yml
    python docs/site/stage.py after build      # puts the Markdown of each page beside its HTML, in build/site

Nothing here is of the site generator: the folder is plain Markdown, so another generator can build it as well.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import api
import links
import llms
import sections

import planner_core

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "docs" / "site"
ADDRESS = "PLANNER_SITE_URL"
NAME = "swarm-planner"
SUMMARY = "How to run an issue with coding agents, as a trained, judged and exportable policy."

_CODE_WITH_BARS = re.compile(r"`[^`\n]*\\\|[^`\n]*`")

Order = dict[str, list[str | tuple[str, list[str]]]]


def texts(home: str | None = None, ref: str = "main") -> dict[str, str]:
    """The Markdown of every page by its place in the site; ``home`` and ``ref`` as of :func:`links.on_the_site`."""
    pages = sections.pages_of(ROOT)
    places = {origin: place for place, origin in pages.items()}
    places |= {path.relative_to(ROOT).as_posix(): f"pictures/{path.name}" for path in ROOT.glob("docs/pictures/*.*")}
    found = {place: links.on_the_site(_content(name), name, place, places, home, ref) for place, name in pages.items()}
    return found | api.pages(planner_core._MODULE_OF, Path(planner_core.__file__).parent)


def stage(out: Path) -> None:
    """Write the folder anew."""
    pages = texts(*links.address())
    order = sections.arranged(set(pages))
    docs = out / "docs"
    shutil.rmtree(docs, ignore_errors=True)
    shutil.copytree(ROOT / "docs" / "pictures", docs / "pictures")
    shutil.copytree(OWN / "assets", docs / "assets")
    for place, text in pages.items():
        path = docs / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for name, text in lists(pages, order).items():
        (docs / name).write_text(text, "utf-8")
    nav = [
        {heading: [row if isinstance(row, str) else {row[0]: row[1]} for row in rows]}
        for heading, rows in order.items()
    ]
    settings = (OWN / "mkdocs.yml").read_text("utf-8").replace("@ROOT@", str(ROOT))
    (out / "mkdocs.yml").write_text(f"{settings}nav: {json.dumps(nav, indent=2)}\n", "utf-8")


def publish(out: Path) -> None:
    """Put the Markdown of every page into the built site: that is where ``llms.txt`` leads."""
    for path in sorted((out / "docs").rglob("*.md")):
        place = path.relative_to(out / "docs")
        if place.parts[0] != "api":
            shutil.copyfile(path, out / "site" / place)


def lists(pages: dict[str, str], order: Order) -> dict[str, str]:
    """``llms.txt`` and ``llms-full.txt``. What mkdocstrings fills in is a page of HTML only; the first links to it."""
    listed = {
        heading: [_listed(page, pages[page]) for row in rows for page in ([row] if isinstance(row, str) else row[1])]
        for heading, rows in order.items()
    }
    written = {heading: [page for page in found if page.address.endswith(".md")] for heading, found in listed.items()}
    return {"llms.txt": llms.index(NAME, SUMMARY, listed), "llms-full.txt": llms.full(written)}


def _listed(place: str, text: str) -> llms.Page:
    title = next(line.removeprefix("# ").replace("`", "") for line in text.splitlines() if line.startswith("# "))
    return llms.Page(title, place if not place.startswith("api/") else place.removesuffix(".md") + ".html", text)


def _content(origin: str) -> str:
    """A page of the repository; of the README what it is and for whom, the rest is on the other pages."""
    text = bars((ROOT / origin).read_text("utf-8"))
    if origin != "README.md":
        return text
    first = text.split("\n## ", 1)[0]
    return f"{first}\n\n{(OWN / 'begin.md').read_text('utf-8')}"


def bars(text: str) -> str:
    r"""Code in tables with its bars bare: GitHub wants ``\|`` there, and the site would show the stroke."""
    lines = (
        _CODE_WITH_BARS.sub(lambda found: found[0].replace("\\|", "|"), line) if line.startswith("|") else line
        for line in text.split("\n")
    )
    return "\n".join(lines)


if __name__ == "__main__":
    {"before": stage, "after": publish}[sys.argv[1]](Path(sys.argv[2]))
