"""The findings of a watch on histories whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from histories import DAY, HOUR, as_of, history, judged

from planner_core import InputCounts
from planner_loop.ab import LONGEST_RUN_MS
from planner_loop.drift import calibration_drift, input_drift
from planner_loop.findings import fallbacks, realised_against_predicted
from planner_loop.intervals import mean_by_issue, passes_by_issue, share_by_issue

# -- the A/B


def test_a_gain_is_shown_and_none_is_not():
    better = judged(*history(2_000, 1, gain=0.25))
    assert better.answer == "better" and better.utility.low > 0 and better.more_issues is None
    assert better.parts["passed"] == pytest.approx(0.2, abs=0.06)
    nothing = judged(*history(2_000, 2))
    assert nothing.answer == "cannot_tell" and nothing.utility.low < 0 < nothing.utility.high
    assert nothing.more_issues > 0
    worse = judged(*history(2_000, 3, gain=-0.3))
    assert worse.answer == "worse"


def test_the_unit_is_the_issue_with_all_its_attempts():
    decisions, runs = history(400, 4, attempts=3)
    found = judged(decisions, runs)
    assert sum(found.issues.values()) == 400
    of_first = runs.outcome[runs.decision == 0]
    one = judged(*(decisions, runs), until=as_of(decisions, 0))
    arm = "model" if decisions.arm[0] else "baseline"
    assert len(of_first) == 3 and one.arms[arm]["minutes"] == pytest.approx(of_first[:, 1].sum())
    short = judged(decisions, runs, window=int(1.5 * HOUR), until=as_of(decisions, 0))  # the third attempt is later
    assert short.arms[arm]["minutes"] < one.arms[arm]["minutes"]


def test_an_issue_enters_when_its_window_is_over_whatever_came_of_it():
    decisions, runs = history(100, 5)
    now = int(decisions.at_ms[59]) + DAY + LONGEST_RUN_MS
    found = judged(decisions, runs, until=now)
    assert sum(found.issues.values()) == 60 and found.waiting == 40
    passed = runs.outcome[:, 0] > 0
    kept = replace(runs, **{name: getattr(runs, name)[passed] for name in vars(runs)})
    again = judged(decisions, kept, until=now)
    assert again.issues == found.issues and again.without_run > 0
    assert sum(judged(decisions, runs, until=now - 1).issues.values()) == 59


def test_what_came_of_an_issue_is_fixed_when_it_enters():
    """A run that is not over by then is not counted, later as little as now."""
    decisions, runs = history(50, 15)
    late = runs.ended_ms.copy()
    late[runs.decision == 0] = int(decisions.at_ms[0]) + DAY + LONGEST_RUN_MS + 1
    slow = replace(runs, ended_ms=late)
    at_entry = judged(decisions, slow, until=as_of(decisions, 0))
    assert at_entry.without_run == 1
    assert judged(decisions, slow).without_run == 1


def test_what_was_not_divided_is_no_test():
    decisions, runs = history(50, 6, share=1.0)
    found = judged(decisions, runs)
    assert (found.undivided, sum(found.issues.values()), found.answer) == (50, 0, "cannot_tell")
    assert found.utility.estimate is None and found.course == []


def test_an_issue_that_another_model_had_is_in_no_test():
    decisions, runs = history(80, 16)
    earlier = np.arange(80) < 30
    found = judged(replace(decisions, earlier=earlier), runs)
    assert (found.earlier, sum(found.issues.values()), found.undivided) == (30, 50, 0)


def test_an_issue_stays_in_the_arm_of_its_first_decision():
    decisions, runs = history(200, 7)
    twice = {name: np.concatenate([getattr(decisions, name)] * 2) for name in vars(decisions) if name != "reason"}
    twice["at_ms"][200:] += 1000 * HOUR
    twice["arm"][200:] = 1 - twice["arm"][200:]
    later = replace(decisions, reason=decisions.reason * 2, **twice)
    assert judged(later, runs).issues == judged(decisions, runs).issues


def test_without_a_cost_the_arms_are_judged_by_the_rest():
    decisions, runs = history(300, 8)
    outcome = runs.outcome.copy()
    outcome[5, 2] = np.nan
    found = judged(decisions, replace(runs, outcome=outcome))
    assert found.parts["cost_usd"] is None and found.utility.estimate is not None
    assert found.arms["model"]["cost_usd"] is None and found.arms["model"]["passed"] is not None


def test_the_course_ends_with_the_result_and_is_short():
    found = judged(*history(700, 17))
    assert len(found.course) == 60 and found.course[-1].issues == 700
    assert found.course[-1].utility == found.utility
    assert found.course[0].utility.low is None  # before the burn-in


# -- predictions, fallbacks, drift


def test_predictions_beside_what_came_of_them():
    honest = realised_against_predicted(*history(2_000, 1))
    assert honest.passed.difference.low < 0 < honest.passed.difference.high
    proud = realised_against_predicted(*history(2_000, 10, error=0.2))
    assert proud.passed.difference.high < 0 and proud.passed.predicted > proud.passed.realised
    assert proud.passed.runs == proud.passed.issues == 2_000
    assert len(proud.course) == 8 and sum(period.runs for period in proud.course) == 2_000


def test_no_prediction_is_held_against_another_plan_or_a_broken_machine():
    decisions, runs = history(100, 18)
    odd = np.arange(100) % 4 == 0
    for part in ("as_decided", "evidence"):
        left = realised_against_predicted(decisions, replace(runs, **{part: ~odd}))
        assert left.passed.runs == 75
    assert sum(judged(decisions, replace(runs, evidence=~odd)).issues.values()) == 100  # it was paid for all the same


def test_the_interval_counts_issues_and_not_runs():
    decisions, runs = history(200, 19, attempts=3, same_fate=True)
    found = realised_against_predicted(decisions, runs).passed
    assert (found.runs, found.issues) == (600, 200)
    errors = runs.outcome[:, 0] - decisions.expected[runs.decision, 0]
    by_run = 1.96 * errors.std(ddof=1) / np.sqrt(600)
    assert found.difference.high - found.difference.estimate > 1.5 * by_run


def test_a_change_of_calibration_is_seen_and_dated():
    steady = calibration_drift(*history(3_000, 11))
    assert not steady.changed and steady.changed_at_ms is None and steady.before is None
    decisions, runs = history(3_000, 12, error=0.3, error_from=1_500)
    moved = calibration_drift(decisions, runs)
    assert moved.changed and abs(moved.changed_at_ms - 1_500 * HOUR) < 300 * HOUR
    assert moved.since.high < 0 and abs(moved.before) < 0.1


def test_calibration_that_does_not_drift_is_rarely_said_to():
    """ADWIN's promise, looked at after every run: 60 streams of 2,000."""
    assert sum(calibration_drift(*history(2_000, 500 + seed)).changed for seed in range(60)) <= 3


