"""Loading a dataset directory: what becomes of a line, the cache, and every broken line with its place."""

from __future__ import annotations

import errno
import json
import tracemalloc

import numpy as np
import pytest

from planner_core.action_space import Action, ActionSpace
from planner_core.data.dataset import describe, load_dataset
from planner_core.encoder import EncoderConfig, PlannerInputEncoder
from planner_core.errors import DataError, PlannerError
from planner_core.features import SparseFeatures

SPACE = ActionSpace()


def code_row(lines):
    return next(i for i, line in enumerate(lines) if line["planner_input"]["job_type"] == "code")


def label_of(line, swarm=None, **bins):
    """Change a line's label; ``bins`` by head name."""
    label = line["label_action"]
    label["swarm_id"] = swarm or label["swarm_id"]
    label["budgets"] |= {f"max_{head}_bin": value for head, value in bins.items()}


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


# -- the cache


def test_second_load_encodes_nothing(tmp_path, write_lines, world_lines, monkeypatch):
    path = write_lines(tmp_path / "d", world_lines())
    first = load_dataset(path)

    def refuse(self, x):
        raise AssertionError("encoded again")

    monkeypatch.setattr(PlannerInputEncoder, "positions", refuse)
    again = load_dataset(path)
    assert np.array_equal(first.everything.features.dense(), again.everything.features.dense())
    assert np.array_equal(first.everything.labels, again.everything.labels)
    assert again.everything.inputs[4].issue.issue_id == first.everything.inputs[4].issue.issue_id
    with pytest.raises(AssertionError, match="encoded again"):  # another encoder is another cache
        load_dataset(path, EncoderConfig(history_slots=1))


def test_new_data_in_the_same_place_is_encoded_anew(tmp_path, write_lines, world_lines):
    path = write_lines(tmp_path / "d", world_lines(10))
    load_dataset(path)
    other = write_lines(tmp_path / "e", world_lines(7)[::-1])
    for name in ("dataset.jsonl", "meta.json"):
        (path / name).write_bytes((other / name).read_bytes())
    assert load_dataset(path).everything.labels.tolist() == load_dataset(other).everything.labels.tolist()


def test_each_encoder_has_its_own_cache(tmp_path, write_lines, world_lines):
    path = write_lines(tmp_path / "d", world_lines())
    widths = [load_dataset(path, EncoderConfig(history_slots=n)).everything.features.d_in for n in (8, 0, 8)]
    assert widths == [3779, 3779 - 8 * 332, 3779]
    assert len(list((path / ".encoded").iterdir())) == 2


