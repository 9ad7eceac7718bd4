"""Training, for both policies that the torch loop trains: repeatable, learning, kept whole, and the odd datasets."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch

from planner_core import ActionSpace, DataError, PlannerError, PolicyContext, decide, load_dataset
from planner_core.data.dataset import Dataset
from planner_core.decision import temperatures_for
from planner_core.harness.run_dir import load_run
from planner_core.harness.train import train
from planner_core.settings import make_settings

POLICIES = ("mlp", "joint")
both = pytest.mark.parametrize("policy", POLICIES)
SMALL = {"d_hidden": 8, "epochs": 2}


def weights(run):
    return torch.load(run / "best_model.pt", weights_only=True)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def history(run):
    return json.loads((run / "history.json").read_text())


@pytest.fixture(scope="module")
def small(tmp_path_factory, world_lines, write_lines):
    """60 examples with labels and nothing else: load with the given splits, e.g. {"train": 50, "val": 1, "test": 9}."""
    root = tmp_path_factory.mktemp("small")

    def load(**sizes) -> Dataset:
        lines = world_lines(60)
        names = [name for name, size in sizes.items() for _ in range(size)]
        for line, name in zip(lines, names, strict=True):
            line["split"] = name
            del line["executed"]
        path = root / "-".join(f"{name}{size}" for name, size in sizes.items())
        return load_dataset(path if path.exists() else write_lines(path, lines))

    return load


# -- repeatable


@both
def test_a_seed_repeats_bit_for_bit(policy, small, quick_train, tmp_path):
    data = small(train=40, val=10, test=10)
    quick_train(policy, data, tmp_path / "a", seed=11, **SMALL)
    torch.manual_seed(99)  # nothing may hang on what this process drew before
    np.random.seed(99)
    torch.rand(100)
    quick_train(policy, data, tmp_path / "b", seed=11, **SMALL)
    quick_train(policy, data, tmp_path / "c", seed=12, **SMALL)
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert (tmp_path / "a" / "history.json").read_bytes() == (tmp_path / "b" / "history.json").read_bytes()
    assert (tmp_path / "a" / "calibration.json").read_bytes() == (tmp_path / "b" / "calibration.json").read_bytes()
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_building_leaves_the_callers_generator_alone(registry):
    """Building a policy draws its weights from a fork of the generator."""
    spec = registry.spec("mlp")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    spec.load()(spec.config_type(d_hidden=8), PolicyContext(seed=1))
    assert torch.equal(torch.rand(3), expected)


# -- learning


@both
def test_loss_falls_and_the_heuristic_is_beaten(policy, runs):
    losses = [entry["train_loss"] for entry in history(runs[policy])]
    assert losses[-1] < losses[0] - 0.2
    results = json.loads((runs[policy] / "results.json").read_text())
    for split in ("val", "test"):
        assert results[split]["exact_match_accuracy"] > results[split]["heuristic"]["exact_match_accuracy"] + 0.1


@both
def test_the_best_epochs_weights_are_kept(policy, dataset, registry, quick_train, tmp_path):
    """A learning rate this high makes the last epoch another than the best."""
    values = {"lr": 0.03, "lr_min": 0.03, "epochs": 8, "patience": 8, "dropout": 0.0}
    quick_train(policy, dataset, tmp_path / "r", **values)
    entries = history(tmp_path / "r")
    best = max(entries, key=lambda e: (e["valid_exact_match"], -e["valid_loss"]))
    results = json.loads((tmp_path / "r" / "results.json").read_text())
    assert results["training"]["best_epoch"] == best["epoch"] != entries[-1]["epoch"]
    run, valid = load_run(tmp_path / "r", registry), dataset.split("val")
    kind = run.policy.score_kind
    decision = decide(run.policy.predict(valid.batch()), valid.job_type, temperatures_for(kind), ActionSpace())
    assert float((decision.action == valid.action).mean()) == best["valid_exact_match"]


@both
def test_early_stopping(policy, small, quick_train, tmp_path):
    """With a learning rate of next to nothing no epoch improves on the first, so training ends after ``patience``."""
    data = small(train=40, val=10, test=10)
    values = {"lr": 1e-30, "lr_min": 0.0, "epochs": 20, "patience": 3}
    results = quick_train(policy, data, tmp_path / "r", **{**SMALL, **values})
    seen = [entry["epoch"] for entry in history(tmp_path / "r")]
    assert seen == [1, 2, 3, 4]
    assert results["training"]["best_epoch"] == 1


def test_every_epoch_is_reported(small, registry, tmp_path):
    settings = make_settings("mlp", registry.spec("mlp").config_type, {"d_hidden": 8, "epochs": 3})
    seen = []
    train("mlp", small(train=40, val=10, test=10), tmp_path / "r", settings, registry, on_epoch=seen.append)
    assert [(report.epoch, report.epochs) for report in seen] == [(1, 3), (2, 3), (3, 3)]
    assert seen[-1].seconds_left == 0.0 and seen[0].examples_per_second > 0
    assert [report.to_dict() for report in seen] == history(tmp_path / "r")


def test_the_learning_rate_is_annealed_by_step(small, quick_train, tmp_path, monkeypatch):
    """Half a cosine over all steps of all epochs; the first step has the whole rate, and no two steps the same."""
    rates, step = [], torch.optim.AdamW.step

    def watched(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    values = {"lr": 0.01, "lr_min": 0.001, "epochs": 3, "batch_size": 10}
    quick_train("mlp", small(train=40, val=10, test=10), tmp_path / "r", **{**SMALL, **values})
    expected = [0.001 + 0.009 * (1 + math.cos(math.pi * i / 12)) / 2 for i in range(12)]
    assert rates == pytest.approx(expected, rel=1e-12)


def test_options_reach_the_loop(small, quick_train, tmp_path):
    """Every option of the loop changes the weights it ends with."""
    data = small(train=40, val=10, test=10)
    quick_train("mlp", data, tmp_path / "base", **SMALL)
    changes = {
        "lr": 0.02,
        "lr_min": 0.009,
        "weight_decay": 0.5,
        "beta1": 0.5,
        "beta2": 0.9,
        "batch_size": 16,
        "gradient_clip": 0.01,
        "dropout": 0.3,
        "label_smoothing": 0.0,
        "head_weights": {"minutes": 3.0},
        "class_weighting": "balanced",
        "focal_gamma": 2.0,
    }
    for name, value in changes.items():
        quick_train("mlp", data, tmp_path / name, **{**SMALL, name: value})
        assert not same(weights(tmp_path / name), weights(tmp_path / "base")), name


def test_a_loss_that_diverges_is_said_and_leaves_nothing(small, quick_train, tmp_path):
    with pytest.raises(PlannerError, match="lower lr"):
        quick_train("mlp", small(train=40, val=10, test=10), tmp_path / "r", **SMALL | {"lr": 1e30})
    assert list(tmp_path.iterdir()) == []


@both
def test_widths_that_cannot_be_are_a_users_error(policy, small, quick_train, tmp_path):
    with pytest.raises(PlannerError):
        quick_train(policy, small(train=40, val=10, test=10), tmp_path / "r", d_hidden=2, epochs=1)


# -- killed and taken up again


class Killed(BaseException):
    """What a kill looks like from inside: nothing below may catch it."""


@both
@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_resumed_run_ends_like_an_undisturbed_one(policy, killed_after, small, registry, tmp_path):
    data, spec = small(train=40, val=10, test=10), registry.spec(policy)
    settings = make_settings(policy, spec.config_type, {"d_hidden": 8, "epochs": 4, "lr": 0.01})
    train(policy, data, tmp_path / "whole", settings, registry, seed=5)

    def kill(report):
        if report.epoch == killed_after:
            raise Killed

    with pytest.raises(Killed):
        train(policy, data, tmp_path / "cut", settings, registry, seed=5, on_epoch=kill)
    assert not (tmp_path / "cut").exists()  # a run directory is whole or absent
    seen = []
    resumed = train(policy, data, tmp_path / "cut", settings, registry, seed=5, resume=True, on_epoch=seen.append)
    assert [report.epoch for report in seen] == list(range(killed_after + 1, 5))
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    whole = json.loads((tmp_path / "whole" / "results.json").read_text())
    assert resumed["val"] == whole["val"] and resumed["calibration"] == whole["calibration"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut", "whole"]


def test_a_resume_of_something_else_is_refused(small, registry, tmp_path):
    data = small(train=40, val=10, test=10)

    def settings(**values):
        return make_settings("mlp", registry.spec("mlp").config_type, {"d_hidden": 8, "epochs": 2, **values})

    def kill(report):
        raise Killed

    with pytest.raises(Killed):
        train("mlp", data, tmp_path / "r", settings(), registry, on_epoch=kill)
    for changes, words in (
        ({"settings": settings(d_hidden=16)}, "d_hidden 8, not 16"),
        ({"seed": 1}, "another seed"),
        ({"dataset": small(train=58, val=1, test=1)}, "another dataset"),
    ):
        options = {"dataset": data, "settings": settings(), "seed": 0} | changes
        with pytest.raises(PlannerError, match=words):
            train(
                "mlp",
                options["dataset"],
                tmp_path / "r",
                options["settings"],
                registry,
                seed=options["seed"],
                resume=True,
            )
    with pytest.raises(PlannerError, match="--resume"):  # and a fresh start does not trample on it
        train("mlp", data, tmp_path / "r", settings(), registry)
    train("mlp", data, tmp_path / "r", settings(), registry, resume=True)
    assert json.loads((tmp_path / "r" / "results.json").read_text())["training"]["epochs"] == 2


# -- the run directory


@both
def test_run_directory(policy, runs, dataset):
    path = runs[policy]
    assert sorted(p.name for p in path.iterdir()) == [
        "best_model.pt",
        "calibration.json",
        "config.json",
        "history.json",
        "inputs.json",
        "provenance.json",
        "results.json",
        "run_manifest.json",
    ]
    config = json.loads((path / "config.json").read_text())
    assert (config["policy"], config["seed"]) == (policy, 3)
    assert config["values"]["d_hidden"] == 32  # given
    assert config["values"]["weight_decay"] == 0.01 and config["values"]["history_slots"] == 8  # defaults, written out
    provenance = json.loads((path / "provenance.json").read_text())
    assert provenance["command"] and provenance["versions"]["torch"] and provenance["versions"]["numpy"]
    assert provenance["dataset"]["hash"] == dataset.meta.dataset_hash
    results = json.loads((path / "results.json").read_text())
    assert results["dataset"]["hash"] == dataset.meta.dataset_hash
    calibration = json.loads((path / "calibration.json").read_text())
    assert calibration.pop("risk_coverage")["curve"]
    assert results["calibration"] == calibration
    assert results["training"]["peak_memory_mib"] > 0
    for split in ("val", "test"):
        assert results[split]["n"] == 40 and results[split]["ece_before"] is not None


@both
def test_load_gives_back_what_was_trained(policy, runs, registry, dataset):
    spec = registry.spec(policy)
    loaded = load_run(runs[policy], registry, policy)
    batch = dataset.split("test").batch()
    scores = loaded.policy.predict(batch)
    fresh = spec.load()(loaded.settings.policy, loaded.context)
    assert any(not np.array_equal(fresh.predict(batch)[name], scores[name]) for name in scores)
    fresh.load(runs[policy])
    assert all(np.array_equal(fresh.predict(batch)[name], scores[name]) for name in scores)


@both
def test_results_are_those_of_the_loaded_run(policy, runs, registry, dataset):
    """What is in results.json is what the run's policy does when it is read back."""
    run, examples = load_run(runs[policy], registry), dataset.split("test")
    decision = decide(run.policy.predict(examples.batch()), examples.job_type, run.temperatures, ActionSpace())
    assert float((decision.action == examples.action).mean()) == run.results["test"]["exact_match_accuracy"]


