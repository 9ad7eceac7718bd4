"""Metrics of decisions against numbers worked out by hand, calibration errors against a loop of their definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_decisions import CODE, SIZES, SPACE, A, B, C, decision, index

from planner_core.harness.metrics import evaluate_decision, reliability, risk_coverage, threshold_for


def metrics_of(chosen, gold, before=None, **options):
    labels = SPACE.head_index[index(*gold)]
    return evaluate_decision(decision(chosen, **options), labels, index(*gold), np.full(len(gold), CODE), SPACE, before)


# -- diagnostic and collapse


def test_accuracy_and_collapse_by_hand():
    found = metrics_of([A, B, B, B], gold=[A, A, B, C])
    assert found.n == 4
    assert found.exact_match_accuracy == 0.5
    assert found.per_head_accuracy == {"swarm": 0.75, "candidates": 0.5, "minutes": 0.75, "iterations": 1.0}
    assert found.action_entropy == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))
    assert found.top1_frequency == 0.75
    assert found.unique_actions == 2
    assert found.unique_action_ratio == pytest.approx(2 / 3)  # three distinct gold actions


def test_total_collapse():
    found = metrics_of([A, A, A, A], gold=[A, B, C, C])
    assert (found.action_entropy, found.top1_frequency, found.unique_actions) == (0.0, 1.0, 1)
    assert math.copysign(1.0, found.action_entropy) == 1.0  # 0, not -0
    assert found.unique_action_ratio == pytest.approx(1 / 3)


def test_more_actions_than_gold_has():
    assert metrics_of([A, B, C], gold=[A, A, A]).unique_action_ratio == 3.0


def test_uniform_choice():
    chosen = list(SPACE.actions[:8])
    assert metrics_of(chosen, gold=chosen).action_entropy == pytest.approx(math.log(8))


# -- calibration


def test_ece_and_mce_by_hand():
    """Swarm: 0.8 sure and right half the time, a gap of 0.3. The other heads are made right with certainty."""
    right = {name: np.full((2, size), -50.0, np.float32) for name, size in SIZES.items()}
    labels = SPACE.head_index[index(A, B)]
    for head, name in enumerate(SIZES):
        right[name][np.arange(2), labels[:, head]] = 50.0
    swarm = np.log(np.array([[0.8, 0.2], [0.8, 0.2]], np.float32))
    found = metrics_of([A, B], gold=[A, B], heads={**right, "swarm": swarm}, confidence=[0.9, 0.6])
    assert found.ece == pytest.approx(0.3 / 4, abs=1e-6)
    assert found.mce == pytest.approx(0.3 / 4, abs=1e-6)
    assert found.joint_ece == pytest.approx((0.1 + 0.4) / 2, abs=1e-6)  # both right
    assert found.ece_before is None and found.joint_ece_before is None


def test_head_calibration_is_over_valid_classes_only():
    """A code job has one valid class of iterations: certain and right, whatever the other logits say."""
    heads = {"iterations": np.array([[9.0, 9.0, 9.0, 9.0, -9.0]], np.float32)}
    with_noise = metrics_of([A], gold=[A], heads=heads)
    assert with_noise.ece == metrics_of([A], gold=[A]).ece


def test_before_is_the_same_metric_of_the_other_decision():
    heads = {"swarm": np.log(np.array([[0.9, 0.1]], np.float32))}
    before = decision([B], confidence=[0.4], heads=heads)
    found = metrics_of([A], gold=[A], before=before)
    alone = metrics_of([B], gold=[A], confidence=[0.4], heads=heads)
    assert (found.ece_before, found.mce_before, found.joint_ece_before) == (alone.ece, alone.mce, alone.joint_ece)
    assert found.ece != found.ece_before


def by_the_definition(confidence, correct):
    """ECE and MCE as Naeini et al. define them: ten bins (lower, upper], 0 in the first."""
    gaps, ece = [0.0], 0.0
    for k in range(10):
        members = [
            (c, right)
            for c, right in zip(confidence, correct, strict=True)
            if k / 10 < c <= (k + 1) / 10 or (k == 0 and c == 0.0)
        ]
        if members:
            gap = abs(sum(c for c, _ in members) / len(members) - sum(right for _, right in members) / len(members))
            gaps.append(gap)
            ece += gap * len(members) / len(confidence)
    return ece, max(gaps)


# Multiples of 1/64 are exact in binary, so no rounding decides about a bin; 0, 0.5 and 1 are among them.
@given(st.lists(st.tuples(st.integers(0, 64).map(lambda k: k / 64), st.booleans()), min_size=1, max_size=40))
def test_calibration_error_against_a_loop(rows):
    confidence, correct = (np.array(column) for column in zip(*rows, strict=True))
    table = reliability(confidence, correct)
    ece, mce = by_the_definition(confidence.tolist(), correct.tolist())
    assert table.ece == pytest.approx(ece) and table.mce == pytest.approx(mce)
    assert table.count.sum() == len(rows)


def test_bins_include_their_upper_edge():
    table = reliability(np.array([0.0, 0.1, 0.5, 0.5001, 1.0]), np.ones(5, bool))
    assert table.count.tolist() == [2, 0, 0, 0, 1, 1, 0, 0, 0, 1]


# -- risk and coverage


def test_risk_coverage_by_hand():
    found = risk_coverage(np.array([0.5, 0.9, 0.6, 0.8]), np.array([False, True, True, False]), points=5)
    assert found["area"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert found["curve"] == [
        {"coverage": 0.25, "risk": 0.0, "threshold": 0.9},
        {"coverage": 0.5, "risk": 0.5, "threshold": 0.8},
        {"coverage": 0.75, "risk": pytest.approx(1 / 3), "threshold": 0.6},
        {"coverage": 1.0, "risk": 0.5, "threshold": 0.5},
    ]


def test_risk_coverage_of_one_decision():
    found = risk_coverage(np.array([0.7]), np.array([True]))
    assert found["area"] == 0.0 and {point["coverage"] for point in found["curve"]} == {1.0}


@given(st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), min_size=1, max_size=30, unique_by=lambda row: row[0]))
def test_a_threshold_of_the_curve_gives_the_risk_beside_it(rows):
    confidence = np.array([c / 10**6 for c, _ in rows])
    correct = np.array([right for _, right in rows])
    for point in risk_coverage(confidence, correct)["curve"]:
        decided = confidence >= point["threshold"]  # as the runtime applies it
        assert decided.mean() == pytest.approx(point["coverage"])
        assert 1.0 - correct[decided].mean() == pytest.approx(point["risk"])


def test_a_threshold_gives_its_risk_where_confidences_are_equal():
    """Equal inputs have equal confidence, so this is an ordinary log; export --accuracy reads its threshold here."""
    confidence, correct = np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, False, True, False])
    for point in risk_coverage(confidence, correct, points=5)["curve"]:
        decided = confidence >= point["threshold"]
        assert 1.0 - correct[decided].mean() == pytest.approx(point["risk"])


def test_threshold_for_an_accuracy():
    curve = risk_coverage(np.array([0.9, 0.8, 0.6, 0.5]), np.array([True, False, True, False]), points=5)["curve"]
    assert threshold_for(curve, 0.9)["threshold"] == 0.9
    assert threshold_for(curve, 0.65)["threshold"] == 0.6  # the most coverage, not the most accuracy
    assert threshold_for(curve, 0.5)["coverage"] == 1.0
    assert threshold_for(curve[1:], 0.9) is None
