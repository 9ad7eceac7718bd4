"""``planner plan``: what it says of a tracker, in a table, in words and as JSON."""

from __future__ import annotations

import json

import pytest

from planner_core import Planner

ISSUES = [
    {"id": "now", "title": "Do it", "priority": 1, "labels": ["web"], "status": "open"},
    {"id": "urgent-and-with-a-long-name", "dk_priority": "P0", "dk_size": "XL", "dk_risk": "high", "tags": ["web"]},
    {"id": "waits", "dependencies": [{"issue_id": "waits", "depends_on_id": "now", "type": "blocks"}]},
    {"id": "human", "labels": ["needs-human"]},
    {"id": "over", "status": "closed"},
    {"id": "gone", "status": "tombstone"},
]
RUN = {
    "run_id": "r1",
    "issue_id": "now",
    "started_ms": 1_770_000_000_000,
    "job_type": "code",
    "domain": "code",
    "action_executed": {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30},
    "outcome": {"status": "failed", "fail_codes": ["test_failed"], "gates": []},
    "runtime": {"duration_ms": 1000},
    "tags": ["web"],
    "propensity": 0.5,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("tracker")
    (place / "issues.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ISSUES))
    (place / "runs.jsonl").write_text(json.dumps(RUN) + "\n")
    return place


@pytest.fixture(scope="module")
def plan(planner, place, outcome_bundle):
    def call(*args, bundle=outcome_bundle, **more):
        return planner("plan", "--issues", "issues.jsonl", "--from", bundle, *args, cwd=place, **more)

    return call


def found(done):
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def usual(plan):
    """What is planned without any option."""
    return found(plan("--json"))


def test_ready_issues_most_urgent_first(usual):
    document = usual
    assert [run["issue_id"] for run in document["issues"]] == ["urgent-and-with-a-long-name", "now"]
    assert document["counts"] == {"issues": 5, "done": 1, "ready": 2, "not_ready": 2}
    assert document["policy"] == "outcome" and document["totals_are"] == "predictions of the model"
    for figure in ("passed", "minutes", "cost_usd"):
        for total, each in (("plan", "expected"), ("rules", "rules_expected")):
            assert document["totals"][total][figure] == pytest.approx(sum(r[each][figure] for r in document["issues"]))


def test_all_but_the_finished_ones(plan):
    document = found(plan("--all", "--json"))
    assert {run["issue_id"]: run["why_not"] for run in document["issues"]} == {
        **{"urgent-and-with-a-long-name": None, "now": None, "waits": "it waits for now"},
        "human": "it is for a human (tag needs-human)",
    }


def test_plans_are_the_bundles_and_the_rules(usual, outcome_bundle, make_input):
    """As a kernel with the same input would have them."""
    rules = {run["issue_id"]: run["rules"] for run in usual["issues"]}
    assert rules["urgent-and-with-a-long-name"]["budgets"]["max_minutes_bin"] == 120
    assert rules["now"] == {
        "swarm_id": "serial_handoff",
        "budgets": {"max_candidates_bin": 1, "max_minutes_bin": 45, "max_iterations_bin": "NA"},
    }
    document = make_input(issue={"issue_id": "now", "dk_priority": "P1", "dk_size": "M", "tags": ["web"]})
    document |= {"system_state": None, "universe_defaults": {}, "job_type": "code"}
    document["issue"] |= {"dk_risk": "medium", "dk_tool_hint": None, "dk_attempts": 0}
    document["history"] = {"last_n_similar_runs": []}
    wanted = Planner.load(outcome_bundle, strict=True).plan(document)
    [own] = [run for run in usual["issues"] if run["issue_id"] == "now"]
    assert own["plan"]["budgets"] == wanted.action["budgets"]
    assert own["expected"] == pytest.approx(wanted.expected["action"], rel=1e-4)


def test_runs_are_history(plan, usual):
    """What is expected changes with what is known; evidence is not shown to the model."""
    without, with_runs = usual["issues"][1], found(plan("--runs", "runs.jsonl", "--json"))["issues"][1]
    assert without["issue_id"] == with_runs["issue_id"] == "now"
    assert without["expected"] != with_runs["expected"]


def test_another_worth_is_another_plan(plan):
    cheap = found(plan("--value", "hour=500", "--json"))
    assert {run["plan"]["budgets"]["max_minutes_bin"] for run in cheap["issues"]} == {15}


def test_it_fits_80_columns_and_calls_a_prediction_one(plan):
    told = plan("--all", columns=80).stdout
    assert max(map(len, told.splitlines())) <= 80
    assert "(waits)" in told and "In brackets is what cannot be worked on now" in told
    assert "Predicted for one run each:" in told and "no measured saving" in told
    assert "5 issues: 1 done, 2 ready, 2 not ready." in told


def test_a_policy_that_predicts_no_outcomes(plan, bundles):
    told = plan(bundle=bundles["mlp"]).stdout
    assert "predicts no outcomes" in told and "Predicted for" not in told
    document = found(plan("--json", bundle=bundles["mlp"]))
    assert {run["expected"] for run in document["issues"]} == {None} and document["totals"]["plan"]["issues"] == 0
    assert "predicts no outcomes" in plan("--value", "pass=3", bundle=bundles["mlp"], code=1).stderr


def test_nothing_to_plan(planner, tmp_path, bundles):
    (tmp_path / "issues.jsonl").write_text(json.dumps({"id": "x", "status": "done"}) + "\n")
    told = planner("plan", "--issues", "issues.jsonl", "--from", bundles["mlp"], cwd=tmp_path).stdout
    assert "1 issues: 1 done" in told and "nothing to plan" in told


def test_a_file_without_an_issue_is_no_tracker(planner, tmp_path, bundles):
    (tmp_path / "runs.jsonl").write_text(json.dumps({"run_id": "r", "issue_id": "x"}) + "\n")
    told = planner("plan", "--issues", "runs.jsonl", "--from", bundles["mlp"], cwd=tmp_path, code=1).stderr
    assert "runs.jsonl: found 1 rows, none of them an issue" in told


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("--issues", "none.jsonl"), 1, "none.jsonl: expected a readable file"),
        (("--runs", "issues.jsonl"), 1, "issues.jsonl, line 1: found no such key"),
        (("--value", "pas=3"), 2, "there is no 'pas'"),
    ],
)
def test_mistakes_are_told(plan, args, code, told):
    assert told in plan(*args, code=code).stderr


def test_a_bundle_that_is_none(plan, place):
    assert "there is no bundle" in plan(bundle=place / "none", code=1).stderr
