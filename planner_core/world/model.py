"""The hidden model of the simulated world: what an action leads to on an issue of difficulty z.

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
interpolated linearly. An action with NA is the action with the number NA stands for: such actions share one column and
get bitwise equal outcomes, which leaves the choice between them to the tie rule.

Accuracy: the quadrature agrees with one of twice the nodes to 1e-9 minutes, the interpolation in z to 1e-3 minutes and
1e-5 in probability (both tested).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import NA, Action, ActionSpace

SIZE_MINUTES = (6.0, 11.0, 18.0, 28.0, 50.0)  # median of the first try at z = 0, by size
QUALITY_AT = 0.5  # the difficulty at which one try has quality half the time
TIME_SLOPE, TIME_SPREAD = 0.25, 0.4  # of log minutes: change with z, standard deviation
RETRY_SHARE = 0.6  # length of a further try relative to the first
NA_CANDIDATES, NA_MINUTES, NA_ITERATIONS = 2, 240, 2
VOTE_SUCCESS, VOTE_MINUTES = 0.97, 2.0
USD_PER_MINUTE, USD_PER_CANDIDATE = 0.05, 0.02
NOISE = 0.35  # standard deviation of the part of z that nobody can observe

Z_LIMIT, Z_STEP = 12.0, 0.01
_MINUTES = (15, 30, 45, 60, 120, 240)
_TRIES = (1, 2, 3, 5)
_CANDIDATES = (1, 2, 3)
_MAX_TRIES = max(_TRIES)
_STRETCH = 1 + RETRY_SHARE * np.arange(_MAX_TRIES)  # end of try j relative to the first
_NEGLIGIBLE = 8.5  # standard deviations below its median at which a first try has not ended yet (1e-17)
_NODES, _FIRST_PIECES = 16, 8
_NOISE_NODES = 15


class Outcomes(NamedTuple):
    """Expected outcomes, each float64 [rows, 150]: probability of passing, minutes, USD."""

    passed: NDArray[np.float64]
    minutes: NDArray[np.float64]
    cost_usd: NDArray[np.float64]


class Samples(NamedTuple):
    """Sampled outcomes, one a row.

    ``passed`` bool; ``minutes``, ``cost_usd`` float64; ``out_of_time`` bool: some candidate had the quality but not
    the minutes; ``outvoted`` bool: some candidate passed and the vote did not pick it.
    """

    passed: NDArray[np.bool_]
    minutes: NDArray[np.float64]
    cost_usd: NDArray[np.float64]
    out_of_time: NDArray[np.bool_]
    outvoted: NDArray[np.bool_]


class Plan(NamedTuple):
    """What an action amounts to once NA is replaced by the number it stands for."""

    vote: bool
    candidates: int
    minutes: int
    tries: int


def plan_of(action: Action, iterates: bool) -> Plan:
    """The plan behind an action; a job type that does not iterate gets one try whatever the action says."""
    tries = int(NA_ITERATIONS if action.iterations == NA else action.iterations)
    return Plan(
        action.swarm == "speculate_vote",
        int(NA_CANDIDATES if action.candidates == NA else action.candidates),
        int(NA_MINUTES if action.minutes == NA else action.minutes),
        tries if iterates else 1,
    )


@lru_cache(maxsize=2)
def plan_table(iterates: bool) -> NDArray[np.int64]:
    """Plans of the 150 joint actions, int64 [150, (vote, candidates, minutes, tries)]."""
    return np.array([plan_of(action, iterates) for action in ActionSpace().actions], np.int64)


def quality(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability that one try has the quality to pass: sigmoid(0.5 - z)."""
    return 1.0 / (1.0 + np.exp(z - QUALITY_AT))


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


