"""Logs of one fixed population, drawn again and again: what tests of estimators from logs are made of.

A :class:`Population` is the issues of a world, their difficulties and what is expected of every action on them, all
known. :func:`redraw` draws which actions the logging policy takes on them and what comes of it, as arrays, in a few
hundredths of a second; no JSON is written.

Row i is example i of the dataset that ``planner data synth`` makes of the same world, exploration, number and seed, so
features can be taken from there. In a redrawn log they stay as they were: attempts and history are those of the first
log, of which the redrawn runs are independent, given the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import NA, ActionSpace
from planner_core.examples import Executed, Outcomes
from planner_core.rules import default_action
from planner_core.world.config import WorldConfig, world_config
from planner_core.world.events import Runs
from planner_core.world.generate import draw_world
from planner_core.world.log import ROWS_AT_ONCE
from planner_core.world.logging_policy import LoggingPolicy, Rules, compact, tabulate
from planner_core.world.outcomes import Bools, Cases, Floats, Ints, OutcomeModel


@dataclass(frozen=True)
class Population:
    """n runs that were or will be made in a world.

    ``expected`` are the expected outcomes of all actions given z (float32 [n, 150], NaN where invalid), ``usual`` int64
    [n] the joint class of the rules; ``issue`` and ``started_ms`` int64 [n]. ``logged`` is the world's own log.
    """

    config: WorldConfig
    model: OutcomeModel
    cases: Cases
    usual: Ints
    issue: Ints
    started_ms: Ints
    expected: Outcomes
    logged: Executed

    def __len__(self) -> int:
        return len(self.cases)

    def take(self, rows: Ints | Bools) -> Population:
        """The given rows, in the given order; a row may come several times."""
        numbers = np.arange(len(self))[rows]
        return Population(
            self.config,
            self.model,
            self.cases.take(numbers),
            self.usual[numbers],
            self.issue[numbers],
            self.started_ms[numbers],
            Outcomes(*(values[numbers] for values in vars(self.expected).values())),
            self.logged.take(numbers),
        )


def population(
    world: str, n: int, seed: int, exploration: float | None = None, baseline: Rules = default_action
) -> Population:
    """The first ``n`` runs of a world; see the module. ConfigError for a world or an exploration there is not."""
    config = world_config(world, exploration)
    drawn = draw_world(config, seed, n, tabulate(baseline))
    runs, policy = drawn.runs, LoggingPolicy(config.exploration)
    cases = runs.cases(drawn.issues, slice(None))
    valid = ActionSpace().joint_masks
    expected = Outcomes(*(np.empty((n, valid.shape[1]), np.float32) for _ in range(3)))
    for begin in range(0, n, ROWS_AT_ONCE):
        rows = slice(begin, begin + ROWS_AT_ONCE)
        some = cases.take(rows)
        for target, values in zip(vars(expected).values(), drawn.model.expected(some), strict=True):
            target[rows] = np.where(valid[some.job], values, np.nan)
    logged = executed_arrays(policy, cases.job, runs, runs.issue, runs.at_ms)
    return Population(config, drawn.model, cases, runs.usual, runs.issue, runs.at_ms, expected, logged)


def redraw(of: Population, exploration: float, seed: int) -> Executed:
    """A log of a population: an action a row, drawn with that share of exploration, and the run it leads to."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x7265])))
    policy = LoggingPolicy(world_config(of.config.name, exploration).exploration)
    action = policy.draw(rng, of.cases.job, of.usual)
    result = of.model.sample(rng, of.cases, action)
    runs = Runs.of_sample(of.issue, of.started_ms, of.cases, of.usual, action, result)
    return executed_arrays(policy, of.cases.job, runs, of.issue, of.started_ms)


def executed_arrays(policy: LoggingPolicy, job: Ints, runs: Runs, issue: Ints, started_ms: Ints) -> Executed:
    """Runs as arrays: the same numbers that a dataset's ``executed`` would give, rounded as there."""
    space = ActionSpace()
    resolved = space.resolved[job, runs.action]
    limited = np.array([action.minutes != NA for action in space.actions])
    starts, joint, values = _distributions(policy, job, runs.usual)
    exists = ~np.isnan(runs.candidate_ms)
    return Executed(
        swarm=resolved[:, 0],
        candidates=resolved[:, 1].astype(np.float32),
        minutes=resolved[:, 2].astype(np.float32),
        iterations=resolved[:, 3].astype(np.float32),
        minutes_limited=limited[runs.action],
        action=space.canonical[job, runs.action],
        passed=runs.passed.astype(np.float32),
        status=np.where(runs.passed, 0, np.where(runs.out_of_time, 2, 1)).astype(np.int8),
        duration_minutes=(runs.duration_ms / 60_000).astype(np.float32),
        cost_usd=runs.cost_usd.astype(np.float32),
        propensity=_compact(policy.probabilities(job, runs.usual, runs.action)),
        propensity_starts=starts,
        propensity_actions=space.resolved[np.repeat(job, np.diff(starts)), joint],
        propensity_values=values,
        candidate_passed=np.where(exists, runs.candidate_passed, -1).astype(np.int8),
        candidate_minutes=(runs.candidate_ms / 60_000).astype(np.float32),
        candidate_cost_usd=runs.candidate_cost_usd.astype(np.float32),
        issue=issue,
        started_ms=started_ms,
        evidence=np.ones(len(job), bool),
    )


def _distributions(policy: LoggingPolicy, job: Ints, usual: Ints) -> tuple[Ints, Ints, NDArray[np.float32]]:
    """Row starts int64 [n + 1], canonical joint classes and probabilities of every row's logging distribution."""
    pairs, which = np.unique(np.stack([job, usual], axis=1), axis=0, return_inverse=True)
    each = [policy.distribution(*pair) for pair in pairs.tolist()]
    lengths = np.array([len(actions) for actions, _ in each], np.int64)
    begins = np.cumsum(lengths) - lengths
    counts = lengths[which.reshape(-1)]
    starts = np.zeros(len(job) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    within = np.arange(starts[-1]) + np.repeat(begins[which.reshape(-1)] - starts[:-1], counts)
    actions = np.concatenate([actions for actions, _ in each])
    values = _compact(np.concatenate([p for _, p in each]))
    return starts, actions[within], values[within]


def _compact(values: Floats) -> NDArray[np.float32]:
    """Six significant digits, as in JSON; there are few distinct ones."""
    distinct, which = np.unique(values, return_inverse=True)
    return np.array([compact(value) for value in distinct.tolist()], np.float32)[which.reshape(-1)]
