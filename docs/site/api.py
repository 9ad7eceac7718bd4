"""The pages of every public name of the package; mkdocstrings fills them in from signatures and docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PARTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "decide": ("Deciding", "A bundle, a decision, the rules.", ("runtime", "rules", "decision", "action_space")),
    "data": (
        "Documents and data",
        "What goes in: contracts, datasets, features, files.",
        ("contracts", "data", "examples", "features", "encoder", "jsonio", "files", "clock", "claim", "system"),
    ),
    "policies": (
        "Policies and plugins",
        "What a policy is and what it is handed.",
        ("policy", "training", "onnx_policy", "settings", "search_space", "plugins"),
    ),
    "judge": (
        "Training and judging",
        "Runs, metrics, the gate, the simulated world.",
        ("harness", "utility", "world", "ablation"),
    ),
    "errors": ("Errors", "What is raised; [when, and with which exit code](../reference/errors.md).", ("errors",)),
    "torch": ("planner_core.torch", "Bases for policies that are torch modules; needs the extra `train`.", ("torch",)),
    "value": ("planner_core.value", "What a policy is worth on logs: [value](../value.md).", ("value",)),
    "testing": ("planner_core.testing", "The conformance kit, for the tests of a policy.", ("testing",)),
}
"""Pages by file name: title, what they are about, and the modules whose names they have."""

SUBPACKAGES = ("torch", "value", "testing")
"""Public as a whole: each name of their ``__all__`` is documented."""


def pages(module_of: Mapping[str, str], package: Path) -> dict[str, str]:
    """The Markdown of each page by its place in the site.

    ``module_of`` is the module of each public name of ``planner_core``, ``package`` where that is. Raises
    :class:`ValueError` that names the modules which no page has.
    """
    paths: dict[str, list[str]] = {part: [] for part in PARTS}
    paths["decide"].append("planner_core.__version__")
    home = {module: part for part, (_, _, modules) in PARTS.items() for module in modules}
    missing = sorted({module.split(".")[0] for module in module_of.values()} - set(home))
    if missing:
        raise ValueError(f"no page of docs/site/api.py has {', '.join(missing)}")
    for name, module in module_of.items():
        paths[home[module.split(".")[0]]].append(f"planner_core.{name}")
    for module in SUBPACKAGES:
        own = exported(package / module / "__init__.py")
        paths[module] += [f"planner_core.{module}.{name}" for name in own if name not in module_of]
    return {f"api/{part}.md": "\n".join(_page(part, paths[part])) for part in PARTS}


def exported(file: Path) -> list[str]:
    """``__all__`` of a module, which need not be importable here."""
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    raise ValueError(f"{file} has no __all__")


def _page(part: str, paths: Iterable[str]) -> Iterator[str]:
    title, about, _ = PARTS[part]
    yield f"# {title}\n\n{about} Made from the docstrings.\n"
    for path in sorted(paths, key=lambda path: (path.rsplit(".", 1)[1].casefold(), path)):
        yield f"::: {path}\n"
