"""What a bundle keeps of the inputs of its training."""

from __future__ import annotations

import numpy as np

from planner_core import Batch, EncoderConfig, PlannerInput, PlannerInputEncoder, convert, load_dataset, read_bundle
from planner_core.harness.input_counts import FREQUENT_TAGS, input_counts, training_counts

ENCODER = EncoderConfig()


def counted(inputs, tags=None):
    batch = Batch.from_inputs([convert(x, PlannerInput, "x") for x in inputs], PlannerInputEncoder(ENCODER))
    return input_counts(batch.features, batch.job_type, ENCODER, tags)


def test_each_issue_is_counted_once_in_every_group(make_input, make_run):
    state = {
        "active_workcells_bin": "3-5",
        "queue_depth_bin": "0",
        "hour_bucket": "night",
        "budget_remaining_bin": "low",
    }
    inputs = [
        make_input(issue={"dk_size": "XL", "tags": ["a", "b"]}, job_type="code"),
        make_input(issue={"dk_size": "XL", "tags": ["a"]}, job_type="unheard-of"),
        make_input(issue={"dk_risk": "high"}, runs=[make_run(duration_ms=400_000)]),
        make_input(system_state=state),
    ]
    found = counted(inputs)
    assert found.issues == 4
    assert found.groups["size"] == {"XS": 2, "XL": 2} and found.groups["risk"] == {"low": 3, "high": 1}
    assert found.groups["job type"] == {"code": 3, "other": 1}
    assert found.groups["latest run: status"] == {"success": 1, "none": 3}
    assert found.groups["latest run: duration"] == {"below 15 min": 1, "none": 3}
    assert found.groups["hour"] == {"night": 1, "none": 3} and found.groups["workcells"] == {"3-5": 1, "none": 3}
    tags = found.groups["tags"]
    assert tags.pop("none") == 2 and sorted(tags.values()) == [1, 2] and next(iter(tags.values())) == 2
    for name, counts in found.groups.items():
        assert name == "tags" or sum(counts.values()) == 4, name


def test_tags_that_training_did_not_name_are_the_others(make_input):
    first = counted([make_input(issue={"tags": ["a"]})])
    [name] = first.groups["tags"]
    again = counted([make_input(issue={"tags": ["a", "b"]}), make_input(issue={"tags": ["c"]})], first.groups["tags"])
    assert again.groups["tags"] == {name: 1, "others": 2}


def test_training_counts_an_issue_once_and_the_bundle_has_it(world, outcome_bundle):
    examples = load_dataset(world).split("train")
    counts = training_counts(examples, ENCODER)
    assert counts.issues == len(np.unique(examples.executed.issue)) <= len(examples)
    assert len(counts.groups["tags"]) <= FREQUENT_TAGS + 2
    kept = read_bundle(outcome_bundle).metadata["inputs"]
    assert kept == {"issues": counts.issues, "groups": counts.groups}
