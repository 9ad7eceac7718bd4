"""The worth of a pass: every row of the table against a full estimate at that worth, the break-even against both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import toy_world as synthetic

from planner_core.value import (
    MULTIPLES,
    Predictions,
    comparison,
    estimate_value,
    known_mean,
    known_sensitivity,
    read_log,
    sensitivity,
)
from planner_core.value.sensitivity import _times

N = 900


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(4)
    world = synthetic.draw(rng, N, per_issue=2)
    p = synthetic.distribution(world, 0.8)
    action = synthetic.sample(rng, p)
    short = np.array([synthetic.find(job, (0, 1, 45, 1)) for job in world.job_type])
    long = np.array([synthetic.find(job, (0, 1, 60, 1)) for job in world.job_type])
    predictions = Predictions(rng.random((N, 150)), 60 * rng.random((N, 150)), 5 * rng.random((N, 150)))
    weights = np.tile(synthetic.WEIGHTS, (N, 1))
    weights[::3] *= [2.0, 1.0, 0.5]
    return read_log(synthetic.log(world, action, p), world.job_type, weights), short, long, predictions


@pytest.mark.parametrize("reference", ["as run", "another"])
def test_each_row_is_the_estimate_at_that_worth(case, reference):
    log, short, long, predictions = case
    options = {"against": None if reference == "as run" else long, "predictions": predictions}
    found = sensitivity(comparison(log, short, **options))
    assert [row.multiple for row in found.rows] == list(MULTIPLES)
    for row in found.rows:
        at = replace(log, utility_weights=log.utility_weights * [row.multiple, 1, 1])
        whole = estimate_value(at, short, **options)
        expected = whole.value.difference.utility
        assert row.difference.estimate == pytest.approx(expected.estimate, abs=1e-12)
        assert row.difference.low == pytest.approx(expected.low, abs=1e-12)
        assert row.answer == whole.verdict.answer
        assert row.pass_usd == pytest.approx(
            row.multiple * log.utility_weights[:, 0].mean() / log.utility_weights[:, 2].mean()
        )


def gaps(passes, minutes, usd, n=200, noise=0.3, seed=0):
    return np.array([[passes], [minutes], [usd]]) + noise * np.random.default_rng(seed).normal(size=(3, n))


WEIGHTS = np.tile([2.0, 0.6, 0.2], (200, 1))


def test_more_passes_for_more_money_pay_from_the_break_even_on():
    found = known_sensitivity(gaps(0.2, 0.0, 1.0), WEIGHTS, None, against="the rules")
    passes, usd = gaps(0.2, 0.0, 1.0)[[0, 2]].mean(axis=1)
    minutes = gaps(0.2, 0.0, 1.0)[1].mean()
    assert found.break_even.estimate == pytest.approx((0.6 * minutes / 60 + 0.2 * usd) / (2.0 * passes))
    assert found.break_even_usd.estimate == pytest.approx(10 * found.break_even.estimate)
    assert found.break_even.low < found.break_even.estimate < found.break_even.high
    assert (found.rows[0].answer, found.rows[-1].answer) == ("worse", "better")
    assert "where a pass is worth more than $" in found.text


def test_at_the_break_even_the_difference_is_0_and_at_its_ends_an_interval_ends_there():
    issue = np.arange(200) // 2
    even = known_sensitivity(gaps(0.2, 0.0, 1.0), WEIGHTS, issue, against="the rules").break_even
    assert 0 < even.low < even.estimate < even.high
    places = [even.low, even.estimate, even.high]
    at = known_sensitivity(gaps(0.2, 0.0, 1.0), WEIGHTS, issue, against="the rules", multiples=places).rows
    assert at[0].difference.high == pytest.approx(0, abs=1e-9)
    assert at[1].difference.estimate == pytest.approx(0, abs=1e-12)
    assert at[2].difference.low == pytest.approx(0, abs=1e-9)


def test_fewer_passes_for_less_money_pay_below_it():
    found = known_sensitivity(gaps(-0.2, 0.0, -1.0), WEIGHTS, None, against="the rules")
    assert (found.rows[0].answer, found.rows[-1].answer) == ("better", "worse")
    assert "where a pass is worth less than $" in found.text


def test_no_break_even_where_one_is_better_at_any_worth():
    found = known_sensitivity(gaps(0.2, -1.0, -1.0), WEIGHTS, None, against="the rules")
    assert found.break_even.estimate is None and found.break_even_usd.estimate is None
    assert found.text == "The policy is estimated to be better than the rules, whatever a pass is worth."


def test_no_interval_where_passes_may_not_differ():
    found = known_sensitivity(gaps(0.01, 0.0, 1.0), WEIGHTS, None, against="the rules")
    assert found.break_even.estimate > 0
    assert (found.break_even.low, found.break_even.high) == (None, None)


def test_usd_that_weigh_nothing_give_no_worth_in_usd():
    found = known_sensitivity(gaps(0.2, 10.0, 1.0), WEIGHTS * [1, 1, 0], None, against="the rules")
    assert found.rows[0].pass_usd is None and found.break_even_usd.estimate is None
    assert "$" not in found.text


def test_nothing_is_estimated_without_support():
    rng = np.random.default_rng(4)
    world = synthetic.draw(rng, 60)
    p = synthetic.distribution(world, 0.0)
    runs = synthetic.log(world, synthetic.sample(rng, p), p)
    log = read_log(runs, world.job_type, np.tile(synthetic.WEIGHTS, (60, 1)))
    never = np.array([synthetic.find(job, (1, 3, 120, 1)) for job in world.job_type])
    found = sensitivity(comparison(log, never))
    assert {row.answer for row in found.rows} == {"cannot_tell"}
    assert {row.difference.estimate for row in found.rows} == {None}
    assert found.text.startswith("There is no estimate")


def test_rows_of_one_issue_count_once():
    """A thousand copies of ten issues are ten issues."""
    values = np.random.default_rng(1).normal(size=10)
    once = known_mean(values, np.arange(10))
    many = known_mean(np.repeat(values, 100), np.repeat(np.arange(10), 100))
    assert many.error == pytest.approx(once.error)
    assert many.df == once.df == 9


@pytest.mark.parametrize("n", [0, 1])
def test_one_row_or_none_is_no_interval(n):
    found = known_sensitivity(np.full((3, n), 0.5), WEIGHTS[:n], None, against="the rules")
    assert {row.answer for row in found.rows} == {"cannot_tell"}


@pytest.mark.parametrize(
    ("multiple", "text"),
    [(0.0, "0"), (0.0123, "0.012"), (1.26, "1.3"), (203.0, "200"), (4321.0, "4,300"), (2e7, "2e+07")],
)
def test_multiples_are_written_as_people_do(multiple, text):
    assert _times(multiple) == text
