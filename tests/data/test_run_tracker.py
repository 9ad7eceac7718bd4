"""Log figures: what a tracker of finished runs says of an issue, and that a dataset says the same."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from workplace import START, Workplace, run

from planner_core import DataError, RunTracker
from planner_core.data.dynamic_regression import DynamicRegression, Involved, observe_number
from planner_core.data.run_tracker import BUCKETS, NO_TOOL, replay

MINUTE = 60_000
NOTHING = {"overall": [0.0] * 3, "tags": [0.0] * 3, "tool": [0.0] * 3}


def issue(*tags, tool=None, **more):
    fixed = {"issue_id": "x", "dk_priority": "P2", "dk_risk": "low", "dk_size": "M", "dk_attempts": 0}
    return {**fixed, "dk_tool_hint": tool, "tags": list(tags), **more}


def ended(passed=True, minutes=10, codes=(), **more):
    outcome = {"status": "success" if passed else "failed", "fail_codes": list(codes), "gates": []}
    return run("r", "x", outcome=outcome, runtime={"duration_ms": minutes * MINUTE}, **more)


def fed(tracker, times, passed, *tags, minutes=10, tool=None):
    for _ in range(times):
        tracker.observe(issue(*tags, tool=tool), ended(passed, minutes))
    return tracker


def test_nothing_heard_is_nothing_known():
    assert RunTracker().figures(issue("a", "b", tool="codex")) == {"known": 0.0, "passed": NOTHING, "minutes": NOTHING}


def test_tags_and_tools_are_told_apart():
    tracker = RunTracker()
    for _ in range(100):
        fed(tracker, 1, False, "bad", tool="t1")
        fed(tracker, 1, True, "good", minutes=5, tool="t2")
        fed(tracker, 1, True, "slow", minutes=40, tool="t2")
    bad, good, slow = (tracker.figures(issue(tag, tool="t2")) for tag in ("bad", "good", "slow"))
    assert max(bad["passed"]["tags"]) < 0 < min(good["passed"]["tags"])
    assert max(good["minutes"]["tags"]) < 0 < min(slow["minutes"]["tags"])
    assert bad["minutes"]["tags"] == [0.0] * 3  # it never passed
    assert bad["passed"]["tool"] == good["passed"]["tool"] > tracker.figures(issue(tool="t1"))["passed"]["tool"]
    both = tracker.figures(issue("bad", "good"))["passed"]["tags"]
    mean = (np.array(bad["passed"]["tags"]) + good["passed"]["tags"]) / 2
    assert both == pytest.approx(mean, abs=2e-6)
    assert tracker.figures(issue("good", "good"))["passed"] == tracker.figures(issue("good"))["passed"]


def test_how_much_is_known_grows_and_fades():
    tracker = fed(RunTracker(), 1, True, "a")
    known = [tracker.figures(issue("a"))["known"]]
    for times in (10, 100):
        known.append(fed(tracker, times, True, "a").figures(issue("a"))["known"])
    assert 0.0 < known[0] < known[1] < known[2] < 1.0
    assert tracker.figures(issue("never"))["known"] < known[0]
    fed(tracker, 5000, True, "b")
    assert tracker.figures(issue("a"))["known"] < known[2]


@pytest.mark.parametrize(("place", "half_life"), [(0, 150), (1, 600), (2, 2500)])
def test_an_offset_halves_in_its_half_life(place, half_life):
    tracker = fed(RunTracker(), 20, False, "a")
    before = tracker.figures(issue("a"))["passed"]["tags"][place]
    fed(tracker, half_life, True, "b")
    assert tracker.figures(issue("a"))["passed"]["tags"][place] == pytest.approx(before / 2, abs=2e-6)


def test_what_is_expected_is_no_offset():
    """Large issues that fail and small ones that pass, of the same tag, say nothing of the tag."""
    tracker = RunTracker()
    for _ in range(200):
        tracker.observe(issue("a", dk_size="XL"), ended(False))
        tracker.observe(issue("a", dk_size="XS"), ended(True))
    assert abs(sum(tracker.figures(issue("a"))["passed"]["tags"])) < 0.25


def test_runs_the_infrastructure_ended_are_not_heard():
    tracker = RunTracker()
    tracker.observe(issue("a"), ended(False, codes=["INFRA_DOWN"]))
    assert tracker.observed == 0
    tracker.observe(issue("a"), ended(True, codes=["INFRA_DOWN"]))
    RunTracker(()).observe(issue("a"), ended(False, codes=["INFRA_DOWN"]))
    assert tracker.observed == 1


def test_a_failed_gate_is_no_pass():
    tracker, other = RunTracker(), RunTracker()
    gated = ended(True)
    gated["outcome"]["gates"] = [{"name": "test", "passed": False}]
    tracker.observe(issue("a"), gated)
    other.observe(issue("a"), ended(False))
    assert tracker.figures(issue("a")) == other.figures(issue("a"))


def test_saved_and_loaded_it_goes_on_as_before():
    tracker = fed(fed(RunTracker(["mine*"]), 30, True, "a", tool="codex"), 9, False, "a", "b")
    again = RunTracker.from_json(tracker.to_json())
    for one in (tracker, again):
        fed(one, 7, False, "b", "c")
    assert again.to_json() == tracker.to_json()
    assert again.not_evidence == ("mine*",)


@pytest.mark.parametrize("document", [b"{}", b"[1]", b'{"observed": 1}', b"no json"])
def test_any_other_document_is_refused(document):
    with pytest.raises(DataError, match=r"tracker\.json"):
        RunTracker.from_json(document, "tracker.json")


@pytest.mark.parametrize("key", [9_999_999, -1])
def test_a_state_with_other_coefficients_is_refused(key):
    state = json.loads(fed(RunTracker(), 1, True, "a").to_json())
    state["passed"]["tracked"][0]["key"] = key
    with pytest.raises(DataError, match="number of a coefficient"):
        RunTracker.from_json(json.dumps(state))


def test_a_state_with_other_half_lives_is_refused():
    state = json.loads(fed(RunTracker(), 1, True, "a").to_json())
    state["minutes"]["tracked"][0]["means"].append(0.0)
    with pytest.raises(DataError, match="3 means and variances"):
        RunTracker.from_json(json.dumps(state))


def test_what_breaks_its_contract_changes_nothing():
    tracker = RunTracker()
    for wrong in ({}, {**ended(), "runtime": {"duration_ms": -1}}):
        with pytest.raises(DataError):
            tracker.observe(issue("a"), wrong)
    with pytest.raises(DataError):
        tracker.observe({}, ended())
    assert tracker.observed == 0


def test_the_state_is_bounded():
    tracker = RunTracker()
    for i in range(1200):
        tracker.observe(issue(*(f"tag-{8 * i + j}" for j in range(8)), tool=f"tool-{i}"), ended())
    for response in json.loads(tracker.to_json())["passed"], json.loads(tracker.to_json())["minutes"]:
        assert len(response["tracked"]) <= NO_TOOL + 1 == 2 * BUCKETS + 2
        assert len(response["expected"]) < 70


def test_without_drift_the_filter_is_the_posterior_of_a_mean():
    """Normal prior, normal noise: mean and variance after n numbers are known in closed form."""
    regression, values = DynamicRegression((math.inf,)), [0.3, -0.1, 0.8, 0.4]
    for now, value in enumerate(values, 1):
        observe_number([Involved(regression.moved(5, now, 2.0), 1.0)], value, 0.25, 9.0)
    (mean,), (variance,) = (getattr(regression.coefficients[5], name) for name in ("means", "variances"))
    precision = 1 / 2.0 + len(values) / 0.25
    assert mean == pytest.approx(sum(values) / 0.25 / precision)
    assert variance == pytest.approx(1 / precision)


def test_time_is_replayed_with_starts_before_ends():
    assert list(replay([0, 5, 5], [5, 6, 5])) == [(False, 0), (False, 1), (False, 2), (True, 0), (True, 2), (True, 1)]


# ------------------------------------------------------------------------------------------------------- in a dataset


def a_log(n=60, seed=0):
    """Issues and runs that overlap: tags, tools, retries, failures of the agent and of the infrastructure."""
    rng = np.random.default_rng(seed)
    issues = [
        {
            "id": f"i{i}",
            "tags": [f"t{j}" for j in rng.choice(5, 2, replace=False)],
            "dk_size": str(rng.choice(["S", "L"])),
        }
        | ({"dk_tool_hint": "codex"} if rng.random() < 0.5 else {})
        for i in range(n)
    ]
    runs = []
    for i in range(n):
        failed = rng.random() < 0.4
        codes = ["INFRA_DOWN"] if failed and rng.random() < 0.2 else []
        action = {"swarm_id": "speculate_vote", "max_candidates": int(rng.integers(1, 4)), "max_minutes": 37}
        outcome = {"status": "failed" if failed else "success", "fail_codes": codes, "gates": []}
        length = {"duration_ms": int(rng.integers(1, 30)) * MINUTE}
        whose = f"i{int(rng.integers(i + 1))}"
        runs.append(run(f"r{i:03}", whose, at=2 * i, action=action, outcome=outcome, runtime=length, tags=[]))
    return issues, runs


def end_of(run):
    return run["started_ms"] + run["runtime"]["duration_ms"]


def test_a_kernel_that_hears_of_every_run_gets_what_the_dataset_has(tmp_path):
    issues, runs = a_log()
    work = Workplace(tmp_path)
    work.build(issues, runs)
    tracker, finished = RunTracker(), sorted(runs, key=lambda run: (end_of(run), run["run_id"]))
    known = {line["planner_input"]["issue"]["issue_id"]: line["planner_input"]["issue"] for line in work.lines}
    seen = []
    for line in work.lines:
        while finished and end_of(finished[0]) < line["started_ms"]:
            over = finished.pop(0)
            tracker.observe(known[over["issue_id"]], over)
        figures = line["planner_input"]["log_figures"]
        assert figures == tracker.figures(line["planner_input"]["issue"])
        seen.append(figures["known"])
    assert seen[0] == 0.0 and sum(value > 0.0 for value in seen) > 50
    assert 0 < tracker.observed < 60


def test_no_example_knows_of_a_run_that_had_not_ended(tmp_path):
    """Another outcome of one run changes the figures of the examples that start after its end, and of no other."""
    issues, runs = a_log()
    one = next(r for r in runs[20:] if r["outcome"]["status"] == "success" and r["runtime"]["duration_ms"] > 9 * MINUTE)
    found = []
    for name, status in (("before", "success"), ("after", "failed")):
        one["outcome"]["status"] = status
        (tmp_path / name).mkdir()
        work = Workplace(tmp_path / name)
        work.build(issues, runs)
        found.append(work.lines)
    differ = {a["run_id"] for a, b in zip(*found, strict=True) if _figures(a) != _figures(b)}
    later = {line["run_id"] for line in found[0] if line["started_ms"] > end_of(one)}
    assert differ == later and len(later) > 10


def _figures(line):
    return line["planner_input"]["log_figures"]


def test_the_world_tells_what_a_kernel_would_have_heard(world):
    """Of a simulated world: each example's own run, heard when it ended."""
    lines = [json.loads(line) for line in (world / "dataset.jsonl").read_bytes().splitlines()]
    tracker, begun = RunTracker(), []
    for line in lines:
        for over in sorted((e for e in begun if e[0] < line["started_ms"]), key=lambda e: e[:2]):
            tracker.observe(*over[2:])
        begun = [e for e in begun if e[0] >= line["started_ms"]]
        assert _figures(line) == tracker.figures(line["planner_input"]["issue"])
        begun.append((line["started_ms"] + line["executed"]["duration_ms"], line["run_id"], *_as_heard(line)))
    assert lines[0]["started_ms"] != START and tracker.observed > 380
    assert all(a["started_ms"] <= b["started_ms"] for a, b in pairwise(lines))


def _as_heard(line):
    executed, x = line["executed"], line["planner_input"]
    names = ("swarm_id", "max_candidates", "max_minutes", "max_iterations")
    outcome = {"status": executed["status"], "fail_codes": executed["fail_codes"], "gates": []}
    document = run(line["run_id"], "x", action=dict(zip(names, executed["action"], strict=True)), outcome=outcome)
    return x["issue"], document | {"job_type": x["job_type"], "runtime": {"duration_ms": executed["duration_ms"]}}
