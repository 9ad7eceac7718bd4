"""Bootstrap intervals of the outcome metrics, paired with the heuristic's on the same rows.

Percentile bootstrap (Efron, 1979) over examples: every resample draws the same rows for both policies, so the interval
of their difference is not blurred by what the rows have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
_AT_ONCE = 2_000_000  # resampled weights held in memory at a time

# metric: (numerator, denominator), sums over rows of the named columns
RATIOS = {
    "exact_match_accuracy": ("exact", "one"),
    "pass_rate": ("passed", "one"),
    "mean_time_to_pass_min": ("passed_minutes", "passed"),
    "minutes_per_pass": ("minutes", "passed"),
    "cost_per_pass_usd": ("cost", "passed"),
    "mean_utility": ("utility", "one"),
    "mean_regret": ("regret", "one"),
    "oracle_match_rate": ("oracle", "one"),
}

Columns = Mapping[str, NDArray[np.float64]]
"""Per-row quantities float64 [n] by name, with ``one`` all ones."""


def intervals(
    policy: Columns, baseline: Columns, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> dict[str, dict[str, Any]]:
    """``{metric: {policy, heuristic, difference}}``, each ``[low, high]``, or None where a resample had no pass.

    ``policy`` and ``baseline`` hold the same rows in the same order; the difference is policy minus heuristic.
    """
    n = len(policy["one"])
    rng = np.random.default_rng(seed)
    names = sorted({column for pair in RATIOS.values() for column in pair})
    stacked = np.stack([*(policy[c] for c in names), *(baseline[c] for c in names)], axis=1)
    sums = np.empty((resamples, stacked.shape[1]))
    step = max(1, _AT_ONCE // n)
    for begin in range(0, resamples, step):
        size = min(step, resamples - begin)
        # How often each row was drawn: six times as fast as drawing the counts from their multinomial distribution.
        weights = np.empty((size, n))
        for resample in weights:
            resample[:] = np.bincount(rng.integers(n, size=n), minlength=n)
        sums[begin : begin + size] = weights @ stacked
    place = {name: i for i, name in enumerate(names)}
    out = {}
    tail = 100 * (1 - level) / 2
    for metric, (top, bottom) in RATIOS.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            ours = sums[:, place[top]] / sums[:, place[bottom]]
            theirs = sums[:, len(names) + place[top]] / sums[:, len(names) + place[bottom]]
        out[metric] = {
            name: _interval(values, tail)
            for name, values in (("policy", ours), ("heuristic", theirs), ("difference", ours - theirs))
        }
    return out


def _interval(values: NDArray[np.float64], tail: float) -> list[float] | None:
    if not np.isfinite(values).all():
        return None
    low, high = np.percentile(values, (tail, 100 - tail))
    return [float(low), float(high)]