def counts(n, **groups):
    return InputCounts(n, {name: {str(i): int(c) for i, c in enumerate(row) if c} for name, row in groups.items()})


def test_inputs_that_shifted_and_inputs_that_did_not():
    rng = np.random.default_rng(0)
    mix = [0.1, 0.3, 0.4, 0.2]
    trained = counts(9_000, risk=rng.multinomial(9_000, mix), size=rng.multinomial(9_000, mix), hour=[9_000])
    seen = counts(800, risk=rng.multinomial(800, mix), size=rng.multinomial(800, mix[::-1]), hour=[800])
    found = input_drift(trained, seen, 30.0)
    shifts = {shift.group: shift for shift in found.groups}
    assert set(shifts) == {"risk", "size"} and found.shifted == ["size"]
    assert shifts["size"].stability_index > 0.2 > shifts["risk"].stability_index
    top = shifts["size"].values[0]
    assert abs(top.trained - top.now) > 0.05
    # A small shift of a great many is significant, and small all the same.
    many = counts(1_000_000, risk=rng.multinomial(1_000_000, [0.11, 0.3, 0.39, 0.2]))
    [small] = input_drift(counts(1_000_000, risk=rng.multinomial(1_000_000, mix)), many, 30.0).groups
    assert small.p_value < 1e-6 and not small.shifted


