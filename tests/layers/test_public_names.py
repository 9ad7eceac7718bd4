"""Export, bench, plugins and examples have what is public and nothing else; nothing of ours names the examples.

Public are the names of ``planner_core``'s ``__all__`` and of the ``__all__`` of the modules in :data:`PUBLIC`.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
PACKAGES = {
    "lookup": "planner_lookup",
    "gbdt": "planner_gbdt",
    "transformer": "planner_transformer",
    "sklearn": "planner_sklearn",
}
PUBLIC = ("planner_core", "planner_core.torch")
PUBLIC_TO_TESTS = (*PUBLIC, "planner_core.testing")
PUBLIC_TO_OURS = (
    *PUBLIC_TO_TESTS,
    "planner_core.cli.console",
    "planner_core.runtime.bundle",
    "planner_core.runtime.onnx_bounds",
    "planner_core.runtime.opening",
    "planner_core.runtime.session",
)
"""Command lines, the bundle format, what a graph may hold and says, its interface: to write and measure bundles."""
WITH_THE_PRODUCT = {"numpy", "msgspec", "onnx", "onnxruntime", "torch"}
"""What ``swarm-planner[train]`` brings, and a policy may therefore import without asking for it."""


def problems(source, public, allowed):
    """The imports of ``source`` that are neither public names nor of the top-level packages ``allowed``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "we import absolutely"
            module = node.module or ""
            if module in public:
                names = set(import_module(module).__all__)
                found += [f"{module}.{alias.name}" for alias in node.names if alias.name not in names]
            elif not _allowed(module, allowed):
                found.append(module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if not _allowed(alias.name, allowed)]
    return found


def _allowed(module, allowed):
    top = module.split(".")[0]
    return top in allowed or top in sys.stdlib_module_names


def listed(requirements):
    """Top-level packages of a list of requirements; all but one are named like what they install."""
    names = {requirement.replace("[", ">").split(">")[0] for requirement in requirements}
    return names | ({"sklearn"} if "scikit-learn" in names else set())


OURS = sorted(p for top in ("plugins", "export", "bench") for p in (ROOT / top).glob("**/*.py"))


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_ours_import_public_names_only(path):
    """A package of ours may use another of ours; of the core, what anyone may."""
    source = path.read_text()
    tree = ast.parse(source)
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    others = {module.split(".")[0] for module in modules} - {"planner_core"}
    assert problems(source, PUBLIC_TO_OURS, others) == []


@pytest.mark.parametrize("name", PACKAGES)
def test_examples_import_public_names_only(name):
    place = EXAMPLES / f"planner-{name}"
    project = tomllib.loads((place / "pyproject.toml").read_text())["project"]
    allowed = {PACKAGES[name]} | WITH_THE_PRODUCT | (listed(project["dependencies"]) - {"swarm-planner"})
    sources = sorted((place / PACKAGES[name]).glob("**/*.py"))
    tests = sorted((place / "tests").glob("*.py"))
    assert len(sources) >= 2 and tests
    found = {p.name: problems(p.read_text(), PUBLIC, allowed) for p in sources}
    found |= {p.name: problems(p.read_text(), PUBLIC_TO_TESTS, allowed | {"pytest"}) for p in tests}
    assert not {file: bad for file, bad in found.items() if bad}


def test_the_scan_finds_what_it_is_for():
    source = (
        "import planner_core, planner_mlp.policy, requests\n"
        "from planner_core.data.dataset import Outcomes\n"
        "from planner_core import Examples, nothing_like_it, _MODULE_OF\n"
        "from planner_core.testing import policy_checks\n"
        "import numpy as np\n"
    )
    assert problems(source, PUBLIC, {"numpy"}) == [
        "planner_core",
        "planner_mlp.policy",
        "requests",
        "planner_core.data.dataset",
        "planner_core.nothing_like_it",
        "planner_core._MODULE_OF",
        "planner_core.testing",
    ]


def test_nothing_of_the_product_knows_the_examples():
    code = [*OURS, *(ROOT / "planner_core").glob("**/*.py")]
    assert len(code) > 50
    assert [p for p in code if any(package in p.read_text() for package in PACKAGES.values())] == []
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["planner.policies"]
    assert not set(points) & set(PACKAGES)
