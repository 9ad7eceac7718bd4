"""A directory to import from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # helpers are modules beside the tests

from importplace import ImportPlace


@pytest.fixture
def place(tmp_path, monkeypatch):
    return ImportPlace(tmp_path, monkeypatch)
