"""A small synthetic world for the tests of the value package, written apart from the product's own worlds.

An issue has a hidden quality and pace; every candidate passes, gives up or never ends, at a time that does not depend
on the budget. So the outcome of every action can be computed from the same draws: the truth of any policy is known.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from planner_core.examples import Executed
from planner_core.value.actions import classes

VOTE = 2.0
PER_MINUTE, PER_CANDIDATE = 0.05, 0.02
WEIGHTS = np.array([2.0, 0.6, 0.2])
TABLE = classes()


@dataclass
class World:
    """Draws of n runs: end of three candidates (inf: never), whether they pass then, the vote; and who is who.

    ``tokens`` [n, 3]: USD of a candidate, by whether it passes and by its budget, not its minutes; None: by minutes.
    """

    job_type: np.ndarray
    issue: np.ndarray
    ease: np.ndarray
    end: np.ndarray
    good: np.ndarray
    vote_right: np.ndarray
    tokens: np.ndarray | None = None

    def __len__(self):
        return len(self.issue)

    def take(self, rows):
        """Some of the runs."""
        return World(*(None if (v := getattr(self, f.name)) is None else v[rows] for f in fields(self)))


def draw(rng: np.random.Generator, n: int, per_issue: int = 1, gives_up: float = 0.4) -> World:
    issue = np.repeat(np.arange((n + per_issue - 1) // per_issue), per_issue)[:n]
    job_type = rng.choice(3, n, p=[0.7, 0.2, 0.1])
    ease = rng.normal(0, 0.8, issue.max() + 1)[issue]
    pace = np.exp(rng.normal(3.0, 0.6, issue.max() + 1))[issue]
    good = rng.random((n, 3)) < 1 / (1 + np.exp(-0.3 - ease))[:, None]
    end = pace[:, None] * np.exp(rng.normal(0, 0.4, (n, 3)))
    end = np.where(good | (rng.random((n, 3)) < gives_up), end, np.inf)
    return World(job_type, issue, ease, end, good, rng.random(n) < 0.97)


def outcome(world: World, action: np.ndarray):
    """(passed, duration, USD, candidate passed, candidate minutes, candidate USD) of one class a row.

    Iterations change nothing here: they only tell families apart.
    """
    resolved = TABLE.resolved[world.job_type, action]
    vote, k, m = resolved[:, 0] == 1, resolved[:, 1], resolved[:, 2].astype(float)
    slot = np.arange(3) < k[:, None]
    passed_each = slot & world.good & (world.end <= m[:, None])
    busy = np.where(slot, np.minimum(world.end, m[:, None]), np.nan)
    cost = PER_MINUTE * busy + PER_CANDIDATE
    if world.tokens is not None:
        cost = np.where(slot, world.tokens * np.where(passed_each, 1.0, 0.4) * (1 + 0.002 * m[:, None]), np.nan)
    first = np.min(np.where(passed_each, world.end, np.inf), axis=1)
    ended = np.where(np.isfinite(first), first, np.nanmax(busy, axis=1))
    passed = passed_each.any(axis=1) & (~vote | world.vote_right)
    return passed, ended + VOTE * vote, np.nansum(cost, axis=1), passed_each, busy, cost


def utility(world: World, action: np.ndarray) -> np.ndarray:
    passed, minutes, usd, *_ = outcome(world, action)
    return WEIGHTS[0] * passed - WEIGHTS[1] * minutes / 60 - WEIGHTS[2] * usd


def baseline(world: World) -> np.ndarray:
    """A rule that looks at nothing but the job type: vote of two for `code`, serial otherwise."""
    wanted = {0: (1, 2, 45, 1), 1: (0, 1, 60, 2), 2: (0, 1, 30, 2)}
    return np.array([find(job, wanted[job]) for job in range(3)])[world.job_type]


def find(job: int, resolved: tuple[int, int, int, int]) -> int:
    hit = (TABLE.resolved[job] == np.array(resolved)).all(axis=1)
    return int(TABLE.canonical[job][np.flatnonzero(hit)[0]])


def distribution(world: World, explore: float) -> np.ndarray:
    """The logging policy over canonical classes, float [n, 150]: a baseline and uniform exploration."""
    out = np.zeros((len(world), TABLE.valid.shape[1]))
    row = np.arange(len(world))
    for job in range(3):
        own = np.unique(TABLE.canonical[job][TABLE.valid[job]])
        rows = np.flatnonzero(world.job_type == job)
        out[np.ix_(rows, own)] = explore / len(own)
    out[row, baseline(world)] += 1 - explore
    return out


def log(world: World, action: np.ndarray, p: np.ndarray, *, detail=True, whole=True) -> Executed:
    """What a log of these actions holds; ``p`` [n, 150] the logging distribution."""
    n = len(world)
    passed, minutes, usd, each, busy, cost = outcome(world, action)
    resolved = TABLE.resolved[world.job_type, action]
    k = resolved[:, 1]
    slot = np.arange(3) < k[:, None]
    row, column = np.nonzero(p)
    if not whole:
        row, column = row[:0], column[:0]
    limit = resolved[:, 2]
    return Executed(
        swarm=resolved[:, 0],
        candidates=k.astype(np.float32),
        minutes=limit.astype(np.float32),
        iterations=resolved[:, 3].astype(np.float32),
        minutes_limited=limit < 240,
        action=action.astype(np.int64),
        passed=passed.astype(np.float32),
        status=np.where(passed, 0, 1).astype(np.int8),
        duration_minutes=minutes.astype(np.float32),
        cost_usd=usd.astype(np.float32),
        propensity=p[np.arange(n), action].astype(np.float32),
        propensity_starts=np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n))]),
        propensity_actions=TABLE.resolved[world.job_type[row], column],
        propensity_values=p[row, column].astype(np.float32),
        candidate_passed=np.where(slot & detail, each, -1).astype(np.int8),
        candidate_minutes=np.where(slot & detail, busy, np.nan).astype(np.float32),
        candidate_cost_usd=np.where(slot & detail, cost, np.nan).astype(np.float32),
        issue=world.issue,
        started_ms=np.arange(n) * 60_000,
        evidence=np.ones(n, bool),
    )


def sample(rng: np.random.Generator, p: np.ndarray) -> np.ndarray:
    """One class a row from a distribution [n, 150]."""
    return (np.cumsum(p, axis=1) > rng.random((len(p), 1)) * p.sum(axis=1, keepdims=True)).argmax(axis=1)
