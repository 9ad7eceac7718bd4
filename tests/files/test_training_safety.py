"""A training keeps others out, survives damage to its checkpoint, and its files are those that it wrote."""

from __future__ import annotations

import json
import os
import shutil
import threading

import pytest
import torch

from planner_core.claim import LOCK, claimed
from planner_core.errors import DataError, Interrupted, PlannerError
from planner_core.harness.run_dir import load_run
from planner_core.harness.run_files import MANIFEST, seal
from planner_core.harness.train import train
from planner_core.settings import make_settings
from planner_core.torch import checkpoint


@pytest.fixture
def go(dataset, registry, tmp_path):
    """Train a small mlp into ``tmp_path / "r"``."""

    def run(on_epoch=lambda report: None, resume=False):
        settings = make_settings("mlp", registry.spec("mlp").config_type, {"d_hidden": 8, "epochs": 4, "lr": 0.01})
        return train("mlp", dataset, tmp_path / "r", settings, registry, seed=1, resume=resume, on_epoch=on_epoch)

    return run


def interrupt_after(epochs, problem=KeyboardInterrupt):
    def on_epoch(report):
        if report.epoch == epochs:
            raise problem

    return on_epoch


# -- one at a time


def test_a_second_training_is_kept_out_and_told_by_whom(go, tmp_path):
    said = []

    def second(report):
        if said:
            return
        for resume in (False, True):
            with pytest.raises(PlannerError) as problem:
                go(resume=resume)
            said.append(str(problem.value))

    go(second)
    for text in said:
        assert "a training is at work there" in text and f"process {os.getpid()} of" in text and "since 20" in text
    assert (tmp_path / "r" / "results.json").exists() and not (tmp_path / "r" / LOCK).exists()


def test_a_claim_ends_with_its_process(tmp_path):
    pid = os.fork()
    if pid == 0:
        with claimed(tmp_path, "a training"):
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert json.loads((tmp_path / LOCK).read_text())["pid"] == pid
    with claimed(tmp_path, "a training"):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_of_many_one_gets_the_claim(tmp_path):
    got, barrier = [], threading.Barrier(8)

    def try_it():
        barrier.wait()
        try:
            with claimed(tmp_path, "a training"):
                got.append(True)
                barrier.wait()
        except PlannerError:
            got.append(False)
            barrier.wait()

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 1 and len(got) == 8


def test_a_lock_file_of_somebody_elses_is_left_alone(tmp_path):
    (tmp_path / LOCK).write_text("mine")
    with pytest.raises(PlannerError, match="no lock file of ours"), claimed(tmp_path, "a training"):
        pass
    assert (tmp_path / LOCK).read_text() == "mine"


@pytest.mark.parametrize("resume", [False, True])
def test_a_directory_that_no_training_left_is_kept(go, tmp_path, resume):
    (tmp_path / "r.partial").mkdir()
    (tmp_path / "r.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(PlannerError, match=r"thesis\.txt"):
        go(resume=resume)
    assert os.listdir(tmp_path / "r.partial") == ["thesis.txt"]


# -- interrupted


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), Interrupted(15, "SIGTERM")])
def test_an_interrupt_says_how_to_go_on(go, tmp_path, problem):
    with pytest.raises(type(problem)) as caught:
        go(interrupt_after(2, problem))
    (note,) = caught.value.__notes__
    assert f"planner run --policy mlp train --out {tmp_path / 'r'} --resume" in note
    assert os.listdir(tmp_path) == ["r.partial"]
    assert len(go(resume=True)["dataset"]["hash"]) == 64


# -- checkpoints


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [flip, lambda p: p.write_bytes(p.read_bytes()[:100]), lambda p: p.write_bytes(b"")])
@pytest.mark.parametrize("both", [False, True])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(go, tmp_path, caplog, damage, both):
    with pytest.raises(KeyboardInterrupt):
        go(interrupt_after(3))
    seen = []
    for name in (checkpoint.FILE, *([checkpoint.EARLIER] if both else [])):
        damage(tmp_path / "r.partial" / name)
    go(lambda report: seen.append(report.epoch), resume=True)
    assert seen == ([1, 2, 3, 4] if both else [3, 4])
    assert "checkpoint.pt is damaged" in caplog.text
    resumed = torch.load(tmp_path / "r" / "best_model.pt", weights_only=True)
    shutil.rmtree(tmp_path / "r")
    go()
    whole = torch.load(tmp_path / "r" / "best_model.pt", weights_only=True)
    assert all(torch.equal(whole[name], value) for name, value in resumed.items())
    assert not {checkpoint.FILE, checkpoint.EARLIER} & set(os.listdir(tmp_path / "r"))


def test_a_checkpoint_of_version_0_1_is_taken_up(go, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        go(interrupt_after(3))
    path, seen = tmp_path / "r.partial" / checkpoint.FILE, []
    path.write_bytes(path.read_bytes()[len(checkpoint._MAGIC) + 4 :])  # without mark and checksum
    go(lambda report: seen.append(report.epoch), resume=True)
    assert seen == [4]


# -- the files of a run


@pytest.fixture
def run(runs, tmp_path):
    return shutil.copytree(runs["mlp"], tmp_path / "run")


def test_a_whole_run_is_loaded(run, registry, caplog):
    load_run(run, registry)
    assert not caplog.text
    (run / "notes.txt").write_text("a file more does no harm")
    load_run(run, registry)


@pytest.mark.parametrize("name", ["best_model.pt", "calibration.json", "results.json", "config.json", "history.json"])
def test_a_changed_file_is_refused(run, registry, name):
    flip(run / name)
    with pytest.raises(DataError, match=name):
        load_run(run, registry)
    (run / name).unlink()
    with pytest.raises(DataError, match=name):
        load_run(run, registry)


def test_a_changed_manifest_is_refused(run, registry):
    document = json.loads((run / MANIFEST).read_text())
    del document["files"]["results.json"]
    (run / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(DataError, match="digest"):
        load_run(run, registry)


def test_a_run_without_a_manifest_is_read_with_a_note(run, registry, caplog):
    (run / MANIFEST).unlink()
    load_run(run, registry)
    assert "nothing says whether its files are those" in caplog.text


@pytest.mark.parametrize("value", ["0", "0.0", "-1.0", "null", "NaN", "1e400", "1e-300", '"1"', "true"])
def test_a_temperature_that_decides_nonsense_is_refused(run, registry, value):
    path = run / "calibration.json"
    document = json.loads(path.read_text())
    head = next(iter(document["temperatures"]))
    document["temperatures"][head] = "@"
    path.write_text(json.dumps(document).replace('"@"', value))
    seal(run)
    with pytest.raises(DataError, match=r"calibration\.json"):
        load_run(run, registry)


def test_a_head_without_a_temperature_is_refused(run, registry):
    document = json.loads((run / "calibration.json").read_text())
    document["temperatures"].popitem()
    (run / "calibration.json").write_text(json.dumps(document))
    seal(run)
    with pytest.raises(DataError, match="a temperature for"):
        load_run(run, registry)
