"""The MLflow logger against real MLflow stores: one MLflow run for one training, whatever happened on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mlflow", reason="the 'mlflow' extra is not installed")

from planner_core.harness.train import train
from planner_core.plugins.collecting import handed
from planner_core.settings import make_settings

PLANNER = Path(sys.executable).with_name("planner")
EPOCHS = ("train_loss", "valid_loss", "valid_exact_match", "examples_per_second")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No test may write to what the developer's own environment names, nor tell anyone that it ran."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


@pytest.fixture(params=["file", "sqlite"])
def store(request, tmp_path, monkeypatch):
    """A client of an empty store, which the environment names."""
    from mlflow import MlflowClient

    place = tmp_path / "store"
    uri = f"file:{place}" if request.param == "file" else f"sqlite:///{place}.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)
    return MlflowClient(tracking_uri=uri)


@pytest.fixture
def run_one(registry, dataset, tmp_path):
    def run(epochs=3, **options):
        values = {"d_hidden": 32, "epochs": epochs, "lr": 0.01, "head_weights": {"minutes": 2.0}}
        settings = make_settings("mlp", registry.spec("mlp").config_type, values)
        return train("mlp", dataset, tmp_path / "run", settings, registry, seed=3, **options)

    return run


def runs_of(client, experiment="swarm-planner"):
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id]) if found else []


def steps(client, run, name):
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]


def history(directory):
    return json.loads((directory / "history.json").read_text())


def test_a_run_is_all_there(store, run_one, dataset, tmp_path):
    results = run_one()
    (run,) = runs_of(store)
    assert run.info.status == "FINISHED" and run.info.run_name == "mlp run"
    assert run.data.params["d_hidden"] == "32" and run.data.params["history_slots"] == "8"
    assert run.data.params["head_weights.minutes"] == "2.0"
    assert (run.data.params["policy"], run.data.params["seed"]) == ("mlp", "3")
    tags = run.data.tags
    assert tags["planner.dataset_hash"] == dataset.meta.dataset_hash
    assert tags["planner.run_directory"] == str(tmp_path / "run")
    epochs = history(tmp_path / "run")
    for name in EPOCHS[:3]:
        assert steps(store, run, name) == [(entry["epoch"], pytest.approx(entry[name])) for entry in epochs]
    assert [step for step, _ in steps(store, run, "examples_per_second")] == [1, 2, 3]
    figures = run.data.metrics
    assert figures["val/exact_match_accuracy"] == results["val"]["exact_match_accuracy"]
    assert figures["test/per_head_accuracy/swarm"] == results["test"]["per_head_accuracy"]["swarm"]
    assert figures["test/heuristic/mean_utility"] == results["test"]["heuristic"]["mean_utility"]
    assert figures["test/mean_candidate_minutes"] == results["test"]["mean_candidate_minutes"]
    assert figures["training/epochs"] == 3
    assert not [name for name in figures if "reliability" in name or "curve" in name]
    state = json.loads((tmp_path / "run" / "mlflow.json").read_text())
    assert state["run_id"] == run.info.run_id


class Killed(BaseException):
    """What a kill looks like from inside."""


def test_a_resumed_training_goes_on_in_its_run(store, run_one, tmp_path):
    def kill(report):
        if report.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        run_one(epochs=4, on_epoch=kill)
    (run,) = runs_of(store)
    assert run.info.status == "KILLED" and run.data.tags["planner.problem"] == "Killed: "
    run_one(epochs=4, resume=True)
    (run,) = runs_of(store)
    assert run.info.status == "FINISHED"
    epochs = history(tmp_path / "run")
    assert steps(store, run, "train_loss") == [(entry["epoch"], pytest.approx(entry["train_loss"])) for entry in epochs]


def test_an_epoch_that_was_trained_and_not_logged_is_made_up_for(store, run_one, tmp_path, monkeypatch):
    """A process killed between its checkpoint and the log of the epoch."""
    from planner_mlflow.logger import MlflowLogger

    def kill(self, report):
        raise Killed

    monkeypatch.setattr(MlflowLogger, "on_epoch_end", kill)
    with pytest.raises(Killed):
        run_one()
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.tracking_uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    run_one(resume=True)
    (run,) = runs_of(store)
    assert sorted(step for step, _ in steps(store, run, "train_loss")) == [1, 2, 3]


def test_an_interrupted_run_is_marked_as_such(store, run_one):
    def interrupt(report):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_one(on_epoch=interrupt)
    assert runs_of(store)[0].info.status == "KILLED"


def test_a_run_deleted_in_between_is_begun_anew(store, run_one):
    def kill(report):
        raise Killed

    with pytest.raises(Killed):
        run_one(on_epoch=kill)
    (old,) = runs_of(store)
    store.delete_run(old.info.run_id)
    run_one(resume=True)
    (new,) = runs_of(store)
    assert new.info.run_id != old.info.run_id and new.info.status == "FINISHED"
    assert sorted(step for step, _ in steps(store, new, "train_loss")) == [1, 2, 3]


def test_the_experiment_is_the_users_choice(store, run_one, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    run_one(epochs=1)
    assert len(runs_of(store, "mine")) == 1 and not runs_of(store)


def test_the_training_is_the_same_with_it(store, run_one, registry, dataset, tmp_path, monkeypatch):
    run_one()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    (tmp_path / "run").rename(tmp_path / "logged")
    run_one()
    assert runs_of(store) and not (tmp_path / "run" / "mlflow.json").exists()
    for name in ("history.json", "calibration.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "logged" / name).read_bytes()


def test_a_store_that_cannot_be_used_costs_one_warning(run_one, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    run_one()
    assert (tmp_path / "run" / "results.json").exists()
    warnings = [r.getMessage() for r in caplog.records if r.name == "planner" and r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "the training callback MlflowLogger of swarm-planner 0.1.0 failed in on_train_begin" in warnings[0]


def test_without_the_variable_there_is_no_logger():
    assert [type(item).__name__ for _, item in handed("planner_training_callbacks")] == ["EpochBar"]


def test_without_mlflow_the_extra_is_named(monkeypatch, caplog):
    import planner_mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///x.db")
    monkeypatch.setattr(planner_mlflow, "find_spec", lambda name: None)
    assert [type(item).__name__ for _, item in handed("planner_training_callbacks")] == ["EpochBar"]
    assert caplog.text.count("pip install 'swarm-planner[mlflow]'") == 1


@pytest.mark.parametrize("uri", [None, "sqlite:///store.db"])
def test_mlflow_is_imported_for_a_training_that_is_logged_and_never_else(uri, world, tmp_path):
    code = (
        "import sys; sys.argv = ['planner', 'run', '-p', 'mlp', *sys.argv[1:]]\n"
        "from planner_core.cli.app import main\n"
        "try:\n    main()\nfinally:\n    print('MLFLOW', 'mlflow' in sys.modules, file=sys.stderr)"
    )
    env = {**os.environ, **({"MLFLOW_TRACKING_URI": uri} if uri else {})}

    def imported(*args):
        command = [sys.executable, "-c", code, *args]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return "MLFLOW True" in done.stderr

    small = ("--set", "epochs=1", "--set", "d_hidden=8")
    assert imported("train", "--dataset", str(world), "--out", "run", *small) == (uri is not None)
    assert not imported("evaluate", "--dataset", str(world), "--from", "run")


def test_a_killed_process_and_its_resume_are_one_run(world, tmp_path):
    """``kill -9`` in the middle, then ``--resume``: every epoch once, in one run."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/store.db"
    env = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    small = ("--set", "epochs=60", "--set", "patience=60", "--set", "d_hidden=32")
    command = [str(PLANNER), "run", "-p", "mlp", "train", "--dataset", str(world), "--out", "run", *small]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path, "env": env}
    process = subprocess.Popen(command, **quiet)
    checkpoint = tmp_path / "run.partial" / "checkpoint.pt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.3)  # a few epochs more
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists() and not (tmp_path / "run").exists()
    client = MlflowClient(tracking_uri=uri)
    (run,) = runs_of(client)
    assert run.info.status == "RUNNING"  # nobody could say otherwise
    assert subprocess.run([*command, "--resume"], **quiet).returncode == 0
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED"
    epochs = history(tmp_path / "run")
    assert len(epochs) == 60
    assert sorted(steps(client, run, "train_loss")) == [(e["epoch"], pytest.approx(e["train_loss"])) for e in epochs]
