"""Central intervals of single runs around predictions: made of one set of issues, judged on another."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from planner_core.harness.prediction_intervals import Runs, ends, fit_intervals, judge_intervals
from planner_core.harness.prediction_metrics import OTHER_ISSUES, prediction_metrics


def runs(issues, each=1, seed=0, wide=False):
    """Runs of 10 predicted minutes that take 10 times a log-normal; noisier below a pass probability of one half."""
    rng = np.random.default_rng(seed)
    n = issues * each
    passed = rng.random(n)
    spread = np.where(passed < 0.5, 1.0, 0.2) if wide else np.full(n, 0.5)
    actual = 10 * np.exp(spread * rng.standard_normal(n))
    return Runs(passed, np.full(n, 10.0), actual, np.repeat(np.arange(issues), each))


def test_intervals_of_one_split_hold_what_they_say_on_another():
    found = judge_intervals(runs(4000, seed=1), runs(4000, seed=2))
    assert found.coverage == pytest.approx(0.8, abs=0.03) and found.runs == 4000
    exact = 10 * (np.exp(0.5 * 1.2816) - np.exp(-0.5 * 1.2816))
    assert found.width == pytest.approx(exact, rel=0.08)


def test_without_another_split_the_other_issues_serve():
    alike = runs(300, each=10)
    # All runs of an issue are alike: an interval that knew the run's own issue would hold more than it should.
    copied = Runs(alike.passed, alike.predicted, np.repeat(alike.actual[::10], 10), alike.issue)
    assert judge_intervals(copied, None).coverage == pytest.approx(0.8, abs=0.06)


def test_groups_follow_the_predicted_probability():
    low, *_, high = fit_intervals(runs(3000, wide=True))
    assert low.high / low.low > 2 * high.high / high.low
    assert low.passed_up_to < high.passed_up_to == 1.0


def alone(r):
    """The same runs in one group."""
    return Runs(np.full(len(r.issue), 0.5), r.predicted, r.actual, r.issue)


def test_an_issue_counts_once_however_many_runs_it_has():
    """A thousand runs of one odd issue among a hundred ordinary ones do not move the interval."""
    plain = runs(101)
    odd = np.concatenate([np.arange(100), np.full(1000, 100)])
    many = Runs(plain.passed[odd], plain.predicted[odd], np.where(odd == 100, 1e6, plain.actual[odd]), odd)
    few = Runs(plain.passed, plain.predicted, np.where(plain.issue == 100, 1e6, plain.actual), plain.issue)
    assert fit_intervals(alone(many)) == fit_intervals(alone(few))


def test_too_few_issues_bound_nothing():
    assert judge_intervals(runs(10, each=50), None) is None
    assert judge_intervals(runs(0), None) is None
    with_calibration = judge_intervals(runs(5), runs(10))
    assert with_calibration is None


def test_metrics_say_what_the_intervals_were_made_of():
    n = 400
    rng = np.random.default_rng(3)

    def side(seed):
        draw = np.random.default_rng(seed)
        outcomes = {name: np.full((n, 150), value, np.float32) for name, value in
                    (("passed", 0.5), ("minutes", 20.0), ("cost_usd", 1.0))}  # fmt: skip
        executed = SimpleNamespace(
            evidence=np.ones(n, bool),
            action=rng.integers(0, 150, n),
            passed=(draw.random(n) < 0.5).astype(np.float32),
            duration_minutes=(20 * draw.gamma(4, 0.25, n)).astype(np.float32),
            cost_usd=np.full(n, np.nan, np.float32),
            issue=np.arange(n),
        )
        return outcomes, SimpleNamespace(executed=executed)

    outcomes, examples = side(1)
    own = prediction_metrics(outcomes, examples)
    assert own.interval_source == OTHER_ISSUES and own.minutes_interval_coverage == pytest.approx(0.8, abs=0.06)
    assert own.cost_interval_coverage is None and own.cost_mae is None
    assert sum(part.rows for part in own.pass_reliability) == n
    other = prediction_metrics(outcomes, examples, ("val", *side(2)))
    assert other.interval_source == "val" and other.minutes_interval_coverage == pytest.approx(0.8, abs=0.07)
    examples.executed.duration_minutes[:] = np.nan
    unknown = prediction_metrics(outcomes, examples)
    assert unknown.minutes_mae is None and unknown.minutes_interval_coverage is None
    assert unknown.brier == own.brier


def test_ends_scale_the_prediction():
    some = runs(200)
    low, high = ends(fit_intervals(some), some)
    assert (low < some.predicted).all() and (high > some.predicted).all()
