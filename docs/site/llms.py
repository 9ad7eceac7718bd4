"""``llms.txt``: what the site has, for a program that reads; and ``llms-full.txt``, all of it in one file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_NOTES = re.compile(r"^(\*Made from .*\*|!\[.*|<.*|\|.*|- .*|\d+\. .*|#.*|```.*|:::.*)$")
_LONGEST = 200


@dataclass(frozen=True)
class Page:
    """A page: its title, its address in the site, and its Markdown."""

    title: str
    address: str
    text: str


def first_sentence(text: str) -> str:
    """The first sentence of a page's prose, without links, at most 200 characters; empty where it has none."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for paragraph in re.split(r"\n\s*\n", prose):
        lines = paragraph.strip().splitlines()
        if not lines or _NOTES.match(lines[0]):
            continue
        said = re.sub(r"!?\[([^\]]*)\][(\[][^)\]]*[)\]]", r"\1", " ".join(lines)).replace("**", "")
        found = re.match(r".*?[.?!](?=\s|$)", said)
        sentence = found[0] if found else said.rstrip(":")
        return sentence if len(sentence) <= _LONGEST else sentence[: _LONGEST - 3].rsplit(" ", 1)[0] + "..."
    return ""


def index(name: str, summary: str, sections: Mapping[str, Iterable[Page]]) -> str:
    """``llms.txt``: title, summary, and under each heading a link and a sentence a page."""
    lines = [f"# {name}", "", f"> {summary}", ""]
    lines += [
        "Every page is there as Markdown too: the links lead to it. All of it in one file: [all](llms-full.txt).",
        "",
    ]
    for heading, pages in sections.items():
        lines += [f"## {heading}", ""]
        for page in pages:
            said = first_sentence(page.text)
            lines.append(f"- [{page.title}]({page.address})" + (f": {said}" if said else ""))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def full(sections: Mapping[str, Iterable[Page]]) -> str:
    """``llms-full.txt``: the Markdown of every page, each after a line that names its address."""
    return "\n".join(
        f"<!-- {page.address} -->\n\n{page.text.strip()}\n" for pages in sections.values() for page in pages
    )
