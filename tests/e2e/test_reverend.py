"""Real input: an issue tracker and its runs, untidied."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def dataset(planner, reverend, tmp_path_factory):
    place = tmp_path_factory.mktemp("reverend")
    files = ("--issues", reverend / "issues.jsonl", "--runs", reverend / "runs.jsonl")
    planner("data", "build", *files, "--out", "D", cwd=place)
    return place


def test_183_examples(planner, dataset):
    found = json.loads(planner("data", "info", "D", "--json", cwd=dataset).stdout)
    assert found["example_count"] == 183
    assert found["labels"] == {"serial_handoff, 1, NA, NA": 183}
    planner("data", "validate", "D", cwd=dataset)


def test_what_happened_is_kept_and_what_is_missing_is_said(planner, reverend, dataset, tmp_path):
    files = ("--issues", reverend / "issues.jsonl", "--runs", reverend / "runs.jsonl")
    report = json.loads(planner("data", "build", *files, "--out", "D", "--json", cwd=tmp_path).stdout)
    assert (report["passed"], report["evidence"], report["n_labels"]) == (183, 183, 1)
    assert report["missing"] == dict.fromkeys(("propensity", "propensities", "cost_usd", "candidates"), 183)
    assert report["issue_defaults"] == {"dk_risk": 8, "dk_size": 21}
    assert report["rounded"] == report["noted"] == {}
    found = json.loads(planner("data", "info", "D", "--json", cwd=dataset).stdout)
    assert (found["known"], found["outcomes"]) == ("executed", None)
    runs = found["runs"]
    durations = [json.loads(line)["runtime"]["duration_ms"] for line in (reverend / "runs.jsonl").open()]
    assert runs["minutes"]["mean"] == pytest.approx(sum(durations) / 183 / 60_000, rel=1e-5)
    assert (runs["runs"], runs["not_evidence"], runs["issues"], runs["distinct_actions"]) == (183, 0, 120, 1)
    assert runs["passed"] == {"n": 183, "mean": 1.0}
    assert runs["propensity"]["n"] == runs["cost_usd"]["n"] == 0
    text = planner("data", "info", "D", cwd=dataset).stdout
    for line in ("known of outcomes: executed", "183 of 120 issues", "100.0% (success", "1 distinct"):
        assert line in text
    assert "note:" not in text


def test_mlp_trains_and_says_that_every_label_is_the_same(planner, dataset):
    done = planner(
        *("run", "-p", "mlp", "train", "--dataset", "D", "--set", "epochs=3", "--set", "d_hidden=32"), cwd=dataset
    )
    assert "every one of the 146 training labels is the same action (serial_handoff, 1, NA, NA)" in " ".join(
        done.stderr.split()
    )
    planner("export", "-p", "mlp", cwd=dataset)
    actions = planner("run", "-p", "mlp", "predict", "--from", "bundles/mlp", "D/dataset.jsonl", cwd=dataset)
    assert len(actions.stdout.splitlines()) == 183


@pytest.mark.parametrize("command", [("run", "-p", "heuristic", "evaluate"), ("compare", "heuristic")])
def test_no_value_can_be_told_of_one_action_that_always_passed(planner, dataset, command):
    """Every run was the same action and passed: nothing says what another would have done."""
    found = json.loads(planner(*command, "--dataset", "D", "--json", cwd=dataset).stdout)
    rows = [found] if "verdict" in found else [row for row in found["rows"] if row["name"] == "heuristic"]
    assert rows and found["known"] == "executed"
    for row in rows:
        assert row["verdict"]["answer"] == "cannot_tell"
        assert row["value"]["utility"]["estimate"] is None and row["support"] < 1.0
        assert "the log could not have shown it" in row["verdict"]["text"]
    for row in found["rows"] if command[0] == "compare" else [found]:
        assert row["value"]["cost_usd"]["estimate"] is None
    text = " ".join(planner(*command, "--dataset", "D", cwd=dataset).stdout.split())
    assert "Your logs cannot tell whether" in text and "could not have shown it" in text
    assert "no run says what it cost: USD counts as 0" in text and "estimated by frequency" in text


def test_heuristic_decides_all_and_counts(planner, dataset):
    command = ("run", "-p", "heuristic", "predict", "D/dataset.jsonl", "--counts")
    found = json.loads(planner(*command, "--json", cwd=dataset).stdout)
    rows = found["actions"]
    assert sum(row["count"] for row in rows) == found["decisions"] == 183
    assert found["decided_by"] == [{"policy": "heuristic", "reason": None, "count": 183}]
    assert {row["swarm_id"] for row in rows} == {"serial_handoff", "speculate_vote"}
    assert "183 decisions" in planner(*command, cwd=dataset).stdout
