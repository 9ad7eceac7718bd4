"""Utilities by hand arithmetic, and who wins among known outcomes (SPEC sections 7 and 8).

Joint classes used below: 0..4 are (serial_handoff, 1, 15, iterations 1 2 3 5 NA), then every five classes the next of
six minutes, every thirty the next candidates: 30 (speculate_vote, 1, 15, 1), 60 (.., 2, ..), 90 (.., 3, ..),
120 (.., NA, ..).
"""

from __future__ import annotations

import numpy as np
import pytest

from planner_core.action_space import ActionSpace
from planner_core.encoder import PRIORITIES
from planner_core.errors import ConfigError, DataError
from planner_core.utility import best_actions, parse_value, tie_order, utilities, weight_table

ORDER = tie_order(ActionSpace())
EVERY = np.ones((1, 150), bool)
NAN = float("nan")


def winner(known, valid=EVERY):
    """Winner of one row; ``known`` is {joint class: (passed, score)} and the rest is unknown."""
    passed = np.full((1, 150), NAN, np.float32)
    score = np.full((1, 150), NAN)
    for joint, (did_pass, value) in known.items():
        passed[0, joint], score[0, joint] = did_pass, value
    return best_actions(passed, score, valid, ORDER).tolist()[0]


# ------------------------------------------------------------------------------------ weights


def test_values_are_laid_over_the_weights():
    base = weight_table()
    found = parse_value(["P0.pass=9", "pass=2", "hour=0.5"], base)
    assert found[:, 0].tolist() == [9.0, 2.0, 2.0, 2.0]  # one with a priority wins, though it came first
    assert found[:, 1].tolist() == [0.5] * 4 and np.array_equal(found[:, 2], base[:, 2])
    assert parse_value([], base) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time=1", r"--value time=1: there is no 'time'.*expected pass, hour or usd"),
        ("pas=1", r"there is no 'pas' \(did you mean 'pass'\?\)"),
        ("P4.pass=1", r"there is no priority 'P4'"),
        *(
            (f"pass={n}", r"expected KEY=NUMBER with a finite number of 0 or more")
            for n in ("-1", "inf", "nan", "x", "")
        ),
        ("pass", r"expected KEY=NUMBER"),
    ],
)
def test_values_that_do_not_fit(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_value([text, "pass=2"], weight_table())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w["P0"].update(passs=1.0), r"\$\.utility\.P0: found the unknown key 'passs' \(did you mean 'pass'"),
        (lambda w: w["P1"].pop("cost"), r"\$\.utility\.P1: found no 'cost'; expected the keys pass, time, cost"),
        (lambda w: w.pop("P3"), r"\$\.utility: found no 'P3'"),
        (lambda w: w["P2"].update(time=-1.0), r"\$\.utility\.P2\.time: found -1\.0; expected a finite number"),
    ],
)
def test_weights_of_a_file_that_do_not_fit(change, message):
    weights = {
        name: {"pass": row[0], "time": row[1], "cost": row[2]}
        for name, row in zip(PRIORITIES, weight_table().tolist(), strict=True)
    }
    assert np.array_equal(weight_table(weights), weight_table())
    change(weights)
    with pytest.raises(DataError, match=r"meta\.json, at " + message):
        weight_table(weights, "meta.json")


# ------------------------------------------------------------------------------------ utilities


