"""What every simulated world answers: what is expected of all actions on an issue, and how one run of one goes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace

MAX_CANDIDATES = 3

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Cases:
    """n issues that are about to be run, as columns; all but ``z`` and ``known_z`` are positions in lists of names.

    ``z`` float64 [n] is the difficulty, ``known_z`` the same without its noise. ``tool`` is -1 for none, ``tags``
    int64 [n, 4] is filled up with -1.
    """

    job: Ints
    size: Ints
    risk: Ints
    priority: Ints
    tool: Ints
    tags: Ints
    attempts: Ints
    known_z: Floats
    z: Floats

    def __len__(self) -> int:
        return len(self.job)

    def take(self, rows: Ints | Bools | slice) -> Cases:
        """The given rows, in the given order."""
        return Cases(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


class ExpectedOutcomes(NamedTuple):
    """Expected outcomes of every joint class, each float64 [n, 150]: probability of passing, minutes, USD."""

    passed: Floats
    minutes: Floats
    cost_usd: Floats


class SampledRuns(NamedTuple):
    """Sampled runs, one a row.

    ``passed`` bool; ``minutes`` float64, the vote included; ``cost_usd`` float64 is the sum over the candidates.
    ``out_of_time`` bool: the run failed for want of minutes; ``outvoted`` bool: a candidate passed and the vote did
    not pick it. ``candidate_passed`` bool [n, 3], ``candidate_minutes`` and ``candidate_cost_usd`` float64 [n, 3] are
    the candidates' own (busy minutes, without the vote); NaN where the action has no such candidate. Who has not won is
    not cancelled: a candidate is busy until it passes, gives up or has used the budget, and is paid for that long.
    """

    passed: Bools
    minutes: Floats
    cost_usd: Floats
    out_of_time: Bools
    outvoted: Bools
    candidate_passed: Bools
    candidate_minutes: Floats
    candidate_cost_usd: Floats


class OutcomeModel(Protocol):
    """What an action leads to in one world. All randomness of :meth:`sample` comes from ``rng``.

    The expectations are those of the sampler, exact or by quadrature. Actions that mean the same (twins) have bitwise
    equal expectations. An action that is not valid for the job type has numbers too: mask them.
    """

    def expected(self, cases: Cases) -> ExpectedOutcomes:
        """Expected outcomes of all actions given everything, the noise included."""
        ...

    def expected_over_noise(self, cases: Cases) -> ExpectedOutcomes:
        """Expected outcomes of all actions given everything that can be known, averaged over the noise of z."""
        ...

    def sample(self, rng: np.random.Generator, cases: Cases, action: Ints) -> SampledRuns:
        """One run of each row's joint class ``action`` int64 [n]."""
        ...


@cache
def _resolved() -> Ints:
    """Worked out once: it takes as long as sampling a hundred runs does."""
    return ActionSpace().resolved


def resolved_numbers(job: Ints, action: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """(vote, candidates, minutes, tries), int64 [n] each: what the joint classes ``action`` mean for the job types."""
    vote, candidates, minutes, tries = _resolved()[job, action].T
    return vote, candidates, minutes, tries


def noise_nodes(sd: float, nodes: int = 15) -> tuple[Floats, Floats]:
    """Gauss-Hermite nodes of N(0, sd) and their weights, which sum to 1."""
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return sd * at, weights / weights.sum()
