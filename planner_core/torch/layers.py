"""The first layer of a model on binary features: a linear map that reads positions instead of zeros.

A row has about 160 ones among 3779 features, so summing 160 rows of the weight matrix does the work of the whole
matrix product. The function, its gradient and its checkpoint are those of :class:`torch.nn.Linear`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from planner_core.policy import SparseFeatures


class SparseRows(NamedTuple):
    """Binary rows for the layer: positions laid end to end, and where each row begins; both int64."""

    indices: Tensor
    starts: Tensor

    @classmethod
    def of(cls, features: SparseFeatures) -> SparseRows:
        """The torch form of sparse features."""
        return cls(torch.from_numpy(features.indices.astype("int64")), torch.from_numpy(features.starts[:-1].copy()))


class BinaryLinear(nn.Module):
    """``x @ W + b`` for x dense float32 [n, d_in], or given as :class:`SparseRows`; returns float32 [n, d_out].

    The weight is kept as [d_in, d_out], so that a feature's row is contiguous; checkpoints hold it as [d_out, d_in],
    like ``torch.nn.Linear``.
    """

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.d_in, self.d_out = d_in, d_out
        bound = 1.0 / math.sqrt(d_in)
        # torch.nn.Linear's initialisation, drawn in its shape so that both start from the same numbers.
        self.weight = nn.Parameter(torch.empty(d_out, d_in).uniform_(-bound, bound).t().contiguous())
        self.bias = nn.Parameter(torch.empty(d_out).uniform_(-bound, bound))

    def forward(self, x: Tensor | SparseRows) -> Tensor:
        """Apply the layer."""
        if isinstance(x, SparseRows):
            return functional.embedding_bag(x.indices, self.weight, x.starts, mode="sum") + self.bias
        return torch.addmm(self.bias, x, self.weight)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.weight.detach().t().contiguous()
        destination[prefix + "bias"] = self.bias if keep_vars else self.bias.detach()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        key = prefix + "weight"
        if key in state_dict:
            state_dict = {**state_dict, key: state_dict[key].t().contiguous()}
        super()._load_from_state_dict(state_dict, prefix, *args)


def mlp_trunk(d_in: int, d_hidden: int, n_layers: int, dropout: float) -> tuple[nn.Sequential, int]:
    """Linear-LayerNorm-ReLU-Dropout blocks of widths d_hidden, d_hidden / 2, ...; returns the trunk and its width."""
    widths = [d_hidden >> i for i in range(n_layers)]
    if n_layers < 1 or widths[-1] < 1:
        raise ValueError(f"d_hidden {d_hidden} cannot be halved {n_layers - 1} times")
    blocks: list[nn.Module] = []
    for i, width in enumerate(widths):
        linear = BinaryLinear(d_in, width) if i == 0 else nn.Linear(widths[i - 1], width)
        blocks += [linear, nn.LayerNorm(width), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*blocks), widths[-1]
