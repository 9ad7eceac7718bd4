"""The policies under ``examples/``, installed as strangers are: built, put on the path, found by their entry points."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PACKAGES = {
    "lookup": "planner_lookup",
    "gbdt": "planner_gbdt",
    "transformer": "planner_transformer",
    "sklearn": "planner_sklearn",
}


class Strangers:
    """A directory with copies of the examples in ``source``, their packages in ``site``, and a place to work in."""

    def __init__(self, root):
        self.source, self.site, self.work = root / "source", root / "site", root / "work"
        self.work.mkdir()
        for name in PACKAGES:
            # Copies, because a build leaves its traces beside the sources.
            shutil.copytree(EXAMPLES / f"planner-{name}", self.source / name, ignore=_leftovers)
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
        sources = [self.source / name for name in PACKAGES]
        self.run("pip", "install", *options, "--target", self.site, *sources)

    def run(self, module, *arguments, cwd=None, codes=(0,)):
        """``python -m module arguments`` with the examples installed."""
        return self._call(["-m", module, *arguments], cwd, codes)

    def planner(self, *arguments, codes=(0,)):
        """``planner arguments``, in the place to work in."""
        return self._call(["-c", "from planner_core.cli.app import main; main()", *arguments], self.work, codes)

    def _call(self, arguments, cwd, codes):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd or self.work,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(self.site), "COLUMNS": "200", "NO_COLOR": "1"},
        )
        assert done.returncode in codes, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def _leftovers(directory, names):
    return [name for name in names if name in ("build", "__pycache__", ".pytest_cache") or name.endswith(".egg-info")]


@pytest.fixture(scope="session")
def strangers(tmp_path_factory, world):
    """All examples installed, and a small world where the commands look for one."""
    made = Strangers(tmp_path_factory.mktemp("strangers"))
    (made.work / "data").mkdir()
    (made.work / "data" / "world").symlink_to(world)
    return made
