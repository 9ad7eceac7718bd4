"""Running a piece of Python as another operating system would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def elsewhere(tmp_path):
    """``elsewhere("windows", code, *arguments)``: standard output of ``code`` there; a failure shows its traceback."""

    def run(system, code, *arguments):
        script = f"import sys; sys.path.insert(0, {str(HERE)!r}); import elsewhere; elsewhere.{system}()\n{code}"
        strict = "import warnings; warnings.filterwarnings('error', category=EncodingWarning, module='planner_')\n"
        command = [sys.executable, "-X", "warn_default_encoding", "-c", strict + script, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
