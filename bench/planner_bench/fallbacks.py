"""Bench stages for operators: what a decision costs when the model does not make it, and when it is written down.

Registered through the hook ``planner_bench_stages``, like those of any other plugin.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from planner_core import BenchSetup, BenchStage, PlannerError, hookimpl

if TYPE_CHECKING:
    from planner_core import Planner


def rules_after_the_model(setup: BenchSetup) -> Callable[[int], object]:
    """Mode ``log``: the model is asked, the rules decide. Low confidence and a broken cap go the same way."""
    from planner_core import Planner
    from planner_core.runtime.bundle import read_bundle

    # The planner's own sessions: a second copy of the weights would push the first out of the caches.
    space = read_bundle(setup.bundle).action_space
    return _decide(Planner(setup.planner.predictor, action_space=space, mode="log"), setup)


def logged(setup: BenchSetup) -> Callable[[int], object]:
    """What it costs to have every decision in a decision log, the probabilities of all actions included."""
    from planner_core import Planner
    from planner_core.runtime.bundle import read_bundle

    place = TemporaryDirectory(prefix="planner-bench-")
    space = read_bundle(setup.bundle).action_space
    planner = Planner(setup.planner.predictor, action_space=space, log=Path(place.name) / "decisions.jsonl")
    raw, n = setup.raw, len(setup.raw)
    for document in raw:
        planner.decide(document)
    if planner.stats()["unlogged"]:
        raise PlannerError(f"decisions cannot be logged in {place.name}, where they were to be")

    def call(turn: int, place: TemporaryDirectory[str] = place) -> object:  # the directory lasts as long as the stage
        return planner.decide(raw[turn % n])

    return call


def rules_alone(setup: BenchSetup) -> Callable[[int], object]:
    """A bundle that cannot be used: the rules decide, and the model is not asked."""
    from planner_core import Planner

    return _decide(Planner(None, unusable="none was given, to measure this"), setup)


def _decide(planner: Planner, setup: BenchSetup) -> Callable[[int], object]:
    raw, n = setup.raw, len(setup.raw)
    decided = [planner.decide(document) for document in raw]
    if not all(action["abstain_to_default"] for action in decided):
        raise PlannerError("the model decided, where the rules were to be measured")
    return lambda turn: planner.decide(raw[turn % n])


STAGES = (
    BenchStage(
        "rules after the model",
        "JSON to action where the model is asked and the rules decide: mode log, low confidence, a cap",
        rules_after_the_model,
    ),
    BenchStage("rules alone", "JSON to action where the bundle cannot be used", rules_alone),
    BenchStage("logged", "JSON to action and to a line of a decision log", logged),
)


@hookimpl
def planner_bench_stages(register: Callable[[BenchStage], None]) -> None:
    """Register the stages."""
    for stage in STAGES:
        register(stage)
