"""The joint actions as the model sees them: vote or not, candidates, minutes and tries, NA read as its number."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from planner_outcome.core import JOB_TYPES, ActionSpace

MINUTES = (15.0, 30.0, 45.0, 60.0, 120.0, 240.0)
TRIES = (1, 2, 3, 5)
CANDIDATES = (1, 2, 3)
CELLS = len(CANDIDATES) * len(TRIES) * len(MINUTES)


@dataclass(frozen=True)
class ActionTable:
    """``resolved`` int64 [job types, n_joint, (swarm, k, m, i)]; ``cell`` int64 [n_joint] is the position of (k, i, m)
    among the 72 combinations; ``vote`` bool [n_joint]; ``iterates`` bool [job types]: a job type that does not makes
    one try whatever the action says, which the composition sees to."""

    resolved: NDArray[np.int64]
    cell: NDArray[np.int64]
    vote: NDArray[np.bool_]
    iterates: NDArray[np.bool_]


@lru_cache(maxsize=4)
def action_table(space: ActionSpace) -> ActionTable:
    """The table of an action space."""
    iterates = np.array([name != "code" for name in JOB_TYPES])
    plain = space.resolved[int(np.argmax(iterates))]
    at = [np.searchsorted(values, plain[:, c]) for c, values in ((1, CANDIDATES), (3, TRIES), (2, MINUTES))]
    cell = (at[0] * len(TRIES) + at[1]) * len(MINUTES) + at[2]
    return ActionTable(space.resolved, cell.astype(np.int64), plain[:, 0] == 1, iterates)
