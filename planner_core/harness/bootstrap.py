"""Bootstrap intervals of the outcome metrics, paired with those of other policies on the same rows.

Percentile bootstrap (Efron, 1979) that draws issues, not rows: rows of one issue are not independent (Davison and
Hinkley, 1997, section 3.8). Every resample draws the same issues for all policies, so the interval of a difference is
not blurred by what the rows have in common.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from planner_core.harness.outcome_metrics import Columns

RESAMPLES = 1000
LEVEL = 0.95
RESAMPLES_AT_ONCE, ROWS_AT_ONCE = 25, 8192

# metric: (numerator, denominator), sums over rows of the named columns
RATIOS = {
    "exact_match_accuracy": ("exact", "one"),
    "pass_rate": ("passed", "one"),
    "mean_minutes": ("minutes", "one"),
    "mean_cost_usd": ("cost", "one"),
    "mean_time_to_pass_min": ("passed_minutes", "passed"),
    "minutes_per_pass": ("minutes", "passed"),
    "cost_per_pass_usd": ("cost", "passed"),
    "mean_utility": ("utility", "one"),
    "mean_regret": ("regret", "one"),
    "oracle_match_rate": ("oracle", "one"),
}

Interval = list[float] | None
"""``[low, high]``, or None where a resample had no pass."""


def intervals(
    policy: Columns,
    others: Mapping[str, Columns],
    issue: NDArray[np.int64] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, dict[str, Interval]]:
    """``{metric: {"policy": [low, high], other: ..., "difference to other": ...}}``, the difference policy minus other.

    ``policy`` and ``others`` hold the same rows in the same order, per-row quantities float64 [n] by name with ``one``
    all ones; ``issue`` int64 [n] says which rows belong together, each row to itself where it is None.
    """
    names = sorted({column for pair in RATIOS.values() for column in pair})
    sides = {"policy": policy, **others}
    stacked = np.stack([side[name] for side in sides.values() for name in names], axis=1)
    if issue is not None:
        _, cluster = np.unique(issue, return_inverse=True)
        sums_of = np.zeros((cluster.max(initial=-1) + 1, stacked.shape[1]))
        np.add.at(sums_of, cluster, stacked)
        stacked = sums_of
    sums = _resampled(stacked, np.random.default_rng(seed), resamples)
    place = {(side, name): i for i, (side, name) in enumerate((s, n) for s in sides for n in names)}
    tail = 100 * (1 - level) / 2
    out: dict[str, dict[str, Interval]] = {}
    for metric, (top, bottom) in RATIOS.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            values = {side: sums[:, place[side, top]] / sums[:, place[side, bottom]] for side in sides}
        out[metric] = {side: _interval(drawn, tail) for side, drawn in values.items()}
        for side in others:
            out[metric][f"difference to {side}"] = _interval(values["policy"] - values[side], tail)
    return out


def _resampled(stacked: NDArray[np.float64], rng: np.random.Generator, resamples: int) -> NDArray[np.float64]:
    """Column sums of resamples of the rows, float64 [resamples, columns].

    How many rows are drawn of each part is multinomial, and within a part they are drawn evenly: the same distribution
    as of drawing from all rows, with counts and rows that stay in the processor's caches.
    """
    n = len(stacked)
    sums = np.zeros((resamples, stacked.shape[1]))
    parts = [stacked[at : at + ROWS_AT_ONCE] for at in range(0, n, ROWS_AT_ONCE)]
    drawn = rng.multinomial(n, [len(part) / n for part in parts], size=resamples)
    for part, totals in zip(parts, drawn.T, strict=True):
        for begin in range(0, resamples, RESAMPLES_AT_ONCE):
            some = totals[begin : begin + RESAMPLES_AT_ONCE]
            weights = np.empty((len(some), len(part)))
            # How often each row was drawn: six times as fast as drawing the counts from their multinomial distribution.
            for weight, total in zip(weights, some, strict=True):
                weight[:] = np.bincount(rng.integers(len(part), size=total), minlength=len(part))
            sums[begin : begin + RESAMPLES_AT_ONCE] += weights @ part
    return sums


def _interval(values: NDArray[np.float64], tail: float) -> Interval:
    if not np.isfinite(values).all():
        return None
    low, high = np.percentile(values, (tail, 100 - tail))
    return [float(low), float(high)]
