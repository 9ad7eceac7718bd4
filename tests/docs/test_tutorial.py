"""The tutorial, typed in as it stands: its commands in one shell, in their order, in a new environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Stands in for python3 while the tutorial makes its environment: what the tutorial would download is there already, in
# the packages of the running interpreter, so pip finds its requirements satisfied and the suite needs no network.
PYTHON3 = """#!/bin/sh
set -e
"{python}" "$@"
.venv/bin/python -m pip uninstall --quiet --yes setuptools  # the one that comes with Python is too old for torch
echo 'import site; site.addsitedir("{below}")' > "$(echo .venv/lib/python*/site-packages)/below.pth"
printf '#!/bin/sh\\nexec python -c "from planner_core.cli.app import main; main()" "$@"\\n' > .venv/bin/planner
printf '#!/bin/sh\\nexec python -m pytest -p no:cacheprovider "$@"\\n' > .venv/bin/pytest
chmod +x .venv/bin/planner .venv/bin/pytest
"""


def script():
    """All blocks as one script; Python is fed to the environment's interpreter."""
    parts = []
    for language, code in FENCE.findall(TUTORIAL.read_text()):
        assert language in ("sh", "python"), f"'{language}' would not be run"
        parts.append(code if language == "sh" else f"python - <<'END'\n{code}END\n")
    return "\n".join(parts)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    place = tmp_path_factory.mktemp("tutorial")
    (place / "bin").mkdir()
    python3 = place / "bin" / "python3"
    python3.write_text(PYTHON3.format(python=sys.executable, below=sysconfig.get_path("purelib")))
    python3.chmod(0o755)
    work = place / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{python3.parent}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this one the wrong way round: 0 is no isolation
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "COLUMNS": "200",
        "NO_COLOR": "1",
    }
    command = ["bash", "-euo", "pipefail", "-c", script()]
    ran = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=900)
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-6000:]
    assert "Traceback" not in ran.stderr
    return work, ran.stdout


def test_it_ends_with_a_published_policy(done):
    work, said = done
    assert [p.name for p in (work / "dist").iterdir()] == ["planner_my_policy-0.1.0-py3-none-any.whl"]
    assert (work / "bundles" / "my-policy" / "manifest.json").is_file()
    assert re.search(r"my-policy\W+planner-my-policy\W+0\.1\.0\W+yes\W+ok", said)


def test_what_it_says_of_the_steps_is_so(done):
    _, said = done
    assert re.search(r"\d+ checks ran: \d+ passed, 0 failed", said)
    assert "promise" in said and "'abstain_to_default': False" in said
    assert said.count("gap closed") >= 2
    assert re.search(r"\d+ passed", said)  # the package's own tests
