"""Where a training computes: the CPU, unless an accelerator is asked for.

What is kept (checkpoints, weights, bundles) is of the CPU whatever it was computed on, so that it loads anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from planner_core.errors import ConfigError
from planner_core.harness.training_config import Device

CPU = torch.device("cpu")


def available() -> tuple[str, ...]:
    """The devices that torch can compute on here, in the order in which "auto" takes them; the CPU is the last."""
    found = (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()))
    return (*(name for name, there in found if there), "cpu")


def choose_device(wanted: Device) -> torch.device:
    """What ``device`` of a configuration means on this machine.

    Raises :class:`ConfigError` that names what there is for a device that is not there: it is never replaced.
    """
    there = available()
    if wanted != "auto" and wanted not in there:
        raise ConfigError(
            f"device: torch {torch.__version__} has no '{wanted}' on this machine; there is {', '.join(there)}"
        )
    return torch.device(there[0] if wanted == "auto" else wanted)


def device_name(device: torch.device) -> str:
    """What a device is called in words, with its model where torch tells it."""
    return f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


@contextmanager
def kept_generators(device: torch.device) -> Iterator[None]:
    """Put torch's random generators, the CPU's and the device's, back after the block."""
    of_device: Any = {"cuda": torch.cuda, "mps": torch.mps}.get(device.type)
    before = None if of_device is None else of_device.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            if before is not None:
                of_device.set_rng_state(before)


def on_cpu(value: Any) -> Any:
    """Dicts, lists and tuples with every tensor in them on the CPU; one that is there is not copied."""
    if isinstance(value, Tensor):
        return value.to(CPU)
    if isinstance(value, dict):
        return {key: on_cpu(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(on_cpu(part) for part in value)
    return value
