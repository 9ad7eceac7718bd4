"""Values by known outcomes: means, intervals by issue, verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner_core.value import known_value
from planner_core.value.student import quantile


def outcomes(n, seed=0, gain=0.0):
    """(passed, minutes, USD, utility) of two sides on n rows; the first is better by ``gain`` utility on average."""
    rng = np.random.default_rng(seed)
    reference = rng.random((4, n))
    shift = rng.normal(gain, 0.2, n)
    return reference + np.stack([shift, shift, shift, shift]), reference


def test_the_interval_is_that_of_issues_sums():
    """Written out: issues are drawn, rows of one issue stay together."""
    ours, theirs = outcomes(90, gain=0.1)
    issue = np.repeat(np.arange(30), 3)
    found = known_value(ours, issue, against=theirs)
    gaps = (ours - theirs)[3]
    sums = np.array([(gaps[issue == i] - gaps.mean()).sum() for i in range(30)])
    error = math.sqrt((sums**2).sum() * 30 / 29) / 90
    utility = found.value.difference.utility
    assert utility.estimate == pytest.approx(gaps.mean())
    assert utility.high - utility.estimate == pytest.approx(quantile(0.975, 29) * error)
    assert found.value.pass_rate.estimate == pytest.approx(ours[0].mean())
    assert (found.rows, found.issues, found.coverage, found.differing) == (90, 30, 1.0, 1.0)


@pytest.mark.parametrize(("gain", "answer"), [(0.3, "better"), (-0.3, "worse"), (0.0, "cannot_tell")])
def test_verdicts(gain, answer):
    ours, theirs = outcomes(60, gain=gain, seed=3)
    verdict = known_value(ours, None, against=theirs, name="mine", against_name="the rules").verdict
    assert verdict.answer == answer and verdict.against == "the rules"
    words = {"better": "mine is better than the rules", "worse": "mine is worse than the rules"}
    assert words.get(answer, "It cannot be told whether mine is better than the rules") in verdict.text
    assert bool(verdict.reasons) == (answer == "cannot_tell")


def test_few_issues_cannot_tell_however_many_rows():
    ours, theirs = outcomes(400, gain=5.0)
    found = known_value(ours, np.arange(400) % 19, against=theirs)
    assert found.verdict.answer == "cannot_tell" and "only 19 issues" in found.verdict.text


def test_rows_unknown_of_either_side_are_left_out_of_both():
    ours, theirs = outcomes(50)
    ours[2, 3] = theirs[0, 7] = np.nan
    found = known_value(ours, None, against=theirs)
    both = np.delete(np.arange(50), [3, 7])
    assert (found.rows, found.coverage) == (48, 48 / 50)
    assert found.value.utility.estimate == pytest.approx(ours[3, both].mean())


def test_the_same_outcomes_are_no_difference():
    ours, _ = outcomes(50)
    found = known_value(ours, None, against=ours.copy())
    assert found.differing == 0.0 and found.verdict.answer == "cannot_tell"
    assert found.verdict.reasons == ["no row differs: it decides as the reference does"]


def test_nothing_is_known():
    nothing = np.full((4, 5), np.nan)
    found = known_value(nothing, None, against=nothing)
    assert found.rows == 0 and found.value.utility.estimate is None and found.verdict.answer == "cannot_tell"
    assert known_value(np.zeros((4, 0)), None).verdict is None