class WorldModel:
    """Tabulated expected outcomes on a grid of difficulties; a difficulty beyond +-12 counts as 12."""

    def __init__(self, z_step: float = Z_STEP, z_limit: float = Z_LIMIT, nodes: int = _NODES) -> None:
        self._z = np.linspace(-z_limit, z_limit, round(2 * z_limit / z_step) + 1)
        self._step = self._z[1] - self._z[0]
        # Per kind of job (0: one try, 1: iterates): the distinct plans and the column of each of the 150 actions.
        self._columns: list[NDArray[np.int64]] = []
        self._plans: list[NDArray[np.int64]] = []
        for iterates in (False, True):
            plans, columns = np.unique(plan_table(iterates), axis=0, return_inverse=True)
            self._plans.append(plans)
            self._columns.append(columns.reshape(-1))
        curves = [_curves(size_minutes, self._z, nodes) for size_minutes in SIZE_MINUTES]
        self._tables = [np.stack([_outcomes(plans, *curve) for curve in curves], axis=1) for plans in self._plans]

    @cached_property
    def _noisy_tables(self) -> list[NDArray[np.float64]]:
        """The tables with the noise integrated out, by Gauss-Hermite quadrature of 15 nodes."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(_NOISE_NODES)
        weights = weights / weights.sum()
        out = []
        for table in self._tables:
            mean = np.zeros_like(table)
            for node, weight in zip(nodes, weights, strict=True):
                low, part = self._locate(self._z + NOISE * node)
                mean += weight * (table[:, :, low] * (1 - part[:, None]) + table[:, :, low + 1] * part[:, None])
            out.append(mean)
        return out

    def expected(self, size: NDArray[np.integer], z: NDArray[np.float64], job_type: NDArray[np.integer]) -> Outcomes:
        """Expected outcomes of all 150 actions given the difficulty.

        ``size`` indexes XS..XL, ``job_type`` the four job types (0, code, does not iterate); all have shape [rows].
        Actions that are not valid for the job type get numbers too: mask them.
        """
        return self._interpolate(self._tables, size, z, job_type)

    def expected_over_noise(
        self, size: NDArray[np.integer], z: NDArray[np.float64], job_type: NDArray[np.integer]
    ) -> Outcomes:
        """As :meth:`expected`, given the difficulty without its noise, averaged over that noise."""
        return self._interpolate(self._noisy_tables, size, z, job_type)

    def _locate(self, z: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Grid cell of each z and where in the cell it lies, in [0, 1]."""
        position = np.clip((z - self._z[0]) / self._step, 0, len(self._z) - 1)
        low = np.minimum(position.astype(np.int64), len(self._z) - 2)
        return low, position - low

    def _interpolate(
        self,
        tables: list[NDArray[np.float64]],
        size: NDArray[np.integer],
        z: NDArray[np.float64],
        job_type: NDArray[np.integer],
    ) -> Outcomes:
        out = np.empty((3, len(z), len(self._columns[0])))
        low, part = self._locate(np.asarray(z, np.float64))
        for iterates in (0, 1):
            rows = np.flatnonzero((job_type != 0) == bool(iterates))
            table, at, right = tables[iterates], low[rows], part[rows, None]
            mean = table[:, size[rows], at] * (1 - right) + table[:, size[rows], at + 1] * right
            out[:, rows] = mean[:, :, self._columns[iterates]]
        return Outcomes(*out)


