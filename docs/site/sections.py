"""Which pages the site has, in which order and under which headings.

Pages are named by their place in the site: those of ``docs`` by their path there, the others as :data:`ELSEWHERE` and
:func:`pages_of` say.
"""

from __future__ import annotations

from pathlib import Path

ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the repository outside ``docs``, by their path in it; and ``examples/X/README.md`` is ``examples/X.md``."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "Begin": ("index.md", "operator.md", "kernel-author.md", "policy-author.md", "glossary.md"),
    "Operators": (
        *("your-logs.md", "value.md", "outcome.md", "report.md", "watch.md", "nightly.md", "loop.md"),
        *("examples/logs.md", "examples/loop.md", "examples/nightly.md"),
    ),
    "Kernel authors": (
        *("modes-and-fallbacks.md", "rollout.md", "bundle.md", "signing.md", "serve.md", "porting.md"),
        *("examples/kernel.md", "examples/serve-clients.md", "examples/node-runtime.md"),
    ),
    "Policy authors": (
        *("tutorial.md", "plugins.md", "tuning.md"),
        *("examples/planner-sklearn.md", "examples/planner-gbdt.md", "examples/planner-lookup.md"),
        "examples/planner-transformer.md",
    ),
    "Reference": (
        "reference/commands.md",
        "data.md",
        "reference/files.md",
        "reference/errors.md",
        "api/",
        "reference/",
    ),
    "How it is made": (
        *("architecture.md", "benchmarks.md", "acceptance.md", "portability.md"),
        *("contributing.md", "security.md", "changelog.md"),
    ),
}
"""Pages by heading. One that does not exist is left out; a folder stands for its pages that no heading names."""

FOLDERS = {"api/": "Python, by name", "reference/": "Plugin protocol"}


def pages_of(root: Path) -> dict[str, str]:
    """Every page of the site that is a file of the repository: its path there by its place in the site."""
    found = {site: name for name, site in ELSEWHERE.items() if (root / name).is_file()}
    found |= {f"examples/{path.parent.name}.md": _under(root, path) for path in root.glob("examples/*/README.md")}
    found |= {
        path.relative_to(root / "docs").as_posix(): _under(root, path)
        for pattern in ("*.md", "reference/*.md")
        for path in (root / "docs").glob(pattern)
    }
    return dict(sorted(found.items()))


def arranged(pages: set[str]) -> dict[str, list[str | tuple[str, list[str]]]]:
    """The pages in order, by heading; a folder's as a pair of its title and its pages.

    Raises :class:`ValueError` that names the pages which no heading has.
    """
    left = pages - {page for listed in SECTIONS.values() for page in listed}
    out: dict[str, list[str | tuple[str, list[str]]]] = {}
    for heading, listed in SECTIONS.items():
        rows: list[str | tuple[str, list[str]]] = []
        for page in listed:
            if page in FOLDERS:
                inside = sorted(
                    (p for p in left if p.startswith(page)), key=lambda p: (not p.endswith("/README.md"), p)
                )
                left -= set(inside)
                rows += [(FOLDERS[page], inside)] if inside else []
            elif page in pages:
                rows.append(page)
        if rows:
            out[heading] = rows
    if left:
        raise ValueError(f"no heading of docs/site/sections.py has {', '.join(sorted(left))}")
    return out


def _under(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
