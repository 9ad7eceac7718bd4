"""Imports of a test: what is written where, and what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # helpers are modules beside the tests

from desk import Desk  # it stands beside this file, which the line above makes known


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def dated() -> Callable[[Path, float], None]:
    """``dated(path, seconds)`` sets the time of a file's last change."""
    return lambda path, seconds: os.utime(path, (seconds, seconds))
