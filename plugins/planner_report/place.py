"""Where a page may be written: a new file, or in the place of an earlier page."""

from __future__ import annotations

from pathlib import Path

from planner_core import PlannerError, write_bytes

MARK = b"<!doctype html>\n<!-- swarm_planner.report.v1 -->\n"
"""How every report begins."""


def check_place(path: Path, force: bool, mark: bytes = MARK, command: str = "planner report") -> None:
    """Raise :class:`PlannerError` where ``path`` holds anything but an earlier page, or cannot hold one.

    A page of ``command`` begins with ``mark``.
    """
    if path.is_dir():
        raise PlannerError(f"{path}: is a directory; --out names the file to write")
    if force or not path.is_file():
        return
    with path.open("rb") as stream:
        begin = stream.read(len(mark))
    if begin and begin != mark:
        raise PlannerError(f"{path}: exists and is not a page of {command}; name another --out, or --force it")


def write_page(
    path: Path, content: bytes, force: bool = False, mark: bytes = MARK, command: str = "planner report"
) -> None:
    """Write a page whole or not at all; what came into its place meanwhile is checked again."""
    check_place(path, force, mark, command)
    write_bytes(path, content)
