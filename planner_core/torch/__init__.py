"""What a torch policy is made of: layer, loss, loop, export. Needs the ``train`` extra."""

from __future__ import annotations

from importlib.util import find_spec

from planner_core.errors import MissingExtra

if find_spec("torch") is None:
    raise MissingExtra("a torch policy", "train", "torch")

from planner_core.torch.compat import PlannerDataset, collate, evaluate_model, train_epoch
from planner_core.torch.layers import BinaryLinear, SparseRows, mlp_trunk, narrowed
from planner_core.torch.loop import Fit, score, torch_threads
from planner_core.torch.loss import PlannerLoss
from planner_core.torch.policy import TorchPolicy

__all__ = [
    "BinaryLinear",
    "Fit",
    "PlannerDataset",
    "PlannerLoss",
    "SparseRows",
    "TorchPolicy",
    "collate",
    "evaluate_model",
    "mlp_trunk",
    "narrowed",
    "score",
    "torch_threads",
    "train_epoch",
]
