"""What happens in the simulated world: hidden offsets and skills, issues that arrive, runs that are made of them.

Everything is drawn here; :mod:`planner_core.world.generate` turns it into a dataset and judges it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES, Action, ActionSpace, obeys
from planner_core.data.retrieval import WORLD_JOB_TYPE
from planner_core.encoder import (
    BUDGETS,
    HOURS,
    QUEUE,
    RISKS,
    SIZES,
    TOOLCHAINS,
    WORKCELLS,
)
from planner_core.errors import ConfigError
from planner_core.world import model

Baseline = Callable[[str, str, str], Action]
"""The hand-written rules, by (job type, risk, size)."""

EPOCH_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
MEAN_GAP_MS = 600_000  # between two new issues

JOBS = JOB_TYPES[:3]
JOB_SHARES = (0.7, 0.2, 0.1)
PRIORITY_SHARES = (0.1, 0.25, 0.45, 0.2)
RISK_SHARES = (0.35, 0.4, 0.18, 0.07)
SIZE_SHARES = (0.15, 0.3, 0.3, 0.17, 0.08)
TOOL_SHARES = (0.3, 0.3, 0.1, 0.1, 0.2)  # the four toolchains, then none
TAG_COUNT_SHARES = (0.3, 0.35, 0.25, 0.1)  # 1 to 4 tags
TAGS = (
    *("api", "auth", "backend", "billing", "bug", "build", "cache", "ci", "cli", "config"),
    *("crash", "css", "database", "dependencies", "deploy", "docs", "e2e", "errors", "export", "flaky"),
    *("frontend", "i18n", "import", "infra", "logging", "memory", "metrics", "migration", "mobile", "networking"),
    *("onboarding", "parser", "performance", "refactor", "release", "search", "security", "tests", "ui", "upgrade"),
)

SIZE_OFFSETS = (-0.8, -0.4, 0.0, 0.4, 0.8)
RISK_OFFSETS = (0.0, 0.15, 0.4, 0.7)
ATTEMPT_OFFSET = 0.25
FIXED_SD, DRIFT_SD, DRIFT_ISSUES = 1.3, 0.9, 1000.0
SKILL_SD = 0.6

EXPLORATION = 0.2
RETRY_PROBABILITY, MAX_ATTEMPTS = 0.3, 4
MEAN_RETRY_DELAY_MS = 3 * 3_600_000

UNIVERSES = ("medieval-village", "orbital-station", "desert-outpost")
OBJECTIVES = ("realism", "performance")
OBJECTIVE_SHARES = (0.5, 0.3, 0.2)  # the two objectives, then none named
UNIVERSE_SWARMS = (None, "speculate_vote", "serial_handoff")

_ROWS_AT_ONCE = 4096

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Hidden:
    """Offsets nobody observes: fixed per tag [40], drift [issues, 40], skill per tool [4, then 0 for none]."""

    fixed: Floats
    drift: Floats
    skill: Floats


@dataclass(frozen=True)
class Issues:
    """One row an issue, in order of arrival; every column but the first is a position in its list of names.

    ``tags`` [issues, 4] is filled up with -1; ``tool``, ``world`` and ``objective`` are -1 for none.
    """

    arrival_ms: Ints
    job: Ints
    priority: Ints
    risk: Ints
    size: Ints
    tool: Ints
    tags: Ints
    world: Ints
    objective: Ints


@dataclass(frozen=True)
class Runs:
    """One row a run, in order of start: what was planned, how hard it was, how it ended."""

    issue: Ints
    at_ms: Ints
    attempts: Ints
    known_z: Floats
    z: Floats
    action: Ints
    propensity: Floats
    duration_ms: Ints
    cost_usd: Floats
    passed: NDArray[np.bool_]
    out_of_time: NDArray[np.bool_]
    outvoted: NDArray[np.bool_]


def tabulate(baseline: Baseline) -> Ints:
    """Joint class of the baseline's action, int64 [job types, risks, sizes]."""
    table = np.empty((len(JOBS), len(RISKS), len(SIZES)), np.int64)
    index = ActionSpace().index
    for i, job_type in enumerate(JOBS):
        for j, risk in enumerate(RISKS):
            for k, size in enumerate(SIZES):
                action = baseline(job_type, risk, size)
                if action not in index or not obeys(action, job_type):
                    raise ConfigError(f"the baseline's action for {job_type}, {risk}, {size} is not valid: {action}")
                table[i, j, k] = index[action]
    return table