def test_without_cache_nothing_is_written(tmp_path, write_lines, world_lines, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    path = write_lines(tmp_path / "d", world_lines())
    dataset = load_dataset(path, cache=False)
    assert sorted(p.name for p in path.iterdir()) == ["dataset.jsonl", "meta.json"]
    assert list(scratch.iterdir()) == []
    assert len(dataset.everything.features.dense()) == 10  # the arrays are there all the same


def test_where_the_dataset_cannot_be_written_to_it_is_encoded_at_every_load(
    tmp_path, write_lines, world_lines, monkeypatch, caplog
):
    path = write_lines(tmp_path / "d", world_lines())
    monkeypatch.setattr("planner_core.data.cache.os.access", lambda *_: False)  # whoever runs the tests may be root
    dataset = load_dataset(path)
    assert len(dataset.everything.features.dense()) == 10
    assert not any((path / ".encoded").glob("*"))
    assert "cannot be written" in caplog.text


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def garbage(file):
    file.write_bytes(b"no array " * 40)


def empty(file):
    file.write_bytes(b"")


def remove(file):
    file.unlink()


FILES = ("indices.npy", "starts.npy", "labels.npy", "split.npy", "passed.npy", "manifest.json")


@pytest.mark.parametrize("damage", [truncate, flip, garbage, empty, remove])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_cache_is_made_again(tmp_path, write_lines, world_lines, caplog, name, damage):
    path = write_lines(tmp_path / "d", world_lines(5), arrays((5, 150)))
    first = load_dataset(path)
    features, outcomes = first.everything.features.dense(), np.array(first.everything.outcomes.passed)
    (place,) = (path / ".encoded").iterdir()
    whole = (place / name).read_bytes()
    damage(place / name)
    again = load_dataset(path)
    assert np.array_equal(again.everything.features.dense(), features)
    assert np.array_equal(again.everything.outcomes.passed, outcomes)
    assert (place / name).read_bytes() == whole
    assert f"{place} is damaged" in caplog.text
    caplog.clear()
    load_dataset(path)
    assert not caplog.text


def test_a_file_too_many_in_the_cache_is_damage_too(tmp_path, write_lines, world_lines):
    path = write_lines(tmp_path / "d", world_lines(5))
    load_dataset(path)
    (place,) = (path / ".encoded").iterdir()
    np.save(place / "passed.npy", np.zeros((5, 150), np.float32))
    assert load_dataset(path).everything.outcomes is None


def test_a_disk_that_is_full_is_said_and_leaves_nothing(tmp_path, write_lines, world_lines, monkeypatch):
    path = write_lines(tmp_path / "d", world_lines(5))

    def full(self, rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("planner_core.data.npy.NpyWriter.append", full)
    with pytest.raises(PlannerError, match="No space left"):
        load_dataset(path)
    assert not (path / ".encoded").exists()


# -- memory


def peak_bytes(action):
    """Largest amount of memory that ``action`` held at a time, NumPy's arrays included."""
    tracemalloc.start()
    try:
        result = action()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def test_encoding_holds_a_few_lines_at_a_time(tmp_path, write_lines, world_lines):
    lines = world_lines(60)
    for line in lines:
        line["candidates"] = [candidate(("serial_handoff", 1, 30, "NA"))]
    paths = {times: write_lines(tmp_path / f"d{times}", lines * times) for times in (20, 120)}
    load_dataset(paths[20], cache=False)  # fills the encoder's own caches
    short, long = (peak_bytes(lambda times=times: load_dataset(paths[times]))[0] for times in (20, 120))
    # Six thousand examples more: what stays of one is 56 bytes of columns, not its features or its outcomes.
    assert long - short < 6000 * 200


def test_a_split_in_one_piece_is_not_copied(tmp_path, write_lines, world_lines):
    lines = world_lines(10)
    for i, line in enumerate(lines):
        line["split"] = ("train", "val", "test")[i // 4]
    dataset = load_dataset(write_lines(tmp_path / "d", lines, arrays((10, 150))))
    for split, rows in (("train", slice(0, 4)), ("val", slice(4, 8)), ("test", slice(8, 10))):
        part = dataset.split(split)
        assert np.shares_memory(part.features.indices, dataset.everything.features.indices)
        assert np.shares_memory(part.outcomes.minutes, dataset.everything.outcomes.minutes)
        assert np.array_equal(part.features.dense(), dataset.everything.features.dense()[rows])
        assert [x.issue.issue_id for x in part.inputs] == [
            line["planner_input"]["issue"]["issue_id"] for line in lines[rows]
        ]


def test_scattered_rows_are_taken_some_at_a_time(dataset, monkeypatch):
    monkeypatch.setattr("planner_core.examples._ROWS_AT_ONCE", 3)
    rows = np.array([7, 3, 3, 399, 0, 12, 11])
    dense = dataset.everything.features.dense()
    part = dataset.everything.take(rows)
    assert np.array_equal(part.features.dense(), dense[rows])
    assert part.action.tolist() == dataset.everything.action[rows].tolist()
    assert len(dataset.everything.take(np.zeros(0, np.int64))) == 0
    copy = dataset.everything.take(np.arange(400))  # in one piece, and a copy all the same
    assert not np.shares_memory(copy.features.indices, dataset.everything.features.indices)
    assert not np.shares_memory(copy.action, dataset.everything.action)


def test_a_split_that_is_none(dataset):
    with pytest.raises(KeyError):
        dataset.split("dev")


def test_progress_ends_at_the_number_of_examples(tmp_path, write_lines, world_lines):
    calls = []
    load_dataset(write_lines(tmp_path / "d", world_lines()), progress=lambda *call: calls.append(call))
    assert calls[-1] == ("encoding", 10, 10)


# -- bad input: file, line, path, found and expected; and nothing written


def refused(path):
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    with pytest.raises(DataError) as caught:
        load_dataset(path)
    assert {p.name: p.read_bytes() for p in path.iterdir() if p.is_file()} == before
    assert not (path / ".encoded").exists()
    return caught.value


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
def test_bad_line_names_its_place(tmp_path, write_lines, world_lines, change, path, found, expected):
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
def test_line_that_is_no_json(tmp_path, write_lines, world_lines, line):
    lines = world_lines(3)
    lines.insert(2, line)
    problem = refused(write_lines(tmp_path / "d", lines))
    assert (problem.source, problem.line) == (str(tmp_path / "d" / "dataset.jsonl"), 3)
    assert "a JSON document" in problem.expected


def test_blank_lines_count_as_lines_and_not_as_examples(tmp_path, write_lines, world_lines):
    lines = world_lines(3)
    good = write_lines(tmp_path / "good", [lines[0], b"  ", lines[1]], example_count=2)
    meta = json.loads((good / "meta.json").read_text())
    meta["split_counts"]["train"] = 2
    (good / "meta.json").write_text(json.dumps(meta))
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


def test_line_edited_by_hand_is_named(tmp_path, write_lines, world_lines):
    """Whoever spoils a line does not recompute the hash in meta.json; the line is what they need to hear about."""
    path = write_lines(tmp_path / "d", world_lines(5))
    lines = (path / "dataset.jsonl").read_bytes().splitlines()
    lines[2] = lines[2][:50]
    (path / "dataset.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert refused(path).line == 3


def test_empty_file(tmp_path, write_lines):
    problem = refused(write_lines(tmp_path / "d", []))
    assert problem.source.endswith("dataset.jsonl") and problem.found == "an empty file"


def test_changed_file_does_not_fit_its_hash(tmp_path, write_lines, world_lines):
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


def test_counts_that_disagree_leave_no_cache(tmp_path, write_lines, world_lines):
    refused(write_lines(tmp_path / "d", world_lines(5), example_count=6))


def test_counts_are_checked_behind_the_cache_too(tmp_path, write_lines, world_lines):
    """The data hash says nothing about the counts beside it in meta.json."""
    path = write_lines(tmp_path / "d", world_lines(5))
    load_dataset(path)
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps(meta | {"example_count": 6}))
    with pytest.raises(DataError, match="example_count"):
        load_dataset(path)


def test_later_schema(tmp_path, write_lines, world_lines):
    problem = refused(write_lines(tmp_path / "d", world_lines(2), schema_version="cyntra.planner_dataset.v2"))
    assert problem.path == "$.schema_version"
    assert "v2" in problem.found and "v1" in problem.expected


def test_missing_meta_file_and_directory(tmp_path, write_lines, world_lines):
    path = write_lines(tmp_path / "d", world_lines(2))
    (path / "meta.json").unlink()
    assert refused(path).source.endswith("meta.json")
    with pytest.raises(DataError, match="a dataset directory"):
        load_dataset(tmp_path / "nowhere")
    (write_lines(tmp_path / "e", world_lines(2)) / "dataset.jsonl").unlink()
    assert refused(tmp_path / "e").source.endswith("dataset.jsonl")


# -- outcomes


def candidate(action, *, status="success", ms=0, cost=0.0, passed=True, winner=False):
    outcome = {
        "status": status,
        "duration_ms": ms,
        "cost_usd": cost,
        "all_gates_passed": passed,
        "fail_codes": [],
    }
    return {"action": list(action), "outcome": outcome, "is_winner": winner}


def test_candidates_may_begin_late_and_stop(tmp_path, write_lines, world_lines, monkeypatch):
    monkeypatch.setattr("planner_core.data.encode._ROWS_AT_ONCE", 2)
    lines = world_lines(7)
    lines[5]["candidates"] = [candidate(("serial_handoff", 1, 30, "NA"), ms=60_000)]
    outcomes = load_dataset(write_lines(tmp_path / "d", lines)).everything.outcomes
    assert outcomes.minutes.shape == (7, 150)
    assert np.argwhere(np.isfinite(outcomes.minutes)).tolist() == [[5, SPACE.index[("serial_handoff", 1, 30, "NA")]]]


def test_candidates_become_arrays(tmp_path, write_lines, world_lines):
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


def test_candidate_outside_the_space(tmp_path, write_lines, world_lines):
    lines = world_lines(4)
    lines[2]["candidates"] = [candidate(("serial_handoff", 2, 30, "NA"))]
    problem = refused(write_lines(tmp_path / "d", lines))
    assert "serial_handoff, 2, 30, NA" in problem.found


def test_candidate_outside_the_space_names_its_line(tmp_path, write_lines, world_lines):
    lines = world_lines(4)
    lines[2]["candidates"] = [candidate(("serial_handoff", 2, 30, "NA"))]
    assert refused(write_lines(tmp_path / "d", lines)).line == 3


def arrays(shape):
    return {name: np.zeros(shape, np.float32) for name in ("passed", "minutes", "cost_usd")}


@pytest.mark.parametrize("shape", [(5, 149), (4, 150), (150,)])
def test_outcomes_of_another_shape(tmp_path, write_lines, world_lines, shape):
    problem = refused(write_lines(tmp_path / "d", world_lines(5), arrays(shape)))
    assert problem.source.endswith("outcomes.npz")
    assert str(shape) in problem.found and "(5, 150)" in problem.expected


def test_outcomes_file_that_lacks_an_array_or_is_none(tmp_path, write_lines, world_lines):
    path = write_lines(tmp_path / "d", world_lines(5), arrays((5, 150)))
    np.savez(path / "outcomes.npz", passed=np.zeros((5, 150), np.float32))
    assert refused(path).source.endswith("outcomes.npz")
    (path / "outcomes.npz").write_bytes(b"no archive")
    assert refused(path).source.endswith("outcomes.npz")


def test_changed_outcomes_do_not_fit_the_hash(tmp_path, write_lines, world_lines):
    path = write_lines(tmp_path / "d", world_lines(5), arrays((5, 150)))
    changed = arrays((5, 150))
    changed["minutes"][0, 0] = 1.0
    np.savez(path / "outcomes.npz", **changed)
    assert refused(path).path == "$.dataset_hash"