@pytest.mark.parametrize(
    ("priority", "passed", "minutes", "cost", "expected"),
    [
        (0, 1.0, 30.0, 2.0, 3.3),  # 4 - 1.0 x 1/2 - 0.10 x 2
        (1, 0.5, 60.0, 1.0, 0.55),  # 1.5 - 0.8 - 0.15
        (2, 0.0, 120.0, 5.0, -2.2),  # 0 - 0.6 x 2 - 0.20 x 5
        (3, 1.0, 6.0, 0.5, 1.02),  # 1.2 - 0.3 x 0.1 - 0.30 x 0.5
        (0, 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_utility_by_hand(priority, passed, minutes, cost, expected):
    cells = [np.array([[value]], np.float32) for value in (passed, minutes, cost)]
    found = utilities(*cells, np.array([priority]), weight_table())
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, [[expected]], atol=1e-12)


def test_each_row_has_its_own_priority():
    ones = np.ones((4, 2), np.float32)
    found = utilities(ones, ones * 60, ones, np.array([3, 0, 2, 1]), weight_table())
    # pass - time - cost: P3 1.2-0.3-0.3, P0 4-1-0.1, P2 2-0.6-0.2, P1 3-0.8-0.15
    np.testing.assert_allclose(found, np.repeat([[0.6], [2.9], [1.2], [2.05]], 2, axis=1), atol=1e-12)


def test_weights_of_the_dataset_replace_the_defaults():
    plain = {p: {"cost": 3.0, "time": 2.0, "pass": 10.0 + i} for i, p in enumerate(("P3", "P2", "P1", "P0"))}
    table = weight_table(plain)
    assert table.tolist() == [[13, 2, 3], [12, 2, 3], [11, 2, 3], [10, 2, 3]]
    one = np.ones((1, 1))
    assert utilities(one, one * 90, one * 2, np.array([0]), table).tolist() == [[4.0]]  # 13 - 2 x 1.5 - 3 x 2


def test_default_weights_are_the_table_of_section_8():
    assert weight_table().tolist() == [[4, 1.0, 0.10], [3, 0.8, 0.15], [2, 0.6, 0.20], [1.2, 0.3, 0.30]]


@pytest.mark.parametrize("unknown", [0, 1, 2])
def test_utility_is_unknown_where_any_part_is(unknown):
    cells = [np.ones((1, 2), np.float32) for _ in range(3)]
    cells[unknown][0, 1] = NAN
    assert np.isnan(utilities(*cells, np.array([0]), weight_table())).tolist() == [[False, True]]


# ------------------------------------------------------------------------------------ the order of ties


def test_tie_order_is_candidates_then_minutes_then_classes():
    assert ORDER[:12].tolist() == [0, 1, 2, 3, 4, 30, 31, 32, 33, 34, 5, 6]
    assert ORDER[50:62].tolist() == [25, 26, 27, 28, 29, 55, 56, 57, 58, 59, 60, 61]  # 1 candidate ends with NA minutes
    assert ORDER[-1] == 149
    assert sorted(ORDER.tolist()) == list(range(150))


# ------------------------------------------------------------------------------------ winners

WINNER_CASES = {
    # name: ({joint class: (passed, score)}, winner)
    "passing beats a better score": ({0: (0, 3.0), 60: (1, -5.0)}, 60),
    "among those that passed the score": ({0: (1, 1.0), 60: (1, 2.0), 90: (0, 9.0)}, 60),
    "none passed, so the score": ({0: (0, -1.0), 60: (0, -0.5)}, 60),
    "tie: fewer candidates": ({60: (1, 1.0), 30: (1, 1.0)}, 30),
    "tie: NA candidates are the most": ({120: (1, 1.0), 90: (1, 1.0)}, 90),
    "tie: candidates before minutes": ({59: (1, 1.0), 60: (1, 1.0)}, 59),  # (1, NA minutes) and (2, 15)
    "tie: fewer minutes": ({35: (1, 1.0), 30: (1, 1.0)}, 30),
    "tie: minutes before the action order": ({5: (1, 1.0), 30: (1, 1.0)}, 30),  # serial 30 minutes, vote 15
    "tie: NA minutes are the most": ({29: (1, 1.0), 20: (1, 1.0)}, 20),
    "tie: action order": ({30: (1, 1.0), 4: (1, 1.0)}, 4),
    "tie among the failed": ({90: (0, 0.0), 60: (0, 0.0)}, 60),
    "one outcome known": ({149: (0, -9.0)}, 149),
    "unknown pass cannot win": ({0: (NAN, 9.0), 60: (0, 1.0)}, 60),
    "unknown score cannot win": ({0: (1, NAN), 60: (0, 1.0)}, 60),
    "nothing known": ({}, -1),
    "nothing known but scores": ({0: (NAN, 1.0)}, -1),
    "probabilities: the score alone": ({0: (0.9, 0.1), 60: (0.2, 0.8)}, 60),
    "a sure pass among probabilities has no precedence": ({0: (1.0, 0.1), 60: (0.5, 0.8)}, 60),
    "tie among probabilities": ({60: (0.5, 0.8), 0: (0.3, 0.8)}, 0),
    "negative scores": ({60: (1, -3.0), 90: (1, -2.0), 0: (0, -0.1)}, 90),
}


@pytest.mark.parametrize(("known", "expected"), WINNER_CASES.values(), ids=WINNER_CASES.keys())
def test_winner(known, expected):
    assert winner(known) == expected


def test_invalid_action_cannot_win():
    valid = EVERY.copy()
    valid[0, 0] = False
    assert winner({0: (1, 9.0), 60: (0, 1.0)}, valid) == 60
    assert winner({0: (1, 9.0)}, valid) == -1


def test_invalid_probability_does_not_make_a_row_one_of_expectations():
    valid = EVERY.copy()
    valid[0, 0] = False
    assert winner({0: (0.5, 9.0), 60: (1, 1.0), 90: (0, 2.0)}, valid) == 60


def test_rows_are_judged_apart():
    passed = np.full((3, 150), NAN)
    score = np.full((3, 150), NAN)
    passed[0, [0, 60]], score[0, [0, 60]] = [0, 1], [5.0, 1.0]
    passed[1, [0, 60]], score[1, [0, 60]] = [0.4, 0.6], [5.0, 1.0]
    found = best_actions(passed, score, np.ones((3, 150), bool), ORDER)
    assert found.tolist() == [60, 0, -1]
