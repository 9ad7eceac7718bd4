"""What was run, as arrays: against a reading of the JSON by hand, and a million rows without a million objects."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core.action_space import JOB_TYPES, SWARM_IDS, ActionSpace
from planner_core.data.dataset import load_dataset
from planner_core.data.describe import describe_runs
from planner_core.data.executed import nearest_class, read_propensities
from planner_core.errors import DataError
from planner_core.examples import Outcomes

SPACE = ActionSpace()


def executed(action=("serial_handoff", 1, 30, 1), **more):
    return {"action": list(action), "status": "success", "passed": True, "duration_ms": 90_000, **more}


@pytest.fixture
def load(tmp_path, write_lines, world_lines):
    """``load(executed, ...)``: the examples of a dataset whose lines have these ``executed`` (None: have none)."""

    def make(*given, job_type=None):
        lines = world_lines(60)
        if job_type:
            lines = [line for line in lines if line["planner_input"]["job_type"] == job_type]
        lines = lines[: len(given)]
        for line, what in zip(lines, given, strict=True):
            line.pop("executed", None)
            if what is not None:
                line["executed"] = what
        make.lines = lines
        return load_dataset(write_lines(tmp_path / "d", lines)).everything

    return make


def test_numbers_as_executed(load):
    found = load(
        executed(cost_usd=0.5, propensity=0.25),
        executed(
            ("speculate_vote", 2, 90, None),
            status="timeout",
            passed=False,
            duration_ms=5_520_000,
            evidence=False,
            candidates=[{"passed": False, "duration_ms": 5_400_000, "cost_usd": 0.25}, {"passed": True}],
        ),
        executed(("speculate_vote", None, None, 3), status="failed", passed=False),
        executed(("speculate_vote", 4, 500, 0), candidates=[{"passed": True, "duration_ms": 1}] * 4),
        job_type="fab-world",
    ).executed
    assert found.swarm.tolist() == [0, 1, 1, 1]
    assert found.candidates.tolist() == [1, 2, 2, 4]
    assert found.minutes.tolist() == [30, 90, 240, 500]
    assert found.minutes_limited.tolist() == [True, True, False, True]
    assert found.iterations.tolist() == [1, 2, 3, 0]
    assert [tuple(SPACE.actions[i]) for i in found.action] == [
        ("serial_handoff", 1, 30, 1),
        ("speculate_vote", 2, 60, 2),
        ("speculate_vote", 2, "NA", 3),
        ("speculate_vote", 3, "NA", 1),
    ]
    assert found.passed.tolist() == [1, 0, 0, 1]
    assert found.status.tolist() == [0, 2, 1, 0]
    assert found.duration_minutes.tolist() == [1.5, 92, 1.5, 1.5]
    assert found.evidence.tolist() == [True, False, True, True]
    assert np.array_equal(found.cost_usd, np.float32([0.5, np.nan, np.nan, np.nan]), equal_nan=True)
    assert np.array_equal(found.propensity, np.float32([0.25, np.nan, np.nan, np.nan]), equal_nan=True)
    nothing = [-1, -1, -1]
    assert found.candidate_passed.tolist() == [nothing, [0, 1, -1], nothing, nothing]  # of four nothing is known
    assert np.array_equal(found.candidate_minutes[1], np.float32([90, np.nan, np.nan]), equal_nan=True)
    assert np.array_equal(found.candidate_cost_usd[1], np.float32([0.25, np.nan, np.nan]), equal_nan=True)
    assert np.isnan(found.candidate_minutes[[0, 2, 3]]).all() and np.isnan(found.candidate_cost_usd[[0, 2, 3]]).all()


def test_code_does_not_iterate_and_serial_is_one(load):
    given = [executed(("serial_handoff", k, 30, i)) for k, i in ((None, None), (3, 5), (1, 1))]
    found = load(*given, job_type="code").executed
    assert found.iterations.tolist() == found.candidates.tolist() == [1, 1, 1]
    assert len(set(found.action.tolist())) == 1
    assert tuple(SPACE.actions[found.action[0]]) == ("serial_handoff", 1, 30, "NA")


def test_types_are_those_that_are_documented(load):
    found = load(executed(propensities={"serial_handoff|1|30|1": 0.5}), executed()).executed
    kinds = {name: values.dtype.name for name, values in vars(found).items()}
    whole = ("swarm", "action", "propensity_starts", "propensity_actions", "issue", "started_ms")
    assert {name for name, kind in kinds.items() if kind == "int64"} == set(whole)
    assert {name for name, kind in kinds.items() if kind == "bool"} == {"minutes_limited", "evidence"}
    assert {name for name, kind in kinds.items() if kind == "int8"} == {"status", "candidate_passed"}
    assert {kind for kind in kinds.values()} == {"int64", "bool", "int8", "float32"}
    assert len(found) == 2


def test_a_class_is_its_own_nearest_and_canonical():
    for job, job_type in enumerate(JOB_TYPES):
        for joint in np.flatnonzero(SPACE.joint_masks[job]):
            resolved = tuple(SPACE.resolved[job, joint].tolist())
            assert nearest_class(resolved, job_type) == SPACE.canonical[job, joint]


def test_known(load):
    assert load(executed(), None).known == "executed"


def test_old_datasets_have_no_executed_and_nothing_is_known(load):
    found = load(None, None)
    assert (found.executed, found.known) == (None, "none")


def test_rows_that_do_not_say_what_was_run_are_no_evidence(load):
    found = load(None, executed(propensities={"serial_handoff|1|30|1": 0.5}), None).executed
    assert found.swarm.tolist() == [-1, 0, -1] and found.action.tolist()[::2] == [-1, -1]
    assert found.evidence.tolist() == [False, True, False]
    assert found.status.tolist() == [-1, 0, -1]
    for name in ("passed", "minutes", "candidates", "iterations", "duration_minutes", "cost_usd", "propensity"):
        assert np.isnan(getattr(found, name)[[0, 2]]).all(), name
    assert found.propensity_starts.tolist() == [0, 0, 1, 1]
    ids = [line["planner_input"]["issue"]["issue_id"] for line in load.lines]
    assert [[a == b for a in found.issue] for b in found.issue] == [[a == b for a in ids] for b in ids]
    assert found.started_ms.tolist() == [line["started_ms"] for line in load.lines]


# -- propensities


def as_dict(distribution):
    rows = zip(distribution.actions.tolist(), distribution.values.tolist(), strict=True)
    return {(SWARM_IDS[a[0]], *a[1:]): p for a, p in rows}


def test_keys_are_resolved_and_twins_are_summed():
    given = {
        "serial_handoff|1|30|1": 0.125,
        "serial_handoff|2|30|1": 0.125,  # serial is one candidate
        "speculate_vote|NA|NA|1": 0.25,
        "speculate_vote|2|240|1": 0.25,
        "speculate_vote|2|90|3": 0.125,
        "best_of_n|3|90|1": 0.125,
        "serial_handoff|1|15|1": 0.0,
    }
    assert as_dict(read_propensities(given, "fab-world", "f", 1, "$")) == {
        ("serial_handoff", 1, 30, 1): 0.25,
        ("speculate_vote", 2, 240, 1): 0.5,
        ("speculate_vote", 2, 90, 3): 0.125,
        ("speculate_vote", 3, 90, 1): 0.125,
    }
    code = {"serial_handoff|1|30|1": 0.25, "serial_handoff|1|30|5": 0.25, "serial_handoff|1|30|NA": 0.5}
    assert as_dict(read_propensities(code, "code", "f", 1, "$")) == {("serial_handoff", 1, 30, 1): 1.0}


def test_a_distribution_over_every_class_has_the_distinct_ones():
    for job, job_type in enumerate(JOB_TYPES):
        valid = [SPACE.actions[i] for i in np.flatnonzero(SPACE.joint_masks[job])]
        given = {"|".join(map(str, action)): 1 / len(valid) for action in valid}
        found = read_propensities(given, job_type, "f", 1, "$")
        assert len(found) == len(np.unique(SPACE.resolved[job][SPACE.joint_masks[job]], axis=0))
        assert found.values.sum() == pytest.approx(1.0)


def test_the_distribution_says_the_propensity(load):
    half = {"serial_handoff|1|30|1": 0.5, "speculate_vote|2|90|1": 0.25}
    found = load(
        executed(propensities=half),
        executed(propensities=half, propensity=0.1),  # twins make it more than that of the one action
        executed(("speculate_vote", 2, 60, 1), propensities=half, propensity=0.25),  # a fallback ran, not the policy
        executed(propensity=0.0),
        job_type="code",
    ).executed
    assert np.array_equal(found.propensity, np.float32([0.5, 0.5, np.nan, np.nan]), equal_nan=True)
    assert found.propensity_starts.tolist() == [0, 2, 4, 4, 4]
    assert found.propensity_actions.tolist() == [[0, 1, 30, 1], [1, 2, 90, 1]] * 2
    assert found.propensity_values.tolist() == [0.5, 0.25] * 2


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"nonsense": 0.5}, "$.executed.propensities['nonsense']"),
        ({"|1|30|1": 0.5}, "$.executed.propensities['|1|30|1']"),
        ({"serial_handoff|1|99999999999|1": 0.5}, "$.executed.propensities['serial_handoff|1|99999999999|1']"),
        ({"serial_handoff|1|30|1": 0.6, "serial_handoff|1|60|1": 0.5}, "$.executed.propensities"),
    ],
)
def test_a_bad_distribution_names_its_place(tmp_path, load, given, path):
    with pytest.raises(DataError) as caught:
        load(None, executed(propensities=given))
    problem = caught.value
    assert (problem.source, problem.line, problem.path) == (str(tmp_path / "d" / "dataset.jsonl"), 2, path)


# -- rows


def same(a, b):
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("rows", [slice(1, 4), slice(0, 0), slice(3, 2), slice(None), [4, 0, 0, 2], [], slice(0, 5, 2)])
def test_rows_are_taken_with_their_distributions(load, rows):
    part = {"serial_handoff|1|30|1": 0.5, "speculate_vote|2|90|1": 0.25}
    given = [executed(), executed(propensities=part), None, executed(propensities={"serial_handoff|1|30|1": 1.0})]
    whole = load(*given, executed(propensities=part), job_type="code").executed

    def distribution(of, row):
        place = slice(of.propensity_starts[row], of.propensity_starts[row + 1])
        return of.propensity_actions[place].tolist(), of.propensity_values[place].tolist()

    numbers = np.arange(5)[rows if isinstance(rows, slice) else np.array(rows, np.int64)]
    taken = whole.take(rows if isinstance(rows, slice) else np.array(rows, np.int64))
    assert len(taken) == len(numbers) == len(taken.propensity_starts) - 1
    assert taken.propensity_starts[0] == 0 and taken.propensity_starts[-1] == len(taken.propensity_values)
    for i, row in enumerate(numbers):
        assert distribution(taken, i) == distribution(whole, row)
        assert same([taken.minutes[i : i + 1]], [whole.minutes[row : row + 1]])
    if rows == slice(1, 4):
        assert np.shares_memory(taken.propensity_values, whole.propensity_values)
        assert np.shares_memory(taken.minutes, whole.minutes)


# -- figures


def test_figures_leave_out_what_is_no_evidence(load):
    infra = executed(("serial_handoff", 1, 120, 1), status="failed", passed=False, evidence=False, cost_usd=9.0)
    found = describe_runs(
        load(
            executed(cost_usd=1.0, propensity=0.5),
            executed(("speculate_vote", 2, 30, 1), status="failed", passed=False, duration_ms=30_000, propensity=0.25),
            infra,
            None,
            job_type="code",
        ).executed
    )
    assert (found["runs"], found["evidence"], found["not_evidence"], found["distinct_actions"]) == (3, 2, 1, 2)
    assert found["passed"] == {"n": 2, "mean": 0.5}
    assert found["minutes"] == {"n": 2, "mean": 1.0}
    assert found["cost_usd"] == {"n": 1, "mean": 1.0}
    assert found["propensity"] == {"n": 2, "min": 0.25, "max": 0.5}
    assert found["status"] == {"success": 1, "failed": 1, "timeout": 0}


def test_figures_of_nothing(load):
    found = describe_runs(load(executed(evidence=False)).executed)
    assert found["passed"] == found["cost_usd"] == {"n": 0, "mean": None}
    assert found["propensity"] == {"n": 0, "min": None, "max": None}


@pytest.mark.parametrize(
    ("passed", "kind"),
    [
        ([[0.0, 1.0, np.nan]], "realised"),
        ([[np.nan] * 3], "realised"),
        ([[0.0, 1.0, 1.0]] * 9000 + [[0.0, 0.5, np.nan]], "expected"),
    ],
)
def test_expected_and_realised_outcomes_differ(passed, kind):
    values = np.array(passed, np.float32)
    assert Outcomes(values, values, values).kind == kind
