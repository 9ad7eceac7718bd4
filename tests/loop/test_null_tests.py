"""A/Bs without a difference, looked at every day through the watch's own units and entries."""

from __future__ import annotations

import numpy as np
import pytest
from histories import DAY, HOUR, WEIGHTS, history, judged

from planner_loop.ab import LONGEST_RUN_MS, ab

WINDOW = DAY
ISSUES = 24 * 40
KINDS = (None, "rare passes", "heavy costs")


def ever_decided(seed, share, kind, issues=ISSUES, every=1):
    """Whether a look a day, from the first day to the last, ever decides an A/B of retried issues."""
    decisions, runs = history(issues, seed, share=share, attempts=3, kind=kind, retried=True)
    end = int(decisions.at_ms[-1]) + WINDOW + LONGEST_RUN_MS
    looks = range(DAY, end + DAY, every * DAY)
    return any(ab(decisions, runs, WEIGHTS, WINDOW, look).answer != "cannot_tell" for look in looks)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_null_tests_looked_at_daily_are_rarely_decided(share):
    """40 A/Bs of 480 issues; the slow test has a thousand of each kind."""
    assert sum(ever_decided(100 + seed, share, None, issues=480) for seed in range(40)) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_null_tests(kind, share):
    """1,000 A/Bs of 960 issues in 40 days, a look a day: at most 5 % are ever decided."""
    wrong = sum(ever_decided(10_000 + seed, share, kind) for seed in range(1_000))
    print(f"kind {kind or 'usual'}, share {share}: {wrong} of 1,000 ever excluded 0")
    assert wrong <= 50


def test_a_difference_is_found_by_the_same_looks():
    """Else the tests above would show nothing."""
    decisions, runs = history(ISSUES, 5, gain=0.25, attempts=3, retried=True)
    assert judged(decisions, runs).answer == "better"


def test_what_a_day_saw_stays_what_it_was():
    """Later days add units behind earlier ones, whose outcomes stay: all looks are at one sequence."""
    decisions, runs = history(40, 6, attempts=3, retried=True)
    whole = {point.issues: point.utility for point in judged(decisions, runs).course}
    seen = set()
    for look in range(DAY, 5 * DAY, 5 * HOUR):
        for point in ab(decisions, runs, WEIGHTS, WINDOW, look).course:
            assert point.utility == whole[point.issues]
            seen.add(point.issues)
    assert seen == set(range(1, 41))


def test_retried_issues_are_what_they_are_said_to_be():
    decisions, runs = history(2_000, 7, attempts=3, retried=True)
    attempts = np.bincount(runs.decision, minlength=2_000)
    passed = np.bincount(runs.decision, runs.outcome[:, 0], minlength=2_000)
    assert set(attempts.tolist()) == {1, 2, 3} and passed.max() == 1.0
    assert (runs.started_ms - decisions.at_ms[runs.decision] > WINDOW).any()  # some come too late to count
