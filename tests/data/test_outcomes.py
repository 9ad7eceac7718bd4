"""Known outcomes of several actions: a file of arrays, or candidates beside the examples."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core.action_space import Action, ActionSpace
from planner_core.data.dataset import load_dataset

SPACE = ActionSpace()


def test_candidates_may_begin_late_and_stop(tmp_path, write_lines, world_lines, monkeypatch, candidate):
    monkeypatch.setattr("planner_core.data.encode._ROWS_AT_ONCE", 2)
    lines = world_lines(7)
    lines[5]["candidates"] = [candidate(("serial_handoff", 1, 30, "NA"), ms=60_000)]
    outcomes = load_dataset(write_lines(tmp_path / "d", lines)).everything.outcomes
    assert outcomes.minutes.shape == (7, 150)
    assert np.argwhere(np.isfinite(outcomes.minutes)).tolist() == [[5, SPACE.index[("serial_handoff", 1, 30, "NA")]]]


def test_candidates_become_arrays(tmp_path, write_lines, world_lines, candidate):
    lines = world_lines(3)
    won = Action("serial_handoff", 1, 30, "NA")
    lost = Action("speculate_vote", 3, 60, "NA")
    lines[1]["candidates"] = [
        candidate(won, ms=90_000, cost=0.5, winner=True),
        candidate(lost, status="failed", ms=3_600_000, cost=None, passed=False),
    ]
    outcomes = load_dataset(write_lines(tmp_path / "d", lines)).everything.outcomes
    a, b = SPACE.index[won], SPACE.index[lost]
    assert outcomes.passed[1, [a, b]].tolist() == [1.0, 0.0]
    assert outcomes.minutes[1, [a, b]].tolist() == [1.5, 60.0]
    assert outcomes.cost_usd[1, a] == 0.5 and np.isnan(outcomes.cost_usd[1, b])
    assert np.isfinite(outcomes.passed).sum() == 2  # everything else is unknown
    assert outcomes.passed.shape == (3, 150) and outcomes.passed.dtype == np.float32


def test_without_candidates_there_are_no_outcomes(tmp_path, write_lines, world_lines):
    assert load_dataset(write_lines(tmp_path / "d", world_lines(2))).everything.outcomes is None


def test_candidate_outside_the_space(tmp_path, write_lines, world_lines, refused, candidate):
    lines = world_lines(4)
    lines[2]["candidates"] = [candidate(("serial_handoff", 2, 30, "NA"))]
    problem = refused(write_lines(tmp_path / "d", lines))
    assert "serial_handoff, 2, 30, NA" in problem.found


def test_candidate_outside_the_space_names_its_line(tmp_path, write_lines, world_lines, refused, candidate):
    lines = world_lines(4)
    lines[2]["candidates"] = [candidate(("serial_handoff", 2, 30, "NA"))]
    assert refused(write_lines(tmp_path / "d", lines)).line == 3


@pytest.mark.parametrize("shape", [(5, 149), (4, 150), (150,)])
def test_outcomes_of_another_shape(tmp_path, write_lines, world_lines, shape, refused, arrays):
    problem = refused(write_lines(tmp_path / "d", world_lines(5), arrays(shape)))
    assert problem.source.endswith("outcomes.npz")
    assert str(shape) in problem.found and "(5, 150)" in problem.expected


def test_outcomes_file_that_lacks_an_array_or_is_none(tmp_path, write_lines, world_lines, refused, arrays):
    path = write_lines(tmp_path / "d", world_lines(5), arrays((5, 150)))
    np.savez(path / "outcomes.npz", passed=np.zeros((5, 150), np.float32))
    assert refused(path).source.endswith("outcomes.npz")
    (path / "outcomes.npz").write_bytes(b"no archive")
    assert refused(path).source.endswith("outcomes.npz")


def test_changed_outcomes_do_not_fit_the_hash(tmp_path, write_lines, world_lines, refused, arrays):
    path = write_lines(tmp_path / "d", world_lines(5), arrays((5, 150)))
    changed = arrays((5, 150))
    changed["minutes"][0, 0] = 1.0
    np.savez(path / "outcomes.npz", **changed)
    assert refused(path).path == "$.dataset_hash"