def draw_hidden(rng: np.random.Generator, issues: int) -> Hidden:
    """Offsets of the tags, their drift over the issues, and the skills of the tools."""
    fixed = rng.normal(0.0, FIXED_SD, len(TAGS))
    skill = np.append(rng.normal(0.0, SKILL_SD, len(TOOLCHAINS)), 0.0)
    keep = np.exp(-1.0 / DRIFT_ISSUES)
    drift = rng.standard_normal((issues, len(TAGS)))
    drift *= DRIFT_SD * np.sqrt(1.0 - keep * keep)
    drift[0] = rng.normal(0.0, DRIFT_SD, len(TAGS))
    for i in range(1, issues):
        drift[i] += keep * drift[i - 1]
    return Hidden(fixed, drift, skill)


def draw_issues(rng: np.random.Generator, n: int) -> Issues:
    """``n`` issues in the order in which they arrive."""

    def choose(shares: tuple[float, ...]) -> Ints:
        return rng.choice(len(shares), n, p=shares)

    arrival = EPOCH_MS + np.cumsum(np.rint(rng.exponential(MEAN_GAP_MS, n))).astype(np.int64)
    job = choose(JOB_SHARES)
    tool = choose(TOOL_SHARES)
    # The order of popularity is drawn too, so that a frequent tag means something else in another world.
    popularity = np.empty(len(TAGS))
    popularity[rng.permutation(len(TAGS))] = -np.log(np.arange(1, len(TAGS) + 1))
    tags = np.empty((n, len(TAG_COUNT_SHARES)), np.int64)
    for begin in range(0, n, _ROWS_AT_ONCE):
        # Adding Gumbel noise to log weights and taking the largest draws without replacement in proportion to them.
        some = tags[begin : begin + _ROWS_AT_ONCE]
        some[:] = np.argsort(-(popularity + rng.gumbel(size=(len(some), len(TAGS)))), axis=1)[:, : tags.shape[1]]
    tags[np.arange(tags.shape[1]) > choose(TAG_COUNT_SHARES)[:, None]] = -1
    in_world = job == JOBS.index(WORLD_JOB_TYPE)
    objective = choose(OBJECTIVE_SHARES)
    return Issues(
        arrival_ms=arrival,
        job=job,
        priority=choose(PRIORITY_SHARES),
        risk=choose(RISK_SHARES),
        size=choose(SIZE_SHARES),
        tool=np.where(tool < len(TOOLCHAINS), tool, -1),
        tags=tags,
        world=np.where(in_world, rng.integers(0, len(UNIVERSES), n), -1),
        objective=np.where(in_world & (objective < len(OBJECTIVES)), objective, -1),
    )


