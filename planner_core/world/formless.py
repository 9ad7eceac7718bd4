"""A world without the structure of the others: outcomes come from random trees over issue and action.

Three sums of trees give, for an issue x and an action a, the logit L(x, a) of quality, the median M(x, a) of minutes
and the mean C(x, a) of USD. The trees are drawn from the seed; nothing in them says that more minutes or candidates
help. With k candidates, budget m and the noise e of the difficulty:

    one run takes T ~ LogNormal(log M, s) minutes and is cut at m; all k candidates are busy until then
    it passes if T <= m and with probability sigmoid(L - e), and a vote then picks the passing candidate with 0.97
    it costs C x a log-normal of mean 1, shared out equally among the candidates

    P(pass) = 0.97^vote sigmoid(L - e) Phi((log m - log M) / s),   E[minutes] = E[min(T, m)] + 2 x vote,   E[USD] = C

A tree asks the same questions on every branch (it is *oblivious*): the answers about the issue name a row, those about
the action a column of its table of leaves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from planner_core.action_space import ActionSpace
from planner_core.encoder import PRIORITIES, RISKS, SIZES, TOOLCHAINS
from planner_core.world.config import JOBS, TAGS, Formless
from planner_core.world.outcomes import (
    MAX_CANDIDATES,
    Bools,
    Cases,
    ExpectedOutcomes,
    Floats,
    Ints,
    SampledRuns,
    noise_nodes,
    resolved_numbers,
)
from planner_core.world.tries import normal_cdf

_ISSUE_SHARES = {"difficulty": 0.4, "size": 0.2, "risk": 0.1, "priority": 0.05, "job": 0.05, "tool": 0.1, "tag": 0.1}
"""How often a question about the issue is about what."""

_ACTION_CUTS = ((0.5,), (1.5, 2.5), (20.0, 40.0, 50.0, 90.0, 180.0), (1.5, 2.5, 4.0))
"""Where questions about swarm, candidates, minutes and tries cut."""


class Question(NamedTuple):
    """Whether a figure of the issue is above ``cut``; a tool or tag is asked for by its number ``of``."""

    about: str
    of: int
    cut: float

    def answers(self, cases: Cases) -> Bools:
        """bool [n]."""
        if self.about == "tag":
            return np.asarray((cases.tags == self.of).any(axis=1))
        if self.about == "tool":
            return np.asarray(cases.tool == self.of)
        values = cases.known_z if self.about == "difficulty" else getattr(cases, self.about)
        return np.asarray(values > self.cut)


class Forest:
    """The sum of some random trees, of mean 0 and the given standard deviation over the draw of the leaves."""

    def __init__(self, rng: np.random.Generator, p: Formless, sd: float) -> None:
        self._questions = [[_ask(rng) for _ in range(p.issue_splits)] for _ in range(p.trees)]
        self._leaves = rng.normal(0.0, sd / np.sqrt(p.trees), (p.trees, 2**p.issue_splits, 2**p.action_splits))
        resolved = ActionSpace().resolved
        self._columns = np.zeros((p.trees, *resolved.shape[:2]), np.int64)  # [trees, job types, actions]
        for columns in self._columns:
            for split in range(p.action_splits):
                head = int(rng.integers(4))
                columns += (resolved[..., head] > rng.choice(_ACTION_CUTS[head])).astype(np.int64) << split

    def of_all(self, cases: Cases) -> Floats:
        """float64 [n, 150]: the sum for every action."""
        out = np.zeros((len(cases), self._columns.shape[2]))
        for job in np.unique(cases.job):
            rows = np.flatnonzero(cases.job == job)
            some = cases.take(rows)
            total = np.zeros((len(rows), out.shape[1]))
            for questions, leaves, columns in zip(self._questions, self._leaves, self._columns, strict=True):
                total += leaves[:, columns[job]][_rows(questions, some)]
            out[rows] = total
        return out

    def of_one(self, cases: Cases, action: Ints) -> Floats:
        """float64 [n]: the sum for each row's action."""
        total = np.zeros(len(cases))
        for questions, leaves, columns in zip(self._questions, self._leaves, self._columns, strict=True):
            total += leaves[_rows(questions, cases), columns[cases.job, action]]
        return total


