"""The device of a training: what is chosen, what is refused, and that nothing of a step stays behind on the CPU.

There is no accelerator where these tests usually run. Availability is then a pretence, and a step is taken on torch's
``meta`` device, which computes no numbers but refuses tensors of another device as a real one does.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from planner_core import ActionSpace, ConfigError, PlannerError, PolicyContext, make_settings
from planner_core.data.dataset import Dataset
from planner_core.harness.run_dir import load_run
from planner_core.harness.train import train
from planner_core.torch import checkpoint, device, loop
from planner_core.torch.layers import BinaryLinear, SparseRows, narrowed
from planner_core.torch.objective import RowSource, make_loss
from planner_core.training import TrainingSession

META = torch.device("meta")
QUICK = {"d_hidden": 8, "epochs": 2, "dropout": 0.0}


@pytest.fixture
def there(monkeypatch):
    """``there("cuda", "mps")``: what torch is to say it has."""

    def pretend(*names):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)

    return pretend


@pytest.mark.parametrize(
    ("has", "chosen"), [((), "cpu"), (("mps",), "mps"), (("cuda",), "cuda"), (("mps", "cuda"), "cuda")]
)
def test_auto_takes_the_first_there_is(there, has, chosen):
    there(*has)
    assert device.choose_device("auto").type == chosen
    assert device.choose_device("cpu") == device.CPU
    assert device.available()[-1] == "cpu"


@pytest.mark.parametrize(("wanted", "has", "named"), [("cuda", (), "cpu"), ("cuda", ("mps",), "mps, cpu")])
def test_what_is_not_there_is_refused(there, wanted, has, named):
    there(*has)
    with pytest.raises(ConfigError, match=f"has no '{wanted}' on this machine; there is {named}$"):
        device.choose_device(wanted)


def test_a_refusal_leaves_nothing_behind(there, dataset, quick_train, tmp_path):
    there()
    with pytest.raises(PlannerError, match="has no 'cuda'"):
        quick_train("mlp", dataset, tmp_path / "run", device="cuda")
    assert list(tmp_path.iterdir()) == []


def test_no_other_device_is_known(registry):
    with pytest.raises(ConfigError, match="device"):
        make_settings("mlp", registry.spec("mlp").config_type, {"device": "tpu"})
    with pytest.raises(ConfigError, match="device: no such key"):  # it computes on the CPU and says so
        make_settings("outcome", registry.spec("outcome").config_type, {"device": "cuda"})


def test_the_cpu_is_the_default_and_recorded(dataset, quick_train, tmp_path):
    for name, values in (("a", {}), ("b", {"device": "auto"}), ("c", {"device": "cpu"})):
        results = quick_train("mlp", dataset, tmp_path / name, **QUICK, **values)
        if name == "b" and len(device.available()) > 1:
            continue
        assert results["training"]["devices"] == ["cpu"]
    assert json.loads((tmp_path / "a" / "config.json").read_text("utf-8"))["values"]["device"] == "cpu"
    first, last = (torch.load(tmp_path / name / "best_model.pt", weights_only=True) for name in "ac")
    assert all(torch.equal(first[name], last[name]) for name in first)


# -- a step


def policy_of(registry, name, config_values=()):
    spec = registry.spec(name)
    settings = make_settings(name, spec.config_type, {"d_hidden": 8, **dict(config_values)})
    return spec.load()(settings.policy, PolicyContext(settings.encoder, ActionSpace(), 0)), settings.policy


def step(policy, config, session, place, rows=8, loss_device=None):
    """The forward pass, the loss and its gradient of some rows, all on ``place``."""
    space, train_split = ActionSpace(), session.train
    objective = config.objective
    loss_of = make_loss(objective, config, space, train_split, loss_device or place)
    picked = np.arange(rows)
    taken = RowSource(train_split, session, objective == "utility", place).take(picked)
    policy.module.to(place)
    with narrowed(policy.module, train_split.features):
        features = SparseRows.of(train_split.features.take(picked)).to(place)
        loss = loss_of(policy.forward(features, taken.job_type), taken)
        loss.backward()
        return loss, {name: p.grad.device.type for name, p in policy.module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["mlp", "joint"])
@pytest.mark.parametrize("objective", ["label", "utility"])
def test_a_step_is_taken_where_it_is_asked_for(registry, dataset, tmp_path, name, objective):
    values = {"objective": objective, "class_weighting": "balanced", "focal_gamma": 1.0}
    policy, config = policy_of(registry, name, values)
    session = TrainingSession(dataset.split("train"), dataset.split("val"), tmp_path)
    loss, where = step(policy, config, session, META)
    assert loss.device == META and set(where.values()) == {"meta"} and len(where) > 3


def test_what_stays_behind_is_seen(registry, dataset, tmp_path):
    """Else the test above would show nothing."""
    policy, config = policy_of(registry, "mlp", {"objective": "label"})
    session = TrainingSession(dataset.split("train"), dataset.split("val"), tmp_path)
    with pytest.raises((RuntimeError, NotImplementedError)):
        step(policy, config, session, META, loss_device=device.CPU)


def test_the_plain_path_equals_the_fast_one(dataset, monkeypatch):
    """Devices without sums of bags multiply a dense matrix: the same scores and gradients."""
    features = dataset.split("train").features.take(np.arange(6))
    found = []
    for bags in (("cpu",), ()):
        monkeypatch.setattr("planner_core.torch.layers._WITH_BAGS", bags)
        monkeypatch.setattr("planner_core.torch.layers.DENSE_WIDTH", 1)
        torch.manual_seed(1)
        layer = BinaryLinear(features.d_in, 8)
        wide = layer(SparseRows.of(features))
        with narrowed(layer, features):
            out = layer(SparseRows.of(features))
            out.square().sum().backward()
            gradient = layer.weight.grad
        found.append((wide.detach(), out.detach(), gradient))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5)


# -- what is kept, and elsewhere


def test_what_is_kept_is_of_the_cpu():
    kept = {"state": {0: {"step": torch.ones(1), "n": 3}}, "groups": [(torch.ones(2), "a")]}
    moved = device.on_cpu(kept)
    assert moved["state"][0]["step"] is kept["state"][0]["step"] and moved["groups"][0][1] == "a"


def test_a_run_goes_on_on_another_device(dataset, registry, tmp_path, monkeypatch):
    """Killed on one device, resumed on another: the checkpoint loads, both are recorded, and the CPU's is as ever."""
    spec = registry.spec("mlp")

    def settings(on):
        return make_settings("mlp", spec.config_type, {"d_hidden": 8, "epochs": 3, "device": on})

    class Killed(BaseException):
        pass

    def kill(report):
        if report.epoch == 2:
            raise Killed

    monkeypatch.setattr(loop, "choose_device", lambda wanted: device.CPU)
    with pytest.raises(Killed):
        train("mlp", dataset, tmp_path / "run", settings("cuda"), registry, seed=3, on_epoch=kill)
    restored = checkpoint._read(tmp_path / "run.partial" / checkpoint.FILE)
    assert restored["epoch"] == 2 and restored["devices"] == ["cpu"]
    original = checkpoint.restore

    def of_cuda(*args):
        state = original(*args)
        state.devices = ["cuda"]
        return state

    monkeypatch.setattr(checkpoint, "restore", of_cuda)
    results = train("mlp", dataset, tmp_path / "run", settings("cpu"), registry, seed=3, resume=True)
    assert results["training"]["devices"] == ["cuda", "cpu"]
    monkeypatch.setattr(checkpoint, "restore", original)
    train("mlp", dataset, tmp_path / "whole", settings("cpu"), registry, seed=3)
    first, second = (torch.load(tmp_path / name / "best_model.pt", weights_only=True) for name in ("run", "whole"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["mlp", "joint"])
def test_an_accelerator_gives_the_same_metrics(name, dataset: Dataset, registry, quick_train, tmp_path):
    """Without dropout, whose numbers each device draws for itself, only rounding differs."""
    results = {}
    for on in ("cpu", "cuda"):
        results[on] = quick_train(name, dataset, tmp_path / on, device=on, **QUICK)
        weights = torch.load(tmp_path / on / "best_model.pt", weights_only=True)
        assert {value.device.type for value in weights.values()} == {"cpu"}
        assert load_run(tmp_path / on, registry).policy_name == name
    assert results["cuda"]["training"]["devices"] == ["cuda"]
    cpu, cuda = (json.loads((tmp_path / on / "history.json").read_text("utf-8")) for on in ("cpu", "cuda"))
    for ours, theirs in zip(cpu, cuda, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
        assert ours["valid_loss"] == pytest.approx(theirs["valid_loss"], rel=1e-3)
        assert ours["valid_exact_match"] == pytest.approx(theirs["valid_exact_match"], abs=0.02)
