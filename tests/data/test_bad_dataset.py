"""Every broken dataset with its place: file, line, path, found and expected; and nothing written."""

from __future__ import annotations

import json

import pytest

from planner_core.data.dataset import load_dataset
from planner_core.errors import DataError


def code_row(lines):
    return next(i for i, line in enumerate(lines) if line["planner_input"]["job_type"] == "code")


def label_of(line, swarm=None, **bins):
    """Change a line's label; ``bins`` by head name."""
    label = line["label_action"]
    label["swarm_id"] = swarm or label["swarm_id"]
    label["budgets"] |= {f"max_{head}_bin": value for head, value in bins.items()}


def severe(line):
    line["planner_input"]["issue"]["dk_risk"] = "severe"


def no_such_minutes(line):
    label_of(line, minutes=20)


def no_such_swarm(line):
    label_of(line, "hive_mind")


def not_in_the_request(line):
    label_of(line, minutes=15)
    line["planner_input"]["action_space"]["max_minutes_bins"] = [30, 60]


def code_that_iterates(line):
    label_of(line, iterations=2)


def serial_with_two(line):
    label_of(line, "serial_handoff", candidates=2)


def against_its_own_rule(line):
    label_of(line, "serial_handoff", candidates=1)
    rule = {"description": "no serial here", "if": {"job_type": "code"}, "then": {"swarm_id_not": "serial_handoff"}}
    line["planner_input"]["action_space"]["validity_rules"].append(rule)


def no_split(line):
    del line["split"]


def other_split(line):
    line["split"] = "dev"


def label_with_an_unknown_key(line):
    line["label_action"]["mood"] = "good"


def attempts_in_words(line):
    line["planner_input"]["issue"]["dk_attempts"] = "three"


@pytest.mark.parametrize(
    ("change", "path", "found", "expected"),
    [
        (severe, "$.planner_input.issue.dk_risk", '"severe"', "one of critical, high, low, medium"),
        (no_such_minutes, "$.label_action.budgets.max_minutes_bin", "20", "one of 15, 30, 45, 60, 120, NA"),
        (no_such_swarm, "$.label_action.swarm_id", "'hive_mind'", "one of serial_handoff, speculate_vote"),
        (not_in_the_request, "$.label_action", "15", "its own action space (30, 60)"),
        (code_that_iterates, "$.label_action", ", 2)", "the validity rules allow for job type code"),
        (serial_with_two, "$.label_action", "serial_handoff, 2,", "the validity rules allow"),
        (against_its_own_rule, "$.label_action", "serial_handoff", "the validity rules allow"),
        (no_split, "$", "no such key", "the key `split`"),
        (other_split, "$.split", '"dev"', "one of test, train, val"),
        (label_with_an_unknown_key, "$.label_action", "`mood`", "only the known keys"),
        (attempts_in_words, "$.planner_input.issue.dk_attempts", '"three"', "int"),
    ],
)
def test_bad_line_names_its_place(tmp_path, write_lines, world_lines, change, path, found, expected, refused):
    lines = world_lines(30)
    row = code_row(lines[3:]) + 3
    change(lines[row])
    problem = refused(write_lines(tmp_path / "d", lines))
    assert problem.source == str(tmp_path / "d" / "dataset.jsonl")
    assert problem.line == row + 1
    assert problem.path == path
    assert found in problem.found
    assert expected in problem.expected
    for part in (problem.source, f"line {row + 1}", found, expected):
        assert part in str(problem)


@pytest.mark.parametrize("line", [b'{"run_id": ', b"not json", b'{"a": 1} {"b": 2}', b"\xff\xfe"])
def test_line_that_is_no_json(tmp_path, write_lines, world_lines, line, refused):
    lines = world_lines(3)
    lines.insert(2, line)
    problem = refused(write_lines(tmp_path / "d", lines))
    assert (problem.source, problem.line) == (str(tmp_path / "d" / "dataset.jsonl"), 3)
    assert "a JSON document" in problem.expected


def test_blank_lines_count_as_lines_and_not_as_examples(tmp_path, write_lines, world_lines, refused):
    lines = world_lines(3)
    counts = {"example_count": 2, "split_counts": {"train": 2, "val": 0, "test": 0}}
    good = write_lines(tmp_path / "good", [lines[0], b"  ", lines[1]], **counts)
    assert [x.issue.issue_id for x in load_dataset(good).everything.inputs] == [
        line["planner_input"]["issue"]["issue_id"] for line in lines[:2]
    ]
    severe(lines[2])
    assert refused(write_lines(tmp_path / "bad", [lines[0], b"", lines[2]])).line == 3


def test_a_line_spoilt_after_loading_is_named_when_it_is_read(tmp_path, write_lines, world_lines):
    """Inputs are read when they are asked for, from a file that may have changed by then."""
    lines = world_lines(2)
    path = write_lines(tmp_path / "d", [lines[0], b"", lines[1]], example_count=2, split_counts={"train": 2})
    inputs = load_dataset(path).everything.inputs
    text = (path / "dataset.jsonl").read_bytes().splitlines()
    text[2] = b"?" * len(text[2])
    (path / "dataset.jsonl").write_bytes(b"\n".join(text) + b"\n")
    with pytest.raises(DataError, match="line 3"):
        inputs[1]
    assert inputs[0].issue


