"""What ``planner plugin new`` makes is installed in a fresh environment, passes its own tests, and is used by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from planner_core.scaffold import KINDS, new_policy

ROOT = Path(__file__).resolve().parents[2]
MAIN = "from planner_core.cli.app import main; main()"


NAMES = ("my-policy", "my-outlook")
"""One of the default kind, an ONNX model that scikit-learn ends in, and one that predicts outcomes."""

FILES = {
    "onnx": ("__init__", "policy"),
    "torch": ("__init__", "policy"),
    "heads": ("__init__", "graph", "policy"),
    "outcomes": ("__init__", "graph", "policy"),
}
"""The modules of every kind's package."""


class Environment:
    """A new virtual environment on top of the running one's packages, and a directory to work in."""

    def __init__(self, root: Path) -> None:
        self.root, self.work = root, root / "work"
        self.work.mkdir(parents=True)
        self.run([sys.executable, "-m", "venv", "--without-pip", str(root / "venv")])
        self.python = root / "venv" / "bin" / "python"
        packages = next((root / "venv" / "lib").glob("python*")) / "site-packages"
        # addsitedir and no plain path: an editable install of the product is itself a .pth file over there.
        below = sysconfig.get_path("purelib")
        (packages / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")

    def run(self, command, cwd=None, code=0):
        done = subprocess.run(
            list(map(str, command)),
            cwd=cwd or self.work,
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        )
        assert done.returncode == code, f"exit {done.returncode}: {command}\n{done.stdout}\n{done.stderr}"
        return done

    def planner(self, *arguments, code=0):
        return self.run([self.python, "-c", MAIN, *arguments], code=code)

    def install(self, directory):
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet"]
        self.run([*pip, "--no-deps", "--no-build-isolation", "--disable-pip-version-check", directory])

    def tests(self, *names):
        """The packages' own tests in one call of pytest, every warning an error; its output."""
        given = [f"planner-{name}" for name in names]
        return self.run(
            [self.python, "-m", "pytest", "-q", "-rA", "-W", "error", "-p", "no:cacheprovider", *given]
        ).stdout


def passed(name, *tests):
    """Lines of pytest's report."""
    return [f"/test_{name.replace('-', '_')}.py::{test}" for test in tests]


KIT = [f"test_conformance[{check}]" for check in ("learns", "determinism", "graph-parity", "latency")]
REGISTERED = "test_it_is_registered_by_this_distribution"


@pytest.fixture(scope="module")
def installed(tmp_path_factory, world):
    """The environment with a policy of each kind installed, and a small world where the commands look for one."""
    environment = Environment(tmp_path_factory.mktemp("scaffold"))
    environment.planner("plugin", "new", "my-policy")
    environment.planner("plugin", "new", "my-outlook", "--kind", "outcomes")
    environment.install("./planner-my-policy")
    environment.install("./planner-my-outlook")
    (environment.work / "data").mkdir()
    (environment.work / "data" / "world").symlink_to(world)
    return environment


def test_it_is_listed_with_its_distribution(installed):
    listed = {entry["name"]: entry for entry in json.loads(installed.planner("policies", "--json").stdout)}
    for name in NAMES:
        mine = listed[name]
        assert (mine["distribution"], mine["version"]) == (f"planner-{name}", "0.1.0")
        assert (mine["trainable"], mine["status"]) == (True, "ok")
    assert "mlp" in listed


def test_the_tests_of_both_pass_in_one_call_without_a_warning(installed):
    said = installed.tests(*NAMES)
    lines = [line for line in said.splitlines() if line.startswith("PASSED")]
    for name in NAMES:
        for wanted in passed(name, *KIT, REGISTERED):
            assert any(line.endswith(wanted) for line in lines), wanted
    # Two checks are of outcomes, and do not apply to logits.
    assert "2 skipped" in said.splitlines()[-1] and "warning" not in said.splitlines()[-1]
    assert any(line.endswith(passed("my-outlook", "test_conformance[twins]")[0]) for line in lines)


@pytest.mark.slow
def test_the_other_kinds_pass_their_own_tests_too(installed):
    names = ("by-torch", "by-hand")
    for name, kind in zip(names, ("torch", "heads"), strict=True):
        installed.planner("plugin", "new", name, "--kind", kind)
        installed.install(f"./planner-{name}")
    said = installed.tests(*names)
    for name in names:
        for wanted in passed(name, *KIT, REGISTERED):
            assert any(line.startswith("PASSED") and line.endswith(wanted) for line in said.splitlines()), wanted


def test_outcomes_are_trained_for_any_weights_and_exported(installed):
    """From a log alone, too: what is learnt of is what was run."""
    named = ("run", "--policy", "my-outlook")
    trained = json.loads(installed.planner(*named, "train", "--json").stdout)
    assert trained["test"]["mean_utility"] > trained["test"]["heuristic"]["mean_utility"]
    assert trained["notes"][0] == "learnt from outcomes of: all"
    other = ("--value", "pass=0.01", "--out", "thrifty")
    thrifty = json.loads(installed.planner(*named, "train", *other, "--json").stdout)
    for name in ("pass_rate", "cost_per_pass_usd"):
        assert thrifty["test"][name] < trained["test"][name]
    log_alone = ("--set", "evidence=executed", "--out", "logged")
    logged = json.loads(installed.planner(*named, "train", *log_alone, "--json").stdout)
    assert logged["notes"][0] == "learnt from outcomes of: executed"
    exported = json.loads(installed.planner("export", "--policy", "my-outlook", "--json").stdout)
    assert exported["parity"]["passed"]


def test_check_train_export_and_bench_take_it_by_name(installed):
    report = json.loads(installed.planner("check", "my-policy", "--only", "learns", "--json").stdout)
    assert report["ok"] and report["summary"] == "1 check ran: 1 passed, 0 failed"
    trained = json.loads(
        installed.planner("run", "--policy", "my-policy", "train", "--set", "trees=10", "--json").stdout
    )
    assert trained["test"]["exact_match_accuracy"] > trained["test"]["heuristic"]["exact_match_accuracy"]
    exported = json.loads(installed.planner("export", "--policy", "my-policy", "--json").stdout)
    assert exported["parity"]["passed"]
    assert (installed.work / "bundles" / "my-policy" / "model.onnx").is_file()
    installed.planner("bench", "--bundle", "bundles/my-policy", "--repeats", "100", "--json")
    metadata = json.loads((installed.work / "bundles" / "my-policy" / "metadata.json").read_text())
    assert (metadata["policy"], metadata["distribution"]) == ("my-policy", "planner-my-policy")


def test_a_name_that_is_installed_is_refused(installed):
    problem = installed.planner("plugin", "new", "my-policy", "--out", "second", code=1).stderr
    assert "there is a policy 'my-policy' already, of planner-my-policy" in problem
    assert not (installed.work / "second").exists()


# -- what is written, without installing it


@pytest.mark.parametrize("kind", FILES)
def test_what_is_written(tmp_path, planner, kind):
    given = () if kind == "onnx" else ("--kind", kind)  # the default
    done = json.loads(planner("plugin", "new", "deep-thought", *given, "--out", "here", "--json", cwd=tmp_path).stdout)
    place = tmp_path / "here"
    written = sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file())
    assert done == {
        "policy": "deep-thought",
        "distribution": "planner-deep-thought",
        "package": "planner_deep_thought",
        "directory": "here",
        "files": written,
    }
    assert written == [
        "README.md",
        "pyproject.toml",
        *(f"src/planner_deep_thought/{module}.py" for module in FILES[kind]),
        "tests/test_deep_thought.py",
    ]
    project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
    assert project["name"] == "planner-deep-thought"
    assert project["entry-points"] == {"planner.policies": {"deep-thought": "planner_deep_thought"}}
    assert any(line.startswith("swarm-planner[train]>=") for line in project["dependencies"])
    assert ("skl2onnx>=1.18" in project["dependencies"]) == (kind == "onnx")
    assert not [p for p in place.rglob("*") if p.is_file() and "$" in p.read_text()]  # nothing left to fill in
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


