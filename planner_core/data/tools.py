"""The tool or model of a run: one of its tags, ``tool:NAME``.

A run summary has no field for the tool that did it, an issue has ``dk_tool_hint``. So a run's tool is a tag, and
retrieval of similar runs counts it as it counts any tag. An example is made of a run with the tool it was run with: its
issue's hint is that tool, whatever the tracker says, since one issue may have been tried with several.
"""

from __future__ import annotations

from collections.abc import Iterable

TOOL_TAG = "tool:"


def tool_tag(tool: str) -> str:
    """The tag of a run that ``tool`` (an agent, a model) did."""
    return TOOL_TAG + tool


def tool_of(tags: Iterable[str]) -> str | None:
    """The tool that the tags of a run name; None where none does."""
    return next((tag[len(TOOL_TAG) :] for tag in tags if tag.startswith(TOOL_TAG) and len(tag) > len(TOOL_TAG)), None)
