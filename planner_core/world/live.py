"""A simulated world whose runs are somebody else's choice, one run at a time: what plans led to can be compared.

Issues, difficulties and outcomes are drawn as :mod:`planner_core.world.generate` draws them. What is random about an
attempt at an issue depends on the seed, the issue and the attempt alone: two plans for the same attempt meet the same
luck (common random numbers), so that a difference between two ways to plan comes from the plans.

The world drifts as every world does (the offsets of tags, :class:`planner_core.world.config.Difficulty`), and
:class:`Change` says what else becomes different at a moment: what a minute costs, how able a tool is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from planner_core.action_space import Action, ActionSpace
from planner_core.encoder import DOMAINS, PRIORITIES, RISKS, SIZES, TOOLCHAINS
from planner_core.errors import ConfigError
from planner_core.examples import Outcomes
from planner_core.utility import weight_table
from planner_core.world.config import DEFAULT, JOBS, OBJECTIVES, UNIVERSES, Tries, WorldConfig
from planner_core.world.events import Hidden, Runs, cases_of, draw_hidden, draw_issues, known_difficulty
from planner_core.world.log import EXECUTED, Ending, ending_of, issue_name, tag_names
from planner_core.world.models import outcome_model
from planner_core.world.outcomes import Cases, OutcomeModel


class Change(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is different from ``begin_ms`` on: USD of a candidate's minute, and how much abler which tools are."""

    begin_ms: int
    usd_per_candidate_minute: float | None = None
    skill: dict[str, float] = {}


@dataclass(frozen=True)
class LiveRun:
    """A run as its log has it (``run_summary.v1``, with its candidates), its ``utility``, and when its issue is back.

    ``retry_ms`` is the start of the next attempt in Unix milliseconds; None after a pass, and where nobody tries again.
    """

    summary: dict[str, Any]
    passed: bool
    utility: float
    retry_ms: int | None


