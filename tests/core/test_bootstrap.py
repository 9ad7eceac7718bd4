"""Bootstrap intervals: their width, the pairing of two policies, the drawing by issue."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner_core.harness import bootstrap
from planner_core.harness.bootstrap import intervals


def columns(utility, passed=None):
    n = len(utility)
    names = ("exact", "passed", "minutes", "cost", "regret", "oracle", "passed_minutes")
    return {name: np.ones(n) for name in names} | {
        "one": np.ones(n),
        "utility": np.asarray(utility, float),
        **({} if passed is None else {"passed": np.asarray(passed, float)}),
    }


def test_interval_of_a_mean_is_about_that_of_the_normal():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = intervals(columns(values), {"heuristic": columns(values)})["mean_utility"]["policy"]
    half = 1.96 * values.std() / math.sqrt(400)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.1 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_the_difference_is_paired():
    """Noise common to both policies cancels; unpaired it would be wider than either interval."""
    common = np.random.default_rng(1).normal(0, 10, 200)
    found = intervals(columns(common + 0.5), {"heuristic": columns(common)})["mean_utility"]
    assert found["difference to heuristic"] == pytest.approx([0.5, 0.5])
    assert found["policy"][1] - found["policy"][0] > 1.0


def test_rows_of_one_issue_are_drawn_together():
    """Ten copies of each row say no more than one of each."""
    values = np.random.default_rng(4).normal(0, 1, 60)
    once = intervals(columns(values), {})["mean_utility"]["policy"]
    copies, issue = np.repeat(values, 10), np.repeat(np.arange(60), 10)
    as_rows = intervals(columns(copies), {})["mean_utility"]["policy"]
    as_issues = intervals(columns(copies), {}, issue)["mean_utility"]["policy"]
    assert as_issues == pytest.approx(once)
    assert as_rows[1] - as_rows[0] < 0.5 * (once[1] - once[0])


def test_intervals_repeat_by_seed():
    values = np.random.default_rng(2).normal(0, 1, 50)
    first, again, other = (intervals(columns(values), {"heuristic": columns(values)}, seed=seed) for seed in (5, 5, 6))
    assert first == again != other


def test_no_interval_where_a_resample_has_no_pass():
    found = intervals(columns([0.0] * 3, passed=[1, 0, 0]), {"heuristic": columns([0.0] * 3)})["minutes_per_pass"]
    assert found["policy"] is None and found["difference to heuristic"] is None
    assert found["heuristic"] == [1.0, 1.0]


def test_drawing_part_by_part_spreads_as_drawing_from_all(monkeypatch):
    rows = np.random.default_rng(3).exponential(size=1000)
    monkeypatch.setattr(bootstrap, "ROWS_AT_ONCE", 64)
    sums = bootstrap._resampled(np.stack([rows, np.ones(1000)], axis=1), np.random.default_rng(0), 4000)
    assert (sums[:, 1] == 1000).all()
    assert sums[:, 0].mean() == pytest.approx(rows.sum(), rel=0.003)
    assert sums[:, 0].std() == pytest.approx(rows.std() * 1000**0.5, rel=0.05)
