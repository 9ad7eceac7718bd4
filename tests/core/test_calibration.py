"""Temperature scaling: it finds a temperature that is known, and never makes things worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner_core.action_space import HEADS, ActionSpace
from planner_core.decision import UTILITY_TEMPERATURE, row_weights, utility_logits
from planner_core.harness.calibration import T_RANGE, fit_temperature, fit_temperatures, nll, no_temperatures

SPACE = ActionSpace()


def softmax(logits, mask):
    weights = np.exp(np.where(mask, logits, -np.inf))
    return weights / weights.sum(axis=1, keepdims=True)


def drawn(rng, logits, mask):
    """Labels drawn from the softmax of ``logits``: by construction these are calibrated."""
    cumulative = softmax(logits, mask).cumsum(axis=1)
    return (rng.random((len(logits), 1)) > cumulative).sum(axis=1).clip(max=logits.shape[1] - 1)


def case(seed, n=10_000, classes=6):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, classes))
    mask = rng.random((n, classes)) < 0.8
    mask[:, 0] = True
    return logits, drawn(rng, logits, mask), mask


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_finds_the_factor_that_the_logits_were_scaled_by(factor, seed):
    logits, labels, mask = case(seed)
    assert fit_temperature(logits * factor, labels, mask) == pytest.approx(factor, rel=0.05)


def test_is_the_minimum_of_a_fine_grid():
    logits, labels, mask = case(2, n=500)
    fitted = fit_temperature(logits * 3.0, labels, mask)
    grid = min(nll(logits * 3.0, labels, mask, t) for t in np.geomspace(*T_RANGE, 400))
    assert nll(logits * 3.0, labels, mask, fitted) <= grid + 1e-9


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.01, 100.0), st.booleans())
def test_never_worse_than_no_temperature(seed, factor, random_labels):
    logits, labels, mask = case(seed, n=30)
    if random_labels:  # as wrong as can be, as long as they are valid
        labels = np.array([np.random.default_rng([seed, i]).choice(np.flatnonzero(row)) for i, row in enumerate(mask)])
    logits = logits * factor
    fitted = fit_temperature(logits, labels, mask)
    assert T_RANGE[0] * 0.999 <= fitted <= T_RANGE[1] * 1.001
    assert nll(logits, labels, mask, fitted) <= nll(logits, labels, mask, 1.0)


def test_a_temperature_does_not_fall_below_a_quarter():
    """Logits that ask for 1/20: below a quarter a small validation split would decide how sure a policy is."""
    logits, labels, mask = case(0)
    assert nll(logits * 0.05, labels, mask, 0.05) < nll(logits * 0.05, labels, mask, 0.25)
    assert fit_temperature(logits * 0.05, labels, mask) == pytest.approx(0.25, rel=1e-3)


def test_noise_is_made_flat():
    """Confident logits that say nothing about the label: the flattest temperature allowed."""
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(0, 50, (2000, 5)), rng.integers(0, 5, 2000)
    assert fit_temperature(logits, labels, np.ones((2000, 5), bool)) == pytest.approx(T_RANGE[1], rel=0.01)


def test_a_split_that_is_all_right_says_nothing():
    """The likelihood has no minimum there: every sharper temperature is better, without end."""
    logits = np.array([[2.0, 0.0], [3.0, 1.0], [0.0, 0.5]])
    assert fit_temperature(logits, np.array([0, 0, 1]), np.ones((3, 2), bool)) == 1.0


def test_one_valid_class_says_nothing():
    logits = np.array([[0.0, 9.0], [5.0, 0.0]])
    mask = np.array([[True, False], [True, False]])
    assert fit_temperature(logits, np.array([0, 0]), mask) == 1.0


def test_rows_of_one_valid_class_do_not_count():
    logits, labels, mask = case(4, n=400)
    single = np.zeros((300, 6), bool)
    single[:, 0] = True
    wild = np.random.default_rng(4).normal(0, 30, (300, 6))
    more = fit_temperature(np.vstack([logits, wild]), np.append(labels, np.zeros(300, int)), np.vstack([mask, single]))
    assert more == fit_temperature(logits, labels, mask)


def test_nll_by_hand():
    logits = np.array([[np.log(3.0), 0.0, 99.0], [0.0, 0.0, 99.0]])
    mask = np.array([[True, True, False]] * 2)
    assert nll(logits, np.array([0, 1]), mask, 1.0) == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2)
    # T = 2: the odds of 3 become the root of 3
    odds = np.sqrt(3.0)
    assert nll(logits, np.array([0, 1]), mask, 2.0) == pytest.approx(-(np.log(odds / (1 + odds)) + np.log(0.5)) / 2)


def test_nll_of_logits_that_would_overflow():
    assert nll(np.array([[1e4, 0.0]]), np.array([1]), np.ones((1, 2), bool), 1.0) == pytest.approx(1e4)


# -- the report


@pytest.fixture(scope="module")
def examples(dataset):
    """4,000 rows of the world's job types, labels to be replaced."""
    return dataset.everything.take(np.tile(np.arange(400), 10))


def test_each_head_has_its_own(examples):
    rng = np.random.default_rng(5)
    factors = {"swarm": 0.5, "candidates": 2.0, "minutes": 3.0, "iterations": 4.0}
    scores, labels = {}, []
    for name, size in zip(HEADS, (2, 4, 6, 5), strict=True):
        logits = rng.normal(0, 1.5, (4000, size))
        labels.append(drawn(rng, logits, SPACE.head_masks[name][examples.job_type]))
        scores[name] = (logits * factors[name]).astype(np.float32)
    found = fit_temperatures(scores, replace(examples, labels=np.stack(labels, axis=1)), SPACE)
    assert found["method"] == "temperature_scaling" and found["n"] == 4000
    # iterations have a choice only where the job is not code, a third of the rows
    assert found["temperatures"] == pytest.approx(factors, rel=0.15)
    for name in HEADS:
        assert found["nll_after"][name] < found["nll_before"][name]


def test_joint_has_one(examples):
    rng = np.random.default_rng(6)
    logits = rng.normal(0, 1.5, (4000, 150))
    action = drawn(rng, logits, SPACE.joint_masks[examples.job_type])
    found = fit_temperatures({"joint": logits * 3.0}, replace(examples, action=action), SPACE)
    assert found["temperatures"] == pytest.approx({"joint": 3.0}, rel=0.05)
    assert found["nll_after"]["joint"] < found["nll_before"]["joint"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("heads", dict.fromkeys(HEADS, 1.0)), ("joint", {"joint": 1.0}), ("outcomes", {"utility": UTILITY_TEMPERATURE})],
)
def test_no_calibration_says_why(kind, expected):
    found = no_temperatures(kind, "nothing to calibrate on")
    assert found == {"method": "none", "note": "nothing to calibrate on", "temperatures": expected, "n": 0}


def test_the_temperature_of_utilities_is_found(dataset):
    """Labels drawn from softmax(utility / 0.2): that is the temperature, in units of utility."""
    examples = dataset.everything
    scores = {name: getattr(examples.outcomes, name) for name in ("passed", "minutes", "cost_usd")}
    scores = {name: np.nan_to_num(values) for name, values in scores.items()}
    weights = row_weights(examples.features)
    logits, mask = utility_logits(scores, examples.job_type, SPACE, weights, 0.2)
    rng = np.random.default_rng(0)
    noisy = np.where(mask, logits + rng.gumbel(size=logits.shape), -np.inf)
    found = fit_temperatures(scores, replace(examples, action=noisy.argmax(axis=1)), SPACE, weights)
    assert found["temperatures"]["utility"] == pytest.approx(0.2, rel=0.15)
