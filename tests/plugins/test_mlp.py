"""The ``mlp`` policy: its shape. What it shares with ``joint`` is in test_training.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import planner_mlp
from planner_core import HEADS, ActionSpace, EncoderConfig, PolicyContext
from planner_core.torch import BinaryLinear, SparseRows, TorchPolicy
from planner_mlp import MLPConfig, MLPPolicy


def widths(module):
    return [layer.bias.numel() for layer in module.trunk if isinstance(layer, nn.Linear | BinaryLinear)]


def test_output_shapes():
    module = MLPPolicy()
    outputs = module(torch.zeros(7, 3779))
    assert {name: tuple(values.shape) for name, values in outputs.items()} == {
        "swarm": (7, 2),
        "candidates": (7, 4),
        "minutes": (7, 6),
        "iterations": (7, 5),
    }
    assert tuple(outputs) == HEADS


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [512, 256, 128]),
        ({"n_layers": 1}, [512]),
        ({"d_hidden": 64, "n_layers": 4}, [64, 32, 16, 8]),
        ({"d_hidden": 1024, "n_layers": 2}, [1024, 512]),
    ],
)
def test_widths_halve(options, expected):
    assert widths(MLPPolicy(**options)) == expected


def test_block_order_and_dropout():
    blocks = list(MLPPolicy(d_hidden=16, dropout=0.25).trunk)
    kinds = [BinaryLinear, nn.LayerNorm, nn.ReLU, nn.Dropout]
    assert [type(layer) for layer in blocks[:4]] == kinds
    assert [type(layer) for layer in blocks[4:]] == [nn.Linear, *kinds[1:]] * 2
    assert {layer.p for layer in blocks if isinstance(layer, nn.Dropout)} == {0.25}


def test_heads_follow_the_action_space():
    space = ActionSpace(swarm_ids=("a", "b", "c"), max_minutes_bins=(15, 30))
    outputs = MLPPolicy(d_in=10, action_space=space, d_hidden=8)(torch.zeros(1, 10))
    assert [outputs[name].shape[1] for name in HEADS] == [3, 4, 2, 5]


def test_state_dict_looks_like_that_of_a_plain_linear():
    """So that a checkpoint can be read without this package."""
    state = MLPPolicy(d_in=20, d_hidden=8).state_dict()
    assert state["trunk.0.weight"].shape == (8, 20)
    assert state["heads.minutes.weight"].shape == (6, 2)


def test_policy_follows_its_configuration_and_context():
    context = PolicyContext(EncoderConfig(history_slots=0))
    policy = planner_mlp.policy.MLP(MLPConfig(d_hidden=16, n_layers=2, dropout=0.3), context)
    assert isinstance(policy, TorchPolicy) and policy.score_kind == "heads"
    assert widths(policy.module) == [16, 8]
    assert policy.module.trunk[0].d_in == 3779 - 8 * 332
    assert policy.module.trunk[3].p == 0.3


def test_sparse_and_dense_features_score_alike():
    module = MLPPolicy(d_in=6, d_hidden=8).eval()
    rows = SparseRows(torch.tensor([0, 5, 2]), torch.tensor([0, 2, 2]))  # {0, 5}, {}, {2}
    dense = torch.tensor([[1.0, 0, 0, 0, 0, 1], [0] * 6, [0, 0, 1, 0, 0, 0]])
    for name, values in module(rows).items():
        assert torch.allclose(values, module(dense)[name], atol=1e-6)


@pytest.mark.parametrize(("d_hidden", "n_layers"), [(2, 3), (512, 0)])
def test_widths_that_cannot_be(d_hidden, n_layers):
    with pytest.raises(ValueError, match="cannot be halved"):
        MLPPolicy(d_hidden=d_hidden, n_layers=n_layers)


def test_names_that_need_torch_resolve_late():
    assert planner_mlp.MLPPolicy is MLPPolicy
    with pytest.raises(AttributeError, match="NoSuchThing"):
        _ = planner_mlp.NoSuchThing
