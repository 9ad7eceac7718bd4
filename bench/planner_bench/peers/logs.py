"""Learning from logs, ours and others' side by side: the same runs to learn from, the same issues to be judged on.

In a simulated world what each decision leads to is known, and the figure is the share of the gap that it closes between
the rules (0) and the policy that knows the world (1). A dataset that knows no more than what was run is judged by
augmented replay (:func:`planner_core.estimate_value`), as ``planner run ... evaluate`` does.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_bench.environment import environment
from planner_bench.peers.learners import Columns
from planner_bench.peers.log_learners import LOG_LEARNERS, Choose, Setting, fit_learner, require_learners
from planner_core import (
    Dataset,
    EncoderConfig,
    Examples,
    PlannerError,
    PolicyContext,
    Registry,
    baseline_decider,
    best_constants,
    constant_decider,
    decide_split,
    estimate_value,
    gap_closed,
    load_dataset,
    load_run,
    make_settings,
    make_world,
    outcome_columns,
    policy_decider,
    read_log,
    train,
    weight_table,
)

OURS = ("outcome", "mlp")
HEURISTIC, CONSTANT, BEST_CONSTANT = "heuristic", "constant from logs", "best constant"
JUDGED = "test"
TRAIN_SHARE = 0.8
"""Of a simulated world; the rest is validation and test, the later the later."""


@dataclass(frozen=True)
class Cell:
    """A setting that is repeated over seeds: a world, how many runs are learnt from, how many of them explored."""

    world: str
    runs: int
    exploration: float


@dataclass(frozen=True)
class Fitted:
    """A learner that has learnt; ``seconds`` is None where there was nothing to fit."""

    choose: Choose
    seconds: float | None


def compare_logs(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    registry: Registry,
    *,
    policies: Sequence[str] = OURS,
    learners: Sequence[str] = tuple(LOG_LEARNERS),
    encoder: EncoderConfig | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Make each cell's world at each seed, let everyone learn from its log, judge all of them by what is true.

    ``encoder`` says what our policies see of an input. Raises :class:`MissingExtra` without the packages of the
    learners, :class:`ConfigError` for a world there is not.
    """
    require_learners(learners)
    found = []
    for cell in cells:
        results = []
        for seed in seeds:
            where = f"{cell.world}, {cell.runs} runs, {cell.exploration:g} explored, seed {seed}: "
            with tempfile.TemporaryDirectory() as scratch:
                place = Path(scratch) / "world"
                tell(where + "making it")
                make_world(place, round(cell.runs / TRAIN_SHARE), seed, world=cell.world, exploration=cell.exploration)
                data = load_dataset(place, encoder, cache=False)
                fitted = _fit_all(data, registry, policies, learners, seed, _prefixed(tell, where))
                results.append(_known(data, fitted))
        found.append({"world": cell.world, "runs": cell.runs, "exploration": cell.exploration, **_over_seeds(results)})
    return {"seeds": list(seeds), "cells": found, "environment": environment()}


