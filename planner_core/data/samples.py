"""Random but valid planner inputs, for export checks, golden rows and benchmarks. Deterministic by seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner_core.action_space import CANDIDATES_BINS, ITERATIONS_BINS, MINUTES_BINS, NA, SWARM_IDS, ActionSpace
from planner_core.clock import rfc3339
from planner_core.contracts import INPUT_SCHEMA, LOG_FIGURE_HALF_LIVES, Offsets
from planner_core.encoder import (
    BUDGETS,
    DAY_MS,
    DOMAINS,
    GATES,
    HOURS,
    PRIORITIES,
    QUEUE,
    RISKS,
    RUN_JOB_TYPES,
    SIZES,
    STATUSES,
    TOOLCHAINS,
    WORKCELLS,
)

NOW_MS = 1_780_000_000_000
_FAIL_CODES = ("test_failed", "type_error", "lint", "merge_conflict", "budget_exhausted", "build_failed")


def sample_inputs(
    count: int,
    seed: int = 0,
    *,
    history_runs: int | None = None,
    job_type: str | None = None,
    log_figures: bool = False,
) -> list[dict[str, Any]]:
    """``count`` planner inputs as dicts.

    ``history_runs`` fixes the number of similar runs (0 to 9 at random otherwise), ``job_type`` the job type; an
    unknown job type is among the random ones. With ``log_figures`` three of four have them.
    """
    rng, of_figures = (np.random.default_rng(s) for s in (seed, (seed, 1)))
    out = [_sample(rng, row, history_runs, job_type) for row in range(count)]
    for x in out if log_figures else ():
        if of_figures.random() < 0.75:
            x["log_figures"] = _log_figures(of_figures)
    return out


def _pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _tags(rng: np.random.Generator) -> list[str]:
    return [f"area:{int(i)}" for i in rng.integers(0, 200, int(rng.integers(0, 10)))]


def _sample(rng: np.random.Generator, row: int, history_runs: int | None, job_type: str | None) -> dict[str, Any]:
    runs = int(rng.integers(0, 10)) if history_runs is None else history_runs
    job = job_type or _pick(rng, (*RUN_JOB_TYPES, "research"))
    return {
        "schema_version": INPUT_SCHEMA,
        "created_at": rfc3339(NOW_MS),
        "universe_id": "sample",
        "job_type": job,
        "universe_defaults": {
            "swarm_id": _pick(rng, (*SWARM_IDS, None)),
            "objective_id": _pick(rng, ("realism", "speed", None)),
        },
        "issue": {
            "issue_id": f"sample-{row}",
            "dk_priority": _pick(rng, PRIORITIES),
            "dk_risk": _pick(rng, RISKS),
            "dk_size": _pick(rng, SIZES),
            "dk_tool_hint": _pick(rng, (*TOOLCHAINS, None)),
            "dk_attempts": int(rng.integers(0, 6)),
            "tags": _tags(rng),
        },
        "history": {"last_n_similar_runs": [_run(rng, row, i, job) for i in range(runs)]},
        "action_space": ActionSpace().to_dict(),
        "system_state": _system_state(rng) if rng.random() < 0.5 else None,
    }


def _log_figures(rng: np.random.Generator) -> dict[str, Any]:
    def offsets(spread: float) -> dict[str, list[float]]:
        names = Offsets.__struct_fields__
        return {name: rng.normal(0.0, spread, len(LOG_FIGURE_HALF_LIVES)).round(6).tolist() for name in names}

    return {"known": round(float(rng.random()), 6), "passed": offsets(0.5), "minutes": offsets(0.2)}


def _number(value: Any) -> int | None:
    return None if value == NA else int(value)


def _run(rng: np.random.Generator, row: int, i: int, job: str) -> dict[str, Any]:
    gates = [
        {"name": str(name), "passed": bool(rng.random() < 0.8)}
        for name in rng.choice(GATES, int(rng.integers(0, 5)), replace=False)
    ]
    return {
        "run_id": f"run-{row}-{i}",
        "started_ms": NOW_MS - int(rng.exponential(10 * DAY_MS)) - 1,
        "job_type": job,
        "domain": job.replace("-", "_") if job.replace("-", "_") in DOMAINS else "code",
        "action_executed": {
            "swarm_id": _pick(rng, (*SWARM_IDS, None)),
            "max_candidates": _number(_pick(rng, CANDIDATES_BINS)),
            "max_minutes": _number(_pick(rng, MINUTES_BINS)),
            "max_iterations": _number(_pick(rng, ITERATIONS_BINS)),
        },
        "outcome": {
            "status": _pick(rng, STATUSES),
            "fail_codes": [str(c) for c in rng.choice(_FAIL_CODES, int(rng.integers(0, 4)), replace=False)],
            "gates": gates,
        },
        "runtime": {"duration_ms": int(rng.exponential(30 * 60_000))},
        "cost_usd_est": None if rng.random() < 0.2 else round(float(rng.exponential(2.0)), 4),
        "tags": _tags(rng),
    }


def _system_state(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "active_workcells_bin": _pick(rng, (*(label for label, _ in WORKCELLS), None)),
        "queue_depth_bin": _pick(rng, (*(label for label, _ in QUEUE), None)),
        "hour_bucket": _pick(rng, (*HOURS, None)),
        "budget_remaining_bin": _pick(rng, (*BUDGETS, None)),
        "available_toolchains": [str(t) for t in rng.choice(TOOLCHAINS, 2, replace=False)],
        "toolchain_health": None,
    }
