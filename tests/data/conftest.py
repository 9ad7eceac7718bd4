"""Builders of parts of a dataset, as functions."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from planner_core.data.dataset import load_dataset
from planner_core.errors import DataError

sys.path.insert(0, str(Path(__file__).parent))  # helpers are modules beside the tests


def _refused(path):
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    with pytest.raises(DataError) as caught:
        load_dataset(path)
    assert {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()} == before
    assert not (path / ".encoded").exists()
    return caught.value


def _candidate(action, *, status="success", ms=0, cost=0.0, passed=True, winner=False):
    outcome = {
        "status": status,
        "duration_ms": ms,
        "cost_usd": cost,
        "all_gates_passed": passed,
        "fail_codes": [],
    }
    return {"action": list(action), "outcome": outcome, "is_winner": winner}


def _arrays(shape):
    return {name: np.zeros(shape, np.float32) for name in ("passed", "minutes", "cost_usd")}


@pytest.fixture(scope="session")
def refused():
    """``refused(path)``: the error of loading a dataset, which must leave it as it was."""
    return _refused


@pytest.fixture(scope="session")
def candidate():
    """``candidate(action)``: one counterfactual outcome as JSON."""
    return _candidate


@pytest.fixture(scope="session")
def arrays():
    """``arrays(shape)``: outcomes of zeros."""
    return _arrays
