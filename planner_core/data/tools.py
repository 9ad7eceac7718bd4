"""The tool or model of a run: one of its tags, ``tool:NAME``.

A run summary has no field for the tool that did it, an issue has ``dk_tool_hint``. So a run's tool is a tag, and
similar runs are sought with that tag beside those of the issue: runs of the same tool are more alike. An example of a
run shows the tool it was run with: its issue's hint is that tool, whatever the tracker says, since one issue may have
been tried with several. The tags of the issue stay what they are; the tool is a feature of its own.

Whoever asks for similar runs at the time of a decision asks with :func:`with_tool` as well, where the hint is known and
the runs name their tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

TOOL_TAG = "tool:"


def tool_tag(tool: str) -> str:
    """The tag of a run that ``tool`` (an agent, a model) did."""
    return TOOL_TAG + tool


def tool_of(tags: Iterable[str]) -> str | None:
    """The tool that the tags of a run name; None where none does."""
    return next((tag[len(TOOL_TAG) :] for tag in tags if tag.startswith(TOOL_TAG) and len(tag) > len(TOOL_TAG)), None)


def with_tool(tags: Sequence[str], tool: str) -> list[str]:
    """The tags to seek similar runs with, for an issue that ``tool`` is to do."""
    return [*(tag for tag in tags if not tag.startswith(TOOL_TAG)), tool_tag(tool)]
