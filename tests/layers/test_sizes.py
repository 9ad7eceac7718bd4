"""A test file stays short enough to be read in one go; what has grown is split by theme."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOO_LONG = 450
"""Lines, from which on a file of tests or of their helpers is to be split."""


def too_long(root):
    """``{path: lines}`` of the Python files in the ``tests`` directories of the product and of its examples."""
    found = {}
    for pattern in ("tests/**/*.py", "examples/*/tests/**/*.py"):
        for path in root.glob(pattern):
            lines = len(path.read_text().splitlines())
            if lines >= TOO_LONG:
                found[path.relative_to(root).as_posix()] = lines
    return found


def test_no_file_of_tests_is_too_long():
    assert not too_long(ROOT)


def test_a_file_too_long_is_seen(tmp_path):
    """Else the test above would show nothing."""
    for folder in ("tests/core", "examples/planner-acme/tests"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "test_short.py").write_text("\n" * (TOO_LONG - 1))
        (tmp_path / folder / "test_long.py").write_text("\n" * TOO_LONG)
    assert too_long(tmp_path) == {
        "tests/core/test_long.py": TOO_LONG,
        "examples/planner-acme/tests/test_long.py": TOO_LONG,
    }
