"""A history as arrays: what was decided, and the runs that followed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PARTS = ("passed", "minutes", "cost_usd")
ARMS = ("baseline", "model", "explore")


@dataclass(frozen=True)
class Decisions:
    """n decisions of one bundle in the order of their time.

    ``issue`` int64 [n] numbers the issues; ``at_ms`` int64 [n]; ``arm`` int8 [n] indexes :data:`ARMS`; ``share``
    float64 [n], the probability that the issue's arm is not the baseline, 0 in modes that give every issue to the
    baseline; ``earlier`` bool [n]: another model decided the issue before; ``priority`` int64 [n] indexes P0..P3;
    ``expected`` float64 [n, 3]: pass probability, minutes, USD that the model expected of the action that was decided,
    NaN where it does not say; ``reason`` why the baseline decided, None for a decision of the model's own.
    """

    issue: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    arm: NDArray[np.int8]
    share: Floats
    earlier: NDArray[np.bool_]
    priority: NDArray[np.int64]
    expected: Floats
    reason: list[str | None]

    def __len__(self) -> int:
        return len(self.at_ms)


@dataclass(frozen=True)
class Runs:
    """m runs that follow a decision, in the order in which they ended.

    ``decision`` int64 [m] indexes the decisions; ``started_ms``, ``ended_ms`` int64 [m]; ``outcome`` float64 [m, 3] of
    passed, minutes, USD (NaN where the cost is not logged); ``as_decided`` bool [m]: the plan that was decided was run;
    ``evidence`` bool [m]: it did not end for reasons that are not the agent's.
    """

    decision: NDArray[np.int64]
    started_ms: NDArray[np.int64]
    ended_ms: NDArray[np.int64]
    outcome: Floats
    as_decided: NDArray[np.bool_]
    evidence: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.started_ms)
