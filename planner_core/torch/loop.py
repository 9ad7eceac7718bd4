"""The training loop: AdamW, cosine annealing, gradient clipping, early stopping on validation exact match.

A policy's module never sees it. The order of the examples comes from the seed and the epoch alone, so that an epoch is
the same whether or not the ones before it were run in this process.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from planner_core.action_space import HEADS, ActionSpace
from planner_core.data.dataset import Examples
from planner_core.decision import decide, temperatures_for
from planner_core.harness.training_config import TrainingConfig
from planner_core.policy import Batch, EpochReport, FitReport, Scores, SparseFeatures, TrainingSession
from planner_core.torch.layers import SparseRows
from planner_core.torch.loss import PlannerLoss, masked_cross_entropy

EVAL_BATCH = 1024

Forward = Callable[[SparseRows, Tensor], dict[str, Tensor]]
"""Features and job types int64 [n] to scores."""


@dataclass(frozen=True)
class LossInputs:
    """Labels and masks of one batch as tensors."""

    labels: Tensor
    action: Tensor
    job_type: Tensor


class ScoreLoss:
    """The loss of either kind of scores: per-head, or over the joint actions; masks come from the job type."""

    def __init__(self, config: TrainingConfig, space: ActionSpace) -> None:
        weights = {name: getattr(config.head_weights, name) for name in HEADS}
        self.heads = PlannerLoss(weights, config.label_smoothing)
        self.smoothing = config.label_smoothing
        self.head_masks = {name: torch.from_numpy(mask) for name, mask in space.head_masks.items()}
        self.joint_masks = torch.from_numpy(space.joint_masks)

    def __call__(self, scores: dict[str, Tensor], batch: LossInputs) -> Tensor:
        """Scalar loss of a batch."""
        if "joint" in scores:
            mask = self.joint_masks[batch.job_type]
            return masked_cross_entropy(scores["joint"], batch.action, mask, self.smoothing).mean()
        masks = {name: mask[batch.job_type] for name, mask in self.head_masks.items()}
        labels = {name: batch.labels[:, i] for i, name in enumerate(HEADS)}
        return self.heads(scores, labels, masks)  # type: ignore[no-any-return]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run the block with ``count`` intra-op threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def score(forward: Forward, batch: Batch, batch_size: int = EVAL_BATCH) -> Scores:
    """Scores of a batch of any size, in parts of ``batch_size``, without gradients."""
    parts: list[dict[str, Tensor]] = []
    with torch.inference_mode():
        for begin in range(0, len(batch), batch_size):
            rows = np.arange(begin, min(begin + batch_size, len(batch)))
            job_type = torch.from_numpy(np.asarray(batch.job_type[rows], np.int64))
            parts.append(forward(SparseRows.of(batch.features.take(rows)), job_type))
    return {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]} if parts else {}


def fit_module(
    module: nn.Module, forward: Forward, config: TrainingConfig, session: TrainingSession, space: ActionSpace, seed: int
) -> FitReport:
    """Train ``module`` in place and leave the best epoch's weights in it.

    Best is by validation exact match, ties by validation loss; with an empty validation split the last epoch is kept
    and training does not stop early, and a note says so.
    """
    train, valid = session.train, session.valid
    if not len(train):
        raise ValueError("the training split is empty")
    report = FitReport()
    loss_of = ScoreLoss(config, space)
    optimiser = torch.optim.AdamW(
        module.parameters(),
        lr=config.lr,
        weight_decay=config.weight_decay,
        betas=(config.beta1, config.beta2),
        fused=True,
    )
    steps = math.ceil(len(train) / config.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs * steps, config.lr_min)
    tensors = _tensors(train)
    features = _materialised(train.features)
    best_key, best_state, since_best = None, None, 0
    began, trained_seconds = time.perf_counter(), 0.0
    if not len(valid):
        report.notes.append("the validation split is empty: no early stopping, the last epoch is kept")
    for epoch in range(1, config.epochs + 1):
        started = time.perf_counter()
        train_loss = _epoch(module, forward, loss_of, optimiser, schedule, features, tensors, config, seed, epoch)
        trained_seconds += time.perf_counter() - started
        valid_loss, exact = _validate(module, forward, loss_of, valid, space)
        key = (exact, -valid_loss) if exact is not None and valid_loss is not None else (float(epoch), 0.0)
        improved = best_key is None or key > best_key
        if improved:
            best_key, best_state, since_best, report.best_epoch = key, _snapshot(module), 0, epoch
        else:
            since_best += 1
        rate = len(train) * epoch / trained_seconds
        left = (time.perf_counter() - began) / epoch * (config.epochs - epoch)
        entry = EpochReport(epoch, config.epochs, train_loss, valid_loss, exact, rate, left, improved)
        report.history.append(entry)
        report.examples_per_second = rate
        session.on_epoch(entry)
        if not math.isfinite(train_loss):
            raise FloatingPointError(f"the training loss became {train_loss} in epoch {epoch}; lower lr")
        if len(valid) and since_best >= config.patience:
            break
    assert best_state is not None
    module.load_state_dict(best_state)
    module.eval()
    return report


def _epoch(
    module: nn.Module,
    forward: Forward,
    loss_of: ScoreLoss,
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    features: SparseFeatures,
    tensors: LossInputs,
    config: TrainingConfig,
    seed: int,
    epoch: int,
) -> float:
    """One pass over the training split; returns the mean loss of an example."""
    module.train()
    # Dropout draws from torch's global generator; seeding it per epoch is what makes an epoch repeatable on its own.
    torch.manual_seed(_epoch_seed(seed, epoch))
    order = np.random.default_rng(_epoch_seed(seed, epoch)).permutation(len(features))
    parameters = list(module.parameters())
    total = 0.0
    for begin in range(0, len(order), config.batch_size):
        rows = order[begin : begin + config.batch_size]
        picked = torch.from_numpy(rows)
        batch = LossInputs(tensors.labels[picked], tensors.action[picked], tensors.job_type[picked])
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(forward(SparseRows.of(features.take(rows)), batch.job_type), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
        optimiser.step()
        schedule.step()
        total += loss.item() * len(rows)
    return total / len(order)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _validate(
    module: nn.Module, forward: Forward, loss_of: ScoreLoss, valid: Examples, space: ActionSpace
) -> tuple[float | None, float | None]:
    """Mean loss and exact match on the validation split; None for both where it is empty."""
    if not len(valid):
        return None, None
    module.eval()
    scores = score(forward, valid.batch())
    with torch.inference_mode():
        loss = loss_of({name: torch.from_numpy(values) for name, values in scores.items()}, _tensors(valid)).item()
    kind = "joint" if "joint" in scores else "heads"
    decision = decide(scores, valid.job_type, temperatures_for(kind), space)
    return loss, float((decision.action == valid.action).mean())


def _tensors(examples: Examples) -> LossInputs:
    return LossInputs(*(torch.from_numpy(np.array(getattr(examples, n))) for n in ("labels", "action", "job_type")))


def _materialised(features: SparseFeatures) -> SparseFeatures:
    """A copy in memory: a few megabytes that every epoch reads in random order."""
    return SparseFeatures(np.array(features.indices, np.int64), np.array(features.starts), features.d_in)


def _snapshot(module: nn.Module) -> dict[str, Any]:
    return copy.deepcopy(module.state_dict())
