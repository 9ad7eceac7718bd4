"""Drives the installed command, as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLANNER = Path(sys.executable).with_name("planner")
REVEREND = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "reverend"


@pytest.fixture(scope="session")
def planner():
    """``planner(*args, cwd=..., stdin=..., columns=...)`` -> CompletedProcess with text output."""

    def call(*args, cwd, stdin=None, code=0, columns=200):
        done = subprocess.run(
            [str(PLANNER), *map(str, args)],
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": str(columns), "NO_COLOR": "1"},
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture(scope="session")
def reverend():
    if not REVEREND.is_dir():
        pytest.skip(f"the real issue tracker export is not here ({REVEREND})")
    return REVEREND


@pytest.fixture(scope="session")
def workshop(tmp_path_factory, planner):
    """A directory with a small world, a trained run and a bundle, made by the commands themselves."""
    place = tmp_path_factory.mktemp("workshop")
    planner("data", "synth", "--out", "data/world", "--examples", "300", "--seed", "3", cwd=place)
    small = ("--set", "epochs=3", "--set", "d_hidden=32")
    planner("run", "--policy", "mlp", "train", *small, cwd=place)
    planner("export", "--policy", "mlp", cwd=place)
    return place
