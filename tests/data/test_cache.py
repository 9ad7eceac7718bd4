"""The encoded arrays of a dataset: made once, checked whenever they are opened, and never all in memory."""

from __future__ import annotations

import errno
import tracemalloc

import numpy as np
import pytest

from planner_core.action_space import valid_actions
from planner_core.data.dataset import load_dataset
from planner_core.encoder import EncoderConfig, PlannerInputEncoder
from planner_core.errors import PlannerError

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
def test_a_damaged_cache_is_made_again(tmp_path, write_lines, world_lines, caplog, name, damage, arrays):
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


def run_of_all_classes(job_type):
    """What was run, with a logging distribution over every action."""
    actions = ["|".join(map(str, action)) for action in valid_actions(job_type)]
    first = dict(zip(("swarm", "candidates", "minutes", "iterations"), actions[0].split("|"), strict=True))
    return {
        "action": [first["swarm"], *(None if v == "NA" else int(v) for v in list(first.values())[1:])],
        "status": "success",
        "passed": True,
        "duration_ms": 1,
        "propensities": dict.fromkeys(actions, 1 / len(actions)),
    }


def test_encoding_holds_a_few_lines_at_a_time(tmp_path, write_lines, world_lines, candidate):
    lines = world_lines(60)
    for line in lines:
        line["candidates"] = [candidate(("serial_handoff", 1, 30, "NA"))]
        line["executed"] = run_of_all_classes(line["planner_input"]["job_type"])
    paths = {times: write_lines(tmp_path / f"d{times}", lines * times) for times in (20, 120)}
    load_dataset(paths[20], cache=False)  # fills the encoder's own caches
    short, long = (peak_bytes(lambda times=times: load_dataset(paths[times]))[0] for times in (20, 120))
    # Six thousand examples more: what stays of one is 56 bytes of columns, not its features or its outcomes.
    assert long - short < 6000 * 200


def test_a_split_in_one_piece_is_not_copied(tmp_path, write_lines, world_lines, arrays):
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
