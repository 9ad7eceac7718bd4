"""The distribution: its names, its metadata, and the README as a package index shows it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import planner_core

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_name_of_the_distribution_is_a_command_too():
    scripts = importlib.metadata.entry_points(group="console_scripts")
    named = {script.name: script.value for script in scripts if script.name in ("planner", "swarm-planner")}
    assert named == {"planner": "planner_core.cli.app:main", "swarm-planner": "planner_core.cli.app:main"}


@pytest.mark.parametrize("arguments", [["--version"], ["policies", "--json"]])
def test_the_package_runs_as_a_module(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "planner_core", *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    assert planner_core.__version__ in done.stdout


@pytest.mark.parametrize(
    ("name", "script"), [("planner", "_PLANNER_COMPLETE"), ("swarm-planner", "_SWARM_PLANNER_COMPLETE")]
)
def test_a_shell_completes_the_commands(name, script):
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        pytest.skip(f"{name} is not installed beside this interpreter")
    asked = {script: "complete_bash", "COMP_WORDS": f"{name} po", "COMP_CWORD": "1"}
    done = subprocess.run(
        [program], env={**os.environ, **asked}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.split() == ["policies"]


def test_an_index_without_an_address_gets_names_of_files(hook):
    code = "\n```sh\n[x](docs/y.md)\n```\n"
    text = "See [docs/a.md](docs/a.md), [the way](docs/b.md#x) and ![a picture](docs/p.png)."
    shown = "See docs/a.md, the way (`docs/b.md#x`) and a picture."
    assert hook.description(text + code, None, "main") == shown + code


def test_an_index_with_an_address_gets_links_to_the_tag(hook):
    text = "[`a`](docs/a.md) [`b`](docs/b.md) ![p](docs/p.png) "
    text += "[out](https://example.org/x) [here](#here) `[code](docs/c.md)`"
    assert hook.description(text, "https://example.org/home/", "v1") == (
        "[`a`](https://example.org/home/blob/v1/docs/a.md) [`b`](https://example.org/home/blob/v1/docs/b.md) "
        "![p](https://example.org/home/raw/v1/docs/p.png) "
        "[out](https://example.org/x) [here](#here) `[code](docs/c.md)`"
    )


def test_every_relative_link_of_the_readme_is_a_file(hook):
    readme = (ROOT / "README.md").read_text("utf-8")
    paths = [match[3].split("#")[0] for match in hook._LINK_OR_CODE.finditer(readme) if match[3]]
    assert paths and not [path for path in paths if not (ROOT / path).exists()]


def test_a_wheel_carries_the_pages_that_help_shows(hook):
    wheel, editable = {"force_include": {}}, {"force_include": {}}
    for version, data in (("standard", wheel), ("editable", editable)):
        hook.PlannerPages.initialize(SimpleNamespace(root=str(ROOT)), version, data)
    there = {str(Path(name).relative_to("planner_core/cli/topics")) for name in wheel["force_include"].values()}
    docs = ROOT / "docs"
    assert there == {str(page.relative_to(docs)) for page in (*docs.glob("*.md"), *docs.glob("reference/*.md"))}
    assert editable == {"force_include": {}}
