"""The embedded default dataset: the simulated world with the registered heuristic as its logging policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from planner_core.action_space import Action
from planner_core.contracts import PlannerInput
from planner_core.data.encode import Progress
from planner_core.data.samples import sample_inputs
from planner_core.plugins.predictor import PolicyPredictor
from planner_core.rules import BASELINE
from planner_core.world.generate import synthesize

DEFAULT_EXAMPLES = 20_000
DEFAULT_SEED = 0
DEFAULT_WORLD = Path("data") / "world"


def baseline_table() -> Callable[[str, str, str], Action]:
    """The heuristic's action by (job type, risk, size), the only fields its default rules read."""
    scorer = PolicyPredictor.untrained(BASELINE)
    template = sample_inputs(1, history_runs=0)[0]
    actions = scorer.context.action_space.actions

    def action(job_type: str, risk: str, size: str) -> Action:
        x = msgspec.convert(
            {**template, "job_type": job_type, "issue": {**template["issue"], "dk_risk": risk, "dk_size": size}},
            PlannerInput,
        )
        return actions[int(scorer.action_probs([x])[0].argmax())]

    return action


def make_world(out: Path, examples: int, seed: int, progress: Progress | None = None) -> dict[str, Any]:
    """Write a simulated world; returns its ``meta.json``."""
    return synthesize(out, examples=examples, seed=seed, baseline=baseline_table(), progress=progress)


def default_dataset(progress: Progress | None = None) -> Path:
    """The directory of the default world, made on first use."""
    if not (DEFAULT_WORLD / "meta.json").is_file():
        make_world(DEFAULT_WORLD, DEFAULT_EXAMPLES, DEFAULT_SEED, progress)
    return DEFAULT_WORLD
