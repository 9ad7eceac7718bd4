"""Does replay hold? It assumes that agents do not know their budget; this compares runs of different budgets.

Under the assumption, when a run of a family first passes does not depend on its budget, up to any minute b that the
budget reaches. With x = log budget of a run and E[x] its mean over the budgets >= b that the logging policy might have
drawn on the same row, the run has the score

    (x - E[x]) (y - c)        with y = log(b / T) if its first candidate passed at T <= b (also when outvoted), else 0

whose expectation is 0 under the assumption whatever c is: E[x] is known by design, and c, the mean of y among the other
runs of the family to which the same budgets might have fallen, only lowers the variance. The sum of the scores over the
sum of the variances of x is a slope: by how much less of log time a pass takes if the log budget grows by one. Rows
where one budget was nearly sure count next to nothing, like the overlap weights of Li, Morgan and Zaslavsky (2018).
Sums are clustered by issue and compared with Student's t.

Everything together, the slopes at every b weighed by their precision, gives one test and one interval. Beside it, at a
fifth of the level and corrected by Bonferroni, stand tests in one place each: every family at every b. Replay *holds*
where no test rejects and the interval excludes a slope of :data:`MARGIN` either way: that nothing was found in a log
that could not have shown it says nothing, and is called `assumed, not checked`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner_core.value.actions import BUDGETS
from planner_core.value.propensity import LoggingPolicy
from planner_core.value.replay import Replay
from planner_core.value.student import quantile, two_sided_p

LEVEL = 0.01
"""Of all tests together."""
IN_PLACES = 0.2
"""Share of the level for the tests of single families and minutes."""
MARGIN = 0.08
"""Slope that must be excluded. With it a budget twice as long delays every pass by 6 %."""
EXCLUDED_AT = 0.05
"""Level at which either side of the margin is excluded: two one-sided tests (Schuirmann, 1987)."""
FEWEST_ISSUES = 20
"""Issues that the rows with a choice of budgets must amount to for a comparison to be made."""
SHRINKAGE = 10.0
"""Runs of the family that the mean among runs with the same possible budgets is shrunk by."""
LEAST_MINUTES = 0.5
"""A pass sooner than this counts as at this minute."""

State = Literal["holds", "contradicted", "assumed, not checked"]


@dataclass(frozen=True)
class ReplayCheck:
    """``state``; how many comparisons were made; the smallest corrected p-value and what it compares, "" if none.

    ``slope`` of everything together and its standard ``error``, NaN without a comparison.
    """

    state: State
    comparisons: int
    p_value: float
    worst: str
    slope: float = float("nan")
    error: float = float("nan")


def check_replay(
    logging: LoggingPolicy, runs: Replay, issue: NDArray[np.int64], usable: NDArray[np.bool_]
) -> ReplayCheck:
    """Compare passes across budgets; ``issue`` int64 [n] in 0..issues-1, ``usable`` bool [n] rows to use."""
    of_family = np.unique(np.where(usable & logging.whole, logging.family, -1), return_inverse=True)[1]
    places: list[tuple[float, str]] = []
    slopes: list[_Slope] = []
    for by in BUDGETS[:-1]:
        scores = _scores(logging, runs, by, usable & logging.whole, of_family)
        whole = scores.slope(issue, np.ones(len(issue), bool))
        if whole is None:
            continue
        slopes.append(whole)
        for number in np.unique(of_family[scores.variance > 0]):
            part = scores.slope(issue, of_family == number)
            if part is not None:
                name = _name(int(logging.family[of_family == number][0]))
                places.append((part.p_value, f"passes by minute {by} under different budgets, {name}"))
    if not slopes:
        return ReplayCheck("assumed, not checked", 0, float("nan"), "")
    together = _together(slopes, issue)
    smallest, what = min(
        [(together.p_value / (1 - IN_PLACES), "passes under different budgets, all together")]
        + [(p * len(places) / IN_PLACES, what) for p, what in places]
    )
    found = (1 + len(places), min(1.0, smallest), what, together.estimate, together.error)
    if smallest < LEVEL:
        return ReplayCheck("contradicted", *found)
    reach = quantile(1 - EXCLUDED_AT, together.df) * together.error
    excluded = abs(together.estimate) + reach < MARGIN
    return ReplayCheck("holds" if excluded else "assumed, not checked", *found)


class _Slope(NamedTuple):
    """A slope, its standard error and degrees of freedom, and what each run adds to it, float64 [n]."""

    estimate: float
    error: float
    df: float
    influence: NDArray[np.float64]

    @property
    def p_value(self) -> float:
        return two_sided_p(self.estimate / self.error, self.df)


class _Scores(NamedTuple):
    """Of all runs at one minute, float64 [n]: scores, the variance of the log budget, and how open the budget was.

    ``choice`` is the variance over the squared range: p (1 - p) of two budgets with probabilities p and 1 - p.
    """

    score: NDArray[np.float64]
    variance: NDArray[np.float64]
    choice: NDArray[np.float64]

    def slope(self, issue: NDArray[np.int64], rows: NDArray[np.bool_]) -> _Slope | None:
        """That of some rows; None where they amount to too few issues or nothing varies."""
        variance = np.where(rows, self.variance, 0.0)
        total = float(variance.sum())
        size = _issues(np.where(rows, self.choice, 0.0), issue)
        if size < FEWEST_ISSUES:
            return None
        return _slope(-np.where(rows, self.score, 0.0) / total, issue, size - 1)


def _slope(influence: NDArray[np.float64], issue: NDArray[np.int64], df: float) -> _Slope | None:
    sums = np.bincount(issue, influence)
    error = float(np.sqrt(len(sums) * sums.var(ddof=1))) if len(sums) > 1 else 0.0
    return _Slope(float(sums.sum()), error, df, influence) if error > 1e-12 else None


def _together(slopes: list[_Slope], issue: NDArray[np.int64]) -> _Slope:
    """The slopes weighed by their precision; runs that tell at several minutes are counted as what they are."""
    weights = np.array([slope.error**-2.0 for slope in slopes])
    parts = zip(weights / weights.sum(), slopes, strict=True)
    influence = np.sum([weight * slope.influence for weight, slope in parts], axis=0)
    found = _slope(influence, issue, min(slope.df for slope in slopes))
    assert found is not None, "a mean of slopes that vary varies"
    return found


def _scores(
    logging: LoggingPolicy, runs: Replay, by: int, usable: NDArray[np.bool_], family: NDArray[np.int64]
) -> _Scores:
    """The scores at one minute, each family about its own weighted mean."""
    rows = len(logging.own)
    reaches, x = logging.minutes >= by, np.log(logging.minutes)
    p, first, second = (np.bincount(logging.row, logging.p * reaches * x**power, minlength=rows) for power in (0, 1, 2))
    possible = np.where(p > 0, p, 1.0)
    mean = first / possible
    variance = np.maximum(second / possible - mean**2, 0.0)
    low, high = np.full(rows, np.inf), np.full(rows, -np.inf)
    there = reaches & (logging.p > 0)
    np.minimum.at(low, logging.row[there], x[there])
    np.maximum.at(high, logging.row[there], x[there])
    told = usable & (p > 0) & (logging.budget >= by)
    counts = told & (variance > 1e-9)
    y = np.log(by / np.clip(runs.first_pass, LEAST_MINUTES, by))
    centre = _centre(y, told, family, np.round(mean, 6))
    score = np.where(counts, (np.log(logging.budget) - mean) * (y - centre), 0.0)
    span = np.where(counts, high - low, 1.0)
    return _Scores(score, np.where(counts, variance, 0.0), np.where(counts, variance / span**2, 0.0))


def _centre(
    y: NDArray[np.float64], told: NDArray[np.bool_], family: NDArray[np.int64], mean: NDArray[np.float64]
) -> NDArray[np.float64]:
    """For each run the mean of ``y`` among the *other* runs of its family with the same possible budgets, shrunk."""
    stratum = np.unique(np.stack([family.astype(np.float64), mean], axis=1), axis=0, return_inverse=True)[1].reshape(-1)

    def others(group: NDArray[np.int64], prior: NDArray[np.float64] | float, weight: float) -> NDArray[np.float64]:
        total, count = np.bincount(group, told * y)[group], np.bincount(group, told)[group]
        return np.asarray((total - told * y + weight * prior) / np.maximum(count - told + weight, 1e-9))

    return others(stratum, others(family, 0.0, 1e-6), SHRINKAGE)


def _issues(weight: NDArray[np.float64], issue: NDArray[np.int64]) -> float:
    """How many issues weights [n] in [0, 1] amount to: an issue counts by its weights, 1 at most.

    A run that was nearly sure to have its budget weighs next to nothing, however many there are of its kind.
    """
    return float(np.minimum(np.bincount(issue, weight), 1.0).sum())


def _name(family: int) -> str:
    swarm, rest = divmod(family, 1_000_000)
    candidates, iterations = divmod(rest, 1_000)
    return f"{('serial', 'vote')[swarm] if swarm < 2 else swarm}, {candidates} candidates, {iterations} iterations"
