"""The plain dense path of the torch kit against the harness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from loss_definition import SPACE, expected_rows
from torch.utils.data import DataLoader

from planner_core import HEADS, ActionEncoder, DataError, PlannerInputEncoder, decide
from planner_core.decision import temperatures_for
from planner_core.harness.metrics import evaluate_decision
from planner_core.harness.training_config import TrainingConfig
from planner_core.torch import (
    PlannerDataset,
    PlannerLoss,
    collate,
    evaluate_model,
    train_epoch,
)
from planner_core.torch.loop import fit_module, score
from planner_core.training import TrainingSession
from planner_mlp import MLPPolicy

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture
def examples(world_lines):
    lines = world_lines(60)
    for i, line in enumerate(lines):
        line["split"] = "val" if i >= 48 else "train"
    return lines


def module(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return MLPPolicy(d_hidden=16, dropout=dropout)


def plain_dataset(lines, split="train"):
    return PlannerDataset(lines, PlannerInputEncoder(), ActionEncoder(), split=split)


def test_planner_dataset_items(examples):
    data = plain_dataset(examples)
    assert len(data) == 48 and len(plain_dataset(examples, "val")) == 12 and len(plain_dataset(examples, "test")) == 0
    for row in (0, 17, 47):
        item, line = data[row], examples[row]
        assert set(item) == {"features", "labels", "job_type"}
        assert item["features"].dtype == torch.float32 and item["features"].shape == (3779,)
        assert np.array_equal(item["features"].numpy(), PlannerInputEncoder().encode(line["planner_input"]))
        expected = list(ActionEncoder().encode_label(line["label_action"]))
        assert [int(item["labels"][name]) for name in HEADS] == expected
        assert item["labels"]["swarm"].dtype == torch.int64 and item["labels"]["swarm"].shape == ()
        assert item["job_type"] == line["planner_input"]["job_type"]


def test_planner_dataset_validates(examples):
    examples[5]["planner_input"]["issue"]["dk_risk"] = "severe"
    with pytest.raises(DataError, match="dk_risk"):
        plain_dataset(examples)


def test_planner_dataset_refuses_a_label_its_mask_forbids(examples):
    row = next(i for i, line in enumerate(examples[:48]) if line["planner_input"]["job_type"] == "code")
    examples[row]["label_action"]["budgets"]["max_iterations_bin"] = 2
    with pytest.raises(DataError):
        plain_dataset(examples)[row]


def test_collate_adds_the_masks(examples):
    batch = next(iter(DataLoader(plain_dataset(examples), batch_size=8, collate_fn=collate)))
    assert batch["features"].shape == (8, 3779) and batch["labels"]["minutes"].shape == (8,)
    for name in HEADS:
        for row, job in enumerate(batch["job_type"]):
            expected = SPACE.head_masks[name][("code", "fab-world", "fab-asset", "other").index(job)]
            assert batch["masks"][name][row].tolist() == expected.tolist()


class PlainStep(torch.optim.Optimizer):
    """Counts steps and leaves the weights alone, so that the loss of an epoch is that of fixed weights."""

    def __init__(self, parameters):
        super().__init__(parameters, {})
        self.steps = 0

    def step(self):
        self.steps += 1


def test_train_epoch_gives_the_mean_loss(examples):
    model, data = module(), plain_dataset(examples)
    optimiser = PlainStep(model.parameters())
    loader = DataLoader(data, batch_size=12, collate_fn=collate)
    got = train_epoch(model, loader, optimiser, PlannerLoss(label_smoothing=0.1), "cpu")
    assert optimiser.steps == 4
    expected = []
    for batch in loader:
        logits = {name: values.detach().numpy() for name, values in model(batch["features"]).items()}
        expected.append(
            sum(
                expected_rows(logits[n], batch["labels"][n].numpy(), batch["masks"][n].numpy(), 0.1).mean()
                for n in HEADS
            )
        )
    assert got == pytest.approx(np.mean(expected), rel=1e-5)


def test_train_epoch_without_masks(examples):
    """torch's own collation has no masks; the loss is then over all classes, and larger."""
    losses = []
    for collation in (collate, None):
        model = module()
        loader = DataLoader(plain_dataset(examples), batch_size=12, collate_fn=collation)
        losses.append(train_epoch(model, loader, PlainStep(model.parameters()), PlannerLoss(), torch.device("cpu")))
    assert losses[1] > losses[0] + 0.1


