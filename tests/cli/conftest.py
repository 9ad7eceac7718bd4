"""Calls the whole command line in this process, in a terminal of 80 columns."""

from __future__ import annotations

import io
import sys
from typing import NamedTuple

import pytest

from planner_core.cli import app as module
from planner_core.cli import console


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def planner(monkeypatch, capsys, tmp_path):
    """``planner(*arguments, stdin="", cwd=tmp_path)`` -> :class:`Said`, as a shell would have it."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(module, "_give_up_output", lambda: None)  # the descriptor is this process's
    for each in (console.out, console.err):
        monkeypatch.setattr(each, "_width", 80)

    # What plugins add stays in the command line of this process, and a second call would add it again.
    own = {kind: list(getattr(module.app, kind)) for kind in ("registered_commands", "registered_groups")}

    def call(*arguments, stdin="", cwd=tmp_path):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["planner", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        for kind, before in own.items():
            getattr(module.app, kind)[:] = before
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            module.main()
        return Said(ended.value.code or 0, *capsys.readouterr())

    yield call
    for kind, before in own.items():
        getattr(module.app, kind)[:] = before
