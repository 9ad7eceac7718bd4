"""The scripts of ``docs``, which are no package."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCRIPTS = [*DOCS.glob("*.py"), *(DOCS / "site").glob("*.py")]


@pytest.fixture(scope="session")
def script():
    """Import a script of ``docs`` or ``docs/site`` by name; its neighbours are found as when it is run."""
    folders, before = [str(DOCS), str(DOCS / "site")], list(sys.path)
    sys.path[:0] = folders
    yield importlib.import_module
    sys.path[:] = before
    for path in SCRIPTS:
        sys.modules.pop(path.stem, None)
