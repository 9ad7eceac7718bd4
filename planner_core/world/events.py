"""What happens in the simulated world: hidden offsets and skills, issues that arrive, runs that are made of them.

Everything is drawn here; :mod:`planner_core.world.generate` turns it into a dataset and judges it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from planner_core.data.retrieval import WORLD_JOB_TYPE
from planner_core.encoder import BUDGETS, HOURS, QUEUE, TOOLCHAINS, WORKCELLS
from planner_core.world.config import (
    JOBS,
    OBJECTIVES,
    TAGS,
    UNIVERSES,
    Difficulty,
    Table,
    WorldConfig,
    column,
)
from planner_core.world.logging_policy import LoggingPolicy
from planner_core.world.outcomes import Bools, Cases, Floats, Ints, OutcomeModel, SampledRuns

_ROWS_AT_ONCE = 4096


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
    """One row a run, in order of start: what was run, how hard it was, how it ended.

    ``usual`` is the joint class of the rules, ``action`` that of what was run. ``candidate_passed`` bool,
    ``candidate_ms`` (busy, without the vote) and ``candidate_cost_usd`` are [runs, 3], NaN where there is none.
    """

    issue: Ints
    at_ms: Ints
    attempts: Ints
    known_z: Floats
    z: Floats
    usual: Ints
    action: Ints
    duration_ms: Ints
    cost_usd: Floats
    passed: Bools
    out_of_time: Bools
    outvoted: Bools
    candidate_passed: Bools
    candidate_ms: Floats
    candidate_cost_usd: Floats

    @classmethod
    def of_sample(cls, issue: Ints, at_ms: Ints, cases: Cases, usual: Ints, action: Ints, sampled: SampledRuns) -> Runs:
        """Sampled runs as a log has them: whole milliseconds, hundredths of a cent (a candidate's to 1e-6 USD)."""
        return cls(
            issue=issue,
            at_ms=at_ms,
            attempts=cases.attempts,
            known_z=cases.known_z,
            z=cases.z,
            usual=usual,
            action=action,
            duration_ms=np.rint(sampled.minutes * 60_000).astype(np.int64),
            cost_usd=np.round(sampled.cost_usd, 4),
            passed=sampled.passed,
            out_of_time=sampled.out_of_time,
            outvoted=sampled.outvoted,
            candidate_passed=sampled.candidate_passed,
            candidate_ms=np.rint(sampled.candidate_minutes * 60_000),
            candidate_cost_usd=np.round(sampled.candidate_cost_usd, 6),
        )

    def cases(self, issues: Issues, rows: slice | Ints) -> Cases:
        """The issues of some runs as their outcome model sees them."""
        return cases_of(issues, self.issue[rows], self.attempts[rows], self.known_z[rows], self.z[rows])


def cases_of(issues: Issues, issue: Ints, attempts: Ints, known_z: Floats, z: Floats) -> Cases:
    """Runs of some issues, ``attempts`` after the first, as their outcome model sees them."""
    names = ("job", "size", "risk", "priority", "tool", "tags")
    return Cases(**{name: getattr(issues, name)[issue] for name in names}, attempts=attempts, known_z=known_z, z=z)


def draw_hidden(rng: np.random.Generator, difficulty: Difficulty, issues: int) -> Hidden:
    """Offsets of the tags, their drift over the issues, and the skills of the tools."""
    fixed = rng.normal(0.0, difficulty.tag_fixed_sd, len(TAGS))
    skill = np.append(rng.normal(0.0, difficulty.skill_sd, len(TOOLCHAINS)), 0.0)
    keep = np.exp(-1.0 / difficulty.tag_drift_issues)
    drift = rng.standard_normal((issues, len(TAGS)))
    drift *= difficulty.tag_drift_sd * np.sqrt(1.0 - keep * keep)
    drift[0] = rng.normal(0.0, difficulty.tag_drift_sd, len(TAGS))
    for i in range(1, issues):
        drift[i] += keep * drift[i - 1]
    return Hidden(fixed, drift, skill)


def draw_issues(rng: np.random.Generator, config: WorldConfig, n: int) -> Issues:
    """``n`` issues in the order in which they arrive."""
    shares = config.shares

    def choose(table: Table) -> Ints:
        return rng.choice(len(table), n, p=column(table))

    arrival = config.epoch_ms + np.cumsum(np.rint(rng.exponential(config.mean_gap_ms, n))).astype(np.int64)
    job = choose(shares.job_type)
    tool = choose(shares.tool_hint)
    # The order of popularity is drawn too, so that a frequent tag means something else in another world.
    popularity = np.empty(len(TAGS))
    popularity[rng.permutation(len(TAGS))] = -np.log(np.arange(1, len(TAGS) + 1))
    tags = np.empty((n, len(shares.tag_count)), np.int64)
    for begin in range(0, n, _ROWS_AT_ONCE):
        # Adding Gumbel noise to log weights and taking the largest draws without replacement in proportion to them.
        some = tags[begin : begin + _ROWS_AT_ONCE]
        some[:] = np.argsort(-(popularity + rng.gumbel(size=(len(some), len(TAGS)))), axis=1)[:, : tags.shape[1]]
    tags[np.arange(tags.shape[1]) > choose(shares.tag_count)[:, None]] = -1
    in_world = job == JOBS.index(WORLD_JOB_TYPE)
    objective = choose(shares.objective)
    return Issues(
        arrival_ms=arrival,
        job=job,
        priority=choose(shares.priority),
        risk=choose(shares.risk),
        size=choose(shares.size),
        tool=np.where(tool < len(TOOLCHAINS), tool, -1),
        tags=tags,
        world=np.where(in_world, rng.integers(0, len(UNIVERSES), n), -1),
        objective=np.where(in_world & (objective < len(OBJECTIVES)), objective, -1),
    )


def draw_runs(
    rng: np.random.Generator,
    config: WorldConfig,
    model: OutcomeModel,
    issues: Issues,
    hidden: Hidden,
    baseline: Ints,
    examples: int,
) -> Runs:
    """Runs of all issues, one attempt after the other, cut to the first ``examples`` in order of start.

    There are as many issues as examples, so all of the first ``examples`` runs start by the last arrival.
    """
    policy, attempts = LoggingPolicy(config.exploration), config.attempts
    waves: list[Runs] = []
    issue, at_ms = np.arange(len(issues.job)), issues.arrival_ms
    for attempt in range(attempts.max_attempts + 1):
        job = issues.job[issue]
        known_z = known_difficulty(issues, hidden, config.difficulty, issue, at_ms, attempt)
        z = known_z + rng.normal(0.0, config.difficulty.noise_sd, len(issue))
        usual = baseline[job, issues.risk[issue], issues.size[issue]]
        action = policy.draw(rng, job, usual)
        cases = cases_of(issues, issue, np.full(len(issue), attempt), known_z, z)
        wave = Runs.of_sample(issue, at_ms, cases, usual, action, model.sample(rng, cases, action))
        waves.append(wave)
        delay = np.rint(rng.exponential(attempts.mean_retry_delay_ms, len(issue))).astype(np.int64)
        again = at_ms + wave.duration_ms + delay
        returns = rng.random(len(issue)) < attempts.retry_probability
        retried = ~wave.passed & returns & (again <= issues.arrival_ms[-1])
        issue, at_ms = issue[retried], again[retried]
    started = (np.concatenate([getattr(wave, name) for wave in waves]) for name in ("issue", "at_ms"))
    order = np.lexsort(tuple(started))[:examples]
    return Runs(**{f.name: np.concatenate([getattr(wave, f.name) for wave in waves])[order] for f in fields(Runs)})


def known_difficulty(
    issues: Issues, hidden: Hidden, difficulty: Difficulty, issue: Ints, at_ms: Ints, attempt: int
) -> Floats:
    """z without its noise; the drift is the one at the last issue that has arrived by then."""
    tags = issues.tags[issue]
    now = np.searchsorted(issues.arrival_ms, at_ms, side="right") - 1
    offsets = np.where(tags >= 0, hidden.fixed[tags] + hidden.drift[now[:, None], tags], 0.0)
    known: Floats = (
        column(difficulty.size)[issues.size[issue]]
        + column(difficulty.risk)[issues.risk[issue]]
        + offsets.sum(axis=1) / (tags >= 0).sum(axis=1)
        + difficulty.attempt * attempt
        - hidden.skill[issues.tool[issue]]  # the last entry, for none, is 0
    )
    return known


@dataclass(frozen=True)
class States:
    """The system state of each run, as columns: positions in the lists of names, and which toolchains are there."""

    present: Bools
    workcells: Ints
    queue: Ints
    hour: Ints
    budget: Ints
    available: Bools

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


def draw_states(rng: np.random.Generator, share: float, at_ms: Ints) -> States:
    """A system state for that share of the runs; the hour is that of the run, everything else tells nothing."""
    n = len(at_ms)
    return States(
        present=rng.random(n) < share,
        workcells=rng.integers(0, len(WORKCELLS), n),
        queue=rng.integers(0, len(QUEUE), n),
        budget=rng.integers(0, len(BUDGETS) + 1, n),
        available=rng.random((n, len(TOOLCHAINS))) < 0.85,
        hour=at_ms // 21_600_000 % 4,
    )