def _ask(rng: np.random.Generator) -> Question:
    """A random question about an issue."""
    about = str(rng.choice(list(_ISSUE_SHARES), p=list(_ISSUE_SHARES.values())))
    if about == "difficulty":
        return Question(about, 0, float(rng.normal(0.0, 1.3)))
    size = {"size": SIZES, "risk": RISKS, "priority": PRIORITIES, "job": JOBS, "tool": TOOLCHAINS, "tag": TAGS}[about]
    if about in ("tool", "tag"):
        return Question(about, int(rng.integers(len(size))), 0.0)
    return Question(about, 0, float(rng.integers(len(size) - 1)) + 0.5)


def _rows(questions: list[Question], cases: Cases) -> Ints:
    """int64 [n]: which row of a tree's leaves each issue has."""
    out = np.zeros(len(cases), np.int64)
    for split, question in enumerate(questions):
        out += question.answers(cases).astype(np.int64) << split
    return out


class FormlessModel:
    """Outcomes from three forests. Everything but the quality is the same whatever the noise is."""

    def __init__(self, parameters: Formless, noise_sd: float, rng: np.random.Generator) -> None:
        self.parameters, self._noise_sd = p, _ = parameters, noise_sd
        self._logit = Forest(rng, p, p.logit_sd)
        self._log_minutes = Forest(rng, p, p.log_minutes_sd)
        self._log_usd = Forest(rng, p, p.log_usd_sd)

    def expected(self, cases: Cases) -> ExpectedOutcomes:
        """By the formulas above."""
        logit = self.parameters.logit_at + self._logit.of_all(cases)
        return self._outcomes(cases, _sigmoid(logit - (cases.z - cases.known_z)[:, None]))

    def expected_over_noise(self, cases: Cases) -> ExpectedOutcomes:
        """The quality averaged over the noise, by quadrature."""
        logit = self.parameters.logit_at + self._logit.of_all(cases)
        quality = np.zeros_like(logit)
        for node, weight in zip(*noise_nodes(self._noise_sd), strict=True):
            quality += weight * _sigmoid(logit - node)
        return self._outcomes(cases, quality)

    def _outcomes(self, cases: Cases, quality: Floats) -> ExpectedOutcomes:
        p = self.parameters
        vote, _, budget, _ = np.moveaxis(ActionSpace().resolved[cases.job], 2, 0)
        log_median = np.log(p.minutes_at) + self._log_minutes.of_all(cases)
        x = (np.log(budget) - log_median) / p.time_spread
        done = normal_cdf(x)
        early = np.exp(log_median + p.time_spread**2 / 2) * normal_cdf(x - p.time_spread)
        return ExpectedOutcomes(
            quality * done * np.where(vote, p.vote_success, 1.0),
            early + budget * (1 - done) + p.vote_minutes * vote,
            p.usd_at * np.exp(self._log_usd.of_all(cases)),
        )

    def sample(self, rng: np.random.Generator, cases: Cases, action: Ints) -> SampledRuns:
        """One run of each row's joint class; which candidate passes is a matter of chance."""
        p, n = self.parameters, len(cases)
        vote, k, budget, _ = resolved_numbers(cases.job, action)
        logit = p.logit_at + self._logit.of_one(cases, action) - (cases.z - cases.known_z)
        good = rng.random(n) < _sigmoid(logit)
        log_median = np.log(p.minutes_at) + self._log_minutes.of_one(cases, action)
        takes = np.exp(log_median + p.time_spread * rng.standard_normal(n))
        picked = rng.random(n) < p.vote_success
        winner = rng.integers(0, k)
        luck = np.exp(p.usd_spread * rng.standard_normal(n) - p.usd_spread**2 / 2)
        usd = p.usd_at * np.exp(self._log_usd.of_one(cases, action)) * luck

        any_passed = good & (takes <= budget)
        passed = any_passed & (picked | (vote == 0))
        busy = np.minimum(takes, budget)
        exists = np.arange(MAX_CANDIDATES) < k[:, None]
        return SampledRuns(
            passed=passed,
            minutes=busy + p.vote_minutes * vote,
            cost_usd=usd,
            out_of_time=takes > budget,
            outvoted=any_passed & ~passed,
            candidate_passed=any_passed[:, None] & (np.arange(MAX_CANDIDATES) == winner[:, None]),
            candidate_minutes=np.where(exists, busy[:, None], np.nan),
            candidate_cost_usd=np.where(exists, (usd / k)[:, None], np.nan),
        )


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))
