"""The first layer against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from planner_core.features import SparseFeatures
from planner_core.torch import (
    BinaryLinear,
    SparseRows,
)
from planner_core.torch.layers import DENSE_WIDTH, narrowed

pytestmark = pytest.mark.usefixtures("one_torch_thread")


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