def _curves(
    size_minutes: float, z: NDArray[np.float64], n_nodes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(1 - G(m)) as [z, tries, budgets], and the integrals of (1 - G)^k up to m as [z, tries, k, budgets].

    The integrals are sums of Gauss-Legendre pieces in log t, where 1 - G is smooth on the scale of the spread 0.4.
    Before the earliest end worth counting the integrand is 1, and the integral the length.
    """
    median = math.log(size_minutes) + TIME_SLOPE * z
    q = quality(z)[:, None]
    weights = q * (1 - q) ** np.arange(_MAX_TRIES)
    ends = np.log(_STRETCH)
    tries = np.array(_TRIES) - 1

    def survival(log_t: NDArray[np.float64]) -> NDArray[np.float64]:
        """1 - G as [z, tries, points] of log t [z, points]."""
        x = (log_t[:, None, :] - median[:, None, None] - ends[:, None]) / TIME_SPREAD
        return 1.0 - np.cumsum(weights[:, :, None] * normal_cdf(x), axis=1)[:, tries]

    nodes, node_weights = np.polynomial.legendre.leggauss(n_nodes)
    nodes, node_weights = (nodes + 1) / 2, node_weights / 2
    earliest = median - _NEGLIGIBLE * TIME_SPREAD
    integrals = np.zeros((len(z), len(_TRIES), len(_CANDIDATES), len(_MINUTES)))
    total = np.zeros(integrals.shape[:3])
    begin_log, begin = np.full(len(z), -np.inf), 0.0
    for i, budget in enumerate(_MINUTES):
        end_log = math.log(budget)
        low = np.clip(earliest, begin_log, end_log)
        total = total + (np.exp(low) - begin if begin else np.exp(low))[:, None, None]
        pieces = _FIRST_PIECES if i == 0 else 1
        for piece in range(pieces):
            width = (end_log - low) / pieces
            log_t = (low + piece * width)[:, None] + width[:, None] * nodes
            alive = survival(log_t)
            measure = (np.exp(log_t) * node_weights * width[:, None])[:, None]
            total = total + np.stack([(alive**k * measure).sum(axis=-1) for k in _CANDIDATES], axis=-1)
        integrals[..., i] = total
        begin_log, begin = np.full(len(z), end_log), float(budget)
    return survival(np.tile(np.log(_MINUTES), (len(z), 1))), integrals


def _outcomes(
    plans: NDArray[np.int64], alive: NDArray[np.float64], integrals: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Expected outcomes of some plans from the curves of one size, float64 [(passed, minutes, cost), z, plans]."""
    vote, k, budget, tries = plans.T
    m, i = np.searchsorted(_MINUTES, budget), np.searchsorted(_TRIES, tries)
    picked = np.where(vote, VOTE_SUCCESS, 1.0)
    passed = (1.0 - alive[:, i, m] ** k) * picked
    minutes = integrals[:, i, k - 1, m] + VOTE_MINUTES * vote
    cost = USD_PER_MINUTE * k * integrals[:, i, 0, m] + USD_PER_CANDIDATE * k
    return np.stack([passed, minutes, cost])


@lru_cache(maxsize=1)
def world_model() -> WorldModel:
    """The model at its usual resolution, made once a process (about a second)."""
    return WorldModel()


def sample(
    rng: np.random.Generator,
    size: NDArray[np.integer],
    z: NDArray[np.float64],
    plans: NDArray[np.int64] | Iterable[Plan],
) -> Samples:
    """Sampled outcomes of one plan a row: ``size`` and ``z`` [rows], ``plans`` int [rows, 4] as of :class:`Plan`."""
    vote, k, budget, tries = np.asarray(plans if isinstance(plans, np.ndarray) else list(plans), np.int64).T
    rows = len(z)
    has_quality = rng.random((rows, max(_CANDIDATES), _MAX_TRIES)) < quality(z)[:, None, None]
    has_quality &= np.arange(_MAX_TRIES) < tries[:, None, None]
    first_try = rng.standard_normal((rows, max(_CANDIDATES)))
    first_try = np.exp(np.log(SIZE_MINUTES)[size, None] + TIME_SLOPE * z[:, None] + TIME_SPREAD * first_try)
    picked = rng.random(rows) < VOTE_SUCCESS

    runs = np.arange(max(_CANDIDATES)) < k[:, None]
    good = has_quality.any(axis=2) & runs
    ends = first_try * _STRETCH[has_quality.argmax(axis=2)]
    in_time = good & (ends <= budget[:, None])
    spent = np.where(in_time, ends, budget[:, None])
    any_passed = in_time.any(axis=1)
    passed = any_passed & (picked | (vote == 0))
    return Samples(
        passed=passed,
        minutes=np.where(in_time, ends, budget[:, None]).min(axis=1) + VOTE_MINUTES * vote,
        cost_usd=USD_PER_MINUTE * np.where(runs, spent, 0.0).sum(axis=1) + USD_PER_CANDIDATE * k,
        out_of_time=~any_passed & good.any(axis=1),
        outvoted=any_passed & ~passed,
    )
