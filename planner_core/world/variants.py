"""Worlds in which one sentence of the default world is another, and in which its structure would mislead.

``gives-up``: a candidate without quality stops before its budget ends. ``same-fate``: the candidates of a run share
nearly all of their luck, so that a second one is worth little. ``per-token``: tries cost money, minutes do not.
``expands``: how long a try takes follows the budget it is given, so that a run under one budget tells nothing certain
of another.
"""

from __future__ import annotations

import numpy as np

from planner_core.world.config import Expands, GivesUp, PerToken, SameFate, column
from planner_core.world.outcomes import Cases, Floats, Ints
from planner_core.world.tries import BUDGETS, MAX_TRIES, TRIES, Curves, Luck, TriesModel, normal_cdf


class GivesUpModel(TriesModel):
    """Let H(t) be the probability that a candidate has given up by t: it has no quality in any of its i tries, and

        H(t) = (1 - q)^i P(share x T (1 + 0.6 (i - 1)) <= t).

    A run ends when a candidate passes or all have given up: E[minutes] is the integral of (1 - G)^k - H^k up to m. One
    candidate is busy for the integral of 1 - G - H. What passes, passes as in the default world.
    """

    parameters: GivesUp

    def __init__(self, parameters: GivesUp, noise_sd: float) -> None:
        self.give_up_share = parameters.give_up_share
        super().__init__(parameters, noise_sd)


class SameFateModel(TriesModel):
    """With the probability of a shared fate the outcome is that of one candidate, at the price of k."""

    parameters: SameFate

    def tabulate(self, size: int, actions: Ints, curves: Curves) -> Floats:
        """The mixture of both fates; cost is the same under both, since each candidate's own fate has one law."""
        apart = super().tabulate(size, actions, curves)
        alone = actions.copy()
        alone[:, 1] = 1
        alike = super().tabulate(size, alone, curves)
        share = self.parameters.shared_fate
        apart[:2] = share * alike[:2] + (1 - share) * apart[:2]
        return apart

    def share_luck(self, rng: np.random.Generator, luck: Luck) -> Luck:
        """The first candidate's luck for all of them in runs of one fate."""
        shared = rng.random(len(luck.time)) < self.parameters.shared_fate
        return Luck(
            np.where(shared[:, None, None], luck.quality[:, :1], luck.quality),
            np.where(shared[:, None], luck.time[:, :1], luck.time),
        )


class PerTokenModel(TriesModel):
    """Try j + 1 begins if j tries had no quality and ended within the budget, and is paid for whole.

    One candidate costs 0.02 + c(size, z) x (1 + sum over j = 1..i-1 of (1 - q)^j P(T (1 + 0.6 (j - 1)) < m)) USD.
    """

    parameters: PerToken

    def _log_usd(self, size: Ints | int, z: Floats) -> Floats:
        """Log of the expected USD of a try."""
        return np.asarray(np.log(column(self.parameters.try_usd))[size] + self.parameters.usd_slope * z)

    def tabulate(self, size: int, actions: Ints, curves: Curves) -> Floats:
        """As in the default world, and the price of the tries that are expected to begin."""
        out = super().tabulate(size, actions, curves)
        _, k, budget, tries = actions.T
        x = (np.log(BUDGETS) - self.log_median(size, self._z, 0)[:, None])[:, None] - np.log(self._stretch)[:, None]
        ended = normal_cdf(x / self.parameters.time_spread)  # [z, try, budget]
        missed = (1 - self.quality(self._z))[:, None] ** np.arange(1, MAX_TRIES + 1)
        begun = np.cumsum(missed[:, :, None] * ended, axis=1)
        begun = np.concatenate([np.ones_like(begun[:, :1]), 1 + begun], axis=1)[:, np.array(TRIES) - 1]
        expected = begun[:, np.searchsorted(TRIES, tries), np.searchsorted(BUDGETS, budget)]
        out[2] += k * np.exp(self._log_usd(size, self._z))[:, None] * expected
        return out

    def sample_cost(self, rng: np.random.Generator, cases: Cases, begun: Ints, busy: Floats) -> Floats:
        """The sum of the prices of the tries that began."""
        spread = self.parameters.usd_spread
        price = np.exp(
            self._log_usd(cases.size, cases.z)[:, None, None]
            + spread * rng.standard_normal((*begun.shape, MAX_TRIES))
            - spread * spread / 2
        )
        paid = np.where(np.arange(MAX_TRIES) < begun[..., None], price, 0.0).sum(axis=2)
        return np.asarray(super().sample_cost(rng, cases, begun, busy) + paid)


class ExpandsModel(TriesModel):
    """Log T has the median (1 - pull) x that of the default world + pull x log(fill x budget)."""

    parameters: Expands

    def log_median(self, size: Ints | int, z: Floats, budget: Ints | int) -> Floats:
        """Median log minutes of a first try under a budget."""
        p = self.parameters
        return (1 - p.pull) * super().log_median(size, z, budget) + p.pull * np.log(p.fill * np.asarray(budget))

    def curves(self, size: int) -> Curves:
        """The curves of one size, every budget integrated for itself."""
        each = [self.integrate(self.log_median(size, self._z, budget), (budget,)) for budget in BUDGETS]
        return Curves(*(np.concatenate(parts, axis=-1) for parts in zip(*each, strict=True)))
