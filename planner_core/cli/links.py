"""The links of a Markdown page."""

from __future__ import annotations

import re
from collections.abc import Callable

_LINK_OR_CODE = re.compile(
    r"^```.*?^```[^\n]*$|(?P<picture>!?)\[(?P<said>(?:`[^`\n]*`|[^\]`])*)\]\((?P<target>[^)\s]+)\)|`[^`\n]*`",
    re.MULTILINE | re.DOTALL,
)


def relinked(text: str, change: Callable[[str, str, bool], str | None]) -> str:
    """``text`` with each link replaced by what ``change(said, target, is_picture)`` gives; None leaves it.

    Code is left as it is, in blocks and within a line.
    """

    def replaced(match: re.Match[str]) -> str:
        if match["target"] is None:
            return match[0]
        new = change(match["said"], match["target"], bool(match["picture"]))
        return match[0] if new is None else new

    return _LINK_OR_CODE.sub(replaced, text)
