"""The first layer of a model on binary features: the same function as a linear layer, for the work of the ones.

A row has about 180 ones among 3779 features, and a whole dataset may never switch most features on. So the layer reads
positions instead of a dense row, and while it is trained it is *narrowed* to the features that occur: weights, gradient
and optimiser state then exist for those alone. Checkpoints always have the full shape of :class:`torch.nn.Linear`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from planner_core.features import SparseFeatures

DENSE_WIDTH = 2048
"""Up to this many features one dense product beats summing rows: its gradient needs no sort and no scatter."""
_WITH_BAGS = ("cpu", "cuda")
"""Devices on which every version of torch sums bags of rows and their gradients; on others the product is dense."""

_AT_ONCE = 1 << 20


class SparseRows(NamedTuple):
    """Binary rows for the layer: positions laid end to end, and where each row begins; both int64."""

    indices: Tensor
    starts: Tensor

    @classmethod
    def of(cls, features: SparseFeatures) -> SparseRows:
        """The torch form of sparse features, on the CPU."""
        indices = np.asarray(features.indices, np.int64)
        return cls(torch.from_numpy(indices), torch.from_numpy(features.starts[:-1].astype(np.int64)))

    def to(self, device: torch.device | str) -> SparseRows:
        """The same on a device."""
        return SparseRows(self.indices.to(device), self.starts.to(device))

    def row_of_index(self) -> Tensor:
        """The row that each of ``indices`` belongs to, int64 of the same length."""
        device, count = self.indices.device, len(self.indices)
        ends = torch.cat([self.starts[1:], torch.tensor([count], device=device)])
        rows = torch.arange(len(self.starts), device=device)
        # Its length is known: an accelerator need not be waited for to tell it.
        return torch.repeat_interleave(rows, ends - self.starts, output_size=count)

    def scattered(self, positions: Tensor, width: int) -> Tensor:
        """Dense float32 [n, width] with ones at ``positions``, given for each of ``indices``."""
        n = len(self.starts)
        dense = torch.zeros(n * width, device=self.indices.device)
        dense[self.row_of_index() * width + positions] = 1.0
        return dense.view(n, width)


class BinaryLinear(nn.Module):
    """``x @ W + b`` for x dense float32 [n, d_in], or given as :class:`SparseRows`; returns float32 [n, d_out]."""

    def __init__(self, d_in: int, d_out: int) -> None:
        super().__init__()
        self.d_in, self.d_out = d_in, d_out
        bound = 1.0 / math.sqrt(d_in)
        # torch.nn.Linear's initialisation, drawn in its shape so that both start from the same numbers.
        self.weight = nn.Parameter(torch.empty(d_out, d_in).uniform_(-bound, bound).t().contiguous())
        self.bias = nn.Parameter(torch.empty(d_out).uniform_(-bound, bound))
        self._active: Tensor | None = None
        self._position: Tensor | None = None

    @property
    def narrowed(self) -> bool:
        """Whether the layer currently holds the weights of some features only."""
        return self._active is not None

    def narrow(self, active: Tensor) -> None:
        """Keep the weights of ``active`` int64 [a], ascending, alone; those of all other features become 0.

        A feature that no training example has gets no gradient: its random initial weight would stay, and speak up
        where the feature is first met. Zero says nothing, which is what was learnt about it.
        """
        device = self.weight.device
        self._active = active.to(device)
        self._position = torch.full((self.d_in,), len(active), device=device)
        self._position[self._active] = torch.arange(len(active), device=device)
        self.weight = nn.Parameter(self.weight.detach()[self._active].clone())

    def widen(self) -> None:
        """Back to all features."""
        self.weight = nn.Parameter(self._full(self.weight.detach()))
        self._active = self._position = None

    def _full(self, weight: Tensor) -> Tensor:
        """``weight`` as [d_in, d_out], whatever features the layer currently holds."""
        if self._active is None:
            return weight
        return torch.zeros(self.d_in, self.d_out, device=weight.device).index_copy(0, self._active, weight)

    def forward(self, x: Tensor | SparseRows) -> Tensor:
        """Apply the layer."""
        if not isinstance(x, SparseRows):
            return torch.addmm(self.bias, x, self._full(self.weight))
        bags = x.indices.device.type in _WITH_BAGS
        if self._position is None and bags:
            return functional.embedding_bag(x.indices, self.weight, x.starts, mode="sum") + self.bias
        # Features outside the narrowed set fall on one position past the end, which is then cut off or skipped.
        positions = x.indices if self._position is None else self._position[x.indices]
        width = len(self.weight)
        if width <= DENSE_WIDTH or not bags:
            return torch.addmm(self.bias, x.scattered(positions, width + 1)[:, :width], self.weight)
        padded = functional.pad(self.weight, (0, 0, 0, 1))
        return functional.embedding_bag(positions, padded, x.starts, mode="sum", padding_idx=width) + self.bias

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self._full(self.weight.detach()).t().contiguous()
        destination[prefix + "bias"] = self.bias if keep_vars else self.bias.detach()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        key = prefix + "weight"
        if key in state_dict:
            weight = state_dict[key].t()
            weight = weight if self._active is None else weight[self._active.to(weight.device)]
            state_dict = {**state_dict, key: weight.contiguous()}
        super()._load_from_state_dict(state_dict, prefix, *args)


@contextmanager
def narrowed(module: nn.Module, features: SparseFeatures) -> Iterator[None]:
    """Train the :class:`BinaryLinear` layers of ``module`` on the features that occur in ``features`` alone."""
    occurs = np.zeros(features.d_in, bool)
    for begin in range(0, len(features.indices), _AT_ONCE):  # an index array is eight bytes an entry, wherever it is
        occurs[features.indices[begin : begin + _AT_ONCE]] = True
    active = torch.from_numpy(np.flatnonzero(occurs))
    layers = [layer for layer in module.modules() if isinstance(layer, BinaryLinear)]
    for layer in layers:
        layer.narrow(active)
    try:
        yield
    finally:
        for layer in layers:
            layer.widen()


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
