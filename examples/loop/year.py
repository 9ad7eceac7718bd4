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
    promotion_gate,
    resolve,
    train,
    utilities,
    weight_table,
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
    """One way to plan: its desk, what its issues came to, and the runs of each month."""

    name: str
    desk: Desk
    ledger: Ledger
    runs: list[list[dict[str, Any]]] = field(default_factory=list)

    def month(self, month: int, planner: Planner | None) -> dict[str, int]:
        """Run what is due in a month by ``planner``, by the rules without one; moments of the decisions by id."""
        world, stamps = self.desk.world, {}
        self.runs.append([])
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
            self.runs[-1].append({**run.summary, **said})
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
        out.mkdir(parents=True)
        self.issues = out / "issues.jsonl"
        write_lines(self.issues, [world.row(i) for i in range(len(world))])

    def logs(self, month: int) -> tuple[Path, Path]:
        """Where the runs and the decisions of a month lie."""
        return self.out / f"runs-{month:02d}.jsonl", self.out / f"decisions-{month:02d}.jsonl"

    def dataset(self, month: int, back: int) -> Path:
        """The dataset of the last ``back`` months, this one among them."""
        place = self.out / f"data-{month:02d}-{back}"
        runs, decisions = zip(*(self.logs(m) for m in range(max(0, month - back + 1), month + 1)), strict=True)
        build_dataset([self.issues], runs, place, decisions=[log for log in decisions if log.exists()])
        return place

    def candidate(self, month: int, dataset: Path) -> Candidate | None:
        """A model of a dataset, as a bundle; None where the gate finds it worse than the rules."""
        run, bundle = self.out / f"run-{month:02d}", self.out / f"bundle-{month:02d}"
        data = load_dataset(dataset, self.settings.encoder)
        train(POLICY, data, run, self.settings, self.registry, seed=self.seed)
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


def year(
    out: Path, seed: int, months: int, issues: int, window: int, settings: dict[str, Any], steady: bool = False
) -> dict[str, Any]:
    """Run the year in the new directory ``out``; returns the content of its ``year.json``."""
    began = time.perf_counter()
    total = months * issues
    world = LiveWorld(total, seed, mean_gap_ms=MONTH_MS // issues, changes=[] if steady else changes())
    # Arrivals are random: a month has the issues that arrive in it, and the last of them may lie behind the end.
    arrived = np.array([world.arrival_ms(i) for i in range(total)])
    month_of = (arrived - EPOCH_MS) // MONTH_MS
    last = int((month_of < months).sum())
    arms = {name: Arm(name, Desk(world, 0, last), Ledger.empty(last)) for name in ("rules", "once", "loop")}
    shop = Workshop(out, world, seed, settings)
    events: list[dict[str, Any]] = []
    serving: Path | None = None
    first: Path | None = None
    newest: Candidate | None = None
    since = 0
    for month in range(months):
        event: dict[str, Any] = {"month": month + 1, "candidate": newest and newest.bundle.name}
        runs_file, decisions_file = shop.logs(month)
        raw, salt = out / f"raw-{month:02d}.jsonl", f"{seed}-{month}"
        arms["rules"].month(month, None)
        arms["once"].month(
            month, planner_of(None, first, salt, None) if first else planner_of(newest, None, salt, None)
        )
        planner = planner_of(newest, serving, salt, raw)
        stamps = arms["loop"].month(month, planner)
        write_lines(runs_file, arms["loop"].runs[-1])
        if planner is not None:
            restamp(raw, stamps, decisions_file)
            raw.unlink()
        if newest is not None:
            seen = watch(decisions_file, runs_file, newest.bundle)
            event |= {"stale": seen.stale, "watch": seen.text}
            if seen.stale:
                since = month  # what was before is of another world: the next one learns from here on
            # Judged by the month of the canary alone: there both were run, with known probability, so nothing has to be
            # concluded from runs of other budgets.
            done = promote_run(
                newest.run,
                serving or "heuristic",
                out / "serving",
                shop.registry,
                dataset=shop.dataset(month, 1),
                replay="off",
            )
            event |= {"promoted": done.judged.promoted, "why": done.judged.text}
            serving = done.bundle
            if done.judged.promoted:
                first = first or newest.bundle
        if month + 1 < months:
            back = min(window, month - since + 1)
            event["learns_from_months"] = back
            newest = shop.candidate(month, shop.dataset(month, back))
        events.append(event)
        print(f"seed {seed}, {time.perf_counter() - began:.0f} s: {event}", file=sys.stderr, flush=True)
    figures = {
        name: {
            key: [values[month_of[:last] == month].tolist() for month in range(months)]
            for key, values in vars(arm.ledger).items()
        }
        for name, arm in arms.items()
    }
    return {
        "seed": seed,
        "months": months,
        "issues": last,
        "window": window,
        "steady": steady,
        "seconds": time.perf_counter() - began,
        "events": events,
        "arms": figures,
    }


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="A simulated year: the rules, a model trained once, and the loop.")
    parser.add_argument("--out", type=Path, required=True, help="a new directory")
    parser.add_argument("--seed", type=int, default=0, help="seed of the world and of everything random")
    parser.add_argument("--months", type=int, default=12, help="months, of 30 days")
    parser.add_argument("--issues", type=int, default=1500, help="issues that arrive in a month, on average")
    parser.add_argument("--window", type=int, default=3, help="months that a training sees")
    parser.add_argument("--steady", action="store_true", help="without the changes: only the tags drift")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="configuration of the policy")
    options = parser.parse_args(argv)
    if min(options.months, options.issues, options.window) < 1 or options.seed < 0:
        parser.error("--months, --issues and --window must be at least 1, --seed at least 0")
    try:
        from planner_core import parse_assignments

        found = year(
            options.out,
            options.seed,
            options.months,
            options.issues,
            options.window,
            parse_assignments(options.set),
            options.steady,
        )
    except (PlannerError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    (options.out / "year.json").write_text(json.dumps(found))
    for name, figures in found["arms"].items():
        whole = {key: np.concatenate([np.array(month) for month in values]) for key, values in figures.items()}
        n = len(whole["passed"])
        print(
            f"{name}: {100 * whole['passed'].sum() / n:.1f} of 100 issues passed, {whole['usd'].sum() / n:.2f} USD and "
            f"{whole['utility'].sum() / n:.3f} utility an issue"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
