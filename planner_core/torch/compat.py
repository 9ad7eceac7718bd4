"""The plain dense path: a torch ``Dataset`` of dicts, one epoch, one evaluation.

Slower than the harness's sparse loop and equal to it in what it computes; for users who bring their own loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import default_collate

from planner_core.action_space import HEADS, ActionEncoder, ValidityMaskBuilder, job_type_index
from planner_core.contracts import DatasetExample
from planner_core.decision import decide, kind_of, temperatures_for
from planner_core.encoder import PlannerInputEncoder
from planner_core.errors import DataError
from planner_core.harness.metrics import EvalMetrics, evaluate_decision
from planner_core.jsonio import convert

GRADIENT_CLIP = 1.0


class PlannerDataset(TorchDataset[dict[str, Any]]):
    """Examples of one split as ``{"features": float32 (d_in,), "labels": {head: int64 ()}, "job_type": str}``.

    ``examples`` are lines of a dataset, as dicts or structs; each is encoded when it is asked for. A label that its
    job type's rules forbid is a :class:`planner_core.errors.DataError`: masked, its loss would be infinite.
    """

    def __init__(
        self,
        examples: Iterable[Mapping[str, Any] | DatasetExample],
        encoder: PlannerInputEncoder,
        action_encoder: ActionEncoder,
        split: str = "train",
    ) -> None:
        self.encoder, self.action_encoder = encoder, action_encoder
        self.examples = [e for e in map(_example, examples) if e.split == split]
        masks = {
            job_type: ValidityMaskBuilder(action_encoder.action_space).build_joint_mask(job_type)
            for job_type in {e.planner_input.job_type for e in self.examples}
        }
        for row, example in enumerate(self.examples):
            if not masks[example.planner_input.job_type][tuple(action_encoder.encode_label(example.label_action))]:
                raise DataError(
                    f"examples, split {split}",
                    path=f"$[{row}].label_action",
                    found=f"run {example.run_id}",
                    expected=f"an action that is valid for job type {example.planner_input.job_type}",
                )

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, row: int) -> dict[str, Any]:
        example = self.examples[row]
        labels = self.action_encoder.encode_label(example.label_action)
        return {
            "features": torch.from_numpy(self.encoder.encode(example.planner_input)),
            "labels": {name: torch.tensor(index) for name, index in zip(HEADS, labels, strict=True)},
            "job_type": example.planner_input.job_type,
        }


def _example(example: Mapping[str, Any] | DatasetExample) -> DatasetExample:
    return example if isinstance(example, DatasetExample) else convert(example, DatasetExample, "examples")


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Items of a :class:`PlannerDataset` as one batch, with the validity masks of their job types added.

    ``masks`` {head: bool [n, classes]} lets :func:`train_epoch` mask the loss as the harness does; torch's own
    collation works too, and trains without masks.
    """
    batch: dict[str, Any] = default_collate(items)
    batch["masks"] = _masks(batch["job_type"])
    return batch


def _masks(job_types: Sequence[str]) -> dict[str, Tensor]:
    builder = ValidityMaskBuilder()
    rows = [builder.build_mask(job_type) for job_type in job_types]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in HEADS}


def train_epoch(
    model: nn.Module,
    loader: Iterable[Mapping[str, Any]],
    optimizer: torch.optim.Optimizer,
    loss_fn: nn.Module,
    device: torch.device | str,
) -> float:
    """Train one epoch on batches of a :class:`PlannerDataset` loader; returns the mean loss of a batch."""
    model.train()
    losses = []
    for batch in loader:
        features = batch["features"].to(device)
        labels = {name: value.to(device) for name, value in batch["labels"].items()}
        masks = batch.get("masks")
        if masks is not None:
            masks = {name: value.to(device) for name, value in masks.items()}
        optimizer.zero_grad()
        loss = loss_fn(model(features), labels, masks)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        optimizer.step()
        losses.append(loss.item())
    if not losses:
        raise ValueError("the loader gave no batch")
    return float(np.mean(losses))


def evaluate_model(model: nn.Module, loader: Iterable[Mapping[str, Any]], action_encoder: ActionEncoder) -> EvalMetrics:
    """Metrics of a module that returns head logits, decoded over the valid actions like the harness does."""
    space = action_encoder.action_space
    device = next(model.parameters()).device
    model.eval()
    scores: list[dict[str, Any]] = []
    labels: list[Any] = []
    jobs: list[int] = []
    with torch.inference_mode():
        for batch in loader:
            logits = model(batch["features"].to(device))
            scores.append({name: value.cpu().numpy() for name, value in logits.items()})
            labels.append(np.stack([batch["labels"][name].numpy() for name in HEADS], axis=1))
            jobs += [job_type_index(job_type) for job_type in batch["job_type"]]
    if not scores:
        raise ValueError("the loader gave no batch")
    joined = {name: np.concatenate([part[name] for part in scores]) for name in scores[0]}
    all_labels = np.concatenate(labels).astype(np.int64)
    lookup = {tuple(row): i for i, row in enumerate(space.head_index.tolist())}
    action = np.array([lookup.get(tuple(row), -1) for row in all_labels.tolist()], np.int64)
    job_type = np.array(jobs, np.int64)
    decision = decide(joined, job_type, temperatures_for(kind_of(joined)), space)
    return evaluate_decision(decision, all_labels, action, job_type, space)
