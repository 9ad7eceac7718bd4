"""The small simulated world that the kit judges policies in, made once a process."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from planner_core.data.dataset import load_dataset
from planner_core.examples import Examples
from planner_core.world.source import make_world

EXAMPLES, TRAIN = 1600, 1280
"""Enough for a policy that learns at all to leave the constant policy behind; made in about three seconds."""

SEED = 11


@cache
def directory() -> Path:
    """A directory of this process that goes when the process ends."""
    place = Path(tempfile.mkdtemp(prefix="planner-kit-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


@cache
def examples() -> tuple[Examples, Examples]:
    """(train, valid): the world's first 1,280 examples in time, and the 320 after them; arrays in memory."""
    place = directory() / "world"
    make_world(place, EXAMPLES, SEED)
    everything = load_dataset(place, cache=False).everything
    return everything.take(np.arange(TRAIN)), everything.take(np.arange(TRAIN, EXAMPLES))
