"""The losses against float64 NumPy, the first layer against torch's, the plain dense path against the harness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader

from planner_core import HEADS, ActionEncoder, ActionSpace, DataError, PlannerInputEncoder, decide
from planner_core.decision import temperatures_for
from planner_core.features import SparseFeatures
from planner_core.harness.metrics import evaluate_decision
from planner_core.harness.training_config import HeadWeights, TrainingConfig
from planner_core.torch import (
    BinaryLinear,
    PlannerDataset,
    PlannerLoss,
    SparseRows,
    collate,
    evaluate_model,
    train_epoch,
)
from planner_core.torch.layers import DENSE_WIDTH, narrowed
from planner_core.torch.loop import fit_module, score
from planner_core.torch.loss import masked_cross_entropy
from planner_core.torch.objective import Rows, make_loss
from planner_core.training import TrainingSession
from planner_core.utility import utilities, weight_table
from planner_mlp import MLPPolicy

SPACE = ActionSpace()
SIZES = dict(zip(HEADS, (2, 4, 6, 5), strict=True))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These are small matrices: on a busy machine a second thread costs more than it brings."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def expected_rows(logits, labels, mask=None, smoothing=0.0, gamma=0.0):
    """The definition, row by row: target (1 - e) on the label plus e / |V| on every valid class."""
    out = []
    for row, (z, label) in enumerate(zip(logits.astype(np.float64), labels, strict=True)):
        valid = [k for k in range(len(z)) if mask is None or mask[row, k]]
        top = max(z[k] for k in valid)
        log_p = {k: z[k] - top - np.log(sum(np.exp(z[j] - top) for j in valid)) for k in valid}
        target = {k: smoothing / len(valid) + (1 - smoothing) * (k == label) for k in valid}
        loss = -sum(target[k] * log_p[k] for k in valid)
        out.append(loss * (1 - np.exp(log_p[label])) ** gamma)
    return np.array(out)


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


# -- the first layer


def random_features(seed, n=6, d_in=30):
    dense = (np.random.default_rng(seed).random((n, d_in)) < 0.2).astype(np.float32)
    dense[2] = 0.0  # a row without a feature
    return dense, SparseFeatures.from_dense(dense)


def layers(seed=0, d_in=30):
    """torch's own layer and ours from the same generator."""
    torch.manual_seed(seed)
    ours = BinaryLinear(d_in, 4)
    plain = nn.Linear(d_in, 4)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize("seed", range(3))
def test_binary_linear_is_linear(seed):
    ours, plain = layers(seed)
    dense, sparse = random_features(seed)
    expected = plain(torch.from_numpy(dense))
    expected.square().sum().backward()
    for x in (torch.from_numpy(dense), SparseRows.of(sparse)):
        ours.zero_grad()
        got = ours(x)
        assert torch.allclose(got, expected, atol=1e-6)
        got.square().sum().backward()
        assert torch.allclose(ours.weight.grad.t(), plain.weight.grad, atol=1e-5)
        assert torch.allclose(ours.bias.grad, plain.bias.grad, atol=1e-5)


def test_binary_linear_starts_in_the_range_of_linear():
    torch.manual_seed(0)
    weight = BinaryLinear(400, 50).state_dict()["weight"]
    assert weight.shape == (50, 400)
    assert 0.99 / 20 < weight.abs().max() <= 1 / 20  # uniform within 1 / sqrt(d_in)


def test_state_dict_round_trip():
    ours, plain = layers()
    state = ours.state_dict()
    assert list(state) == ["weight", "bias"] and state["weight"].shape == (4, 30) and state["weight"].is_contiguous()
    torch.manual_seed(1)
    other = BinaryLinear(30, 4)
    assert not torch.equal(other.weight, ours.weight)
    other.load_state_dict(plain.state_dict())  # a checkpoint of torch's own layer will do
    assert torch.equal(other.weight, ours.weight) and torch.equal(other.bias, ours.bias)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({"bias": state["bias"]})
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict({"weight": torch.zeros(4, 29), "bias": state["bias"]})


@pytest.mark.parametrize("dense_width", [0, DENSE_WIDTH])
def test_narrowed_layer_is_the_same_function(dense_width, monkeypatch):
    """Both ways of computing it; on the features it was narrowed to nothing changes, the others count as nothing."""
    monkeypatch.setattr("planner_core.torch.layers.DENSE_WIDTH", dense_width)
    ours, plain = layers()
    dense, sparse = random_features(5)
    seen = dense.any(axis=0)
    assert 0 < seen.sum() < 30
    new_dense, new = random_features(6)
    assert (new_dense.any(axis=0) & ~seen).any()  # features that training never saw
    with torch.no_grad():
        plain.weight[:, torch.from_numpy(~seen)] = 0.0
    with narrowed(ours, sparse):
        assert ours.narrowed and ours.weight.shape == (seen.sum(), 4)
        for rows, x in ((dense, sparse), (new_dense, new)):
            assert torch.allclose(ours(SparseRows.of(x)), plain(torch.from_numpy(rows)), atol=1e-6)
            assert torch.allclose(ours(torch.from_numpy(rows)), plain(torch.from_numpy(rows)), atol=1e-6)
        assert ours.state_dict()["weight"].shape == (4, 30)  # a checkpoint has the full shape even now
        ours(SparseRows.of(sparse)).square().sum().backward()
        narrow_gradient = ours.weight.grad.clone()
    assert not ours.narrowed and ours.weight.shape == (30, 4)
    plain(torch.from_numpy(dense)).square().sum().backward()
    assert torch.allclose(narrow_gradient.t(), plain.weight.grad[:, torch.from_numpy(seen)], atol=1e-5)
    assert torch.equal(ours.state_dict()["weight"], plain.state_dict()["weight"])


def test_narrowed_layer_loads_a_full_checkpoint():
    ours, plain = layers()
    _, sparse = random_features(5)
    with narrowed(ours, sparse):
        ours.load_state_dict({name: value + 1.0 for name, value in plain.state_dict().items()})
    seen = np.unique(sparse.indices)
    assert torch.allclose(ours.weight[seen].t(), plain.weight[:, seen] + 1.0)


# -- the plain dense path


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
