"""Cross-entropy under validity masks, with label smoothing that stays inside the valid classes.

For valid set V of a row and smoothing e, the target is (1 - e) on the label plus e / |V| on every class of V, and
loss = -sum_V target x log softmax_V(logits). Masked classes get probability 0 and no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from planner_core.action_space import HEADS


def masked_log_softmax(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Log-softmax over the True entries of each row of ``mask`` bool [n, classes]; -inf elsewhere."""
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    return torch.log_softmax(logits, dim=-1)


def masked_cross_entropy(
    logits: Tensor, labels: Tensor, mask: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Loss of each row, [n], for logits [n, classes] and labels int64 [n]; the label must be a valid class."""
    log_probs = masked_log_softmax(logits, mask)
    loss = -log_probs.gather(1, labels[:, None])[:, 0]
    if label_smoothing == 0.0:
        return loss
    if mask is None:
        spread = -log_probs.mean(dim=-1)
    else:
        # The masked -inf must be replaced before summing: 0 x -inf is NaN, in the loss and in its gradient.
        spread = -log_probs.masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1)
    return (1.0 - label_smoothing) * loss + label_smoothing * spread


class PlannerLoss(nn.Module):
    """Weighted sum over the heads of their mean masked cross-entropy."""

    def __init__(self, head_weights: Mapping[str, float] | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {label_smoothing}")
        self.head_weights = {**dict.fromkeys(HEADS, 1.0), **(head_weights or {})}
        self.label_smoothing = label_smoothing

    def forward(
        self, logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Scalar loss of ``logits`` {head: [n, classes]}, ``labels`` {head: int64 [n]}, ``masks`` {head: bool}."""
        total = torch.zeros((), device=next(iter(logits.values())).device)
        for name, head in logits.items():
            mask = masks.get(name) if masks is not None else None
            rows = masked_cross_entropy(head, labels[name], mask, self.label_smoothing)
            total = total + self.head_weights[name] * rows.mean()
        return total