def test_line_edited_by_hand_is_named(tmp_path, write_lines, world_lines, refused):
    """Whoever spoils a line does not recompute the hash in meta.json; the line is what they need to hear about."""
    path = write_lines(tmp_path / "d", world_lines(5))
    lines = (path / "dataset.jsonl").read_bytes().splitlines()
    lines[2] = lines[2][:50]
    (path / "dataset.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert refused(path).line == 3


def test_empty_file(tmp_path, write_lines, refused):
    problem = refused(write_lines(tmp_path / "d", []))
    assert problem.source.endswith("dataset.jsonl") and problem.found == "an empty file"


def test_changed_file_does_not_fit_its_hash(tmp_path, write_lines, world_lines, refused):
    path = write_lines(tmp_path / "d", world_lines(5))
    text = (path / "dataset.jsonl").read_text().replace('"dk_priority": "P2"', '"dk_priority": "P1"')
    (path / "dataset.jsonl").write_text(text)
    problem = refused(path)
    assert (problem.source, problem.path) == (str(path / "meta.json"), "$.dataset_hash")


def test_changed_file_is_noticed_behind_the_cache(tmp_path, write_lines, world_lines):
    path = write_lines(tmp_path / "d", world_lines(5))
    load_dataset(path)
    with (path / "dataset.jsonl").open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(DataError, match="dataset_hash"):
        load_dataset(path)


@pytest.mark.parametrize(
    ("meta", "path"),
    [
        ({"example_count": 6}, "$.example_count"),
        ({"split_counts": {"train": 4, "val": 1, "test": 0}}, "$.split_counts"),
    ],
)
def test_counts_that_disagree(tmp_path, write_lines, world_lines, meta, path):
    directory = write_lines(tmp_path / "d", world_lines(5), **meta)
    with pytest.raises(DataError) as caught:
        load_dataset(directory)
    assert (caught.value.source, caught.value.path) == (str(directory / "meta.json"), path)


def test_counts_that_disagree_leave_no_cache(tmp_path, write_lines, world_lines, refused):
    refused(write_lines(tmp_path / "d", world_lines(5), example_count=6))


def test_counts_are_checked_behind_the_cache_too(tmp_path, write_lines, world_lines):
    """The data hash says nothing about the counts beside it in meta.json."""
    path = write_lines(tmp_path / "d", world_lines(5))
    load_dataset(path)
    meta = json.loads((path / "meta.json").read_text())
    del meta["meta_hash"]
    (path / "meta.json").write_text(json.dumps(meta | {"example_count": 6}))
    with pytest.raises(DataError, match="example_count"):
        load_dataset(path)


@pytest.mark.parametrize(
    "change",
    [
        {"floor": {"test": {"utility": 0.0}}},
        {"utility": {"P0": {"pass": 4.0, "time": 1.0, "cost": 0.1}}},
        {"n_similar_runs": 9},
        {"a_key_of_its_own": 1},
        {"meta_hash": "0" * 64},
    ],
)
def test_a_changed_meta_file_does_not_fit_its_hash(tmp_path, write_lines, world_lines, refused, change):
    path = write_lines(tmp_path / "d", world_lines(5))
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | change))
    problem = refused(path)
    assert (problem.source, problem.path) == (str(path / "meta.json"), "$.meta_hash")


def test_meta_hash_depends_on_content_and_not_on_order_or_layout(tmp_path, write_lines, world_lines):
    path = write_lines(tmp_path / "d", world_lines(5), floor={"test": {"utility": 0.1 + 0.2, "whole": 1.0}})
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(dict(reversed(meta.items())), indent=7))
    assert load_dataset(path).meta.meta_hash == meta["meta_hash"]


def test_an_older_dataset_has_no_meta_hash_and_is_read_with_a_note(tmp_path, write_lines, world_lines, caplog):
    path = write_lines(tmp_path / "d", world_lines(5))
    meta = json.loads((path / "meta.json").read_text())
    del meta["meta_hash"]
    (path / "meta.json").write_text(json.dumps(meta))
    with caplog.at_level("INFO", "planner"):
        assert load_dataset(path).meta.meta_hash is None
    assert "has no meta_hash" in caplog.text


def test_later_schema(tmp_path, write_lines, world_lines, refused):
    problem = refused(write_lines(tmp_path / "d", world_lines(2), schema_version="cyntra.planner_dataset.v2"))
    assert problem.path == "$.schema_version"
    assert "v2" in problem.found and "v1" in problem.expected


def test_missing_meta_file_and_directory(tmp_path, write_lines, world_lines, refused):
    path = write_lines(tmp_path / "d", world_lines(2))
    (path / "meta.json").unlink()
    assert refused(path).source.endswith("meta.json")
    with pytest.raises(DataError, match="a dataset directory"):
        load_dataset(tmp_path / "nowhere")
    (write_lines(tmp_path / "e", world_lines(2)) / "dataset.jsonl").unlink()
    assert refused(tmp_path / "e").source.endswith("dataset.jsonl")
