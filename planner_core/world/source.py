"""The embedded default dataset: the simulated world, logged by the default rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planner_core.data.encode import Progress
from planner_core.rules import default_action
from planner_core.world.config import DEFAULT, world_config
from planner_core.world.generate import synthesize

DEFAULT_EXAMPLES = 20_000
DEFAULT_SEED = 0
DEFAULT_WORLD = Path("data") / "world"


def make_world(
    out: Path,
    examples: int,
    seed: int,
    progress: Progress | None = None,
    *,
    world: str = DEFAULT.name,
    exploration: float | None = None,
) -> dict[str, Any]:
    """Write a simulated world; returns its ``meta.json``. ConfigError for a world or an exploration there is not."""
    config = world_config(world, exploration)
    return synthesize(out, examples=examples, seed=seed, baseline=default_action, config=config, progress=progress)


def default_dataset(progress: Progress | None = None) -> Path:
    """The directory of the default world, made on first use."""
    if not (DEFAULT_WORLD / "meta.json").is_file():
        make_world(DEFAULT_WORLD, DEFAULT_EXAMPLES, DEFAULT_SEED, progress)
    return DEFAULT_WORLD
