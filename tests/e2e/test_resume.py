"""``kill -9`` at any moment, then ``--resume``: the same weights and metrics as a run that nobody killed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time

import pytest
import torch

SETTINGS = ("--set", "epochs=40", "--set", "patience=40", "--set", "d_hidden=32", "--seed", "5")
UNREPEATABLE = ("training", "calibration")


@pytest.fixture(scope="module")
def reference(planner, workshop, tmp_path_factory):
    out = tmp_path_factory.mktemp("reference") / "run"
    started = time.monotonic()
    planner("run", "-p", "mlp", "train", *SETTINGS, "--out", out, cwd=workshop)
    return out, time.monotonic() - started


def metrics(run):
    results = json.loads((run / "results.json").read_text())
    return {key: value for key, value in results.items() if key not in UNREPEATABLE}


def assert_same(run, reference):
    assert metrics(run) == metrics(reference)
    ours, theirs = (torch.load(r / "best_model.pt", weights_only=True) for r in (run, reference))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert json.loads((run / "history.json").read_text()) == json.loads((reference / "history.json").read_text())
    assert (run / "calibration.json").read_bytes() == (reference / "calibration.json").read_bytes()


def kill_once(planner_path, workshop, out, delay):
    """Start or resume the run and kill it after ``delay`` seconds; True if it was still running then."""
    command = [planner_path, "run", "-p", "mlp", "train", *SETTINGS, "--out", str(out), "--resume"]
    process = subprocess.Popen(command, cwd=workshop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def kill_and_resume(planner, planner_path, workshop, reference, tmp_path, kills, seed):
    run, seconds = reference
    rng = random.Random(seed)
    out = tmp_path / "run"
    killed = 0
    for _ in range(kills):
        # Most of a short run is start-up; the later half is where epochs are.
        killed += kill_once(planner_path, workshop, out, rng.uniform(0.3, 1.0) * seconds)
    planner("run", "-p", "mlp", "train", *SETTINGS, "--out", out, "--resume", cwd=workshop)
    assert_same(out, run)
    assert not out.with_name("run.partial").exists()
    return killed


@pytest.fixture(scope="module")
def planner_path():
    from pathlib import Path
    from sys import executable

    return str(Path(executable).with_name("planner"))


def test_three_kills(planner, planner_path, workshop, reference, tmp_path):
    kill_and_resume(planner, planner_path, workshop, reference, tmp_path, kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(7))
def test_twenty_kills(planner, planner_path, workshop, reference, tmp_path, seed):
    kill_and_resume(planner, planner_path, workshop, reference, tmp_path, kills=3, seed=100 + seed)


@pytest.fixture
def interrupted(planner_path, workshop, reference, tmp_path):
    """A run directory whose training was killed after its first checkpoint."""
    out = tmp_path / "run"
    command = [planner_path, "run", "-p", "mlp", "train", *SETTINGS, "--out", str(out)]
    process = subprocess.Popen(command, cwd=workshop, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = out.with_name("run.partial") / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert checkpoint.exists()
    return out


def test_resume_takes_the_configuration_from_the_run(planner, workshop, interrupted, reference):
    planner("run", "-p", "mlp", "train", "--out", interrupted, "--resume", cwd=workshop)
    assert_same(interrupted, reference[0])


def test_interrupted_run_is_not_overwritten(planner, workshop, interrupted):
    done = planner("run", "-p", "mlp", "train", *SETTINGS, "--out", interrupted, cwd=workshop, code=1)
    assert "--resume" in done.stderr


def test_resume_refuses_another_configuration(planner, workshop, interrupted):
    command = ("run", "-p", "mlp", "train", "--out", interrupted, "--resume", "--set", "lr=0.5")
    done = planner(*command, cwd=workshop, code=1)
    assert "lr 0.001, not 0.5" in " ".join(done.stderr.split())
    assert interrupted.with_name("run.partial").exists()


def test_resume_of_a_finished_run_changes_nothing(planner, workshop, reference):
    run, _ = reference
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    planner("run", "-p", "mlp", "train", *SETTINGS, "--out", run, "--resume", cwd=workshop)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