@both
def test_scores_do_not_depend_on_the_batch(policy, runs, registry, dataset):
    policy = load_run(runs[policy], registry).policy
    examples = dataset.split("test")
    whole = policy.predict(examples.batch())
    for rows in (np.array([3]), np.arange(10, 17)):
        part = policy.predict(examples.batch(rows))
        assert all(np.allclose(part[name], whole[name][rows], atol=1e-5) for name in whole)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


@both
def test_a_pickle_in_place_of_a_checkpoint_is_refused(policy, runs, registry, tmp_path):
    run = shutil.copytree(runs[policy], tmp_path / "run")
    torch.save({"trunk.0.weight": Bomb(tmp_path / "exploded")}, run / "best_model.pt")
    with pytest.raises(DataError, match=r"best_model\.pt"):
        load_run(run, registry)
    assert not (tmp_path / "exploded").exists()


@both
def test_checkpoints_that_do_not_fit(policy, runs, registry, tmp_path):
    run = shutil.copytree(runs[policy], tmp_path / "run")
    for content in (b"rubbish", (run / "best_model.pt").read_bytes()[:1000]):
        (run / "best_model.pt").write_bytes(content)
        with pytest.raises(DataError, match=r"best_model\.pt"):
            load_run(run, registry)
    (run / "best_model.pt").unlink()
    with pytest.raises(DataError, match=r"best_model\.pt"):
        load_run(run, registry)


