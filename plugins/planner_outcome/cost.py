"""Fitting the price of a candidate: mu = e^(c_j) (c0 + e^c minutes), log c0 and c linear in the features.

Given the busy minutes the cost says nothing about passing, so it is fitted apart. Quasi-likelihood of a gamma with a
dispersion estimated from Pearson's residuals; priors N(0, tau^2) on the weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from planner_outcome.evidence import CostRows
from planner_outcome.state import Floats

TAU, OFFSET_SD, BIAS_SD = 0.2, 0.3, 3.0
MIN_DISPERSION = 0.02
FIRST = (math.log(0.02), math.log(0.05))
"""Centres of the biases of log c0 and c, in USD, where nothing is known."""


class Prices(NamedTuple):
    """Weights [2, features] and biases [2] of log c0 and c, offsets [3] of the candidates."""

    weights: Floats
    biases: Floats
    offsets: Floats


def fit_prices(x: Floats, rows: CostRows, steps: int) -> Prices:
    """Fit ``rows`` on ``x`` [runs, features]; without rows, the centres."""
    n_features = x.shape[1]
    biases = np.array(FIRST)
    if not len(rows.usd):
        return Prices(np.zeros((2, n_features)), biases, np.zeros(3))
    typical = float(np.log((rows.usd / rows.minutes).mean() + 1e-9))
    biases[1] = typical
    tx = torch.from_numpy(x)
    run, t, usd = torch.from_numpy(rows.run), torch.from_numpy(rows.minutes), torch.from_numpy(rows.usd)
    # The last column stands for the mean of all candidates, which has no offset of its own.
    place, share = torch.from_numpy(np.where(rows.place < 0, 3, rows.place)), torch.from_numpy(rows.share)
    theta = torch.zeros(2 * n_features + 5, dtype=torch.float64)
    centre, dispersion = torch.from_numpy(biases), 1.0
    for _ in range(2):
        z = theta.clone().requires_grad_(True)
        optimiser = torch.optim.LBFGS([z], max_iter=steps, history_size=20, line_search_fn="strong_wolfe")

        def closure(z: Tensor = z, dispersion: float = dispersion, optimiser: torch.optim.LBFGS = optimiser) -> Tensor:
            optimiser.zero_grad()
            mu = _mean(z, tx, run, t, place, centre, n_features)
            loss = (share * (torch.log(mu) + usd / mu)).sum() / dispersion + 0.5 * (z**2).sum()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own is untyped
            return loss

        optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch's own is untyped
        theta = z.detach()
        with torch.no_grad():
            mu = _mean(theta, tx, run, t, place, centre, n_features)
            dispersion = max(float((share * (usd / mu - 1) ** 2).mean()), MIN_DISPERSION)
    out = theta.numpy()
    return Prices(
        TAU * out[: 2 * n_features].reshape(2, -1),
        biases + BIAS_SD * out[2 * n_features : 2 * n_features + 2],
        np.concatenate([[0.0], OFFSET_SD * out[2 * n_features + 2 : 2 * n_features + 4]]),
    )


def _mean(z: Tensor, x: Tensor, run: Tensor, t: Tensor, place: Tensor, centre: Tensor, n: int) -> Tensor:
    logs = (x @ (TAU * z[: 2 * n]).view(2, n).T + centre + BIAS_SD * z[2 * n : 2 * n + 2])[run]
    zero = torch.zeros(1, dtype=z.dtype)
    offsets = torch.cat([zero, OFFSET_SD * z[2 * n + 2 : 2 * n + 4], zero])
    return torch.exp(offsets[place]) * (torch.exp(logs[:, 0]) + torch.exp(logs[:, 1]) * t)
