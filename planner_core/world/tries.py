"""The default world: a candidate makes tries of random quality and length until one passes or its budget is used up.

One candidate has quality with probability q = sigmoid(0.5 - z) a try; its first try takes
T ~ LogNormal(log(size minutes) + 0.25 z, 0.4) minutes, every further one 0.6 T more. With up to i tries within one
budget of m minutes the candidate has passed by minute t <= m with probability

    G(t) = sum over j = 1..i of  q (1 - q)^(j - 1) x P(T (1 + 0.6 (j - 1)) <= t)

and burns the whole budget otherwise. k candidates run side by side, so the run passes by t with 1 - (1 - G(t))^k; a
vote picks the passing one with probability 0.97 and takes 2 minutes. Hence

    P(pass)    = 1 - (1 - G(m))^k                                  (x 0.97 with a vote)
    E[minutes] = integral over 0..m of (1 - G(t))^k dt             (+ 2 with a vote)
    E[cost]    = 0.05 k x integral over 0..m of (1 - G(t)) dt + 0.02 k   USD

All of it depends only on size, z and whether the job type iterates, so it is tabulated on a grid of z once and
interpolated linearly. Twins share one column and get bitwise equal outcomes, which leaves the choice between them to
the tie rule. :mod:`planner_core.world.variants` has worlds that differ in one of these sentences each.

Accuracy: the quadrature agrees with one of twice the nodes to 1e-9 minutes, the interpolation in z to 1e-3 minutes and
1e-5 in probability (both tested).
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.world.config import Tries, column
from planner_core.world.outcomes import (
    MAX_CANDIDATES,
    Cases,
    ExpectedOutcomes,
    Floats,
    Ints,
    SampledRuns,
    noise_nodes,
    resolved_numbers,
)

Z_LIMIT, Z_STEP = 12.0, 0.01
BUDGETS = (15, 30, 45, 60, 120, 240)
TRIES = (1, 2, 3, 5)
CANDIDATES = (1, 2, MAX_CANDIDATES)
MAX_TRIES = max(TRIES)
_NEGLIGIBLE = 8.5  # standard deviations below its median at which a first try has not ended yet (1e-17)
_NODES, _FIRST_PIECES = 16, 8

_CDF_STEP, _CDF_LIMIT = 1 / 256, 9.0
_CDF_X = np.arange(-_CDF_LIMIT, _CDF_LIMIT + _CDF_STEP / 2, _CDF_STEP)
_CDF = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in _CDF_X.tolist()])
_PDF = np.exp(-0.5 * _CDF_X**2) / math.sqrt(2 * math.pi)


def normal_cdf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal distribution function: a table of ``math.erfc`` and a cubic Taylor step from its nearest entry.

    Absolute error below 1e-12: the step is at most 1/512 and the next term at most 0.06 of its fourth power. Beyond
    9 standard deviations it stays at its value there (1e-19).
    """
    x = np.clip(x, -_CDF_LIMIT, _CDF_LIMIT)
    entry = np.rint((x + _CDF_LIMIT) / _CDF_STEP).astype(np.int64)
    at = _CDF_X[entry]
    d = x - at
    return _CDF[entry] + _PDF[entry] * d * (1 - at * d / 2 + (at * at - 1) * d * d / 6)


class Curves(NamedTuple):
    """What the outcomes of one size are made of, for every z.

    ``alive`` [z, tries, budgets]: probability that a candidate has not passed when the budget ends. ``going`` [z,
    tries, k, budgets]: expected minutes until the first of k candidates passes, all have given up or the budget ends;
    with k = 1 these are the busy minutes of one candidate.
    """

    alive: Floats
    going: Floats


class Luck(NamedTuple):
    """The draws behind some runs: uniform [rows, 3, 5] quality of the tries, normal [rows, 3] length of the first."""

    quality: Floats
    time: Floats