def draw_runs(rng: np.random.Generator, issues: Issues, hidden: Hidden, baseline: Ints, examples: int) -> Runs:
    """Runs of all issues, one attempt after the other, cut to the first ``examples`` in order of start.

    There are as many issues as examples, so all of the first ``examples`` runs start by the last arrival.
    """
    space = ActionSpace()
    valid = [np.flatnonzero(mask) for mask in space.joint_masks[: len(JOBS)]]
    n_valid = np.array([len(actions) for actions in valid])
    choices = np.zeros((len(JOBS), n_valid.max()), np.int64)
    for row, actions in zip(choices, valid, strict=True):
        row[: len(actions)] = actions
    plans = np.stack([model.plan_table(iterates=name != "code") for name in JOBS])

    waves: list[Runs] = []
    issue, at_ms = np.arange(len(issues.job)), issues.arrival_ms
    for attempt in range(MAX_ATTEMPTS + 1):
        job, size = issues.job[issue], issues.size[issue]
        known_z = known_difficulty(issues, hidden, issue, at_ms, attempt)
        z = known_z + rng.normal(0.0, model.NOISE, len(issue))
        usual = baseline[job, issues.risk[issue], size]
        explored = choices[job, rng.integers(0, n_valid[job])]
        action = np.where(rng.random(len(issue)) < EXPLORATION, explored, usual)
        result = model.sample(rng, size, z, plans[job, action])
        duration = np.rint(result.minutes * 60_000).astype(np.int64)
        waves.append(
            Runs(
                issue=issue,
                at_ms=at_ms,
                attempts=np.full(len(issue), attempt),
                known_z=known_z,
                z=z,
                action=action,
                propensity=np.where(action == usual, 1.0 - EXPLORATION, 0.0) + EXPLORATION / n_valid[job],
                duration_ms=duration,
                cost_usd=np.round(result.cost_usd, 4),
                passed=result.passed,
                out_of_time=result.out_of_time,
                outvoted=result.outvoted,
            )
        )
        delay = np.rint(rng.exponential(MEAN_RETRY_DELAY_MS, len(issue))).astype(np.int64)
        again = at_ms + duration + delay
        retried = ~result.passed & (rng.random(len(issue)) < RETRY_PROBABILITY) & (again <= issues.arrival_ms[-1])
        issue, at_ms = issue[retried], again[retried]
    columns = {f.name: np.concatenate([getattr(wave, f.name) for wave in waves]) for f in fields(Runs)}
    order = np.lexsort((columns["issue"], columns["at_ms"]))[:examples]
    return Runs(**{name: column[order] for name, column in columns.items()})


def known_difficulty(issues: Issues, hidden: Hidden, issue: Ints, at_ms: Ints, attempt: int) -> Floats:
    """z without its noise; the drift is the one at the last issue that has arrived by then."""
    tags = issues.tags[issue]
    now = np.searchsorted(issues.arrival_ms, at_ms, side="right") - 1
    offsets = np.where(tags >= 0, hidden.fixed[tags] + hidden.drift[now[:, None], tags], 0.0)
    known: Floats = (
        np.array(SIZE_OFFSETS)[issues.size[issue]]
        + np.array(RISK_OFFSETS)[issues.risk[issue]]
        + offsets.sum(axis=1) / (tags >= 0).sum(axis=1)
        + ATTEMPT_OFFSET * attempt
        - hidden.skill[issues.tool[issue]]  # the last entry, for none, is 0
    )
    return known


@dataclass(frozen=True)
class States:
    """The system state of each run, as columns: positions in the lists of names, and which toolchains are there."""

    present: NDArray[np.bool_]
    workcells: Ints
    queue: Ints
    hour: Ints
    budget: Ints
    available: NDArray[np.bool_]

    def document(self, run: int) -> dict[str, Any] | None:
        """The ``system_state`` of a run; None where nobody recorded it."""
        if not self.present[run]:
            return None
        budget = self.budget[run]
        return {
            "active_workcells_bin": WORKCELLS[self.workcells[run]][0],
            "queue_depth_bin": QUEUE[self.queue[run]][0],
            "hour_bucket": HOURS[self.hour[run]],
            "budget_remaining_bin": BUDGETS[budget] if budget < len(BUDGETS) else None,
            "available_toolchains": [
                tool for tool, there in zip(TOOLCHAINS, self.available[run].tolist(), strict=True) if there
            ],
            "toolchain_health": None,
        }


def draw_states(rng: np.random.Generator, at_ms: Ints) -> States:
    """A system state for half of the runs; the hour is that of the run, everything else tells nothing."""
    n = len(at_ms)
    return States(
        present=rng.random(n) < 0.5,
        workcells=rng.integers(0, len(WORKCELLS), n),
        queue=rng.integers(0, len(QUEUE), n),
        budget=rng.integers(0, len(BUDGETS) + 1, n),
        available=rng.random((n, len(TOOLCHAINS))) < 0.85,
        hour=at_ms // 21_600_000 % 4,
    )
