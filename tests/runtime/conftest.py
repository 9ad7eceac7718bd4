"""The fixtures that several files of these tests share; their plain helpers are modules beside them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from planner_core.runtime.planner import Planner

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module", params=["mlp", "joint"])
def planner(bundles, request):
    """The runtime of a bundle of each trained policy."""
    return Planner.load(bundles[request.param], strict=True)


@pytest.fixture
def bundle(bundles, tmp_path):
    """A copy of a bundle that a test may spoil."""
    return shutil.copytree(bundles["mlp"], tmp_path / "bundle")
