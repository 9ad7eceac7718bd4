"""What a torch policy is made of: layer, loss, loop, export. Needs the ``train`` extra."""

from __future__ import annotations

from planner_core.errors import MissingExtra

try:
    import torch as _torch  # noqa: F401  (the check that the extra is there)
except ModuleNotFoundError as problem:
    raise MissingExtra("a torch policy", "train", "torch") from problem

from planner_core.torch.compat import PlannerDataset, collate, evaluate_model, train_epoch
from planner_core.torch.layers import BinaryLinear, SparseRows, mlp_trunk
from planner_core.torch.loss import PlannerLoss
from planner_core.torch.policy import TorchPolicy

__all__ = [
    "BinaryLinear",
    "PlannerDataset",
    "PlannerLoss",
    "SparseRows",
    "TorchPolicy",
    "collate",
    "evaluate_model",
    "mlp_trunk",
    "train_epoch",
]
