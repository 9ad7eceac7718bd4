"""The floors of the house, lowest first: a module imports from its own floor or from those below it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "planner_core"

# The words are those of docs/architecture.md; a test holds the two together.
FLOORS = (
    ("ground", ("errors", "bounds", "failures", "clock", "system", "files", "jsonio", "claim")),
    ("contracts", ("contracts",)),
    ("actions and features", ("action_space", "layout", "encoder", "features", "examples")),
    ("rules and decision", ("utility", "rules", "decision")),
    ("runtime", ("runtime",)),
    ("policy protocols", ("training", "search_space", "policy", "settings")),
    ("plugins", ("plugins",)),
    ("data, world, value", ("data", "world", "value")),
    ("harness, ablation", ("harness", "ablation")),
    ("torch, testing, scaffold", ("onnx_policy", "torch", "testing", "scaffold")),
    ("command line", ("cli", "__main__")),
)
FLOOR_OF = {name: i for i, (_, names) in enumerate(FLOORS) for name in names}
LABELS = [label for label, _ in FLOORS]


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = list(path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    """Every module of the core by its dotted name, without the door itself."""
    return {module_name(path): path for path in sorted(CORE.rglob("*.py")) if path != CORE / "__init__.py"}


def imports(path: Path, known: set[str]) -> set[str]:
    """The modules of the core that a file imports, anywhere in it, for type checkers too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names if f"{node.module}.{alias.name}" in known}
            if any(f"{node.module}.{alias.name}" not in known for alias in node.names):
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in known}


def graph() -> dict[str, set[str]]:
    every = modules()
    return {name: imports(path, set(every)) - {name} for name, path in every.items()}


def floor(module: str) -> int:
    return FLOOR_OF[module.split(".")[1]]