def test_train_epoch_learns(examples):
    model = module()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader = DataLoader(plain_dataset(examples), batch_size=12, collate_fn=collate)
    losses = [train_epoch(model, loader, optimiser, PlannerLoss(), "cpu") for _ in range(4)]
    assert losses[-1] < losses[0] - 0.3


def test_empty_loaders(examples):
    model = module()
    loader = DataLoader(plain_dataset(examples, "test"), collate_fn=collate)
    with pytest.raises(ValueError, match="no batch"):
        train_epoch(model, loader, PlainStep(model.parameters()), PlannerLoss(), "cpu")
    with pytest.raises(ValueError, match="no batch"):
        evaluate_model(model, loader, ActionEncoder())


def test_evaluate_model_agrees_with_the_harness(examples, tmp_path, write_lines):
    from planner_core import load_dataset

    model = module().eval()
    loader = DataLoader(plain_dataset(examples, "val"), batch_size=5, collate_fn=collate)
    plain = evaluate_model(model, loader, ActionEncoder())
    valid = load_dataset(write_lines(tmp_path / "d", examples)).split("val")
    decision = decide(score(lambda x, job: model(x), valid.batch()), valid.job_type, temperatures_for("heads"), SPACE)
    fast = evaluate_decision(decision, valid.labels, valid.action, valid.job_type, SPACE)
    for name in plain.__struct_fields__:
        assert getattr(plain, name) == pytest.approx(getattr(fast, name), abs=1e-6), name


def test_one_epoch_is_the_same_on_both_paths(examples, tmp_path, write_lines):
    """One batch of all rows, so that the order cannot matter; no dropout, no weight decay, one optimiser step.

    Features that no example has keep their random weight on the plain path and get none on the fast one; they are set
    to zero before, so that the two start from one model.
    """
    from planner_core import load_dataset

    data = load_dataset(write_lines(tmp_path / "d", examples))
    train = data.split("train")
    start = module()
    unseen = np.setdiff1d(np.arange(3779), train.features.indices)
    with torch.no_grad():
        start.trunk[0].weight[unseen] = 0.0
    fast, plain = module(), module()
    fast.load_state_dict(start.state_dict())
    plain.load_state_dict(start.state_dict())
    config = TrainingConfig(epochs=1, batch_size=48, lr=0.001, dropout=0.0, label_smoothing=0.1, weight_decay=0.0)
    session = TrainingSession(train, data.split("val"), tmp_path)
    report = fit_module(fast, lambda x, job: fast(x), config, session, SPACE, seed=0)
    loader = DataLoader(plain_dataset(examples), batch_size=48, collate_fn=collate)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=0.001, weight_decay=0.0)
    loss = train_epoch(plain, loader, optimiser, PlannerLoss(label_smoothing=0.1), "cpu")
    assert report.history[0].train_loss == pytest.approx(loss, rel=1e-5)
    # Adam's first step is lr x sign(gradient): a gradient that is 0 but for rounding may point either way
    moved = 0
    for name, value in plain.state_dict().items():
        difference = (value - fast.state_dict()[name]).abs()
        assert float((difference > 1e-5).float().mean()) < 0.01, name
        moved += int((value != start.state_dict()[name]).sum())
    assert moved > 1000
    valid_loss = report.history[0].valid_loss
    batch = next(iter(DataLoader(plain_dataset(examples, "val"), batch_size=12, collate_fn=collate)))
    plain.eval()
    with torch.inference_mode():
        again = float(PlannerLoss(label_smoothing=0.1)(plain(batch["features"]), batch["labels"], batch["masks"]))
    assert valid_loss == pytest.approx(again, rel=1e-3)
