"""Links as they work on the site: between its pages, and to files of the repository where its address is known."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping

from planner_core.cli.links import relinked


def on_the_site(text: str, origin: str, place: str, places: Mapping[str, str], home: str | None, ref: str) -> str:
    """The Markdown of a page with its links rewritten.

    ``origin`` is the page's path in the repository and ``place`` its path in the site; ``places`` are the site's paths
    by the repository's, pictures included. What is in neither leads to ``home`` (the repository's address) at ``ref``,
    or, where no address is known, becomes the name of the file. Code is left as it is.
    """

    def moved(said: str, target: str, picture: bool) -> str | None:
        if target.startswith(("http://", "https://", "mailto:", "#")):
            return None
        file, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), file))
        anchor = anchor and f"#{anchor}"
        mark = "!" if picture else ""
        if path in places:
            return f"{mark}[{said}]({posixpath.relpath(places[path], posixpath.dirname(place) or '.')}{anchor})"
        if home is not None:
            return f"{mark}[{said}]({home.rstrip('/')}/{'raw' if picture else 'blob'}/{ref}/{path}{anchor})"
        return said if picture or said.strip("`") == path else f"{said} (`{path}`)"

    return relinked(text, moved)


def address() -> tuple[str | None, str]:
    """The repository's address and the tag to link to, as a release gives them (``hatch_build.py``)."""
    return os.environ.get("PLANNER_HOME_URL") or None, os.environ.get("PLANNER_HOME_REF") or "main"
