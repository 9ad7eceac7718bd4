"""A policy that loads and then fails when it is used: the command says where, and leaves nothing half-written."""

from __future__ import annotations

import pytest

FAULTY = """
import sys
import msgspec, numpy as np
from planner_core import EpochReport, FitReport, HEADS, ActionSpace, PolicySpec, hookimpl

class Config(msgspec.Struct):
    fault: str = "none"
    def __post_init__(self):
        if self.fault == "config":
            raise KeyError("config")

class Untrained:
    score_kind = "heads"
    def __init__(self, config, context):
        self.fault, self.space = config.fault, context.action_space
        self.check("init")
    def check(self, place):
        if self.fault == place:
            raise ValueError(f"no {place} today")
    def predict(self, batch):
        self.check("predict")
        if self.fault == "exit":
            sys.exit("bye")
        n, sizes = len(batch), dict(zip(HEADS, self.space.head_sizes))
        if self.fault == "nothing":
            return None
        if self.fault == "names":
            sizes.pop("swarm")
        if self.fault == "shape":
            sizes["swarm"] += 1
        value = np.nan if self.fault == "nan" else 0.0
        return {name: np.full((n, size), value, np.float32) for name, size in sizes.items()}
    def export_scorer(self):
        self.check("export")
        raise NotImplementedError

class Trained(Untrained):
    def fit(self, session):
        self.check("fit")
        if self.fault == "report":
            session.on_epoch({"epoch": 1})
        report = EpochReport(1, 1, 0.5)
        session.on_epoch(report)
        return FitReport([report])
    def save(self, directory):
        self.check("save")
    def load(self, directory):
        self.check("load")

def module():
    import lightgbm_of_mars
def attribute():
    return sys.no_such_thing
def syntax():
    compile("def broken(:", "faulty.py", "exec")

@hookimpl
def planner_register_policies(register):
    register(PolicySpec("faulty", "", Config, lambda: Untrained))
    register(PolicySpec("learner", "", Config, lambda: Trained, trainable=True))
    register(PolicySpec("not-a-class", "", Config, lambda: 5))
    register(PolicySpec("empty-class", "", Config, lambda: dict))
    register(PolicySpec("no-fit", "", Config, lambda: Untrained, trainable=True))
    for load in (module, attribute, syntax):
        register(PolicySpec("no-" + load.__name__, "", Config, load))
"""


@pytest.fixture
def faulty(install):
    install("acme-planner", FAULTY)


@pytest.mark.parametrize(
    ("policy", "fault", "said"),
    [
        ("no-module", "none", "failed in load: ModuleNotFoundError: No module named 'lightgbm_of_mars'"),
        ("no-attribute", "none", "failed in load: AttributeError: module 'sys' has no attribute 'no_such_thing'"),
        ("no-syntax", "none", "failed in load: SyntaxError: invalid syntax (faulty.py, line 1)"),
        ("not-a-class", "none", "failed in load: it returned 5, expected a class"),
        ("empty-class", "none", "failed in load: the class dict has no predict, export_scorer"),
        ("faulty", "init", "failed in __init__: ValueError: no init today"),
        ("faulty", "predict", "failed in predict: ValueError: no predict today"),
        ("faulty", "exit", "failed in predict: SystemExit: bye"),
        ("faulty", "nothing", "failed in predict: it returned a NoneType, expected a dict of swarm, candidates"),
        ("faulty", "names", "failed in predict: it returned candidates, minutes, iterations; expected swarm"),
        ("faulty", "shape", "failed in predict: 'swarm' is a ndarray of shape (40, 3); expected an array of shape (40"),
        ("faulty", "nan", "failed in predict: 'swarm' holds NaN"),
    ],
)
def test_evaluating_a_faulty_policy(policy, fault, said, faulty, planner, world):
    done = planner("run", "-p", policy, "evaluate", "--dataset", world, "--set", f"fault={fault}", code=1)
    assert f"error: policy '{policy}' (acme-planner 1.2) {said}" in done.stderr


def test_a_faulty_policy_says_where_with_debug(faulty, planner, world):
    command = ("run", "-p", "faulty", "evaluate", "--dataset", world, "--set", "fault=predict")
    done = planner(*command, code=1, PLANNER_DEBUG="1")
    assert "acme_planner.py" in done.stderr and "in check" in done.stderr


def test_a_configuration_that_raises(faulty, planner, world):
    done = planner("run", "-p", "faulty", "evaluate", "--dataset", world, "--set", "fault=config", code=1)
    assert "fault: KeyError: 'config'" in done.stderr


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("fit", "failed in fit: ValueError: no fit today"),
        ("report", "failed in fit: TypeError: on_epoch was given a dict, expected an EpochReport"),
        ("save", "failed in save: ValueError: no save today"),
        ("predict", "failed in predict: ValueError: no predict today"),
    ],
)
def test_training_a_faulty_policy(fault, said, faulty, planner, world, tmp_path):
    command = ("run", "-p", "learner", "train", "--dataset", world, "--out", "run", "--set", f"fault={fault}")
    assert f"error: policy 'learner' (acme-planner 1.2) {said}" in planner(*command, code=1).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site"]  # nothing half-written


def test_a_policy_that_cannot_be_trained_after_all(faulty, planner, world):
    done = planner("run", "-p", "no-fit", "train", "--dataset", world, code=1)
    assert (
        "policy 'no-fit' (acme-planner 1.2) failed in load: the class Untrained has no fit, save, load" in done.stderr
    )


def test_a_run_whose_policy_fails_to_load_it(faulty, planner, world, tmp_path):
    planner("run", "-p", "learner", "train", "--dataset", world, "--out", "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"none"', '"load"'))
    (tmp_path / "run" / "run_manifest.json").unlink()  # whose hash of it no longer fits
    done = planner("run", "-p", "learner", "evaluate", "--dataset", world, "--from", "run", code=1)
    assert "policy 'learner' (acme-planner 1.2) failed in load: ValueError: no load today" in done.stderr


def test_exporting_a_faulty_policy(faulty, planner, tmp_path):
    done = planner("export", "-p", "faulty", "--set", "fault=export", "--out", "bundle", code=1)
    assert "policy 'faulty' (acme-planner 1.2) failed in export_scorer: ValueError: no export today" in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_deciding_by_a_faulty_policy(faulty, planner, world):
    done = planner("run", "-p", "faulty", "predict", "--set", "fault=predict", world / "dataset.jsonl", code=1)
    assert "policy 'faulty' (acme-planner 1.2) failed in predict: ValueError: no predict today" in done.stderr
    assert done.stdout == ""
