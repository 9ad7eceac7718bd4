"""The description that a package index shows, and the pages that ``planner help`` shows.

The description is the README, with links that work there.

An index resolves no relative link. A release says where the repository is (``PLANNER_HOME_URL``, such as the address of
its page, and ``PLANNER_HOME_REF``, the tag); the links then lead there, and the metadata name it. A build that is told
nothing has no address to name, so its links become the names of files in the source distribution.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK_OR_CODE = re.compile(
    r"^```.*?^```[^\n]*$|(!?)\[((?:`[^`\n]*`|[^\]`])*)\]\((?!https?://|#|mailto:)([^)\s]+)\)|`[^`\n]*`",
    re.MULTILINE | re.DOTALL,
)


def description(readme: str, home: str | None, ref: str) -> str:
    """The README with its relative links as an index can follow them; code is left as it is."""

    def absolute(match: re.Match[str]) -> str:
        picture, text, path = match.groups()
        if path is None:
            return match[0]
        if home is None:
            return text if picture or text.strip("`") == path else f"{text} (`{path}`)"
        return f"{picture}[{text}]({home.rstrip('/')}/{'raw' if picture else 'blob'}/{ref}/{path})"

    return _LINK_OR_CODE.sub(absolute, readme)


class PlannerMetadata(MetadataHookInterface):
    """Fills in ``readme`` and, where the address is known, ``urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by the build backend for every wheel, source distribution and editable install."""
        home, ref = os.environ.get("PLANNER_HOME_URL") or None, os.environ.get("PLANNER_HOME_REF") or "main"
        readme = (Path(self.root) / "README.md").read_text("utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": description(readme, home, ref)}
        if home is not None:
            base = home.rstrip("/")
            metadata["urls"] = {
                "Homepage": base,
                "Documentation": f"{base}/tree/{ref}/docs",
                "Changelog": f"{base}/blob/{ref}/CHANGELOG.md",
                "Issues": f"{base}/issues",
            }


class PlannerPages(BuildHookInterface[Any]):
    """Puts the pages of ``docs`` into a wheel, where ``planner help`` reads them; a checkout reads ``docs`` itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built; ``version`` is ``standard`` or ``editable``."""
        if version != "standard":
            return
        docs = Path(self.root) / "docs"
        for page in sorted([*docs.glob("*.md"), *(docs / "reference").glob("*.md")]):
            build_data["force_include"][str(page)] = f"planner_core/cli/topics/{page.relative_to(docs).as_posix()}"
