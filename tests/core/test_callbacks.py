"""Training callbacks: what they are told, that a failing one harms nothing, and that none can change a training."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch

from planner_core.cli.epoch_bar import EpochBar
from planner_core.errors import PlannerError
from planner_core.harness.callbacks import METHODS, Callbacks
from planner_core.harness.train import train
from planner_core.plugins.collecting import handed
from planner_core.plugins.records import TrainingCallback
from planner_core.settings import make_settings
from planner_core.training import EpochReport


class Watcher(TrainingCallback):
    """Keeps everything it is told."""

    def __init__(self):
        self.told = []

    def on_train_begin(self, run):
        assert run.work_directory.is_dir() and not run.directory.exists()
        self.told.append(("begin", run))

    def on_epoch_end(self, report):
        self.told.append(("epoch", report.epoch))

    def on_train_end(self, results):
        self.told.append(("end", results))

    def on_train_failed(self, problem):
        self.told.append(("failed", problem))

    @property
    def names(self):
        return [name for name, _ in self.told]


@pytest.fixture
def watched(plugged):
    """``watched(callback, ...)``: let exactly these follow the next trainings."""
    return lambda *given: plugged("planner_training_callbacks", *given)


@pytest.fixture
def run_one(registry, dataset, tmp_path):
    """Train ``mlp`` for three epochs into ``tmp_path/name``."""

    def run(name="run", seed=3, **options):
        settings = make_settings("mlp", registry.spec("mlp").config_type, {"d_hidden": 32, "epochs": 3, "lr": 0.01})
        return train("mlp", dataset, tmp_path / name, settings, registry, seed=seed, **options)

    return run


def test_what_a_callback_is_told(watched, run_one, dataset, tmp_path):
    watcher = Watcher()
    watched(watcher)
    results = run_one()
    assert watcher.names == ["begin", "epoch", "epoch", "epoch", "end"]
    assert [value for name, value in watcher.told if name == "epoch"] == [1, 2, 3]
    run = watcher.told[0][1]
    assert (run.policy, run.seed, run.resumed, run.show_progress) == ("mlp", 3, False, False)
    assert run.directory == tmp_path / "run" and run.directory.is_dir()
    assert run.config["d_hidden"] == 32 and run.config["history_slots"] == 8
    assert run.dataset["hash"] == dataset.meta.dataset_hash
    assert watcher.told[-1][1] == results == json.loads((tmp_path / "run" / "results.json").read_text())


def test_a_resumed_run_says_so(watched, run_one, tmp_path):
    class Killed(BaseException):
        pass

    def kill(report):
        if report.epoch == 2:
            raise Killed

    first, second = Watcher(), Watcher()
    watched(first)
    with pytest.raises(Killed):
        run_one(on_epoch=kill)
    assert first.names == ["begin", "epoch", "epoch", "failed"] and isinstance(first.told[-1][1], Killed)
    watched(second)
    run_one(resume=True)
    assert [value for name, value in second.told if name == "epoch"] == [3]
    assert second.told[0][1].resumed
    third = Watcher()
    watched(third)
    run_one(resume=True)  # it is finished: nothing is trained, and nobody is told
    assert third.told == []


@pytest.mark.parametrize("method", METHODS[:3])
@pytest.mark.parametrize("problem", [ValueError("[no]"), SystemExit(3)], ids=["raises", "exits"])
def test_a_failing_callback_is_left_out(method, problem, watched, run_one, caplog):
    def fail(self, what):
        self.calls += 1
        raise problem

    bad = type("Bad", (Watcher,), {"calls": 0, method: fail})()
    good = Watcher()
    watched(bad, good)
    run_one()
    assert good.names == ["begin", "epoch", "epoch", "epoch", "end"]
    assert bad.calls == 1
    assert bad.names == {"on_train_begin": [], "on_epoch_end": ["begin"]}.get(method, ["begin", *3 * ["epoch"]])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert f"the training callback Bad of acme-planner 1.2 failed in {method} and is left out" in warnings[0]


def test_an_interrupt_stays_the_users(watched, run_one):
    class Interrupted:
        def on_epoch_end(self, report):
            raise KeyboardInterrupt

    watcher = Watcher()
    watched(Interrupted(), watcher)
    with pytest.raises(KeyboardInterrupt):
        run_one()
    assert isinstance(watcher.told[-1][1], KeyboardInterrupt)


def test_the_base_class_does_nothing():
    assert METHODS == ("on_train_begin", "on_epoch_end", "on_train_end", "on_train_failed")
    for name in METHODS:
        assert getattr(TrainingCallback(), name)(None) is None


@pytest.mark.parametrize("base", [object, TrainingCallback])
def test_methods_may_be_left_out(base, watched, run_one, caplog):
    """With the base class or without it."""

    class Little(base):
        seen = 0

        def on_epoch_end(self, report):
            self.seen += 1

    little = Little()
    watched(little)
    run_one()
    assert little.seen == 3 and not caplog.records


@pytest.mark.parametrize("base", [object, TrainingCallback])
def test_misspelt_methods_are_said(base, caplog):
    class Misspelt(base):
        def on_epoch_ended(self, report):
            raise AssertionError

    told = Callbacks([("Misspelt of acme-planner 1.2", Misspelt())])
    told.epoch(EpochReport(1, 1, 0.5))
    assert "has no use for on_epoch_ended (did you mean 'on_epoch_end'?)" in caplog.text
    assert "has none of on_train_begin" in caplog.text


def test_a_callback_cannot_change_the_training(watched, run_one, tmp_path):
    """It may draw from every global generator and write into whatever it is given."""

    class Vandal:
        def disturb(self, what=None):
            for draw in (random.random, np.random.rand, lambda: torch.rand(7)):
                draw()
            torch.manual_seed(1)
            np.random.seed(1)

        def on_train_begin(self, run):
            self.disturb()
            run.config["lr"] = 5.0
            run.dataset["hash"] = "mine"

        on_epoch_end = disturb

        def on_train_end(self, results):
            results["val"]["exact_match_accuracy"] = 1.0
            results.clear()

    watched()
    plain = run_one("plain")
    watched(Vandal())
    disturbed = run_one("disturbed")
    for name in ("history.json", "calibration.json", "config.json"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "disturbed" / name).read_bytes()
    a, b = (torch.load(tmp_path / n / "best_model.pt", weights_only=True) for n in ("plain", "disturbed"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert plain["val"] == disturbed["val"] and plain["dataset"] == disturbed["dataset"]


def test_a_failed_run_says_so_and_leaves_nothing(watched, registry, dataset, tmp_path):
    watcher = Watcher()
    watched(watcher)
    settings = make_settings("mlp", registry.spec("mlp").config_type, {"d_hidden": 8, "epochs": 2, "lr": 1e30})
    with pytest.raises(PlannerError, match="lower lr"):
        train("mlp", dataset, tmp_path / "run", settings, registry)
    assert watcher.names[-1] == "failed" and isinstance(watcher.told[-1][1], FloatingPointError)
    assert list(tmp_path.iterdir()) == []


def test_each_run_gets_callbacks_of_its_own():
    bars = [item for _ in range(2) for _, item in handed("planner_training_callbacks")]
    assert len(bars) == 2 and bars[0] is not bars[1]
    assert {type(bar).__name__ for bar in bars} == {"EpochBar"}


@pytest.mark.parametrize("show", [True, False])
def test_the_bar_draws_only_where_somebody_watches(show, run_one, capfd):
    run_one(show_progress=show)
    drawn = capfd.readouterr().err
    assert ("epoch 3/3" in drawn and "val exact match" in drawn) if show else drawn == ""


def test_the_bar_ends_with_a_failed_run():
    bar = EpochBar()
    bar.on_train_failed(ValueError("before it began"))
