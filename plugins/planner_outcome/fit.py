"""Fitting the parts: penalised likelihood, the width of each prior set by evidence.

Every weight has a prior N(0, tau^2) with one tau a head and block of features, every scalar a prior of its own. The
taus are those of the marginal likelihood (MacKay's fixed point on the Laplace approximation), so that neither a
validation split nor early stopping is needed, and a world in which tags say nothing loses their weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planner_outcome.config import OutcomeConfig
from planner_outcome.likelihood import Likelihood, Scalars

Floats = NDArray[np.float64]
Unpack = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]

# Scalars in the unconstrained form in which they are learnt: (name, centre, standard deviation of the prior).
SCALARS = (
    ("log_sigma", math.log(0.5), 0.5),
    ("log_rho", math.log(1.5), 0.5),
    ("kappa", 0.0, 0.3),
    ("log_retry", math.log(0.7), 0.5),
    ("logit_psi", -2.0, 2.0),
    ("give_up", 0.0, 1.0),
    ("log_give_up_sigma", math.log(0.5), 0.5),
    ("slope", 0.0, 0.3),
    ("fill", 0.0, 0.1),
    ("quality_2", 0.0, 0.3),
    ("quality_3", 0.0, 0.3),
)
NAMES = tuple(name for name, _, _ in SCALARS)
BIAS_SD = 5.0
FIRST_TAU, MIN_TAU, MAX_TAU, PSEUDO = 0.5, 0.01, 3.0, 0.02


@dataclass
class Parts:
    """Weights float64 [features] and biases of a and b, and the scalars by name."""

    weights: Floats
    biases: Floats
    scalars: Floats
    taus: Floats
    history: list[float] = field(default_factory=list)


def fit_parts(
    x: Floats,
    slices: dict[str, slice],
    likelihood: Likelihood,
    config: OutcomeConfig,
    tell: Callable[[int, float], None] = lambda done, loss: None,
) -> Parts:
    """Fit a and b, linear in ``x`` [n, features]; the taus are set anew between the rounds."""
    n_features, blocks = x.shape[1], list(slices.values())
    taus = np.full((2, len(blocks)), FIRST_TAU)
    centre = torch.tensor([c for _, c, _ in SCALARS], dtype=torch.float64)
    spread = torch.tensor([s for _, _, s in SCALARS], dtype=torch.float64)
    if config.frailty is not None:
        at = NAMES.index("log_rho")
        centre[at], spread[at] = math.log(config.frailty), 1e-4
    tx = torch.from_numpy(x)
    theta = torch.zeros(2 * n_features + 2 + len(SCALARS), dtype=torch.float64)
    theta[2 * n_features + 1] = 2.5  # half a budget of minutes or so; the prior of the bias is wide
    parts = Parts(np.zeros((2, n_features)), np.zeros(2), np.zeros(len(SCALARS)), taus)
    for round_ in range(config.rounds):
        scale = np.concatenate([_widths(taus[h], blocks, n_features) for h in range(2)])
        width = torch.from_numpy(scale)

        def unpack(z: Tensor, width: Tensor = width) -> tuple[Tensor, Tensor, Tensor]:
            weights = (z[: 2 * n_features] * width).view(2, n_features)
            biases = z[2 * n_features : 2 * n_features + 2]
            scalars = centre + spread * z[2 * n_features + 2 :]
            return weights, biases, scalars

        if round_:
            start = torch.cat([torch.from_numpy(parts.weights.reshape(-1)) / width, theta[2 * n_features :]])
        else:
            start = theta
        z = start.clone().requires_grad_(True)
        optimiser = torch.optim.LBFGS(
            [z],
            max_iter=config.steps,
            history_size=20,
            line_search_fn="strong_wolfe",
            tolerance_grad=1e-3,
            tolerance_change=1e-4,
        )

        def closure(z: Tensor = z, optimiser: torch.optim.LBFGS = optimiser, unpack: Unpack = unpack) -> Tensor:
            optimiser.zero_grad()
            weights, biases, scalars = unpack(z)
            a, b = heads(tx, weights, biases, scalars)
            loss = -likelihood.per_run(a, b, as_scalars(scalars)).sum()
            loss = loss + 0.5 * (z[: 2 * n_features] ** 2).sum() + 0.5 * (z[2 * n_features + 2 :] ** 2).sum()
            loss = loss + 0.5 * (z[2 * n_features : 2 * n_features + 2] ** 2).sum() / BIAS_SD**2
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own is untyped
            return loss

        total = optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch's own is untyped
        loss = float(total.detach()) / max(len(likelihood.shown), 1)
        tell(round_ + 1, loss)
        theta = z.detach()
        with torch.no_grad():
            weights, biases, scalars = unpack(theta)
        parts = Parts(
            weights.numpy().copy(), biases.numpy().copy(), scalars.numpy().copy(), taus, [*parts.history, loss]
        )
        if round_ < config.rounds - 1:
            taus = _new_taus(x, tx, parts, likelihood, blocks, taus)
    return parts


def heads(x: Tensor, weights: Tensor, biases: Tensor, scalars: Tensor) -> tuple[Tensor, Tensor]:
    """a and b [n]. What makes a try fail may make it slow: b has a share of a (``slope``)."""
    a = x @ weights[0] + biases[0]
    return a, x @ weights[1] + biases[1] - scalars[NAMES.index("slope")] * (a - biases[0])


def as_scalars(s: Tensor) -> Scalars:
    """The scalars as the likelihood wants them."""
    get = {name: s[i] for i, name in enumerate(NAMES)}
    quality = torch.stack([torch.zeros((), dtype=s.dtype), get["quality_2"], get["quality_3"]])
    return Scalars(
        torch.exp(get["log_sigma"]),
        torch.exp(get["log_rho"]),
        get["kappa"],
        torch.exp(get["log_retry"]),
        torch.sigmoid(get["logit_psi"]),
        get["give_up"],
        torch.exp(get["log_give_up_sigma"]),
        get["fill"],
        quality,
    )


def _widths(taus: Floats, blocks: list[slice], n: int) -> Floats:
    out = np.zeros(n)
    for tau, block in zip(taus, blocks, strict=True):
        out[block] = tau
    return out


def _new_taus(x: Floats, tx: Tensor, parts: Parts, likelihood: Likelihood, blocks: list[slice], taus: Floats) -> Floats:
    """One step of MacKay's fixed point: tau^2 = sum of squares / effective number of parameters, by head and block."""
    with torch.no_grad():
        a0, b0 = heads(
            tx, torch.from_numpy(parts.weights), torch.from_numpy(parts.biases), torch.from_numpy(parts.scalars)
        )
    a0.requires_grad_(True)
    b0.requires_grad_(True)
    s = as_scalars(torch.from_numpy(parts.scalars))
    loss = -likelihood.per_run(a0, b0, s).sum()
    ga, gb = torch.autograd.grad(loss, (a0, b0), create_graph=True)
    caa = torch.autograd.grad(ga.sum(), a0, retain_graph=True)[0].numpy()
    cbb = torch.autograd.grad(gb.sum(), b0)[0].numpy()
    out = taus.copy()
    for h, curvature in enumerate((caa, cbb)):
        d = np.maximum(curvature, 0.0)
        width = _widths(taus[h], blocks, x.shape[1])
        hessian = (x * d[:, None]).T @ x + np.diag(1.0 / width**2)
        variance = np.diag(np.linalg.inv(hessian))
        for i, block in enumerate(blocks):
            count = block.stop - block.start
            if not count:
                continue
            effective = count - variance[block].sum() / taus[h, i] ** 2
            # A weak prior on tau itself, worth one parameter, keeps an empty block from freezing at zero.
            out[h, i] = math.sqrt(((parts.weights[h, block] ** 2).sum() + PSEUDO) / (max(effective, 0.0) + 1.0))
    return np.clip(out, MIN_TAU, MAX_TAU)
