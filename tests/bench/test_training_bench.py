"""``planner bench train``: that the contestants are what they claim to be. No times are asserted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from planner_bench import training
from planner_bench.command import app
from planner_bench.training import CONTESTANTS, HARNESS, PLAIN, TENSORS, bench_training, dense_tensors, read_examples
from planner_core.errors import PlannerError, TargetMissed
from planner_core.torch.loop import torch_threads
from planner_mlp import MLPConfig

SMALL = MLPConfig(d_hidden=16, n_layers=2)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A second torch thread makes every small step wait for a core on a busy machine."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="module")
def bench(dataset):
    train = dataset.split("train").take(np.arange(130))  # two whole batches and a rest of two
    return training._Bench(dataset, train, SMALL, seed=5, block_steps=2)


@pytest.fixture(scope="module")
def result(dataset):
    return bench_training(dataset, examples=130, epochs=2, rounds=2, block_steps=2, config=SMALL)


@pytest.fixture
def no_memory(monkeypatch):
    """Leaves out the process that memory is measured in."""
    monkeypatch.setattr(training, "peak_memory", lambda directory: 0.0)


@pytest.fixture
def kept(result):
    """The report with every promise kept, whatever this machine was busy with."""
    return {**result, "kept": True, "aim_held": True, "peak_memory_mib": 400.0}


@pytest.fixture
def quick(monkeypatch, kept):
    """The command without the measuring; what it was asked for is kept in the list."""
    asked = []

    def measured(dataset, **options):
        asked.append(options)
        return kept

    monkeypatch.setattr(training, "bench_training", measured)
    return asked


def test_the_report_has_every_contestant(result):
    assert [run["threads"] for run in result["speeds"]] == [1]
    for run in result["speeds"]:
        assert tuple(run["examples_per_second"]) == CONTESTANTS
        assert all(speed > 0 for speed in run["examples_per_second"].values())
        for name in (PLAIN, TENSORS):
            low, high = run["ratio_range"][name]
            assert low <= run["ratio"][name] <= high
    assert set(result["valid_exact_match"]) == set(CONTESTANTS)
    assert 50 < result["peak_memory_mib"] < 1024


def test_each_thread_count_is_timed_with_that_many_threads(dataset, no_memory, monkeypatch):
    def speeds(self, rounds):
        used = float(torch.get_num_threads())
        return {"examples_per_second": {HARNESS: 100.0 * used}, "ratio": {PLAIN: used + 1.0}}

    monkeypatch.setattr(training._Bench, "speeds", speeds)
    monkeypatch.setattr(training._Bench, "accuracy", lambda self, name, epochs: float(torch.get_num_threads()))
    before = torch.get_num_threads()
    result = bench_training(dataset, examples=64, threads=(3, 1, 2), config=SMALL)
    assert [run["examples_per_second"][HARNESS] for run in result["speeds"]] == [300.0, 100.0, 200.0]
    assert result["valid_exact_match"] == dict.fromkeys(CONTESTANTS, 3.0)
    assert torch.get_num_threads() == before
    assert result["kept"]  # the slowest makes just 100 a second
    assert not result["aim_held"]  # the smallest ratio is 2


def test_all_contestants_start_from_the_same_weights(bench):
    plain, harness = bench._module().state_dict(), bench._policy().module.state_dict()
    assert plain.keys() == harness.keys()
    assert all(torch.equal(plain[name], harness[name]) for name in plain)


def test_both_dense_loops_see_the_same_rows(bench):
    plain = [bench.plain[i] for i in range(len(bench.plain))]
    features, labels, _ = bench.tensors[:]
    assert torch.equal(torch.stack([item["features"] for item in plain]), features)
    assert torch.equal(torch.stack([torch.stack(list(item["labels"].values())) for item in plain]), labels)


def test_both_dense_loops_get_the_same_masks(bench):
    """Batches in a fixed order through either collation."""
    rows = list(range(40))
    plain = training.collate([bench.plain[i] for i in rows])
    tensors = training._as_batch(bench.space)(bench.tensors[rows])
    assert torch.equal(plain["features"], tensors["features"])
    for kind in ("labels", "masks"):
        assert all(torch.equal(plain[kind][name], tensors[kind][name]) for name in plain[kind])


def test_an_epoch_covers_every_example_once(bench):
    for name in (PLAIN, TENSORS):
        batches = [batch["features"] for batch in bench._loaders(name)]
        assert [len(batch) for batch in batches] == [64, 64, 2]
        assert torch.equal(torch.cat(batches).sum(0), bench.tensors.tensors[0].sum(0))


def test_blocks_train_through_more_than_one_epoch(bench):
    blocks = bench._dense_blocks(TENSORS)
    assert all(next(blocks) > 0 for _ in range(4))  # eight steps of an epoch of three
    harness = bench._harness_blocks()
    assert all(next(harness) > 0 for _ in range(4))
    harness.close()


def test_all_contestants_learn(dataset):
    """After some epochs each is better than the most frequent label, and they are close to each other."""
    train = dataset.split("train")
    sizes = MLPConfig(d_hidden=32, n_layers=1, batch_size=16)
    bench = training._Bench(dataset, train, sizes, seed=1, block_steps=1)
    found = {name: bench.accuracy(name, 5) for name in CONTESTANTS}
    common = np.bincount(dataset.split("val").action).max() / len(dataset.split("val"))
    assert min(found.values()) > common
    assert max(found.values()) - min(found.values()) < 0.25, found


def test_examples_read_are_the_first_of_the_training_split(dataset):
    read = list(read_examples(dataset.directory, 7))
    assert len(read) == 7
    assert all(example.split == "train" for example in read)
    assert [e.planner_input for e in read] == [dataset.split("train").inputs[i] for i in range(7)]


def test_dense_tensors_do_not_alias_the_cache(dataset):
    examples = dataset.split("train").take(np.arange(3))
    _, labels, _ = dense_tensors(examples).tensors
    labels += 1
    assert not np.array_equal(labels.numpy(), examples.labels)


def test_without_validation_accuracy_is_unknown(no_memory, world_lines, write_lines, tmp_path):
    from planner_core.data.dataset import load_dataset

    lines = world_lines(20)
    for line in lines:
        line["split"] = "train"
    data = load_dataset(write_lines(tmp_path / "d", lines))
    result = bench_training(data, examples=20, epochs=1, rounds=1, block_steps=1, config=SMALL)
    assert result["valid_exact_match"] == dict.fromkeys(CONTESTANTS)


def test_an_empty_training_split_is_said(world_lines, write_lines, tmp_path):
    from planner_core.data.dataset import load_dataset

    lines = world_lines(5)
    for line in lines:
        line["split"] = "test"
    data = load_dataset(write_lines(tmp_path / "d", lines))
    with pytest.raises(PlannerError, match="training split is empty"):
        bench_training(data)


def test_memory_is_of_the_child_not_of_this_process(world):
    """Whatever this process holds: 700 MiB here must not show there."""
    ballast = np.ones(700 * 2**17)
    assert training.peak_memory(world) < 700
    assert ballast.sum() > 0


def test_a_child_that_fails_is_reported(tmp_path):
    with pytest.raises(PlannerError, match="a process of its own failed"):
        training.peak_memory(tmp_path / "nothing")


def test_the_command_prints_json(quick, world, kept):
    done = CliRunner().invoke(app, ["train", "--dataset", str(world), "--examples", "128", "--threads", "2", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == kept
    assert quick[0]["examples"] == 128
    assert quick[0]["threads"] == (2,)


def test_the_command_prints_a_table_and_the_verdicts(quick, world):
    done = CliRunner().invoke(app, ["train", "--dataset", str(world)])
    assert done.exit_code == 0, done.output
    for text in (*CONTESTANTS, "promise 100 examples/s: kept", "resident: kept", "aim 3x the plain loop"):
        assert text in done.stdout


def test_a_missed_aim_is_said_and_no_failure(monkeypatch, world, kept):
    monkeypatch.setattr(training, "bench_training", lambda *a, **k: {**kept, "aim_held": False})
    done = CliRunner().invoke(app, ["train", "--dataset", str(world)])
    assert done.exit_code == 0
    assert "aim 3x the plain loop: missed" in done.stdout


def test_a_broken_promise_is_an_error(monkeypatch, world, result):
    slow = {**result, "kept": False, "speeds": [{**result["speeds"][0], "examples_per_second": {HARNESS: 12.0}}]}
    monkeypatch.setattr(training, "bench_training", lambda *a, **k: slow)
    done = CliRunner().invoke(app, ["train", "--dataset", str(world), "--json"])
    assert isinstance(done.exception, TargetMissed)
    assert "12 examples a second" in str(done.exception)


def test_options_before_a_subcommand_are_refused(world):
    done = CliRunner().invoke(app, ["--json", "train", "--dataset", str(world)])
    assert done.exit_code == 2
    assert "after the subcommand" in done.output
