"""How long a single decision takes, for a row of a comparison; ``planner bench`` measures it properly."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from planner_core import jsonio
from planner_core.data.samples import sample_inputs
from planner_core.errors import PlannerError
from planner_core.harness.run_dir import is_run
from planner_core.harness.sources import Opened, open_planner
from planner_core.plugins.predictor import PolicyPredictor
from planner_core.plugins.registry import Registry
from planner_core.runtime.bundle import is_bundle, read_bundle
from planner_core.runtime.planner import Planner

BUNDLES = Path("bundles")
CALLS, WARM, SECONDS = 100, 5, 2.0
"""Decisions that are timed at most, those before them, and the time after which no more are made."""


@dataclass(frozen=True)
class Served:
    """The median of single decisions in milliseconds, JSON bytes to action; ``bundle_bytes`` None without a bundle."""

    p50_ms: float
    by: Literal["bundle", "python"]
    bundle_bytes: int | None = None

    @classmethod
    def of_predictor(cls, predictor: PolicyPredictor) -> Served:
        """A policy in Python."""
        return cls(_p50(Planner(predictor)), "python")

    @classmethod
    def of_bundle(cls, path: Path) -> Served:
        """A bundle, with the size of all its files."""
        size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
        return cls(_p50(Planner.load(path, strict=True)), "bundle", size)


def served(policy: str, registry: Registry, path: Path | None) -> Served:
    """A run by its policy in Python, a bundle by its graph, an untrained policy as it is."""
    if path is not None and not is_run(path):
        return Served.of_bundle(path)
    return Served(_p50(open_planner(policy, registry, path, {})), "python")


def served_opened(opened: Opened, registry: Registry | None = None) -> Served:
    """What was opened: a run by the bundle at hand that was made of it, else in Python."""
    from planner_core.plugins.registry import load_registry

    at_hand = None if opened.path is None else of_bundle_at_hand(opened.policy, opened.path.resolve().name)
    if at_hand is not None and opened.path is not None and is_run(opened.path):
        return at_hand
    return served(opened.policy, registry or load_registry(), opened.path)


def of_bundle_at_hand(policy: str, version: str | None = None) -> Served | None:
    """The bundle of ``policy`` where ``planner export`` puts it, of ``version`` where that is given; else None."""
    path = BUNDLES / policy
    if not is_bundle(path):
        return None
    try:
        found: dict[str, Any] = read_bundle(path).metadata
        if found.get("policy") != policy or version not in (None, found.get("version")):
            return None
        return Served.of_bundle(path)
    except PlannerError:  # a bundle that cannot be used is none at hand; whoever asks for it by name is told
        return None


def _p50(planner: Planner) -> float:
    inputs = [jsonio.canonical(document) for document in sample_inputs(16, 0)]
    times, began = [], time.perf_counter()
    for i in range(WARM + CALLS):
        started = time.perf_counter()
        planner.decide(inputs[i % len(inputs)])
        ended = time.perf_counter()
        if i >= WARM:
            times.append(ended - started)
        if times and ended - began > SECONDS:
            break
    return float(np.median(times)) * 1000.0