def test_empty_checkpoint(runs, registry, tmp_path):
    run = shutil.copytree(runs["mlp"], tmp_path / "run")
    (run / "best_model.pt").write_bytes(b"")
    with pytest.raises(DataError, match=r"best_model\.pt"):
        load_run(run, registry)


def test_checkpoint_of_another_width(runs, registry, tmp_path):
    run = shutil.copytree(runs["mlp"], tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["values"]["d_hidden"] = 16
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"config\.json: found SHA-256 .* it was changed after training"):
        load_run(run, registry)
    (run / "run_manifest.json").unlink()  # as in a run of an earlier version
    with pytest.raises(DataError, match=r"best_model\.pt"):
        load_run(run, registry)


def test_run_of_another_policy(runs, registry):
    with pytest.raises(PlannerError, match="run of policy 'joint', not of 'mlp'"):
        load_run(runs["joint"], registry, "mlp")


def test_existing_run_is_not_overwritten(small, quick_train, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine.txt").write_text("x")
    with pytest.raises(PlannerError, match="not empty"):
        quick_train("mlp", small(train=40, val=10, test=10), tmp_path / "r", **SMALL)
    assert [p.name for p in tmp_path.rglob("*")] == ["r", "mine.txt"]


def test_rules_cannot_be_trained(small, registry, tmp_path):
    settings = make_settings("heuristic", registry.spec("heuristic").config_type, {})
    with pytest.raises(PlannerError, match="does not learn"):
        train("heuristic", small(train=40, val=10, test=10), tmp_path / "r", settings, registry)
    assert list(tmp_path.iterdir()) == []


# -- odd datasets


@both
def test_empty_validation_split(policy, small, registry, quick_train, tmp_path):
    results = quick_train(policy, small(train=50, test=10), tmp_path / "r", **SMALL)
    assert any("validation split is empty" in note for note in results["notes"])
    assert results["training"]["best_epoch"] == 2  # the last
    assert results["calibration"]["method"] == "none" and "empty" in results["calibration"]["note"]
    assert set(results["calibration"]["temperatures"].values()) == {1.0}
    assert "val" not in results and results["test"]["n"] == 10
    assert set(load_run(tmp_path / "r", registry).temperatures) == set(temperatures_for(_kind(policy)))


def _kind(policy):
    return "joint" if policy == "joint" else "heads"


@both
@pytest.mark.parametrize("sizes", [{"train": 58, "val": 1, "test": 1}, {"train": 1, "val": 50, "test": 9}])
def test_splits_of_one_example(policy, sizes, small, quick_train, tmp_path):
    results = quick_train(policy, small(**sizes), tmp_path / "r", **SMALL)
    assert results["training"]["epochs"] == 2
    for split in ("val", "test"):
        assert results[split]["n"] == sizes[split]
        assert np.isfinite(results[split]["ece"])
    said = [note for note in results["notes"] if "has 1 example" in note]
    assert len(said) == sum(sizes[split] == 1 for split in ("val", "test"))


@both
def test_empty_test_split(policy, small, quick_train, tmp_path):
    results = quick_train(policy, small(train=50, val=10), tmp_path / "r", **SMALL)
    assert "test" not in results and results["val"]["n"] == 10


def test_empty_training_split(small, quick_train, tmp_path):
    with pytest.raises(PlannerError, match="training split is empty"):
        quick_train("mlp", small(val=50, test=10), tmp_path / "r", **SMALL)
    assert list(tmp_path.iterdir()) == []


@both
def test_labels_that_are_all_the_same(policy, world_lines, write_lines, quick_train, tmp_path):
    lines = [line for line in world_lines(60) if line["planner_input"]["job_type"] == "code"][:30]
    for i, line in enumerate(lines):
        line["split"] = ("train", "train", "val", "test")[i % 4]
        budgets = {"max_candidates_bin": 1, "max_minutes_bin": 30, "max_iterations_bin": "NA"}
        line["label_action"] |= {"swarm_id": "serial_handoff", "budgets": budgets}
        del line["executed"]
    results = quick_train(policy, load_dataset(write_lines(tmp_path / "d", lines)), tmp_path / "r", epochs=6)
    said = [note for note in results["notes"] if "same action" in note]
    assert len(said) == 1 and "serial_handoff, 1, 30, NA" in said[0] and "16 training labels" in said[0]
    assert results["val"]["exact_match_accuracy"] == 1.0 and results["val"]["unique_actions"] == 1


@both
def test_validation_accuracy_that_never_leaves_zero(policy, world_lines, write_lines, quick_train, tmp_path):
    """Labels of the validation split that training never saw: the loss decides which epoch is kept."""
    lines = [line for line in world_lines(60) if line["planner_input"]["job_type"] == "code"][:40]
    for i, line in enumerate(lines):
        line["split"] = "val" if i % 4 == 0 else "train"
        seen = {"max_candidates_bin": 1, "max_minutes_bin": 30, "max_iterations_bin": "NA"}
        unseen = {"max_candidates_bin": 3, "max_minutes_bin": 120, "max_iterations_bin": "NA"}
        swarm = "speculate_vote" if i % 4 == 0 else "serial_handoff"
        line["label_action"] |= {"swarm_id": swarm, "budgets": unseen if i % 4 == 0 else seen}
        del line["executed"]
    results = quick_train(policy, load_dataset(write_lines(tmp_path / "d", lines)), tmp_path / "r", epochs=4)
    entries = history(tmp_path / "r")
    assert {entry["valid_exact_match"] for entry in entries[1:]} == {0.0}
    assert results["training"]["best_epoch"] is not None
    assert results["val"]["exact_match_accuracy"] == 0.0 and np.isfinite(results["val"]["ece"])
