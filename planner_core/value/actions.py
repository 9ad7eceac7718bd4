"""The joint classes as what they amount to, and the actions a target takes.

A *resolved* action is (swarm, k, m, i): swarm index, candidates, minutes and iterations as numbers, NA being the number
it stands for, ``code`` having one iteration. Actions of the same swarm, k and i differ only in their budget of minutes:
they form a *family*, and a run is evidence about its own family only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import NA_STANDS_FOR, ActionSpace
from planner_core.errors import ConfigError

NA_MINUTES = NA_STANDS_FOR["minutes"]
"""No limit on minutes counts as so many."""

BUDGETS = (15, 30, 45, 60, 120, NA_MINUTES)
"""Budgets of minutes of the action space, ascending."""

_FAMILY = 1_000  # more than any number of candidates or iterations that is told apart


@dataclass(frozen=True)
class Classes:
    """The 150 joint classes of each of the four job types; every array is [4, 150].

    ``resolved`` int64 [4, 150, 4]; ``family`` int64 code of (swarm, k, i), see :func:`family_code`; ``canonical`` int64
    the first class with the same resolved action that names its numbers; ``valid`` bool.
    """

    resolved: NDArray[np.int64]
    family: NDArray[np.int64]
    canonical: NDArray[np.int64]
    valid: NDArray[np.bool_]


def family_code(
    swarm: NDArray[np.int64], candidates: NDArray[np.int64], iterations: NDArray[np.int64]
) -> NDArray[np.int64]:
    """One number for (swarm, k, i); negative where the swarm is unknown, which is no family of any class."""
    code: NDArray[np.int64] = (swarm * _FAMILY + candidates) * _FAMILY + iterations
    return np.where(swarm < 0, -1, code)


@lru_cache(maxsize=1)
def classes() -> Classes:
    """The default action space, resolved for every job type."""
    space = ActionSpace()
    swarm, candidates, _, iterations = np.moveaxis(space.resolved, -1, 0)
    return Classes(space.resolved, family_code(swarm, candidates, iterations), space.canonical, space.joint_masks)


@dataclass(frozen=True)
class Target:
    """What somebody would do on n rows: one joint class a row, or a distribution over the 150.

    ``action`` int64 [n] or None; ``probabilities`` float64 [n, 150] or None: exactly one is given.
    """

    action: NDArray[np.int64] | None
    probabilities: NDArray[np.float64] | None

    @classmethod
    def of(cls, target: NDArray[np.integer] | NDArray[np.floating], rows: int, what: str = "target") -> Target:
        """Read an array of classes [n] or of probabilities [n, 150]; a :class:`ConfigError` says what does not fit."""
        array = np.asarray(target)
        count = classes().resolved.shape[1]
        if array.ndim == 1 and np.issubdtype(array.dtype, np.integer):
            if len(array) != rows or (rows and (array.min() < 0 or array.max() >= count)):
                raise ConfigError(f"{what}: found {_seen(array)}; expected {rows} joint classes of 0..{count - 1}")
            return cls(array.astype(np.int64), None)
        if array.shape != (rows, count):
            raise ConfigError(
                f"{what}: found {_seen(array)}; expected integers [{rows}] or probabilities [{rows}, {count}]"
            )
        probabilities = array.astype(np.float64)
        total = probabilities.sum(axis=1)
        if not np.all((probabilities >= 0).all(axis=1) & (np.abs(total - 1) < 1e-4)):
            raise ConfigError(f"{what}: found rows that are no probabilities; expected each to sum to 1")
        return cls(None, probabilities / total[:, None])

    def take(self, rows: NDArray[np.int64]) -> Target:
        """The target on some rows."""
        return Target(
            None if self.action is None else self.action[rows],
            None if self.probabilities is None else self.probabilities[rows],
        )


def _seen(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {list(array.shape)}" + (f" from {array.min()} to {array.max()}" if array.size else "")