def test_a_value_that_was_never_trained_on_is_a_shift():
    found = input_drift(InputCounts(900, {"budget": {"low": 900}}), InputCounts(100, {"budget": {"none": 100}}), 7.0)
    assert found.shifted == ["budget"] and found.groups[0].values[0].value in ("low", "none")


def test_too_few_issues_or_days_shift_nothing():
    found = input_drift(InputCounts(900, {"budget": {"low": 900}}), InputCounts(20, {"budget": {"none": 20}}), 30.0)
    assert found.groups[0].p_value < 0.01 and found.shifted == [] and not found.enough
    brief = input_drift(InputCounts(900, {"hour": {"night": 900}}), InputCounts(90, {"hour": {"morning": 90}}), 0.4)
    assert brief.groups[0].p_value < 0.01 and brief.shifted == [] and not brief.enough


def test_the_same_inputs_rarely_shift():
    """400 comparisons of six groups each under the null: Holm at 1 % and the index let hardly any through."""
    rng, wrong = np.random.default_rng(1), 0
    mixes = [rng.dirichlet(np.ones(k)) for k in (3, 4, 4, 5, 6, 32)]
    for _ in range(400):
        sides = [counts(n, **{f"g{i}": rng.multinomial(n, m) for i, m in enumerate(mixes)}) for n in (3_000, 150)]
        wrong += bool(input_drift(*sides, 30.0).shifted)
    assert wrong <= 8


def test_several_tags_of_an_issue_are_not_several_issues():
    """Two tags that always come together: their counts are doubled, and count as one."""
    trained = InputCounts(500, {"tags": {"1": 250, "2": 250, "3": 250, "4": 250}})
    seen = InputCounts(100, {"tags": {"1": 60, "2": 60, "3": 40, "4": 40}})
    alone = InputCounts(500, {"tags": {"1": 250, "3": 250}}), InputCounts(100, {"tags": {"1": 60, "3": 40}})
    [both], [one] = input_drift(trained, seen, 30.0).groups, input_drift(*alone, 30.0).groups
    assert both.p_value >= one.p_value > 0.01


def test_a_share_of_none_or_all_is_not_known_exactly():
    issue = np.repeat(np.arange(100), 3)
    none, every = share_by_issue(np.zeros(300), issue), share_by_issue(np.ones(300), issue)
    assert (none.low, every.high) == (0.0, 1.0)
    # Clopper and Pearson: of 100 issues none, up to 3.6 % of all.
    assert none.high == pytest.approx(0.0362, abs=1e-4) and every.low == pytest.approx(1 - 0.0362, abs=1e-4)
    some = share_by_issue((issue == 7).astype(float), issue)
    assert some.estimate == pytest.approx(0.01) and some.low == 0.0


def test_fallbacks_are_counted_by_reason_in_the_models_arms():
    decisions, _ = history(100, 13, share=0.8, reason="low_confidence: 0.2 is below 0.3")
    found = fallbacks(decisions)
    assert found.decisions == found.fallbacks == int((decisions.arm > 0).sum())
    assert found.by_reason == {"low_confidence": found.fallbacks} and found.share.estimate == 1.0


def test_nothing_at_all():
    decisions, runs = history(0, 14)
    assert judged(decisions, runs, until=0).answer == "cannot_tell"
    assert realised_against_predicted(decisions, runs).passed.difference.estimate is None
    assert not calibration_drift(decisions, runs).changed and fallbacks(decisions).share.estimate is None


def test_runs_that_all_passed_do_not_say_that_a_probability_was_wrong():
    """30 passes of 30 with 0.93 each are nothing rare (11 %), though their spread is none."""
    issue = np.arange(30)
    predicted = 0.93 + np.linspace(-0.01, 0.01, 30)
    found = passes_by_issue(np.ones(30), predicted, issue)
    assert found.estimate == pytest.approx(0.07) and not found.beyond(0.05)
    assert found.high - found.low == pytest.approx(2 * 1.96 * (0.93 * 0.07 / 30) ** 0.5, rel=1e-2)
    assert passes_by_issue(np.zeros(30), predicted, issue).beyond(0.05)  # and none of 30 is
    spread = np.tile([0.0, 1.0], 15)
    assert passes_by_issue(spread, predicted, issue) == mean_by_issue(spread - predicted, issue)