def compare_logs_of(
    data: Dataset,
    registry: Registry,
    *,
    policies: Sequence[str] = OURS,
    learners: Sequence[str] = tuple(LOG_LEARNERS),
    seed: int = 0,
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """The same on one dataset that says what was run; judged by known outcomes where there are any, else from its log.

    Raises :class:`PlannerError` for one that does not say, or whose training or test split is empty.
    """
    require_learners(learners)
    for split in ("train", JUDGED):
        if not len(data.split(split)) or data.split(split).executed is None:
            raise PlannerError(f"{data.directory}: the split '{split}' does not say what was run")
    fitted = _fit_all(data, registry, policies, learners, seed, tell)
    known = data.split(JUDGED).known == "all" and data.meta.floor is not None and data.meta.ceiling is not None
    result = {"cells": [_over_seeds([_known(data, fitted)])]} if known else {"values": _estimated(data, fitted)}
    return {"dataset": str(data.directory), "seeds": [seed], **result, "environment": environment()}


def _prefixed(tell: Callable[[str], None], where: str) -> Callable[[str], None]:
    return lambda what: tell(where + what)


def _fit_all(
    data: Dataset,
    registry: Registry,
    policies: Sequence[str],
    learners: Sequence[str],
    seed: int,
    tell: Callable[[str], None],
) -> dict[str, Fitted]:
    """Everyone by name, ours first."""
    weights, space = weight_table(data.meta.utility), data.action_space
    logged = {name: data.split(name).with_evidence("executed") for name in ("train", "val") if len(data.split(name))}
    runs, valid = logged["train"], logged.get("val", data.split("val"))
    out = {}
    for name in policies:
        tell(f"training {name}")
        out[name] = _ours(name, data, registry, seed)
    setting = Setting(Columns(runs.features), space, data.encoder, weights, seed)
    for name in learners:
        tell(f"fitting {name}")
        started = time.perf_counter()
        choose = fit_learner(name, setting, runs, valid)
        out[name] = Fitted(choose, time.perf_counter() - started)
    tell("judging")
    for name, examples in ((CONSTANT, runs), (BEST_CONSTANT, data.split("train"))):
        constants = best_constants(examples, space, weights) if name == CONSTANT or examples.outcomes else None
        if constants is not None:
            out[name] = Fitted(_choosing(constant_decider(constants, space)), None)
    context = PolicyContext(data.encoder, space, seed)
    return {**out, HEURISTIC: Fitted(_choosing(baseline_decider(registry, context, weights)), None)}


def _choosing(decider: Any) -> Choose:
    def choose(examples: Examples) -> NDArray[np.int64]:
        action: NDArray[np.int64] = decide_split(decider, examples)[0].action
        return action

    return choose


def _ours(name: str, data: Dataset, registry: Registry, seed: int) -> Fitted:
    """A policy of ours as ``planner run ... train --set evidence=executed`` trains it."""
    values = {"evidence": "executed", **msgspec.to_builtins(data.encoder)}
    settings = make_settings(name, registry.spec(name).config_type, values)
    with tempfile.TemporaryDirectory() as scratch:
        results = train(name, data, Path(scratch) / name, settings, registry, seed=seed)
        run = load_run(Path(scratch) / name, registry)
    weights = weight_table(data.meta.utility)
    decider = policy_decider(run.policy, run.context, run.temperatures, weights)
    return Fitted(_choosing(decider), results["training"]["fit_seconds"])


def _known(data: Dataset, fitted: dict[str, Fitted]) -> dict[str, dict[str, Any]]:
    """What everyone's decisions lead to on the test split, by known outcomes."""
    examples, weights = data.split(JUDGED), weight_table(data.meta.utility)
    assert data.meta.floor is not None and data.meta.ceiling is not None and examples.issue is not None
    floor, ceiling = (bound[JUDGED]["mean_utility"] for bound in (data.meta.floor, data.meta.ceiling))

    def utility(action: NDArray[np.int64]) -> NDArray[np.float64]:
        columns = outcome_columns(action, examples, data.action_space, weights)
        assert columns is not None
        return columns["utility"]

    earned = {name: utility(one.choose(examples)) for name, one in fitted.items()}
    rules, hindsight = earned[HEURISTIC], utility(examples.action)
    # The ceiling is known on average only; in hindsight there is as much to gain on the same issues, but for a factor.
    there_is = (hindsight - rules) * (ceiling - floor) / (hindsight - rules).mean()
    out = {}
    for name, mine in earned.items():
        gap = gap_closed(float(mine.mean()), floor, ceiling)
        out[name] = {
            "mean_utility": float(mine.mean()),
            "gap_closed": gap,
            "gap_se_by_issue": _cluster_se(mine - rules - gap * there_is, examples.issue) / (ceiling - floor),
            "fit_seconds": fitted[name].seconds,
        }
    return out


def _cluster_se(values: NDArray[np.float64], issue: NDArray[np.int64]) -> float:
    """Standard error of the mean of ``values`` float64 [n] where rows of one issue go together (Liang, Zeger, 1986)."""
    _, cluster = np.unique(issue, return_inverse=True)
    sums = np.bincount(cluster, values - values.mean())
    count = len(sums)
    return float(np.sqrt((sums**2).sum() * count / max(count - 1, 1)) / len(values))


def _over_seeds(results: Sequence[dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Means over seeds of everyone who was there at every seed, the best first."""
    rows = []
    for name in results[0]:
        found = [result[name] for result in results if name in result]
        gaps = np.array([one["gap_closed"] for one in found])
        seconds = [one["fit_seconds"] for one in found if one["fit_seconds"] is not None]
        by_issue = [one["gap_se_by_issue"] for one in found]
        rows.append(
            {
                "name": name,
                "gap_closed": float(gaps.mean()),
                "gap_se_over_seeds": float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else None,
                "gap_se_by_issue": float(np.sqrt(np.square(by_issue).sum()) / len(found)),
                "gap_by_seed": gaps.tolist(),
                "mean_utility": float(np.mean([one["mean_utility"] for one in found])),
                "fit_seconds": float(np.mean(seconds)) if seconds else None,
                "seeds": len(found),
            }
        )
    return {"learners": sorted(rows, key=lambda row: -row["gap_closed"])}


def _estimated(data: Dataset, fitted: dict[str, Fitted]) -> list[dict[str, Any]]:
    """What the log of the test split says of everyone, against the rules."""
    examples = data.split(JUDGED)
    assert examples.executed is not None
    worth = weight_table(data.meta.utility)[examples.priority]
    log = read_log(examples.executed, examples.job_type, worth, strata=examples.job_type)
    if not len(log):
        raise PlannerError(f"{data.directory}: no run of the split '{JUDGED}' is evidence")
    rules = fitted[HEURISTIC].choose(examples)
    out = []
    for name, one in fitted.items():
        value = estimate_value(log, one.choose(examples), against=rules, name=name, against_name="the rules")
        assert value.value.difference is not None
        figures = {"utility": value.value.utility, "difference": value.value.difference.utility}
        out.append(
            {
                "name": name,
                **{key: {"estimate": f.estimate, "low": f.low, "high": f.high} for key, f in figures.items()},
                "support": value.support,
                "verdict": value.verdict.text,
                "fit_seconds": one.seconds,
            }
        )
    return out
