"""A confidence sequence holds at every look: null A/Bs that are peeked at every day, and real differences."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core.value import ab_sequence, units_to_exclude_zero

UNITS, DAILY, TESTS = 2_000, 10, 300


def utilities(kind, rng, n):
    """Utilities of n issues as they come: usual ones, rare passes, costs with a heavy tail, drifting ones."""
    if kind == "usual":
        passed = rng.random(n) < rng.beta(1, 1, n)
        return 2.2 * passed - 0.6 * rng.lognormal(-0.5, 0.8, n) - 0.2 * rng.lognormal(1, 0.7, n)
    if kind == "rare passes":
        return 2.0 * (rng.random(n) < 0.03)
    if kind == "heavy costs":
        return -rng.lognormal(0, 1.5, n)
    return rng.normal(size=n) + 0.03 * np.cumsum(rng.normal(size=n))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["usual", "rare passes", "heavy costs", "drift"])
def test_null_tests_looked_at_daily_exclude_zero_rarely(kind, share):
    """At most 5 % ever; a binomial test at 1 in 1,000 on 300 A/Bs would let 9.3 % pass, and none comes near it."""
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(TESTS):
        found = ab_sequence(utilities(kind, rng, UNITS), rng.random(UNITS) < share, np.full(UNITS, share))
        wrong += bool(found.excludes_zero[::DAILY].any())
    assert wrong / TESTS <= 0.05


def test_an_interval_of_one_look_would_exclude_zero_often():
    """The same looks with an interval for a single one: why a sequence is needed."""
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(100):
        y, treated = utilities("usual", rng, UNITS), rng.random(UNITS) < 0.5
        contribution = (y - y.mean()) * np.where(treated, 2.0, -2.0)
        n = np.arange(100, UNITS, DAILY)
        means = np.array([contribution[:k].mean() for k in n])
        errors = np.array([contribution[:k].std() / np.sqrt(k) for k in n])
        wrong += bool((np.abs(means) > 1.96 * errors).any())
    assert wrong > 20


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_difference_is_held_and_found(share):
    """Arms of different spread, a shift of half a deviation: held at all looks, and shown within 2,000 issues."""
    rng, missed, shown = np.random.default_rng(3), 0, 0
    for _ in range(100):
        treated = rng.random(UNITS) < share
        y = np.where(treated, 0.5 + 1.5 * rng.normal(size=UNITS), rng.normal(size=UNITS))
        found = ab_sequence(y, treated, np.full(UNITS, share))
        missed += bool(((found.low > 0.5) | (found.high < 0.5)).any())
        shown += bool(found.low[-1] > 0)
    assert missed <= 5 and shown >= 90


def test_a_changing_share_is_weighed_by_unit():
    rng = np.random.default_rng(5)
    share = np.where(np.arange(6_000) < 3_000, 0.1, 0.6)
    level = np.where(np.arange(6_000) < 3_000, 0.0, 5.0)  # later issues are easier, and treated more often
    treated = rng.random(6_000) < share
    y = level + 0.3 * treated + rng.normal(size=6_000)
    found = ab_sequence(y, treated, share)
    assert found.low[-1] < 0.3 < found.high[-1] and found.estimate[-1] < 1.0
    assert y[treated].mean() - y[~treated].mean() > 2.0  # what plain means would have said


def test_nothing_is_said_before_the_burn_in():
    treated = np.arange(200) % 10 == 0
    found = ab_sequence(np.where(treated, 1e3, 0.0), treated, np.full(200, 0.1), burn_in=10)
    assert np.isinf(found.low[:90]).all() and np.isfinite(found.low[100:]).all()


def test_no_unit_and_a_share_that_is_none():
    assert len(ab_sequence(np.zeros(0), np.zeros(0, bool), np.zeros(0)).estimate) == 0
    assert np.isnan(ab_sequence(np.ones(1), np.ones(1, bool), np.full(1, 0.5)).estimate).all()
    with pytest.raises(ValueError, match="between 0 and 1"):
        ab_sequence(np.zeros(2), np.zeros(2, bool), np.array([0.5, 1.0]))


def test_the_level_of_the_outcomes_does_not_matter():
    rng = np.random.default_rng(1)
    treated, y = rng.random(500) < 0.5, rng.normal(size=500)
    near, far = (ab_sequence(y + level, treated, np.full(500, 0.5)) for level in (0.0, 1e6))
    for a, b in zip(near, far, strict=True):
        np.testing.assert_allclose(a[100:], b[100:], atol=1e-6)


def test_how_many_units_would_exclude_zero():
    """As many as the sequence itself then needs."""
    rng = np.random.default_rng(2)
    n = 20_000
    treated = rng.random(n) < 0.5
    found = ab_sequence(rng.normal(size=n) + 0.1 * treated, treated, np.full(n, 0.5))
    at = 1_000
    needed = units_to_exclude_zero(0.1, float(found.high[at] - found.estimate[at]), at)
    reach = found.high - found.estimate
    assert reach[int(1.1 * needed)] < 0.1 < reach[int(0.9 * needed)]
    assert units_to_exclude_zero(0.0, 1.0, 10) is units_to_exclude_zero(0.1, np.inf, 10) is None
    assert units_to_exclude_zero(1e-9, 1.0, 10) is None