class LiveWorld:
    """``issues`` issues that arrive in time; the same arguments make the same world.

    ``mean_gap_ms`` lies between two arrivals, that of ``config`` if None. Raises :class:`ConfigError` for numbers out
    of range, changes of unknown tools, and a price where the world's outcomes have none.
    """

    def __init__(
        self,
        issues: int,
        seed: int,
        *,
        config: WorldConfig = DEFAULT,
        mean_gap_ms: int | None = None,
        changes: Sequence[Change] = (),
    ) -> None:
        if issues < 1 or seed < 0 or (mean_gap_ms is not None and mean_gap_ms < 1):
            given = f"{issues}, {seed} and {mean_gap_ms}"
            raise ConfigError(f"a world needs issues >= 1, a seed >= 0 and a gap >= 1 ms, not {given}")
        self.config = config if mean_gap_ms is None else replace(config, mean_gap_ms=mean_gap_ms)
        self._seed, self._changes = seed, sorted(changes, key=lambda change: change.begin_ms)
        hidden_seed, issue_seed, self._model_seed = np.random.SeedSequence([seed, 0x6C697665]).spawn(3)
        self._issues = draw_issues(np.random.default_rng(issue_seed), self.config, issues)
        hidden = draw_hidden(np.random.default_rng(hidden_seed), self.config.difficulty, issues)
        self._eras = [self._era(count, hidden) for count in range(len(self._changes) + 1)]
        self._space, self._weights = ActionSpace(), weight_table()

    def __len__(self) -> int:
        return len(self._issues.job)

    def _era(self, count: int, hidden: Hidden) -> tuple[Hidden, OutcomeModel]:
        """What is hidden, and what actions lead to, after the first ``count`` changes."""
        skill, outcome = hidden.skill.copy(), self.config.outcome
        for change in self._changes[:count]:
            for tool, more in change.skill.items():
                if tool not in TOOLCHAINS:
                    raise ConfigError(f"there is no tool {tool!r}; there are {', '.join(TOOLCHAINS)}")
                skill[TOOLCHAINS.index(tool)] += more
            if change.usd_per_candidate_minute is not None:
                if not isinstance(outcome, Tries):
                    raise ConfigError(f"the world {self.config.name!r} has no price of a minute that could change")
                outcome = replace(outcome, usd_per_candidate_minute=change.usd_per_candidate_minute)
        changed = replace(self.config, outcome=outcome)
        return Hidden(hidden.fixed, hidden.drift, skill), outcome_model(changed, self._model_seed)

    def arrival_ms(self, issue: int) -> int:
        """When an issue arrives, in Unix milliseconds; issues are numbered in this order."""
        return int(self._issues.arrival_ms[issue])

    def job_type(self, issue: int) -> str:
        """The job type of an issue."""
        return JOBS[self._issues.job[issue]]

    def row(self, issue: int) -> dict[str, Any]:
        """An issue as a row of a tracker (Beads JSONL with ``dk_*`` fields)."""
        of, tool = self._issues, int(self._issues.tool[issue])
        return {
            "id": issue_name(issue),
            "title": f"simulated issue {issue}",
            "status": "open",
            "dk_priority": PRIORITIES[of.priority[issue]],
            "dk_risk": RISKS[of.risk[issue]],
            "dk_size": SIZES[of.size[issue]],
            "dk_tool_hint": TOOLCHAINS[tool] if tool >= 0 else None,
            "tags": tag_names(of.tags[issue : issue + 1])[0],
            **self.place(issue),
        }

    def place(self, issue: int) -> dict[str, str]:
        """Universe and objective of an issue of ``fab-world``; empty for all others."""
        world, objective = int(self._issues.world[issue]), int(self._issues.objective[issue])
        out = {"universe_id": UNIVERSES[world]} if world >= 0 else {}
        return out | ({"objective_id": OBJECTIVES[objective]} if objective >= 0 else {})

    def run(self, issue: int, attempt: int, at_ms: int, action: Action, run_id: str) -> LiveRun:
        """Run an action on an issue, ``attempt`` attempts after its first."""
        rng, cases, model = self._attempt(issue, attempt, at_ms)
        after = np.random.default_rng([self._seed, issue, attempt, 1])  # whatever the action, the same
        job, joint = int(cases.job[0]), np.array([self._space.index[action]])
        sampled = model.sample(rng, cases, joint)
        ran = Runs.of_sample(np.array([issue]), np.array([at_ms]), cases, joint, joint, sampled)
        ending = ending_of(job, ran, 0, float(after.random()), (after.random(4) < self.config.gate_fail_share).tolist())
        delay, returns = after.exponential(self.config.attempts.mean_retry_delay_ms), after.random()
        duration, passed, cost = int(ran.duration_ms[0]), bool(ran.passed[0]), float(ran.cost_usd[0])
        pass_worth, hour, usd = self._weights[cases.priority[0]]
        again = returns < self.config.attempts.retry_probability and attempt < self.config.attempts.max_attempts
        return LiveRun(
            summary=self._summary(issue, at_ms, run_id, ran, ending),
            passed=passed,
            utility=float(pass_worth * passed - hour * duration / 3_600_000 - usd * cost),
            retry_ms=at_ms + duration + round(delay) if again and not passed else None,
        )

    def _summary(self, issue: int, at_ms: int, run_id: str, ran: Runs, ending: Ending) -> dict[str, Any]:
        each = zip(ran.candidate_passed[0], ran.candidate_ms[0], ran.candidate_cost_usd[0], strict=True)
        job = JOBS[self._issues.job[issue]]
        return {
            "run_id": run_id,
            "started_ms": at_ms,
            "issue_id": issue_name(issue),
            "job_type": job,
            "domain": DOMAINS[JOBS.index(job)],
            "action_executed": EXECUTED[int(ran.action[0])],
            "outcome": {
                "status": ending.status,
                "fail_codes": ending.codes,
                "gates": [{"name": name, "passed": name not in ending.failed} for name in ending.gates],
            },
            "runtime": {"duration_ms": int(ran.duration_ms[0])},
            "cost_usd_est": float(ran.cost_usd[0]),
            "tags": tag_names(self._issues.tags[issue : issue + 1])[0],
            "candidates": [
                {"passed": bool(passed), "duration_ms": int(ms), "cost_usd": float(usd)}
                for passed, ms, usd in each
                if not np.isnan(ms)
            ],
            **self.place(issue),
        }

    def expected(self, issue: int, attempt: int, at_ms: int) -> Outcomes:
        """The hidden truth of an attempt, to report what a plan was worth: expected outcomes of all actions [1, 150].

        Given everything but the noise; NaN where an action is not valid. No planner may see it.
        """
        _, cases, model = self._attempt(issue, attempt, at_ms)
        valid = self._space.joint_masks[cases.job]
        return Outcomes(*(np.where(valid, v, np.nan).astype(np.float32) for v in model.expected_over_noise(cases)))

    def _attempt(self, issue: int, attempt: int, at_ms: int) -> tuple[np.random.Generator, Cases, OutcomeModel]:
        """The luck of an attempt, what it is about, and the world at that moment."""
        if not 0 <= issue < len(self) or attempt < 0:
            raise ConfigError(f"there is no attempt {attempt} at issue {issue} of {len(self)}")
        rng = np.random.default_rng([self._seed, issue, attempt, 0])
        now = sum(change.begin_ms <= at_ms for change in self._changes)
        hidden, model = self._eras[now]
        one = np.array([issue])
        known = known_difficulty(self._issues, hidden, self.config.difficulty, one, np.array([at_ms]), attempt)
        z = known + rng.normal(0.0, self.config.difficulty.noise_sd, 1)
        return rng, cases_of(self._issues, one, np.array([attempt]), known, z), model
