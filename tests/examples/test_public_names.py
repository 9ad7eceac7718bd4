"""A stranger has what is public: every import of the examples is checked, and that nothing of ours names them."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PACKAGES = {"lookup": "planner_lookup", "gbdt": "planner_gbdt", "transformer": "planner_transformer"}
PUBLIC = ("planner_core", "planner_core.torch")
PUBLIC_TO_TESTS = (*PUBLIC, "planner_core.testing")
WITH_THE_PRODUCT = {"numpy", "msgspec", "onnx", "onnxruntime", "torch"}
"""What ``swarm-planner[train]`` brings, and a policy may therefore import without asking for it."""


def problems(source, own, public, third_party):
    """What a stranger may not do, as lines; ``own`` is its package."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "examples import absolutely"
            module = node.module or ""
            if module in public:
                names = set(import_module(module).__all__)
                found += [f"{module}.{alias.name}" for alias in node.names if alias.name not in names]
            elif not _allowed(module, own, third_party):
                found.append(module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if not _allowed(alias.name, own, third_party)]
    return found


def _allowed(module, own, third_party):
    top = module.split(".")[0]
    return top == own or top in third_party or top in sys.stdlib_module_names


@pytest.mark.parametrize("name", PACKAGES)
def test_examples_import_public_names_only(name):
    place = EXAMPLES / f"planner-{name}"
    project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
    requirements = {r.replace("[", ">").split(">")[0] for r in project["dependencies"]}
    third_party = WITH_THE_PRODUCT | (requirements - {"swarm-planner"})
    own = PACKAGES[name]
    sources = sorted((place / own).glob("**/*.py"))
    tests = sorted((place / "tests").glob("*.py"))
    assert len(sources) >= 4 and tests
    found = {p.name: problems(p.read_text(), own, PUBLIC, third_party) for p in sources}
    found |= {p.name: problems(p.read_text(), own, PUBLIC_TO_TESTS, third_party | {"pytest"}) for p in tests}
    assert not {file: bad for file, bad in found.items() if bad}


def test_the_scan_finds_what_it_is_for():
    source = (
        "import planner_core, planner_mlp.policy, requests\n"
        "from planner_core.data.dataset import Outcomes\n"
        "from planner_core import Examples, nothing_like_it, _MODULE_OF\n"
        "from planner_core.testing import policy_checks\n"
        "import numpy as np\n"
    )
    assert problems(source, "planner_x", PUBLIC, {"numpy"}) == [
        "planner_core",
        "planner_mlp.policy",
        "requests",
        "planner_core.data.dataset",
        "planner_core.nothing_like_it",
        "planner_core._MODULE_OF",
        "planner_core.testing",
    ]


def test_nothing_of_the_product_knows_the_examples():
    root = EXAMPLES.parent
    code = [p for top in ("planner_core", "plugins", "export", "bench") for p in (root / top).glob("**/*.py")]
    assert len(code) > 50
    assert [p for p in code if any(package in p.read_text() for package in PACKAGES.values())] == []
    points = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["planner.policies"]
    assert not set(points) & set(PACKAGES)
