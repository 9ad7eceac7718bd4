"""Docstrings as Markdown: their roles become links to public names, and code where the name is private."""

from __future__ import annotations

import re
from typing import Any

import griffe

import planner_core

_ROLE = re.compile(r":\w+:`(~?)([^`]+)`")


class Roles(griffe.Extension):
    """Called by griffe, which reads the package for mkdocstrings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """For every object with a docstring."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """``text`` with ``:class:`X``` as a link or as code."""

    def linked(match: re.Match[str]) -> str:
        path = match[2].removeprefix("planner_core.")
        name = path.rsplit(".", 1)[-1] if match[1] else path
        public = path.rsplit(".", 1)[-1]
        return f"[`{name}`][planner_core.{public}]" if public in planner_core.__all__ else f"`{name}`"

    return _ROLE.sub(linked, text)
