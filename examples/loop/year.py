"""A year of the loop, simulated: does a model that is trained anew every month earn what it costs?

    python examples/loop/year.py --out work/year --seed 0

Three ways to plan meet the same issues and the same luck: the **rules**; the **loop**, which every month logs its
decisions, trains a candidate on the last months, gives it half of the issues beside what serves (and explores a
little), watches it, and promotes it or keeps what serves; and a model trained **once**, which does as the loop does
until its first promotion and serves alone from then on, without another training. Where the watch says that a model is
stale, the next one learns only from that month on. All three begin with a month of the rules. What the issues of a
month came to, all attempts summed, is written to ``year.json``.

The kernel, the agents and the calendar are simulated; deciding, logging, building, training, exporting, watching and
promoting are the product's own. The truth behind the simulation is used for nothing but one column of the report.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from desk import BundleAsBaseline, Desk, action_of, restamp, write_lines

from planner_core import (
    ActionSpace,
    Change,
    LiveWorld,
    Planner,
    PlannerError,
    build_dataset,
    default_action,
    load_dataset,
    load_registry,
    make_settings,
    parse_assignments,
    promotion_gate,
    resolve,
    train,
    utilities,
    weight_table,
    write_bytes,
)
from planner_export.bundle import export_bundle
from planner_loop.promote import promote_run
from planner_loop.watch import watch

EPOCH_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MONTH_MS = 30 * 86_400_000
CANARY, EXPLORE, EXPLORE_WITHIN = 0.5, 0.1, 0.1
POLICY = "outcome"
SPACE = ActionSpace()


def changes() -> list[Change]:
    """What becomes different in the year, beside the slow drift of the tags that the world always has."""
    month = [EPOCH_MS + i * MONTH_MS for i in range(12)]
    return [
        Change(begin_ms=month[3], usd_per_candidate_minute=0.02),  # April: a price cut, 0.05 before
        Change(begin_ms=month[6], skill={"codex": 0.8, "claude": 0.8}),  # July: a new version of two tools
        Change(begin_ms=month[9], usd_per_candidate_minute=0.08),  # October: a dearer model in them
    ]


@dataclass
class Ledger:
    """What the issues of each month came to, float64 [issues]: passes, USD, utility, and the expected utility."""

    passed: np.ndarray
    usd: np.ndarray
    utility: np.ndarray
    expected: np.ndarray

    @classmethod
    def empty(cls, issues: int) -> Ledger:
        """Nothing yet."""
        return cls(*(np.zeros(issues) for _ in range(4)))


@dataclass
class Arm:
    """One way to plan: its desk, what its issues came to, and the runs of the last month."""

    name: str
    desk: Desk
    ledger: Ledger
    runs: list[dict[str, Any]] = field(default_factory=list)

    def month(self, month: int, planner: Planner | None) -> dict[str, int]:
        """Run what is due in a month by ``planner``, by the rules without one; moments of the decisions by id."""
        world, stamps = self.desk.world, {}
        self.runs = []
        for at_ms, issue, attempt in self.desk.due(EPOCH_MS + (month + 1) * MONTH_MS):
            row, job_type = world.row(issue), world.job_type(issue)
            if planner is None:
                action = default_action(job_type, row["dk_risk"], row["dk_size"])
                key = "|".join((action.swarm, *map(str, resolve(action, job_type)[1:])))
                said: dict[str, Any] = {"propensity": 1.0, "propensities": {key: 1.0}}
            else:
                plan = planner.plan(self.desk.planner_input(at_ms, issue, attempt))
                action = action_of(plan.action)
                stamps[plan.decision_id] = at_ms
                said = {"decision_id": plan.decision_id}
            run = self.desk.run(at_ms, issue, attempt, action)
            self.runs.append({**run.summary, **said})
            self.ledger.passed[issue] += run.passed
            self.ledger.usd[issue] += run.summary["cost_usd_est"]
            self.ledger.utility[issue] += run.utility
            self.ledger.expected[issue] += _expected(world, issue, attempt, at_ms, action)
        return stamps


def _expected(world: LiveWorld, issue: int, attempt: int, at_ms: int, action: Any) -> float:
    truth = world.expected(issue, attempt, at_ms)
    priority = np.array([int(world.row(issue)["dk_priority"][1])])
    worth = utilities(truth.passed, truth.minutes, truth.cost_usd, priority, weight_table())
    return float(worth[0, SPACE.index[action]])


@dataclass
class Candidate:
    """A trained run and its bundle."""

    run: Path
    bundle: Path


class Workshop:
    """Where models are made: a directory with the tracker, the logs, the datasets, the runs and the bundles."""

    def __init__(self, out: Path, world: LiveWorld, seed: int, settings: dict[str, Any]) -> None:
        self.out, self.seed, self.registry = out, seed, load_registry()
        self.settings = make_settings(POLICY, self.registry.spec(POLICY).config_type, settings)
        out.mkdir(parents=True, exist_ok=True)
        self.issues = out / "issues.jsonl"
        write_lines(self.issues, [world.row(i) for i in range(len(world))])

    def logs(self, month: int) -> tuple[Path, Path]:
        """Where the runs and the decisions of a month lie."""
        return self.out / f"runs-{month:02d}.jsonl", self.out / f"decisions-{month:02d}.jsonl"

    def dataset(self, month: int, back: int) -> Path:
        """The dataset of the last ``back`` months, this one among them."""
        place = self.out / f"data-{month:02d}-{back}"
        if place.exists():
            return place
        runs, decisions = zip(*(self.logs(m) for m in range(max(0, month - back + 1), month + 1)), strict=True)
        build_dataset([self.issues], runs, place, decisions=[log for log in decisions if log.exists()])
        return place

    def candidate(self, month: int, dataset: Path) -> Candidate | None:
        """A model of a dataset, as a bundle; None where the gate finds it worse than the rules."""
        run, bundle = self.out / f"run-{month:02d}", self.out / f"bundle-{month:02d}"
        data = load_dataset(dataset, self.settings.encoder)
        train(POLICY, data, run, self.settings, self.registry, seed=self.seed, resume=True)
        gate = promotion_gate(POLICY, run, self.registry)
        if gate.answer == "worse":
            return None
        export_bundle(POLICY, self.registry, bundle, run=run, gate=gate)
        return Candidate(run, bundle)


def planner_of(candidate: Candidate | None, serving: Path | None, salt: str, log: Path | None) -> Planner | None:
    """What plans a month: the candidate beside what serves, what serves alone, or the rules (None)."""
    if candidate is not None:
        baseline = {} if serving is None else {"baseline": BundleAsBaseline(serving)}
        options = {"share": CANARY, "explore": EXPLORE, "explore_within": EXPLORE_WITHIN, "salt": salt}
        return Planner.load(candidate.bundle, strict=True, log=log, **options, **baseline)
    return None if serving is None else Planner.load(serving, strict=True, log=log)


@dataclass
class State:
    """A year between two months: what was asked for, and how far it has come. It is kept in ``state.pkl``."""

    asked: dict[str, Any]
    arms: dict[str, Arm]
    events: list[dict[str, Any]] = field(default_factory=list)
    serving: Path | None = None
    first: Path | None = None
    newest: Candidate | None = None
    since: int = 0
    seconds: float = 0.0


def year(out: Path, asked: dict[str, Any], settings: dict[str, Any], stop_after_s: float = float("inf")) -> State:
    """Run the year in the directory ``out``, or go on with the one there; ``asked`` as of :func:`main`.

    It ends after the month in which ``stop_after_s`` seconds have passed, whole or not. Raises :class:`PlannerError`
    where something else was asked of the year that is there.
    """
    began = time.perf_counter()
    months, issues = asked["months"], asked["issues"]
    changed = [] if asked["steady"] else changes()
    world = LiveWorld(months * issues, asked["seed"], mean_gap_ms=MONTH_MS // issues, changes=changed)
    kept = out / "state.pkl"
    if kept.exists():
        state: State = pickle.loads(kept.read_bytes())
        if state.asked != asked:
            raise PlannerError(f"{out}: there is another year, of {state.asked}; asked was {asked}")
        for arm in state.arms.values():
            arm.desk.world = world
    else:
        last = sum(world.arrival_ms(i) < EPOCH_MS + months * MONTH_MS for i in range(len(world)))
        arms = {name: Arm(name, Desk(world, 0, last), Ledger.empty(last)) for name in ("rules", "once", "loop")}
        state = State(asked, arms)
    shop = Workshop(out, world, asked["seed"], settings)
    before = state.seconds
    while len(state.events) < months:
        _month(state, shop, asked)
        state.seconds = before + time.perf_counter() - began
        write_bytes(kept, pickle.dumps(state))
        print(f"seed {asked['seed']}, {state.seconds:.0f} s: {state.events[-1]}", file=sys.stderr, flush=True)
        if time.perf_counter() - began > stop_after_s:
            break
    return state


def _month(state: State, shop: Workshop, asked: dict[str, Any]) -> None:
    month, arms, newest = len(state.events), state.arms, state.newest
    event: dict[str, Any] = {"month": month + 1, "candidate": newest and newest.bundle.name}
    runs_file, decisions_file = shop.logs(month)
    raw, salt = shop.out / f"raw-{month:02d}.jsonl", f"{asked['seed']}-{month}"
    raw.unlink(missing_ok=True)  # of a month that was interrupted
    first = state.first
    arms["rules"].month(month, None)
    arms["once"].month(month, planner_of(newest if first is None else None, first, salt, None))
    planner = planner_of(newest, state.serving, salt, raw)
    stamps = arms["loop"].month(month, planner)
    write_lines(runs_file, arms["loop"].runs)
    if planner is not None:
        restamp(raw, stamps, decisions_file)
        raw.unlink()
    if newest is not None:
        seen = watch(decisions_file, runs_file, newest.bundle)
        event |= {"stale": seen.stale, "watch": seen.text}
        if seen.stale:
            state.since = month  # what was before is of another world: the next one learns from here on
        # Judged by the month of the canary alone: there both were run, with known probability, so nothing has to be
        # concluded from runs of other budgets.
        done = promote_run(
            newest.run,
            state.serving or "heuristic",
            shop.out / f"serving-{month:02d}",
            shop.registry,
            dataset=shop.dataset(month, 1),
            replay="off",
        )
        event |= {"promoted": done.judged.promoted, "why": done.judged.text}
        state.serving = done.bundle
        if done.judged.promoted:
            state.first = first or newest.bundle
    if month + 1 < asked["months"]:
        event["learns_from_months"] = back = min(asked["window"], month - state.since + 1)
        state.newest = shop.candidate(month, shop.dataset(month, back))
    state.events.append(event)


def document_of(state: State) -> dict[str, Any]:
    """The content of ``year.json``: what every issue came to, by arm, figure and month of arrival."""
    arrived = state.arms["rules"].desk.arrived_ms
    month_of = (arrived - EPOCH_MS) // MONTH_MS
    figures = {
        name: {
            key: [values[month_of == month].tolist() for month in range(state.asked["months"])]
            for key, values in vars(arm.ledger).items()
        }
        for name, arm in state.arms.items()
    }
    return {**state.asked, "seconds": state.seconds, "events": state.events, "arms": figures}


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="A simulated year: the rules, a model trained once, and the loop.")
    parser.add_argument(
        "--out", type=Path, required=True, help="directory of the year; one that was interrupted goes on"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the world and of everything random")
    parser.add_argument("--months", type=int, default=12, help="months, of 30 days")
    parser.add_argument("--issues", type=int, default=1000, help="issues that arrive in a month, on average")
    parser.add_argument("--window", type=int, default=3, help="months that a training sees")
    parser.add_argument("--steady", action="store_true", help="without the changes: only the tags drift")
    parser.add_argument("--stop-after", type=float, metavar="SECONDS", help="end after the month in which they passed")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="configuration of the policy")
    options = parser.parse_args(argv)
    if min(options.months, options.issues, options.window) < 1 or options.seed < 0:
        parser.error("--months, --issues and --window must be at least 1, --seed at least 0")
    asked = {name: getattr(options, name) for name in ("seed", "months", "issues", "window", "steady", "set")}
    try:
        state = year(options.out, asked, parse_assignments(options.set), options.stop_after or float("inf"))
    except (PlannerError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    if len(state.events) < options.months:
        print(f"{len(state.events)} of {options.months} months; the same command goes on")
        return 0
    found = document_of(state)
    (options.out / "year.json").write_text(json.dumps(found))
    for name, figures in found["arms"].items():
        whole = {key: np.concatenate(values) for key, values in figures.items()}
        print(
            f"{name}: {100 * whole['passed'].mean():.1f} of 100 issues passed, {whole['usd'].mean():.2f} USD and "
            f"{whole['utility'].mean():.3f} utility an issue"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
