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


def test_heuristic_decides_all_and_counts(planner, dataset):
    command = ("run", "-p", "heuristic", "predict", "D/dataset.jsonl", "--counts")
    rows = json.loads(planner(*command, "--json", cwd=dataset).stdout)
    assert sum(row["count"] for row in rows) == 183
    assert {row["swarm_id"] for row in rows} == {"serial_handoff", "speculate_vote"}
    assert "183 decisions" in planner(*command, cwd=dataset).stdout
