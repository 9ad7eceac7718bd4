"""A checkpoint of the training loop: all that the next epoch depends on, written whole and durably after each one.

Two are kept. Both carry a checksum, which ``torch.load`` does not look at, so that a damaged one is known as such and
the one before it is taken up.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from planner_core import system
from planner_core.errors import DataError, describe
from planner_core.files import new_file
from planner_core.torch.device import on_cpu
from planner_core.training import EpochReport

FILE, EARLIER = "checkpoint.pt", "checkpoint.earlier.pt"
_MAGIC = b"swarm_planner.checkpoint.v2\n"
_CHECKSUM_BYTES = 4

logger = logging.getLogger("planner")


class LoopState(msgspec.Struct):
    """Where the loop stands after ``epoch`` epochs."""

    epoch: int = 0
    seconds: float = 0.0
    since_best: int = 0
    best_epoch: int | None = None
    best_key: tuple[float, float] | None = None
    best_state: dict[str, Any] | None = None
    history: list[EpochReport] = []
    devices: list[str] = []


def save(directory: Path, state: LoopState, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Write ``checkpoint.pt``; the one that was there becomes ``checkpoint.earlier.pt``. OSError where it cannot."""
    document = {
        "epoch": state.epoch,
        "seconds": state.seconds,
        "since_best": state.since_best,
        "best_epoch": state.best_epoch,
        "best_key": state.best_key,
        "best_state": state.best_state,
        "history": [entry.__dict__ for entry in state.history],
        "devices": state.devices,
        "module": on_cpu(module.state_dict()),
        "optimiser": on_cpu(optimiser.state_dict()),
    }
    buffer = io.BytesIO()
    torch.save(document, buffer)
    content = buffer.getbuffer()
    _keep_earlier(directory)
    with new_file(directory / FILE) as stream:
        stream.write(_MAGIC)
        stream.write(zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "big"))
        stream.write(content)


def _keep_earlier(directory: Path) -> None:
    """Give the current checkpoint its second name, so that at every moment one of the two is whole."""
    current, earlier, second = directory / FILE, directory / EARLIER, directory / (EARLIER + ".part")
    if not current.exists() or (earlier.exists() and earlier.samefile(current)):
        return  # nothing to keep, or kept before a save that failed
    second.unlink(missing_ok=True)
    try:
        os.link(current, second)
    except OSError:  # a file system without hard links
        system.replace(current, earlier)
        return
    system.replace(second, earlier)


def restore(directory: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> LoopState:
    """Put ``module`` and ``optimiser`` where the newest whole checkpoint left them; a fresh state where there is none.

    A damaged one is said in a warning and the one before it is used; after two damaged ones training begins again,
    which ends with the same result. Raises :class:`DataError` for a whole one that does not fit the module.
    """
    for name in (FILE, EARLIER):
        path = directory / name
        try:
            document = _read(path)
        except FileNotFoundError:
            continue
        except Exception as problem:  # torch raises RuntimeError, UnpicklingError, EOFError and more for a bad file
            logger.warning("%s is damaged (%s); training goes on from an earlier epoch", path, describe(problem))
            continue
        try:
            module.load_state_dict(document.pop("module"))
            optimiser.load_state_dict(document.pop("optimiser"))
            history = [EpochReport(**entry) for entry in document.pop("history")]
            best_key = document.pop("best_key")
            document.setdefault("devices", ["cpu"])  # an earlier version knew no other
            return LoopState(**document, history=history, best_key=None if best_key is None else tuple(best_key))
        except (RuntimeError, KeyError, TypeError, ValueError) as problem:
            raise DataError(
                str(path), found=describe(problem), expected="a checkpoint of this policy, made by this version"
            ) from problem
    return LoopState()


def remove(directory: Path) -> None:
    """Remove the checkpoints of a finished training."""
    for name in (FILE, EARLIER, EARLIER + ".part"):
        with contextlib.suppress(FileNotFoundError):
            (directory / name).unlink()


def _read(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    if content.startswith(_MAGIC):
        begin = len(_MAGIC) + _CHECKSUM_BYTES
        checksum, content = content[len(_MAGIC) : begin], content[begin:]
        if zlib.crc32(content) != int.from_bytes(checksum, "big"):
            raise ValueError("its content is not what was written")
    # Without the mark it was written by version 0.1, which had no checksum.
    document: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return document
