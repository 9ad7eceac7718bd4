"""The losses and the objectives of the loop against their definition in float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loss_definition import SPACE, expected_rows
from torch import nn

from planner_core import HEADS
from planner_core.harness.training_config import HeadWeights, TrainingConfig
from planner_core.torch import PlannerLoss
from planner_core.torch.loss import masked_cross_entropy
from planner_core.torch.objective import Rows, make_loss
from planner_core.utility import utilities, weight_table

pytestmark = pytest.mark.usefixtures("one_torch_thread")

SIZES = dict(zip(HEADS, (2, 4, 6, 5), strict=True))


def random_case(seed, n=9, classes=5):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, classes)).astype(np.float32)
    mask = rng.random((n, classes)) < 0.6
    labels = rng.integers(0, classes, n)
    mask[np.arange(n), labels] = True
    mask[0] = np.arange(classes) == labels[0]  # always one row with a single valid class
    return logits, labels, mask


# -- masked cross-entropy


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.booleans())
def test_cross_entropy_is_its_definition(seed, smoothing, masked):
    logits, labels, mask = random_case(seed)
    given_mask = torch.from_numpy(mask) if masked else None
    got = masked_cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels), given_mask, smoothing)
    assert got.numpy() == pytest.approx(expected_rows(logits, labels, mask if masked else None, smoothing), abs=1e-5)


@given(st.integers(0, 10_000), st.sampled_from([0.5, 1.0, 2.0]))
def test_focal_modulation_is_its_definition(seed, gamma):
    logits, labels, mask = random_case(seed)
    got = masked_cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(mask), 0.1, gamma)
    assert got.numpy() == pytest.approx(expected_rows(logits, labels, mask, 0.1, gamma), abs=1e-5)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1]), st.sampled_from([0.0, 2.0]))
def test_masked_classes_have_no_gradient_and_nothing_is_nan(seed, smoothing, gamma):
    logits, labels, mask = random_case(seed)
    z = torch.from_numpy(logits).requires_grad_()
    loss = masked_cross_entropy(z, torch.from_numpy(labels), torch.from_numpy(mask), smoothing, gamma).mean()
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(z.grad).all()
    assert (z.grad[torch.from_numpy(~mask)] == 0.0).all()
    assert (z.grad[0] == 0.0).all()  # where there is no choice there is nothing to learn
    assert z.grad[torch.from_numpy(mask)].abs().max() > 0


def test_gradient_is_probability_minus_target():
    logits, labels, mask = random_case(3)
    z = torch.from_numpy(logits.astype(np.float64)).requires_grad_()
    masked_cross_entropy(z, torch.from_numpy(labels), torch.from_numpy(mask), 0.2).sum().backward()
    weights = np.where(mask, np.exp(logits.astype(np.float64)), 0.0)
    target = 0.8 * (np.arange(5) == labels[:, None]) + 0.2 * mask / mask.sum(axis=1, keepdims=True)
    assert z.grad.numpy() == pytest.approx(weights / weights.sum(axis=1, keepdims=True) - target, abs=1e-9)


def test_without_mask_and_smoothing_it_is_torchs_own():
    logits, labels, _ = random_case(4)
    z, y = torch.from_numpy(logits), torch.from_numpy(labels)
    assert torch.allclose(masked_cross_entropy(z, y).mean(), nn.functional.cross_entropy(z, y))
    smooth = nn.functional.cross_entropy(z, y, label_smoothing=0.1)
    assert torch.allclose(masked_cross_entropy(z, y, None, 0.1).mean(), smooth)


# -- PlannerLoss


def heads_case(seed, n=8):
    """Logits, labels and masks of all heads under random job types."""
    rng = np.random.default_rng(seed)
    jobs = rng.integers(0, 4, n)
    action = np.array([rng.choice(np.flatnonzero(SPACE.joint_masks[job])) for job in jobs])
    labels = dict(zip(HEADS, SPACE.head_index[action].T, strict=True))
    logits = {name: rng.normal(0, 3, (n, size)).astype(np.float32) for name, size in SIZES.items()}
    masks = {name: SPACE.head_masks[name][jobs] for name in HEADS}
    return logits, labels, masks


def tensors(arrays):
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1]), st.booleans())
def test_planner_loss_is_the_weighted_sum_of_head_means(seed, smoothing, masked):
    logits, labels, masks = heads_case(seed)
    weights = {"minutes": 2.5, "swarm": 0.0}
    got = PlannerLoss(weights, smoothing)(tensors(logits), tensors(labels), tensors(masks) if masked else None)
    expected = sum(
        {"swarm": 0.0, "candidates": 1.0, "minutes": 2.5, "iterations": 1.0}[name]
        * expected_rows(logits[name], labels[name], masks[name] if masked else None, smoothing).mean()
        for name in HEADS
    )
    assert got.shape == () and float(got) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_planner_loss_by_default():
    logits, labels, _ = heads_case(1)
    expected = sum(expected_rows(logits[name], labels[name]).mean() for name in HEADS)
    assert float(PlannerLoss()(tensors(logits), tensors(labels))) == pytest.approx(expected, rel=1e-5)
    assert PlannerLoss().head_weights == dict.fromkeys(HEADS, 1.0)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 2.0])
def test_smoothing_that_is_none(smoothing):
    with pytest.raises(ValueError, match="label_smoothing"):
        PlannerLoss(label_smoothing=smoothing)


def test_class_weights_weigh_rows_and_their_sum():
    logits, labels, masks = heads_case(2)
    weights = {"minutes": np.linspace(0.5, 3.0, 6).astype(np.float32)}
    got = PlannerLoss(class_weights=tensors(weights))(tensors(logits), tensors(labels), tensors(masks))
    expected = 0.0
    for name in HEADS:
        rows = expected_rows(logits[name], labels[name], masks[name])
        each = weights[name][labels[name]] if name in weights else np.ones(len(rows))
        expected += (rows * each).sum() / each.sum()
    assert float(got) == pytest.approx(expected, rel=1e-5)


# -- the objectives of the loop


def rows_of(examples, with_utility=False):
    utility = None
    if with_utility:
        o = examples.outcomes
        utility = torch.from_numpy(utilities(o.passed, o.minutes, o.cost_usd, examples.priority, weight_table()))
    return Rows(*(torch.from_numpy(np.array(getattr(examples, n))) for n in ("labels", "action", "job_type")), utility)


@pytest.mark.parametrize("kind", ["heads", "joint"])
def test_label_loss_masks_by_job_type(kind, dataset):
    examples = dataset.split("val")
    rng = np.random.default_rng(0)
    sizes = SIZES if kind == "heads" else {"joint": 150}
    scores = {name: rng.normal(0, 2, (len(examples), size)).astype(np.float32) for name, size in sizes.items()}
    config = TrainingConfig(label_smoothing=0.1, head_weights=HeadWeights(swarm=3.0))
    got = float(make_loss("label", config, SPACE, examples)(tensors(scores), rows_of(examples)))
    if kind == "joint":
        expected = expected_rows(scores["joint"], examples.action, SPACE.joint_masks[examples.job_type], 0.1).mean()
    else:
        expected = sum(
            (3.0 if name == "swarm" else 1.0)
            * expected_rows(scores[name], examples.labels[:, i], SPACE.head_masks[name][examples.job_type], 0.1).mean()
            for i, name in enumerate(HEADS)
        )
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("weighting", "power"), [("sqrt", 0.5), ("balanced", 1.0)])
def test_class_weighting_by_training_frequency(weighting, power, dataset):
    train = dataset.split("train")
    scores = {"joint": np.random.default_rng(1).normal(0, 2, (len(train), 150)).astype(np.float32)}
    config = TrainingConfig(class_weighting=weighting, label_smoothing=0.0)
    got = float(make_loss("label", config, SPACE, train)(tensors(scores), rows_of(train)))
    counts = np.bincount(train.action, minlength=150)
    each = 1.0 / counts[train.action] ** power
    rows = expected_rows(scores["joint"], train.action, SPACE.joint_masks[train.job_type])
    assert got == pytest.approx((rows * each).sum() / each.sum(), rel=1e-4)


def test_utility_loss_is_least_at_the_softmax_of_utility(dataset):
    """-(E[U] + tau H) / tau has its minimum, -log sum exp(U / tau), at p = softmax(U / tau)."""
    examples, tau = dataset.split("val"), 0.3
    rows = rows_of(examples, with_utility=True)
    config = TrainingConfig(objective="utility", utility_temperature=tau)
    loss = make_loss("utility", config, SPACE, examples)
    mask = SPACE.joint_masks[examples.job_type]
    best = torch.nan_to_num(rows.utility) / tau
    least = -np.mean([np.log(np.exp(u[m] / tau).sum()) for u, m in zip(rows.utility.numpy(), mask, strict=True)])
    assert float(loss({"joint": best}, rows)) == pytest.approx(least, rel=1e-5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        other = best + 0.3 * torch.randn(best.shape, generator=generator)
        assert float(loss({"joint": other}, rows)) > least


def test_utility_loss_leaves_out_rows_without_outcomes(dataset):
    examples = dataset.split("val").take(np.arange(4))
    rows = rows_of(examples, with_utility=True)
    loss = make_loss("utility", TrainingConfig(), SPACE, examples)
    scores = torch.randn(4, 150, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    three = rows._replace(utility=rows.utility.clone())
    three.utility[2] = float("nan")
    z = scores.clone().requires_grad_()
    total = loss({"joint": z}, three)
    total.backward()
    assert (z.grad[2] == 0).all() and torch.isfinite(z.grad).all()
    kept = [0, 1, 3]
    alone = Rows(*(part[kept] for part in rows))
    assert total.item() == pytest.approx(float(loss({"joint": scores[kept]}, alone)))
    z.grad = None
    all_unknown = rows._replace(utility=torch.full_like(rows.utility, float("nan")))
    loss({"joint": z}, all_unknown).backward()
    assert (z.grad == 0).all()
