"""Metrics of outcomes against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from small_decisions import CODE, SPACE, A, B, C, index

from planner_core.action_space import Action
from planner_core.examples import Examples, Outcomes
from planner_core.features import SparseFeatures
from planner_core.harness.outcome_metrics import evaluate_outcomes, gap_closed, outcome_columns
from planner_core.utility import weight_table


def examples(known, *, priority, job_type=CODE, gold=A):
    """Rows with the given outcomes: ``known`` [{action: (passed, minutes, cost)}]."""
    n = len(known)
    arrays = {name: np.full((n, 150), np.nan, np.float32) for name in ("passed", "minutes", "cost_usd")}
    for row, outcomes in enumerate(known):
        for action, values in outcomes.items():
            for name, value in zip(arrays, values, strict=True):
                arrays[name][row, SPACE.index[action]] = value
    gold_index = np.full(n, SPACE.index[gold])
    return Examples(
        SparseFeatures(np.array([], np.int32), np.zeros(n + 1, np.int64), 1),
        np.full(n, job_type),
        SPACE.head_index[gold_index],
        gold_index,
        np.array(priority),
        Outcomes(**arrays),
    )


def outcome(chosen, rows, objective="utility"):
    return evaluate_outcomes(outcome_columns(index(*chosen), rows, SPACE, weight_table(), objective))


def test_outcomes_by_hand():
    """P0: 4 x pass - hours - 0.10 x USD; P1: 3, 0.8, 0.15; P2: 2, 0.6, 0.20."""
    rows = examples(
        [
            {A: (1, 30, 2), B: (1, 12, 1)},  # P0, A taken: 4 - 0.5 - 0.2 = 3.3; B would be 4 - 0.2 - 0.1 = 3.7
            {A: (0, 60, 3), B: (0, 30, 1)},  # P2, A taken: -0.6 - 0.6 = -1.2; B would be -0.3 - 0.2 = -0.5
            {A: (1, 30, 2)},  # C taken, which nobody knows
            {B: (1, 30, 2)},  # P1, B taken: 3 - 0.4 - 0.3 = 2.3, the best known
        ],
        priority=[0, 2, 1, 1],
    )
    found = outcome([A, A, C, B], rows)
    assert found.outcome_coverage == 0.75
    assert found.pass_rate == pytest.approx(2 / 3)
    assert found.mean_time_to_pass_min == pytest.approx(30)
    assert found.minutes_per_pass == pytest.approx((30 + 60 + 30) / 2)
    assert found.cost_per_pass_usd == pytest.approx((2 + 3 + 2) / 2)
    assert found.mean_utility == pytest.approx((3.3 - 1.2 + 2.3) / 3)
    assert found.mean_regret == pytest.approx((0.4 + 0.7 + 0.0) / 3)
    assert found.oracle_match_rate == pytest.approx(1 / 3)


def test_expected_outcomes_are_weighed_by_their_probability():
    rows = examples([{A: (0.5, 20, 1)}, {A: (0.25, 40, 1)}], priority=[2, 2])
    found = outcome([A, A], rows)
    assert found.pass_rate == pytest.approx(0.375)
    assert found.mean_time_to_pass_min == pytest.approx((0.5 * 20 + 0.25 * 40) / 0.75)
    assert found.minutes_per_pass == pytest.approx(60 / 0.75)


def test_nothing_passed():
    found = outcome([A, A], examples([{A: (0, 20, 1)}] * 2, priority=[3, 3]))
    assert found.pass_rate == 0.0
    assert found.mean_time_to_pass_min is found.minutes_per_pass is found.cost_per_pass_usd is None
    assert found.mean_utility == pytest.approx(-0.3 / 3 - 0.3)


def test_nothing_known():
    assert outcome([B, B], examples([{A: (1, 20, 1)}] * 2, priority=[0, 0])) is None
    bare = examples([{}], priority=[0])
    assert outcome_columns(index(A), Examples(*list(vars(bare).values())[:5]), SPACE, weight_table()) is None
    assert evaluate_outcomes(None) is None


def test_winner_follows_the_objective_and_passing_comes_first():
    quick_failure = {A: (1, 50, 1.0), B: (1, 40, 9.0), C: (0, 5, 0.1)}
    rows = examples([quick_failure] * 3, priority=[2, 2, 2])
    chosen = [A, B, C]
    assert outcome(chosen, rows, "cost").oracle_match_rate == pytest.approx(1 / 3)
    assert outcome([B] * 3, rows, "duration").oracle_match_rate == 1.0
    assert outcome([A] * 3, rows, "cost").oracle_match_rate == 1.0
    assert outcome([C] * 3, rows, "duration").oracle_match_rate == 0.0


def test_an_invalid_action_is_no_oracle():
    """Its outcome may be recorded; a policy may not choose it, so it is nothing to regret."""
    iterating = Action("serial_handoff", 1, 30, 2)
    rows = examples([{A: (1, 60, 1), iterating: (1, 1, 0)}], priority=[0])
    assert outcome([A], rows).mean_regret == 0.0


def test_regret_where_the_best_has_no_known_cost():
    rows = examples([{A: (1, 60, 1), B: (1, 30, np.nan)}, {A: (1, 60, 1)}], priority=[0, 0])
    found = outcome([A, A], rows, "duration")
    assert found.mean_regret is None or np.isfinite(found.mean_regret)


def test_gap_closed():
    assert gap_closed(1.0, floor=0.8, ceiling=1.2) == pytest.approx(0.5)
    assert gap_closed(0.6, floor=0.8, ceiling=1.2) == pytest.approx(-0.5)
    assert gap_closed(1.0, floor=1.0, ceiling=1.0) is None
