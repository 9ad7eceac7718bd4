"""The composition of :mod:`planner_outcome.compose` in torch, so that its parts can be tuned through it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planner_outcome.actions import CANDIDATES, MINUTES, TRIES, ActionTable
from planner_outcome.compose import MOST_TRIES, time_grid, try_masks
from planner_outcome.state import Physics, hermite

K, M = len(CANDIDATES), len(MINUTES)
NAMES = (
    "sigma",
    "rho",
    "kappa",
    "retry",
    "quality_2",
    "quality_3",
    "cost_2",
    "cost_3",
    "vote_accuracy",
    "vote_minutes",
)
POSITIVE = ("sigma", "rho", "retry", "vote_minutes")
LEAST, LEAST_ODDS = 1e-3, 1e-4


class Outcome(NamedTuple):
    """Expected passed, minutes and USD, [n, 150] each."""

    passed: Tensor
    minutes: Tensor
    cost_usd: Tensor


def unconstrained(p: Physics) -> NDArray[np.float64]:
    """The scalars that are tuned, float64 [10] in the order of :data:`NAMES`, free to take any value."""
    odds = min(max(p.vote_accuracy, LEAST_ODDS), 1 - LEAST_ODDS)
    logs = [math.log(max(value, LEAST)) for value in (p.sigma, p.rho)]
    return np.array(
        [
            *logs,
            p.kappa,
            math.log(max(p.retry, LEAST)),
            *p.quality[1:],
            *p.cost[1:],
            math.log(odds / (1 - odds)),
            math.log(max(p.vote_minutes, LEAST)),
        ]
    )


def constrained(s: Tensor) -> dict[str, Tensor]:
    """The scalars by name, as :class:`Physics` has them."""
    out = dict(zip(NAMES, s, strict=True))
    out |= {name: torch.exp(out[name]) for name in POSITIVE}
    out["vote_accuracy"] = torch.sigmoid(out["vote_accuracy"])
    return out


def tuned(p: Physics, s: Tensor) -> Physics:
    """``p`` with the scalars ``s``."""
    v = {name: float(value) for name, value in constrained(s).items()}
    return Physics(
        v["sigma"],
        v["rho"],
        v["kappa"],
        v["retry"],
        p.psi,
        p.give_up,
        p.give_up_sigma,
        p.fill,
        np.array([0.0, v["quality_2"], v["quality_3"]]),
        np.array([0.0, v["cost_2"], v["cost_3"]]),
        v["vote_accuracy"],
        v["vote_minutes"],
    )


class Composer:
    """Expected outcomes of rows of one job type; ``p`` gives the scalars that are not tuned."""

    def __init__(self, p: Physics, table: ActionTable, job: int) -> None:
        self.p = p
        grid = time_grid()
        u, weights = hermite()
        mask = try_masks(table.iterates)[job]
        # A job type that makes one try needs no more than its curve, and then every number of tries means the same.
        tries = np.arange(len(TRIES)) if table.iterates[job] else np.zeros(1, np.int64)
        mask = mask[tries]
        used = int(mask.sum(axis=1).max())
        self.tries, self.used = len(tries), used
        cell = table.cell
        if len(tries) == 1:
            k, rest = np.divmod(cell, len(TRIES) * M)
            cell = k * M + rest % M
        tensor = torch.from_numpy
        self.mask = tensor(mask[:, :used].copy())
        self.last = tensor(mask.sum(axis=1) - 1.0)
        self.cell = tensor(np.ascontiguousarray(cell))
        self.vote = tensor(table.vote)
        self.u, self.weights = tensor(u), tensor(weights)
        self.x = tensor(grid.log_t - p.fill * grid.log_budget)
        self.integral, self.ends = tensor(grid.integral), grid.ends

    def __call__(self, heads: Tensor, s: Tensor) -> Outcome:
        """``heads`` [n, 4] and the scalars [10]; axes as in :mod:`planner_outcome.compose`."""
        v, p = constrained(s), self.p
        a, b, fixed, rate = heads.T
        zero = torch.zeros((), dtype=s.dtype)
        quality = torch.stack([zero, v["quality_2"], v["quality_3"]])
        logit = a[:, None, None] + v["rho"] * self.u[:, None] + quality
        log_q, log_fail = torch.nn.functional.logsigmoid(logit), torch.nn.functional.logsigmoid(-logit)
        each = torch.exp(log_q[..., None] + log_fail[..., None] * torch.arange(self.used))  # n u j l
        shares = each[:, :, :, None, :] * self.mask  # n u j i l
        x = self.x - b[:, None, None] - (v["kappa"] * self.u)[:, None]  # n u t
        stretch = torch.log1p(v["retry"] * torch.arange(MOST_TRIES))
        ended = _cdf((x[:, :, None] - stretch[: self.used, None]) / v["sigma"])  # n u l t
        n, nodes = logit.shape[:2]
        flat = shares.reshape(n, nodes, -1, self.used)
        passed = (flat @ ended).reshape(n, nodes, K, self.tries, -1)
        none = torch.cumprod(1 - passed, dim=2)
        working, busy = none, 1 - passed
        if p.psi > 0.0:
            late = stretch[self.last.long()][:, None] + p.give_up
            gone = (p.psi * (1 - shares.sum(dim=-1)))[..., None] * _cdf((x[:, :, None] - late) / p.give_up_sigma)[
                :, :, None
            ]
            working, busy = none - torch.cumprod(gone, dim=2), busy - gone
        mean = torch.einsum("u,upjit->pjit", self.weights, torch.stack([none, working, busy]).transpose(0, 2).reshape(
            nodes, n * 3, K, self.tries, -1
        ))  # fmt: skip
        by, minutes, busy = mean.reshape(n, 3, K, self.tries, -1).unbind(1)
        by_budget = (1 - by[..., self.ends]).reshape(n, -1)
        took = (minutes @ self.integral).reshape(n, -1)
        usd = torch.exp(fixed)[:, None, None, None] + torch.exp(rate)[:, None, None, None] * (busy @ self.integral)
        price = torch.exp(torch.stack([zero, v["cost_2"], v["cost_3"]]))
        cost = torch.cumsum(price[:, None, None] * usd, dim=1).reshape(n, -1)
        one = torch.ones((), dtype=s.dtype)
        return Outcome(
            by_budget[:, self.cell] * torch.where(self.vote, v["vote_accuracy"], one),
            took[:, self.cell] + torch.where(self.vote, v["vote_minutes"], zero),
            cost[:, self.cell],
        )


def _cdf(x: Tensor) -> Tensor:
    return 0.5 * torch.erfc(-x * math.sqrt(0.5))
