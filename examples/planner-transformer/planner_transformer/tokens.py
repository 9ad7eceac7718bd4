"""From features to tokens: one for the issue, one for each earlier run, one for each block of the surroundings.

A token is the sum of the vectors of its features that are on. Runs share their vectors: what is learnt of a failed gate
in the latest run holds for the one before.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from planner_core import EncoderConfig
from planner_core.torch import SparseRows

BLOCKS = ("issue", "history", "action_space", "universe_defaults", "system_state")


class Tokens(nn.Module):
    """Dense float32 [n, d_in] or :class:`SparseRows` -> tokens float32 [n, count, width], present bool [n, count].

    The order is issue, runs (most recent first), action space, universe defaults, system state. An empty history slot
    is absent; the other tokens always count.
    """

    def __init__(self, encoder: EncoderConfig, width: int) -> None:
        super().__init__()
        slots, d_run = encoder.history_slots, encoder.d_run
        at = {name: encoder.group(name).start for name in BLOCKS}
        self.slots, self.d_run, self.width = slots, d_run, width
        bounds = [0, *(at["history"] + i * d_run for i in range(slots))]
        bounds += [at["action_space"], at["universe_defaults"], at["system_state"], encoder.d_in]
        self.bounds, self.count = bounds, len(bounds) - 1
        # Zero says nothing, and so does a feature that training never showed: it gets no gradient and stays zero.
        self.issue = nn.Parameter(torch.zeros(at["history"], width))
        self.run = nn.Parameter(torch.zeros(d_run, width))
        self.rest = nn.Parameter(torch.zeros(encoder.d_in - at["action_space"], width))
        self.kind = nn.Parameter(torch.randn(self.count, width) * 0.3)

        features = np.arange(encoder.d_in)
        in_runs = (features >= at["history"]) & (features < at["action_space"])
        after = features - at["action_space"] + at["history"] + d_run
        rows = np.where(in_runs, at["history"] + (features - at["history"]) % d_run, features)
        rows = np.where(features >= at["action_space"], after, rows)
        # A run's last feature says that its slot is filled.
        filled = in_runs & ((features - at["history"]) % d_run == d_run - 1)
        self._constant("vector_of", rows)
        self._constant("token_of", np.searchsorted(bounds, features, side="right") - 1)
        self._constant("is_filled", filled.astype(np.float32))
        self._constant("optional", (np.arange(self.count) >= 1) & (np.arange(self.count) <= slots))

    def _constant(self, name: str, values: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def forward(self, x: Tensor | SparseRows) -> tuple[Tensor, Tensor]:
        """Tokens and which of them are present."""
        sums, filled = self._sparse(x) if isinstance(x, SparseRows) else self._dense(x)
        return sums + self.kind, filled | ~self.optional

    def _sparse(self, x: SparseRows) -> tuple[Tensor, Tensor]:
        """By adding up vectors: about 180 of them a row, where the dense product has thousands of zeros."""
        n = len(x.starts)
        # Features ascend within a row, so those of one token lie together: each token is a bag.
        bag = x.row_of_index() * self.count + self.token_of[x.indices]
        sizes = torch.bincount(bag, minlength=n * self.count)
        vectors = torch.cat([self.issue, self.run, self.rest])
        places = self.vector_of[x.indices]
        if vectors.device.type in ("cpu", "cuda"):
            sums = functional.embedding_bag(places, vectors, sizes.cumsum(0) - sizes, mode="sum")
        else:  # not every version of torch sums bags on other devices
            sums = vectors.new_zeros(n * self.count, self.width).index_add(0, bag, vectors[places])
        filled = torch.bincount(bag, self.is_filled[x.indices], minlength=n * self.count) > 0
        return sums.view(n, self.count, self.width), filled.view(n, self.count)

    def _dense(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """By products with blocks of the row; the form that is exported."""
        first, last = self.bounds[1], self.bounds[self.slots + 1]
        parts = [(x[:, :first] @ self.issue).unsqueeze(1)]
        filled = [torch.zeros_like(x[:, :1])]
        if self.slots:
            runs = x[:, first:last].reshape(-1, self.slots, self.d_run)
            parts.append(runs @ self.run)
            filled.append(runs[:, :, -1])
        for begin, end in zip(self.bounds[self.slots + 1 : -1], self.bounds[self.slots + 2 :], strict=True):
            parts.append((x[:, begin:end] @ self.rest[begin - last : end - last]).unsqueeze(1))
            filled.append(torch.zeros_like(x[:, :1]))
        return torch.cat(parts, 1), torch.cat(filled, 1) > 0