@pytest.mark.parametrize("kind", FILES)
def test_its_code_is_clean(tmp_path, kind):
    new_policy("deep-thought", tmp_path / "planner-deep-thought", kind)
    for command in (["check", "--select", "E,F,I,B,UP,SIM,RUF"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", "."],
            cwd=tmp_path / "planner-deep-thought",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_kind_is_tested():
    assert tuple(FILES) == KINDS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("My_Policy", "did you mean 'my-policy'?"),
        ("DeepThought", "did you mean 'deep-thought'?"),
        ("planner-foo", "did you mean 'foo'?"),
        ("3d", "lower-case words joined by hyphens"),
        ("x" * 51, "at most 50 characters"),
        ("a/b", "did you mean 'a-b'?"),
        ("mlp", "there is a policy 'mlp' already, of swarm-planner"),
        ("core", "there is a package 'planner_core' already"),
    ],
)
def test_names_that_are_refused(tmp_path, planner, name, said):
    problem = planner("plugin", "new", name, cwd=tmp_path, code=1).stderr
    assert said in problem and "Traceback" not in problem
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_somebody_is_left_alone(tmp_path, planner):
    (tmp_path / "planner-foo").mkdir()
    (tmp_path / "planner-foo" / "thesis.txt").write_text("years of work")
    problem = planner("plugin", "new", "foo", cwd=tmp_path, code=1).stderr
    assert "planner-foo: already exists and is not empty" in problem
    assert [p.name for p in (tmp_path / "planner-foo").iterdir()] == ["thesis.txt"]


def test_the_wheel_has_the_templates(tmp_path):
    """Package data is easily forgotten, and an editable install would not show it."""
    source = tmp_path / "source"
    for name in ("planner_core", "plugins", "export", "bench"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "hatch_build.py"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "wheel"]
    subprocess.run([*pip, "./source"], cwd=tmp_path, check=True, capture_output=True)
    [wheel] = (tmp_path / "wheel").glob("*.whl")
    folder = ROOT / "planner_core" / "scaffold" / "templates"
    templates = {str(path.relative_to(ROOT)) for path in folder.rglob("*") if path.is_file()}
    assert len(templates) == 19
    assert templates <= set(zipfile.ZipFile(wheel).namelist())
