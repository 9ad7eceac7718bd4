"""Writes the block of ``planner_core/__init__.py`` that type checkers read, from the table that resolves the names.

Run by ``make reference``. The suite checks that the block and the table say the same.
"""

from __future__ import annotations

from pathlib import Path

import planner_core

DOOR = Path(planner_core.__file__)
BEGIN = "    # Made from the table above by `make reference`; edit that.\n"
END = "else:\n"


def block() -> str:
    """One import a name, in the form that re-exports it."""
    kinds = ((not name.isupper(), not name[0].isupper()) for name in planner_core._MODULE_OF)  # as ruff sorts them
    rows = sorted(zip(planner_core._MODULE_OF.values(), kinds, planner_core._MODULE_OF, strict=True))
    return "".join(f"    from planner_core.{module} import {name} as {name}\n" for module, _, name in rows)


def written(text: str) -> str:
    """``text`` of the door with its block made anew."""
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return before + BEGIN + block() + END + after


if __name__ == "__main__":
    DOOR.write_text(written(DOOR.read_text("utf-8")), "utf-8", newline="\n")
    print(f"wrote {len(planner_core._MODULE_OF)} names")
