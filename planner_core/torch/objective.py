"""What training minimises: imitating the labels, or the negative expected utility of the chosen action.

Utility: for a row with policy p over the valid actions of known outcome and utilities U, the loss is
-(sum_a p(a) U(a) + tau H(p)) / tau. Its minimum is p = softmax(U / tau); without the entropy H the maximiser is a
single action, and gradient descent collapses onto one early (Mnih et al., ICML 2016, use the same regulariser).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from planner_core.action_space import HEADS, ActionSpace
from planner_core.errors import PlannerError
from planner_core.examples import Examples
from planner_core.harness.training_config import TrainingConfig
from planner_core.torch.device import CPU
from planner_core.torch.loss import PlannerLoss, masked_cross_entropy, masked_log_softmax, weighted_mean
from planner_core.training import TrainingSession

_POWER = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}


class Rows(NamedTuple):
    """Labels of some rows as tensors, and their utilities float32 [n, n_joint] where the objective needs them."""

    labels: Tensor
    action: Tensor
    job_type: Tensor
    utility: Tensor | None = None


Loss = Callable[[dict[str, Tensor], Rows], Tensor]
"""Scores and rows to a scalar."""


class RowSource:
    """Hands out :class:`Rows` of a split, on a device."""

    def __init__(
        self, examples: Examples, session: TrainingSession, with_utility: bool, device: torch.device = CPU
    ) -> None:
        self.examples, self.session, self.with_utility, self.device = examples, session, with_utility, device
        self._labels, self._action, self._job = (
            torch.from_numpy(np.array(getattr(examples, name))) for name in ("labels", "action", "job_type")
        )

    def take(self, rows: np.ndarray) -> Rows:
        """The given rows."""
        picked = torch.from_numpy(rows)
        known = self.session.utilities(self.examples, rows) if self.with_utility else None
        utility = None if known is None else torch.from_numpy(known)
        labels, action, job_type = (part[picked].to(self.device) for part in (self._labels, self._action, self._job))
        return Rows(labels, action, job_type, None if utility is None else utility.to(self.device))


def choose_objective(config: TrainingConfig, session: TrainingSession) -> tuple[Literal["label", "utility"], list[str]]:
    """What ``config.objective`` means on this data, and what the user should know of it.

    Raises :class:`PlannerError` for "utility" where nothing is known of outcomes.
    """
    train = session.train
    chosen = session.objective if config.objective == "auto" else config.objective
    if chosen == "label":
        if config.objective == "auto" and train.known == "none":
            return chosen, ["nothing is known of outcomes: the policy imitates the labels, whatever they led to"]
        return chosen, []
    if train.outcomes is None and session.utilities(train) is None:
        if config.objective == "utility":
            raise PlannerError("objective=utility needs outcomes of candidate actions or of runs, and there are none")
        return "label", ["nothing can be learnt from these outcomes: the policy imitates what was run"]
    source = "of several actions of each example" if train.outcomes is not None else "imputed from what was run"
    return chosen, [f"objective: expected utility, {source}"]


def make_loss(
    objective: Literal["label", "utility"],
    config: TrainingConfig,
    space: ActionSpace,
    train: Examples,
    device: torch.device = CPU,
) -> Loss:
    """The loss of an objective, on either kind of logits, which are on ``device``."""
    return UtilityLoss(config, space, device) if objective == "utility" else LabelLoss(config, space, train, device)


class LabelLoss:
    """Masked cross-entropy of the labels, per head or over the joint actions."""

    def __init__(self, config: TrainingConfig, space: ActionSpace, train: Examples, device: torch.device = CPU) -> None:
        power = _POWER[config.class_weighting]
        weights, self.joint_weights = None, None
        if power:
            sizes = space.head_sizes
            weights = {
                name: _class_weights(train.labels[:, i], sizes[i], power).to(device) for i, name in enumerate(HEADS)
            }
            self.joint_weights = _class_weights(train.action, len(space.actions), power).to(device)
        self.heads = PlannerLoss(
            {name: getattr(config.head_weights, name) for name in HEADS},
            config.label_smoothing,
            class_weights=weights,
            focal_gamma=config.focal_gamma,
        )
        self.config = config
        self.head_masks = {name: torch.from_numpy(mask).to(device) for name, mask in space.head_masks.items()}
        self.joint_masks = torch.from_numpy(space.joint_masks).to(device)

    def __call__(self, scores: dict[str, Tensor], rows: Rows) -> Tensor:
        """Scalar loss of a batch."""
        if "joint" in scores:
            mask = self.joint_masks[rows.job_type]
            losses = masked_cross_entropy(
                scores["joint"], rows.action, mask, self.config.label_smoothing, self.config.focal_gamma
            )
            weights = self.joint_weights
            return weighted_mean(losses, None if weights is None else weights[rows.action])
        masks = {name: mask[rows.job_type] for name, mask in self.head_masks.items()}
        labels = {name: rows.labels[:, i] for i, name in enumerate(HEADS)}
        return self.heads(scores, labels, masks)  # type: ignore[no-any-return]  # a module's call is untyped


class UtilityLoss:
    """Negative expected utility with an entropy bonus, over the valid actions whose outcome is known."""

    def __init__(self, config: TrainingConfig, space: ActionSpace, device: torch.device = CPU) -> None:
        self.tau = config.utility_temperature
        self.joint_masks = torch.from_numpy(space.joint_masks).to(device)
        self.incidence = torch.from_numpy(space.incidence).to(device)

    def __call__(self, scores: dict[str, Tensor], rows: Rows) -> Tensor:
        """Scalar loss of a batch; rows without a known outcome count for nothing."""
        assert rows.utility is not None
        logits = scores["joint"] if "joint" in scores else torch.cat([scores[n] for n in HEADS], 1) @ self.incidence
        known = self.joint_masks[rows.job_type] & ~torch.isnan(rows.utility)
        usable = known.any(dim=1)
        # A row without any known outcome keeps a dummy entry, so that its softmax exists; it is dropped below.
        mask = known | ~usable[:, None]
        log_probs = masked_log_softmax(logits, mask).masked_fill(~mask, 0.0)
        probs = log_probs.exp() * mask
        utility = rows.utility.masked_fill(~known, 0.0)
        losses = -(probs * (utility / self.tau - log_probs)).sum(dim=1)
        return (losses * usable).sum() / usable.sum().clamp(min=1)


def _class_weights(labels: np.ndarray, classes: int, power: float) -> Tensor:
    """Weight of each class, frequency^-power, scaled so that the training labels weigh 1 on average."""
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    weights = np.maximum(counts, 1.0) ** -power
    weights *= counts.sum() / (weights * counts).sum()
    return torch.from_numpy(weights.astype(np.float32))
