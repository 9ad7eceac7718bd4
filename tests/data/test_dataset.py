"""Loading a dataset directory: what becomes of a line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from planner_core.action_space import Action, ActionSpace
from planner_core.data.dataset import load_dataset
from planner_core.data.describe import describe
from planner_core.encoder import PlannerInputEncoder
from planner_core.features import SparseFeatures

SPACE = ActionSpace()


# -- what is loaded


def test_every_line_becomes_its_arrays(dataset, world):
    lines = [json.loads(line) for line in (world / "dataset.jsonl").read_bytes().splitlines()]
    everything = dataset.everything
    assert len(everything) == len(lines) == 400
    for row in range(0, 400, 37):
        line, label = lines[row], lines[row]["label_action"]
        dense = everything.features.take(np.array([row])).dense()[0]
        assert np.array_equal(dense, PlannerInputEncoder().encode(line["planner_input"]))
        action = Action(label["swarm_id"], *label["budgets"].values())
        assert SPACE.actions[everything.action[row]] == action
        heads = [bins[i] for bins, i in zip(SPACE.head_bins, everything.labels[row], strict=True)]
        assert heads == list(action)
        jobs = ("code", "fab-world", "fab-asset", "other")
        assert jobs[everything.job_type[row]] == line["planner_input"]["job_type"]
        assert f"P{everything.priority[row]}" == line["planner_input"]["issue"]["dk_priority"]


def test_outcomes_file_is_read(dataset, world):
    stored = np.load(world / "outcomes.npz")
    for name in ("passed", "minutes", "cost_usd"):
        assert np.array_equal(getattr(dataset.everything.outcomes, name), stored[name], equal_nan=True)


def test_splits_keep_the_order_of_the_file(tmp_path, write_lines, world_lines):
    lines = world_lines(9)
    for i, line in enumerate(lines):
        line["split"] = ("test", "train", "val")[i % 3]
    dataset = load_dataset(write_lines(tmp_path / "d", lines))
    for offset, split in enumerate(("test", "train", "val")):
        names = [x.issue.issue_id for x in dataset.split(split).inputs]
        assert names == [lines[i]["planner_input"]["issue"]["issue_id"] for i in range(offset, 9, 3)]
        assert dataset.split(split).action.tolist() == dataset.everything.action[offset::3].tolist()


def test_an_empty_split_is_empty_and_not_an_error(tmp_path, write_lines, world_lines):
    dataset = load_dataset(write_lines(tmp_path / "d", world_lines(4)))
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [4, 0, 0]


def test_numeric_strings_are_integers(tmp_path, write_lines, world_lines):
    """Real trackers write ``"dk_attempts": "3"``."""
    lines = world_lines(2)
    lines[0]["planner_input"]["issue"]["dk_attempts"] = 3
    lines[1]["planner_input"] = json.loads(json.dumps(lines[0]["planner_input"]))
    lines[1]["planner_input"]["issue"]["dk_attempts"] = "3"
    lines[1]["label_action"] = lines[0]["label_action"]
    features = load_dataset(write_lines(tmp_path / "d", lines)).everything.features.dense()
    assert np.array_equal(features[0], features[1])
    assert features[0, 13 + 3] == 1  # attempts 3+


def test_lazy_inputs(dataset):
    inputs = dataset.everything.inputs

    def name(x):  # an issue comes again when it is tried again, so its id alone is no name
        return x.issue.issue_id, x.created_at

    names = [name(x) for x in inputs]
    assert len(inputs) == len(set(names)) == 400
    assert name(inputs[5]) == names[5]
    assert name(inputs[-1]) == names[-1]
    assert [name(x) for x in inputs[3:6]] == names[3:6]
    assert [name(x) for x in inputs.take(np.array([9, 2, 9]))] == [names[9], names[2], names[9]]
    with pytest.raises(IndexError):
        inputs[400]


def test_a_batch_carries_the_same_rows_everywhere(dataset):
    rows = np.array([7, 3, 399])
    batch = dataset.everything.batch(rows)
    assert len(batch) == 3
    for position, row in enumerate(rows):
        x = batch.inputs[position]
        assert x.issue.issue_id == dataset.everything.inputs[int(row)].issue.issue_id
        assert np.array_equal(batch.features.dense()[position], PlannerInputEncoder().encode(x))
        assert batch.job_type[position] == dataset.everything.job_type[row]


def test_describe_counts(dataset):
    found = describe(dataset)
    assert found["example_count"] == 400
    assert found["split_counts"] == {"train": 320, "val": 40, "test": 40}
    assert sum(found["labels"].values()) == sum(found["job_types"].values()) == 400
    assert list(found["labels"].values()) == sorted(found["labels"].values(), reverse=True)
    assert found["distinct_labels"] == len(set(dataset.everything.action.tolist()))


@pytest.mark.parametrize("seed", range(5))
def test_sparse_features_against_dense(seed):
    rng = np.random.default_rng(seed)
    dense = (rng.random((7, 20)) < 0.2).astype(np.float32)
    dense[rng.integers(7)] = 0.0  # an empty row is where offsets go wrong
    sparse = SparseFeatures.from_dense(dense)
    assert len(sparse) == 7 and np.array_equal(sparse.dense(), dense)
    rows = rng.integers(0, 7, 9)
    assert np.array_equal(sparse.take(rows).dense(), dense[rows])
    assert len(sparse.take(np.array([], np.int64))) == 0


def test_a_split_that_is_none(dataset):
    with pytest.raises(KeyError):
        dataset.split("dev")


def test_progress_ends_at_the_number_of_examples(tmp_path, write_lines, world_lines):
    calls = []
    load_dataset(write_lines(tmp_path / "d", world_lines()), progress=lambda *call: calls.append(call))
    assert calls[-1] == ("encoding", 10, 10)
