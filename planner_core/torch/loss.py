"""Cross-entropy under validity masks, with label smoothing that stays inside the valid classes.

For valid set V of a row and smoothing e, the target is (1 - e) on the label plus e / |V| on every class of V, and
loss = -sum_V target x log softmax_V(logits). Masked classes get probability 0 and no gradient. Focal modulation (Lin et
al., ICCV 2017) multiplies a row's loss by (1 - p_label)^gamma; class weights multiply it by the weight of its label.
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
    logits: Tensor,
    labels: Tensor,
    mask: Tensor | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 0.0,
) -> Tensor:
    """Loss of each row, [n], for logits [n, classes] and labels int64 [n]; the label must be a valid class."""
    log_probs = masked_log_softmax(logits, mask)
    of_label = log_probs.gather(1, labels[:, None])[:, 0]
    loss = -of_label
    if label_smoothing > 0.0:
        if mask is None:
            spread = -log_probs.mean(dim=-1)
        else:
            # The masked -inf must be replaced before summing: 0 x -inf is NaN, in the loss and in its gradient.
            spread = -log_probs.masked_fill(~mask, 0.0).sum(dim=-1) / mask.sum(dim=-1)
        loss = (1.0 - label_smoothing) * loss + label_smoothing * spread
    if focal_gamma > 0.0:
        # expm1 keeps 1 - p exact where p is nearly 1; the clamp keeps the power's gradient finite at 0.
        loss = loss * (-torch.expm1(of_label)).clamp(min=1e-8) ** focal_gamma
    return loss


def weighted_mean(rows: Tensor, weights: Tensor | None) -> Tensor:
    """Mean of ``rows`` [n], weighted by ``weights`` [n] where given."""
    return rows.mean() if weights is None else (rows * weights).sum() / weights.sum()


class PlannerLoss(nn.Module):
    """Weighted sum over the heads of their mean masked cross-entropy.

    ``class_weights`` {head: float [classes]} and ``focal_gamma`` are off by default.
    """

    def __init__(
        self,
        head_weights: Mapping[str, float] | None = None,
        label_smoothing: float = 0.0,
        *,
        class_weights: Mapping[str, Tensor] | None = None,
        focal_gamma: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {label_smoothing}")
        self.head_weights = {**dict.fromkeys(HEADS, 1.0), **(head_weights or {})}
        self.label_smoothing, self.focal_gamma = label_smoothing, focal_gamma
        self.class_weights = dict(class_weights or {})

    def forward(
        self, logits: Mapping[str, Tensor], labels: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Scalar loss of ``logits`` {head: [n, classes]}, ``labels`` {head: int64 [n]}, ``masks`` {head: bool}."""
        total = torch.zeros((), device=next(iter(logits.values())).device)
        for name, head in logits.items():
            mask = masks.get(name) if masks is not None else None
            rows = masked_cross_entropy(head, labels[name], mask, self.label_smoothing, self.focal_gamma)
            weights = self.class_weights.get(name)
            picked = None if weights is None else weights[labels[name]]
            total = total + self.head_weights[name] * weighted_mean(rows, picked)
        return total
