"""Where a page may be written: a new file, or in the place of an earlier page."""

from __future__ import annotations

from pathlib import Path

from planner_core import PlannerError, write_bytes

MARK = b"<!doctype html>\n<!-- swarm_planner.report.v1 -->\n"
"""How every page of ours begins."""


def check_place(path: Path, force: bool) -> None:
    """Raise :class:`PlannerError` where ``path`` holds anything but a page of ours, or cannot hold one."""
    if path.is_dir():
        raise PlannerError(f"{path}: is a directory; --out names the file to write")
    if force or not path.is_file():
        return
    with path.open("rb") as stream:
        begin = stream.read(len(MARK))
    if begin and begin != MARK:
        raise PlannerError(f"{path}: exists and is not a page of planner report; name another --out, or --force it")


def write_page(path: Path, content: bytes, force: bool = False) -> None:
    """Write a page whole or not at all; what came into its place meanwhile is checked again."""
    check_place(path, force)
    write_bytes(path, content)
