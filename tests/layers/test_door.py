"""The typed door: a reader, a type checker and the running program see the same names."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import planner_core

ROOT = Path(__file__).resolve().parents[2]
CONSUMER = '''
from pathlib import Path

from torch import nn

from planner_core import ActionSpace, Batch, Planner, PlannerInputEncoder, PolicySpec, Scores, TorchPolicy


class Mine(TorchPolicy):
    """A subclass of the torch base, as a policy author writes one."""

    def build_module(self) -> nn.Module:
        return nn.Linear(self.context.encoder.d_in, 150)


def run(document: bytes) -> str:
    planner = Planner.load(Path("bundle"), threshold=0.3)
    action = planner.decide(document)
    plan = planner.plan(document)
    seconds: int | None = plan.executed["timeout_seconds_executed"]
    first: int = PlannerInputEncoder().group("risk").start
    return f"{action['swarm_id']} {action['budgets']['max_minutes_bin']} {seconds} {first} {ActionSpace().head_sizes}"
'''
MISTAKES = {
    'Planner.load("x", no_such_option=3)': "no_such_option",
    'Planner.load("x").decyde({})': "decyde",
    'PolicySpec(nme="x")': "nme",
    'Planner.load("x").decide({})["swarmid"]': "swarmid",
    "planner_core.Planer": "Planer",
}


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_block_is_made_from_the_table():
    door = load(ROOT / "docs" / "make_door.py")
    text = Path(planner_core.__file__).read_text()
    assert door.written(text) == text, "run make reference"
    assert len(door.block().splitlines()) == len(planner_core.__all__) - 1


def test_every_import_package_is_typed():
    tops = [ROOT / "planner_core", *(ROOT / name for name in ("plugins", "export", "bench"))]
    packages = [tops[0], *(p for top in tops[1:] for p in sorted(top.iterdir()) if (p / "__init__.py").exists())]
    assert len(packages) >= 7
    assert [str(p.relative_to(ROOT)) for p in packages if not (p / "py.typed").is_file()] == []


def mypy(python, folder, cache):
    """What mypy --strict says of the consumer and, a line each, of the mistakes."""
    (folder / "consumer.py").write_text(CONSUMER)
    lines = "".join(f"{code}\n" for code in MISTAKES)
    (folder / "mistakes.py").write_text(f"import planner_core\nfrom planner_core import Planner, PolicySpec\n\n{lines}")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--python-executable", python),
            *("--cache-dir", cache, "consumer.py", "mistakes.py"),
        ],
        cwd=folder,
        env={**os.environ, "MYPYPATH": ""},
        capture_output=True,
        text=True,
    )
    return [line for line in done.stdout.splitlines() if ": error:" in line], done.stdout + done.stderr


def check(errors, output):
    assert [line for line in errors if line.startswith("consumer.py")] == [], output
    found = [line for line in errors if line.startswith("mistakes.py")]
    for word in MISTAKES.values():
        assert any(word in line for line in found), f"{word} is not found\n{output}"


def test_a_consumer_sees_types_in_the_editable_install(tmp_path, pytestconfig):
    check(*mypy(sys.executable, tmp_path, pytestconfig.cache.mkdir("mypy")))


def test_a_consumer_sees_types_in_the_wheel(tmp_path, pytestconfig):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "dist", ROOT], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    lean = tmp_path / "lean"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", lean], check=True)
    python = str(lean / "bin" / "python")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    # The dependencies are those of this environment; its own editable install is not among them, for a path file in
    # a folder that a path file names is not read.
    (site,) = lean.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(str(Path(pytest.__file__).parents[1]) + "\n")
    where = [python, "-c", "import planner_core; print(planner_core.__file__)"]
    assert str(site) in subprocess.run(where, capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    check(*mypy(python, tmp_path, pytestconfig.cache.mkdir("mypy-wheel")))
