"""A checkpoint of the training loop: all that the next epoch depends on, written whole after each one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from planner_core.training import EpochReport

FILE = "checkpoint.pt"


class LoopState(msgspec.Struct):
    """Where the loop stands after ``epoch`` epochs."""

    epoch: int = 0
    seconds: float = 0.0
    since_best: int = 0
    best_epoch: int | None = None
    best_key: tuple[float, float] | None = None
    best_state: dict[str, Any] | None = None
    history: list[EpochReport] = []


def save(directory: Path, state: LoopState, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Write ``checkpoint.pt`` beside its place and rename it."""
    document = {
        "epoch": state.epoch,
        "seconds": state.seconds,
        "since_best": state.since_best,
        "best_epoch": state.best_epoch,
        "best_key": state.best_key,
        "best_state": state.best_state,
        "history": [entry.__dict__ for entry in state.history],
        "module": module.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    part = directory / (FILE + ".part")
    torch.save(document, part)
    part.replace(directory / FILE)


def restore(directory: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> LoopState:
    """Put ``module`` and ``optimiser`` where the checkpoint left them; a fresh state where there is none."""
    path = directory / FILE
    if not path.exists():
        return LoopState()
    document = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(document.pop("module"))
    optimiser.load_state_dict(document.pop("optimiser"))
    history = [EpochReport(**entry) for entry in document.pop("history")]
    best_key = document.pop("best_key")
    return LoopState(**document, history=history, best_key=None if best_key is None else tuple(best_key))
