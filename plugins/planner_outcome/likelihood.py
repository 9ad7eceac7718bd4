"""Minus the log-likelihood of runs, in torch.

A run's luck u ~ N(0, 1) is shared by its candidates and tries (the frailty); given u they are independent:

    q_j = sigmoid(a + d_j + rho u)
    G_j(t) = sum over l < i of q_j (1 - q_j)^l Phi((ln t - b - e ln(m / 45) - kappa u - ln(1 + r l)) / sigma)
    H_j(t) = psi (1 - q_j)^i Phi((ln t - b - e ln(m / 45) - kappa u - ln(1 + r (i - 1)) - g) / sigma_g)

G_j(t) is the probability that candidate j has passed by t, H_j(t) that it has given up by then. A pass at t has the
density G'_j(t), giving up H'_j(t), being at work at t the probability 1 - G_j(t) - H_j(t). m is the
budget: e says how far work fills the time it is given. The integral over u is Gauss-Hermite.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from planner_outcome.evidence import GAVE_UP, NOT_PASSED, PASSED, PASSED_SOMETIME, CandidateRows, RunRows
from planner_outcome.state import REFERENCE_MINUTES, hermite

TINY = 1e-12


class Scalars(NamedTuple):
    """The shared scalars as tensors; ``quality`` is [3], the offsets d_j."""

    sigma: Tensor
    rho: Tensor
    kappa: Tensor
    retry: Tensor
    psi: Tensor
    give_up: Tensor
    give_up_sigma: Tensor
    fill: Tensor
    quality: Tensor


class _Group(NamedTuple):
    """Rows of one number of tries at most."""

    run: Tensor
    place: Tensor
    log_t: Tensor
    log_budget: Tensor
    kind: Tensor
    used: Tensor
    last: Tensor
    most: int


def _groups(
    run: np.ndarray,
    place: np.ndarray,
    kind: np.ndarray,
    minutes: np.ndarray,
    tries: np.ndarray,
    budget: np.ndarray,
    usual: np.ndarray,
) -> list[_Group]:
    """Rows of one try apart from those of several, which cost several times as much."""
    out = []
    for chosen in (tries == 1, tries > 1):
        rows = np.flatnonzero(chosen)
        if len(rows):
            most = int(tries[rows].max())
            used = np.arange(most) < tries[rows, None]
            out.append(
                _Group(
                    torch.from_numpy(run[rows]),
                    torch.from_numpy(place[rows]),
                    torch.from_numpy(np.log(minutes[rows])),
                    torch.from_numpy(np.log(budget[rows] / REFERENCE_MINUTES) - usual[run[rows]]),
                    torch.from_numpy(kind[rows]),
                    torch.from_numpy(used.astype(np.float64)),
                    torch.from_numpy(tries[rows] - 1.0),
                    most,
                )
            )
    return out


class Likelihood:
    """The likelihood of the runs of some evidence, as a function of a, b [n] and the scalars.

    ``usual`` float64 [n] is the log budget, over the reference, that each run's features would let one expect: b is
    then the log median at that budget. Only what was given beyond it can tell how far work fills its budget; without
    it, a rule that gives large issues more time could not be told from work that fills its time.
    """

    def __init__(
        self, candidates: CandidateRows, runs: RunRows, vote_accuracy: float, n: int, usual: np.ndarray | None = None
    ) -> None:
        self.n, self.vote = n, vote_accuracy
        usual = np.zeros(n) if usual is None else usual
        c = candidates
        self._candidates = _groups(c.run, c.place, c.kind, c.minutes, c.tries, c.budget, usual)
        self._runs = _groups(runs.run, runs.candidates, runs.kind, runs.minutes, runs.tries, runs.budget, usual)
        shown = np.unique(np.concatenate([c.run, runs.run]))
        self.shown = torch.from_numpy(shown)
        nodes, weights = hermite()
        self.u = torch.from_numpy(nodes)
        self.log_w = torch.from_numpy(np.log(weights))

    def per_run(self, a: Tensor, b: Tensor, s: Scalars) -> Tensor:
        """Log-likelihood of each run that shows anything, float64 [shown]."""
        logs = torch.zeros(self.n, len(self.u), dtype=a.dtype)
        for group in self._candidates:
            logs = logs.index_add(0, group.run, self._candidate(group, a, b, s))
        for group in self._runs:
            logs = logs.index_add(0, group.run, self._run(group, a, b, s))
        return torch.logsumexp(logs[self.shown] + self.log_w, dim=1)

    def _curves(self, group: _Group, a: Tensor, b: Tensor, s: Scalars, offset: Tensor) -> tuple[Tensor, ...]:
        """G, H and their densities in log t, [rows, nodes] each, at each row's time."""
        logit = a[group.run, None] + offset + s.rho * self.u
        log_q, log_fail = torch.nn.functional.logsigmoid(logit), torch.nn.functional.logsigmoid(-logit)
        x = (group.log_t - b[group.run] - s.fill * group.log_budget)[:, None] - s.kappa * self.u
        passed = density = torch.zeros(1, dtype=a.dtype)
        for tried in range(group.most):
            z = (x - torch.log1p(s.retry * tried)) / s.sigma
            weight = torch.exp(log_q + tried * log_fail) * group.used[:, tried, None]
            passed = passed + weight * _phi(z)
            density = density + weight * torch.exp(-0.5 * z * z)
        z = (x - torch.log1p(s.retry * group.last)[:, None] - s.give_up) / s.give_up_sigma
        never = s.psi * torch.exp(log_fail * (group.last[:, None] + 1))
        root = math.sqrt(2 * math.pi)
        return (
            passed,
            never * _phi(z),
            density / (root * s.sigma),
            never * torch.exp(-0.5 * z * z) / (root * s.give_up_sigma),
        )

    def _candidate(self, group: _Group, a: Tensor, b: Tensor, s: Scalars) -> Tensor:
        passed, gone, density, leaving = self._curves(group, a, b, s, s.quality[group.place][:, None])
        kind = group.kind[:, None]
        value = torch.where(kind == PASSED, density, 1 - passed - gone)
        value = torch.where(kind == GAVE_UP, leaving, value)
        value = torch.where(kind == PASSED_SOMETIME, passed, value)
        value = torch.where(kind == NOT_PASSED, 1 - passed, value)
        return torch.log(value.clamp_min(TINY))

    def _run(self, group: _Group, a: Tensor, b: Tensor, s: Scalars) -> Tensor:
        """Runs that tell no more than their own outcome; ``place`` holds the number of candidates."""
        none = working = all_gone = torch.ones(1, dtype=a.dtype)
        first = last_gone = torch.zeros(1, dtype=a.dtype)
        for j in range(3):
            there = (group.place > j)[:, None]
            passed, gone, density, leaving = self._curves(group, a, b, s, s.quality[j])
            first = torch.where(there, first * (1 - passed) + none * density, first)
            last_gone = torch.where(there, last_gone * gone + all_gone * leaving, last_gone)
            none = torch.where(there, none * (1 - passed), none)
            all_gone = torch.where(there, all_gone * gone, all_gone)
        kind, v = group.kind[:, None], self.vote
        working = none - all_gone
        value = torch.where(kind == PASSED, v * first, working)
        value = torch.where(kind == GAVE_UP, (1 - v) * first + last_gone, value)
        value = torch.where(kind == PASSED_SOMETIME, v * (1 - none), value)
        value = torch.where(kind == NOT_PASSED, 1 - v * (1 - none), value)
        return torch.log(value.clamp_min(TINY))


def _phi(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-x * math.sqrt(0.5))
