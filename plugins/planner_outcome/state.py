"""What the policy has learnt, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NODES = 7
REFERENCE_MINUTES = 45.0
"""The budget at which ``b`` is the log median time of a try, where work fills its budget."""
HEADS = ("quality", "log_minutes", "log_usd_per_candidate", "log_usd_per_minute")


@lru_cache(maxsize=1)
def hermite() -> tuple[Floats, Floats]:
    """Nodes and weights of the standard normal distribution."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights / weights.sum()


@dataclass(frozen=True)
class Physics:
    """The shared scalars, named as in :mod:`planner_outcome.likelihood`.

    ``quality`` float64 [3] and ``cost`` float64 [3] are the offsets of each candidate on the logit of the quality and
    on log USD; ``vote_accuracy`` is the probability that a vote picks a candidate that passed, ``vote_minutes`` what it
    takes.
    """

    sigma: float
    rho: float
    kappa: float
    retry: float
    psi: float
    give_up: float
    give_up_sigma: float
    fill: float
    quality: Floats
    cost: Floats
    vote_accuracy: float
    vote_minutes: float