class TriesModel:
    """Tabulated expected outcomes on a grid of difficulties; a difficulty beyond +-12 counts as 12."""

    give_up_share: float | None = None
    """When a candidate without quality stops, relative to the end of its last try; None: when the budget ends."""

    def __init__(
        self,
        parameters: Tries,
        noise_sd: float,
        *,
        z_step: float = Z_STEP,
        z_limit: float = Z_LIMIT,
        nodes: int = _NODES,
    ) -> None:
        self.parameters, self._noise_sd, self._nodes = parameters, noise_sd, nodes
        self._log_size = np.log(column(parameters.size_minutes))
        self._stretch = 1 + parameters.retry_share * np.arange(MAX_TRIES)  # end of try j relative to the first
        self._z = np.linspace(-z_limit, z_limit, round(2 * z_limit / z_step) + 1)
        self._step = self._z[1] - self._z[0]
        # Per kind of job (0: one try, 1: iterates): the distinct actions and the column of each of the 150.
        self._columns: list[Ints] = []
        distinct: list[Ints] = []
        space = ActionSpace()
        for job in (0, -1):
            actions, columns = np.unique(space.resolved[job], axis=0, return_inverse=True)
            distinct.append(actions)
            self._columns.append(columns.reshape(-1))
        sizes = range(len(self._log_size))
        curves = [self.curves(size) for size in sizes]
        self._tables = [
            np.stack([self.tabulate(size, actions, curves[size]) for size in sizes], axis=1) for actions in distinct
        ]

    # -- what the variants change

    def log_median(self, size: Ints | int, z: Floats, budget: Ints | int) -> Floats:
        """Median log minutes of a first try."""
        return np.asarray(self._log_size[size] + self.parameters.time_slope * z)

    def curves(self, size: int) -> Curves:
        """The curves of one size on the grid of z."""
        return self.integrate(self.log_median(size, self._z, 0), BUDGETS)

    def tabulate(self, size: int, actions: Ints, curves: Curves) -> Floats:
        """Expected outcomes of resolved ``actions`` [a, 4] from the curves of one size: [(passed, minutes, USD), z, a].

        The two curves are all that is needed where candidates are independent and their minutes are paid for.
        """
        p = self.parameters
        vote, k, budget, tries = actions.T
        m, i = np.searchsorted(BUDGETS, budget), np.searchsorted(TRIES, tries)
        picked = np.where(vote, p.vote_success, 1.0)
        passed = (1.0 - curves.alive[:, i, m] ** k) * picked
        minutes = curves.going[:, i, k - 1, m] + p.vote_minutes * vote
        cost = p.usd_per_candidate_minute * k * curves.going[:, i, 0, m] + p.usd_per_candidate * k
        return np.stack([passed, minutes, cost])

    def share_luck(self, rng: np.random.Generator, luck: Luck) -> Luck:
        """The luck of the candidates, given independent draws."""
        return luck

    def sample_cost(self, rng: np.random.Generator, cases: Cases, begun: Ints, busy: Floats) -> Floats:
        """USD of each candidate [rows, 3], from the tries it began and its busy minutes."""
        p = self.parameters
        return p.usd_per_candidate_minute * busy + p.usd_per_candidate

    # -- what they share

    def quality(self, z: Floats) -> Floats:
        """Probability that one try has the quality to pass."""
        return 1.0 / (1.0 + np.exp(z - self.parameters.quality_at))

    def expected(self, cases: Cases) -> ExpectedOutcomes:
        """Expected outcomes given the difficulty, by interpolation."""
        return self._interpolate(self._tables, cases.size, cases.z, cases.job)

    def expected_over_noise(self, cases: Cases) -> ExpectedOutcomes:
        """Expected outcomes given the difficulty without its noise, averaged over that noise."""
        return self._interpolate(self._noisy_tables, cases.size, cases.known_z, cases.job)

    @cached_property
    def _noisy_tables(self) -> list[Floats]:
        out = []
        for table in self._tables:
            mean = np.zeros_like(table)
            for node, weight in zip(*noise_nodes(self._noise_sd), strict=True):
                low, part = self._locate(self._z + node)
                mean += weight * (table[:, :, low] * (1 - part[:, None]) + table[:, :, low + 1] * part[:, None])
            out.append(mean)
        return out

    def _locate(self, z: Floats) -> tuple[Ints, Floats]:
        """Grid cell of each z and where in the cell it lies, in [0, 1]."""
        position = np.clip((z - self._z[0]) / self._step, 0, len(self._z) - 1)
        low = np.minimum(position.astype(np.int64), len(self._z) - 2)
        return low, position - low

    def _interpolate(self, tables: list[Floats], size: Ints, z: Floats, job: Ints) -> ExpectedOutcomes:
        out = np.empty((3, len(z), len(self._columns[0])))
        low, part = self._locate(np.asarray(z, np.float64))
        for iterates in (0, 1):
            rows = np.flatnonzero((job != 0) == bool(iterates))
            table, at, right = tables[iterates], low[rows], part[rows, None]
            mean = table[:, size[rows], at] * (1 - right) + table[:, size[rows], at + 1] * right
            out[:, rows] = mean[:, :, self._columns[iterates]]
        return ExpectedOutcomes(*out)

    def integrate(self, log_median: Floats, budgets: tuple[int, ...]) -> Curves:
        """The curves of a median log length [z] of first tries, at some budgets.

        Sums of Gauss-Legendre pieces in log t, where 1 - G is smooth on the scale of the spread. Before the earliest
        end worth counting the integrand is 1, and the integral the length.
        """
        spread, share = self.parameters.time_spread, self.give_up_share
        q = self.quality(self._z)[:, None]
        weights = q * (1 - q) ** np.arange(MAX_TRIES)
        ends = np.log(self._stretch)
        tries = np.array(TRIES) - 1

        def survival(log_t: Floats) -> Floats:
            """1 - G as [z, tries, points] of log t [z, points]."""
            x = (log_t[:, None, :] - log_median[:, None, None] - ends[:, None]) / spread
            return 1.0 - np.cumsum(weights[:, :, None] * normal_cdf(x), axis=1)[:, tries]

        def unended(log_t: Floats) -> list[Floats]:
            """For each k, the probability that none of k candidates has passed and some have not given up."""
            alive = survival(log_t)
            if share is None:
                return [alive**k for k in CANDIDATES]
            x = (log_t[:, None, :] - log_median[:, None, None] - (ends + math.log(share))[tries, None]) / spread
            gave_up = ((1 - q) ** np.array(TRIES))[:, :, None] * normal_cdf(x)
            return [alive**k - gave_up**k for k in CANDIDATES]

        nodes, node_weights = np.polynomial.legendre.leggauss(self._nodes)
        nodes, node_weights = (nodes + 1) / 2, node_weights / 2
        earliest = log_median - _NEGLIGIBLE * spread + math.log(min(1.0, share or 1.0))
        going = np.zeros((len(self._z), len(TRIES), len(CANDIDATES), len(budgets)))
        total = np.zeros(going.shape[:3])
        begin_log, begin = np.full(len(self._z), -np.inf), 0.0
        for i, budget in enumerate(budgets):
            end_log = math.log(budget)
            low = np.clip(earliest, begin_log, end_log)
            total = total + (np.exp(low) - begin if begin else np.exp(low))[:, None, None]
            pieces = _FIRST_PIECES if i == 0 else 1
            for piece in range(pieces):
                width = (end_log - low) / pieces
                log_t = (low + piece * width)[:, None] + width[:, None] * nodes
                measure = (np.exp(log_t) * node_weights * width[:, None])[:, None]
                total = total + np.stack([(values * measure).sum(axis=-1) for values in unended(log_t)], axis=-1)
            going[..., i] = total
            begin_log, begin = np.full(len(self._z), end_log), float(budget)
        return Curves(survival(np.tile(np.log(budgets), (len(self._z), 1))), going)

    def sample(self, rng: np.random.Generator, cases: Cases, action: Ints) -> SampledRuns:
        """One run of each row's joint class."""
        p, z, rows = self.parameters, cases.z, len(cases)
        vote, k, budget, tries = resolved_numbers(cases.job, action)
        luck = Luck(rng.random((rows, MAX_CANDIDATES, MAX_TRIES)), rng.standard_normal((rows, MAX_CANDIDATES)))
        picked = rng.random(rows) < p.vote_success
        luck = self.share_luck(rng, luck)

        has_quality = luck.quality < self.quality(z)[:, None, None]
        has_quality &= np.arange(MAX_TRIES) < tries[:, None, None]
        first_try = np.exp(self.log_median(cases.size, z, budget)[:, None] + p.time_spread * luck.time)
        exists = np.arange(MAX_CANDIDATES) < k[:, None]
        good = has_quality.any(axis=2) & exists
        ends = first_try * self._stretch[has_quality.argmax(axis=2)]
        limit = budget[:, None]
        in_time = good & (ends <= limit)
        busy = np.where(in_time, ends, limit)
        any_passed = in_time.any(axis=1)
        minutes = busy.min(axis=1)
        cut = good & ~in_time
        if self.give_up_share is not None:
            stops = first_try * (self._stretch[tries - 1] * self.give_up_share)[:, None]
            busy = np.where(good, busy, np.minimum(stops, limit))
            last = np.where(exists, busy, 0.0).max(axis=1)
            minutes = np.where(any_passed, np.where(in_time, ends, np.inf).min(axis=1), last)
            cut |= exists & ~good & (stops > limit)
        begun = np.minimum(
            (first_try[..., None] * np.append(0.0, self._stretch[:-1]) < limit[..., None]).sum(axis=2),
            np.where(good, has_quality.argmax(axis=2) + 1, tries[:, None]),
        )
        passed = any_passed & (picked | (vote == 0))
        cost = self.sample_cost(rng, cases, begun, busy)
        return SampledRuns(
            passed=passed,
            minutes=minutes + p.vote_minutes * vote,
            cost_usd=np.where(exists, cost, 0.0).sum(axis=1),
            out_of_time=~any_passed & cut.any(axis=1),
            outvoted=any_passed & ~passed,
            candidate_passed=in_time,
            candidate_minutes=np.where(exists, busy, np.nan),
            candidate_cost_usd=np.where(exists, cost, np.nan),
        )
