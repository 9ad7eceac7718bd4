"""Looks at the built site: no link of it leads nowhere, nothing is fetched from elsewhere, and every name is there.

    python docs/site/check.py build/site

prints what is wrong, a line each, and then exits with 1.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {
    *(("script", "src"), ("img", "src"), ("img", "srcset"), ("iframe", "src"), ("source", "src"), ("video", "src")),
    *(("embed", "src"), ("object", "data"), ("audio", "src"), ("use", "href"), ("image", "href")),
}
"""Attributes of what a browser fetches by itself; of ``link`` it depends on what the link is."""
NOT_FETCHED_LINKS = {"canonical", "next", "prev", "alternate"}
_CSS_URL = re.compile(r"url\(\s*['\"]?(?!data:|#)([^'\")]+)|@import\s+['\"]([^'\"]+)")


class Reader(HTMLParser):
    """Collects of a page its ids, its links, what a browser fetches for it, and roles of docstrings left as text."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.roles: list[str] = []
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Of one element."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self._style = tag == "style"
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and not set(given.get("rel", "").split()) & NOT_FETCHED_LINKS:
            self.fetched.append(given.get("href", ""))
        self.fetched += [value for name, value in given.items() if (tag, name) in FETCHED and value]
        self.fetched += css_urls(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Of a style sheet within the page, and of text that was not made into Markdown."""
        if self._style:
            self.fetched += css_urls(data)
        self.roles += re.findall(r":(?:class|func|meth|mod|attr|data):", data)


def css_urls(text: str) -> Iterator[str]:
    """What a style sheet fetches."""
    return (first or second for first, second in _CSS_URL.findall(text))


def is_elsewhere(target: str) -> bool:
    """Whether a browser would ask another machine for it."""
    parts = urlsplit(target)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def problems(site: Path, names: Iterable[str] = ()) -> list[str]:
    """What is wrong with a site, a sentence each. ``names`` are ids that the pages of ``api`` must have."""
    site = site.resolve()
    read = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    found = [] if read else [f"{site}: there is no page"]
    for path, page in read.items():
        place = path.relative_to(site)
        found += [f"{place}: fetches {target}" for target in page.fetched if is_elsewhere(target)]
        found += [f"{place}: shows the role {role}" for role in page.roles]
        found += [f"{place}: lacks {target}" for target in page.fetched if not _there(site, path, target)]
        found += [
            f"{place}: links to {link}, which is not there" for link in page.links if not _leads(site, path, link, read)
        ]
    for path in sorted(site.rglob("*.css")):
        found += [
            f"{path.relative_to(site)}: fetches {u}" for u in css_urls(path.read_text("utf-8")) if is_elsewhere(u)
        ]
    known = {one for path, page in read.items() if path.parent.name == "api" for one in page.ids}
    found += [f"api: {name} is nowhere" for name in names if name not in known]
    return found + _of_lists(site)


def _of_lists(site: Path) -> Iterator[str] | list[str]:
    """``llms.txt`` is there, and what it links to."""
    index = site / "llms.txt"
    if not index.is_file():
        return ["llms.txt is not there"]
    links = re.findall(r"\]\(([^)]+)\)", index.read_text("utf-8"))
    return [f"llms.txt: links to {link}, which is not there" for link in links if not (site / link).is_file()]


def _read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    return reader


def _file(site: Path, page: Path, target: str) -> Path:
    path = unquote(urlsplit(target).path)
    if not path:
        return page
    there = site / path.lstrip("/") if path.startswith("/") else page.parent / path
    return there / "index.html" if there.is_dir() else there


def _there(site: Path, page: Path, target: str) -> bool:
    return not target or is_elsewhere(target) or target.startswith("data:") or _file(site, page, target).is_file()


def _leads(site: Path, page: Path, link: str, read: dict[Path, Reader]) -> bool:
    if is_elsewhere(link):
        return True
    there = Path(os.path.normpath(_file(site, page, link)))
    anchor = unquote(urlsplit(link).fragment)
    return there.is_file() and (not anchor or (there in read and anchor in read[there].ids))


def main(site: Path) -> int:
    """Check the site, with every public name of the package."""
    import planner_core

    wrong = problems(site, [f"planner_core.{name}" for name in planner_core.__all__])
    print("\n".join(wrong) or f"{site}: every link leads somewhere, nothing is fetched from elsewhere")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
