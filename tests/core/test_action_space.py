"""The action space of SPEC section 3 and the public names of 5.6, counted and spelled out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core.action_space import (
    JOB_TYPES,
    Action,
    ActionEncoder,
    ActionSpace,
    EncodedAction,
    ValidityMaskBuilder,
    action_dict,
    action_space_for_swarms,
    default_rules,
    job_type_index,
    nearest_action,
    nearest_bin,
    obeys,
    valid_actions,
)
from planner_core.contracts import PlannerAction, RequestActionSpace, ValidityRule
from planner_core.errors import DataError
from planner_core.jsonio import convert

SERIAL, VOTE = "serial_handoff", "speculate_vote"

# ------------------------------------------------------------------------------------ valid actions


@pytest.mark.parametrize(
    ("job_type", "count"),
    [
        ("code", 30),  # (1 + 4 candidates) x 6 minutes x 1
        ("fab-world", 120),  # (1 + 3) x 6 x 5
        ("fab-asset", 150),  # (1 + 4) x 6 x 5
        ("research", 150),
    ],
)
def test_number_of_valid_actions(job_type, count):
    actions = valid_actions(job_type)
    assert len(actions) == len(set(actions)) == count


ORDER = {
    "code": {
        0: (SERIAL, 1, 15, "NA"),
        1: (SERIAL, 1, 30, "NA"),
        5: (SERIAL, 1, "NA", "NA"),
        6: (VOTE, 1, 15, "NA"),
        16: (VOTE, 2, 120, "NA"),
        24: (VOTE, "NA", 15, "NA"),
        29: (VOTE, "NA", "NA", "NA"),
    },
    "fab-world": {
        0: (SERIAL, 1, 15, 1),
        30: (VOTE, 1, 15, 1),
        67: (VOTE, 2, 30, 3),
        119: (VOTE, 3, "NA", "NA"),
    },
    "fab-asset": {
        0: (SERIAL, 1, 15, 1),
        1: (SERIAL, 1, 15, 2),
        3: (SERIAL, 1, 15, 5),
        4: (SERIAL, 1, 15, "NA"),
        5: (SERIAL, 1, 30, 1),
        24: (SERIAL, 1, 120, "NA"),
        29: (SERIAL, 1, "NA", "NA"),
        30: (VOTE, 1, 15, 1),
        60: (VOTE, 2, 15, 1),
        75: (VOTE, 2, 60, 1),
        119: (VOTE, 3, "NA", "NA"),
        120: (VOTE, "NA", 15, 1),
        149: (VOTE, "NA", "NA", "NA"),
    },
}


@pytest.mark.parametrize("job_type", ORDER)
def test_order_of_valid_actions(job_type):
    actions = valid_actions(job_type)
    assert {i: tuple(actions[i]) for i in ORDER[job_type]} == ORDER[job_type]


def test_order_does_not_follow_the_order_of_the_bins():
    mixed = ActionSpace((SERIAL, VOTE), ("NA", 3, 1, 2), (120, "NA", 60, 15, 45, 30), (5, "NA", 1, 3, 2))
    assert valid_actions("fab-asset", mixed) == valid_actions("fab-asset")


# ------------------------------------------------------------------------------------ rules


@pytest.mark.parametrize(
    ("action", "job_type", "valid"),
    [
        ((SERIAL, 1, 15, 1), "fab-asset", True),
        ((SERIAL, 2, 15, 1), "fab-asset", False),
        ((SERIAL, "NA", 15, 1), "fab-asset", False),
        ((VOTE, 2, 15, 1), "code", False),
        ((VOTE, 2, 15, "NA"), "code", True),
        ((VOTE, "NA", 15, 1), "fab-world", False),
        ((VOTE, 3, 15, 1), "fab-world", True),
        ((VOTE, "NA", 15, 1), "fab-asset", True),
        (("tournament", "NA", "NA", 5), "research", True),
    ],
)
def test_default_rules(action, job_type, valid):
    assert obeys(Action(*action), job_type) is valid


def rule(condition, consequence):
    document = {"description": "custom", "if": condition, "then": consequence}
    return convert({key: value for key, value in document.items() if value is not None}, ValidityRule, "rules")


RULE_CASES = [
    # an action is out where the rule applies and its demand is not met; counts are of 2 x 4 x 6 x 5 = 240
    ({}, {"max_minutes_bin": 60}, "code", 40),
    (None, {"max_minutes_bin": 60}, "code", 40),
    ({}, {"max_minutes_bin_not": 60}, "code", 200),
    ({}, {"max_iterations_bin": "NA"}, "code", 48),
    ({}, {"swarm_id": VOTE}, "code", 120),
    ({}, {"swarm_id_not": VOTE}, "code", 120),
    ({"swarm_id": VOTE}, {"max_candidates_bin_not": 1}, "code", 210),  # 240 - 30
    ({"job_type": "code"}, {"max_candidates_bin": 3}, "code", 60),
    ({"job_type": "code"}, {"max_candidates_bin": 3}, "fab-world", 240),
    ({"job_type": "code", "swarm_id": VOTE}, {"max_minutes_bin": 15}, "code", 140),  # 120 + 20
    ({"swarm_id": SERIAL}, {"max_candidates_bin": 1, "max_iterations_bin_not": "NA"}, "code", 144),  # 24 + 120
    ({"swarm_id": SERIAL}, None, "code", 240),  # a remark
]


@pytest.mark.parametrize(("condition", "consequence", "job_type", "count"), RULE_CASES)
def test_custom_rule(condition, consequence, job_type, count):
    rules = [rule(condition, consequence)]
    actions = valid_actions(job_type, ActionSpace(), rules)
    assert len(actions) == count
    assert all(obeys(action, job_type, rules) for action in actions)


def test_every_rule_must_hold():
    rules = [rule({}, {"max_minutes_bin": 60}), rule({"swarm_id": SERIAL}, {"max_candidates_bin": 1})]
    assert len(valid_actions("code", ActionSpace(), rules)) == 25  # (1 + 4) x 1 x 5
    assert valid_actions("code", ActionSpace(), [rule({}, {"max_minutes_bin": 7})]) == ()


def test_rules_in_json_are_the_rules_in_force():
    rules = [convert(item, ValidityRule, "rules") for item in default_rules()]
    for job_type, count in (("code", 30), ("fab-world", 120), ("fab-asset", 150)):
        assert valid_actions(job_type, ActionSpace(), rules) == valid_actions(job_type)
        assert len(valid_actions(job_type, ActionSpace(), rules)) == count


def test_space_survives_its_own_json():
    request = convert(ActionSpace().to_dict(), RequestActionSpace, "space")
    assert ActionSpace.from_request(request) == ActionSpace()


def test_request_keeps_its_order_and_drops_repetitions():
    request = RequestActionSpace(["b", "a", "b"], [3, 1, 3], ["NA", 15], [1, 1], [])
    assert ActionSpace.from_request(request).head_bins == (("b", "a"), (3, 1), ("NA", 15), (1,))


# ------------------------------------------------------------------------------------ nearest


@pytest.mark.parametrize(
    ("value", "bins", "expected"),
    [
        (45, (15, 30, 45, 60, 120, "NA"), 45),
        (22, (15, 30, 45, 60, 120, "NA"), 15),
        (23, (15, 30, 45, 60, 120, "NA"), 30),
        (90, (15, 30, 45, 60, 120, "NA"), 60),  # tie: the lower
        (90, ("NA", 120, 60), 60),  # tie: whatever the order of the bins
        (10**9, (15, 30, 45, 60, 120, "NA"), 120),
        (0, (15, 30, 45, 60, 120, "NA"), 15),
        (4, (1, 2, 3, 5, "NA"), 3),
        (None, (1, 2, 3, "NA"), "NA"),
        (None, (3, 1, 2), 3),  # no limit, and no NA to say so
        (4, ("NA",), "NA"),
    ],
)
def test_nearest_bin(value, bins, expected):
    assert nearest_bin(value, bins) == expected


def actions(*rows):
    return [Action(*row) for row in rows]


NEAREST_CASES = {
    # name: (wanted, allowed, nearest)
    "itself": ((VOTE, 2, 30, "NA"), [(VOTE, 1, 30, "NA"), (VOTE, 2, 30, "NA")], (VOTE, 2, 30, "NA")),
    "tie: fewer candidates": ((VOTE, 2, 30, 1), [(VOTE, 3, 30, 1), (VOTE, 1, 30, 1)], (VOTE, 1, 30, 1)),
    "tie: fewer minutes": ((VOTE, 2, 30, 1), [(VOTE, 2, 45, 1), (VOTE, 2, 15, 1)], (VOTE, 2, 15, 1)),
    "tie: fewer iterations": ((VOTE, 2, 30, 2), [(VOTE, 2, 30, 3), (VOTE, 2, 30, 1)], (VOTE, 2, 30, 1)),
    "tie: NA is the most": ((VOTE, 3, 30, 1), [(VOTE, "NA", 30, 1), (VOTE, 2, 30, 1)], (VOTE, 2, 30, 1)),
    # SPEC names no order among the resources; candidates cost most, as in the ties of section 7
    "tie: candidates before minutes": ((VOTE, 2, 30, 1), [(VOTE, 3, 15, 1), (VOTE, 1, 45, 1)], (VOTE, 1, 45, 1)),
    "one step beats two": ((VOTE, 3, 60, 1), [(VOTE, 1, 60, 1), (VOTE, 2, 45, 1), (VOTE, 3, 45, 1)], (VOTE, 3, 45, 1)),
    "another swarm only as the last resort": (
        (VOTE, 3, 120, 5),
        [(SERIAL, 3, 120, 5), (VOTE, 1, 15, 1), (VOTE, 2, 30, 2)],
        (VOTE, 2, 30, 2),
    ),
    "the wanted swarm is not there": (
        (VOTE, 2, 30, "NA"),
        [(SERIAL, 1, 30, "NA"), (SERIAL, 1, 15, "NA")],
        (SERIAL, 1, 30, "NA"),
    ),
}


@pytest.mark.parametrize(("wanted", "allowed", "expected"), NEAREST_CASES.values(), ids=NEAREST_CASES.keys())
def test_nearest_action(wanted, allowed, expected):
    assert nearest_action(Action(*wanted), actions(*allowed)) == Action(*expected)
    assert nearest_action(Action(*wanted), actions(*reversed(allowed))) == Action(*expected)


def test_nearest_action_of_an_action_that_breaks_a_rule():
    # code does not iterate: 3 iterations become NA, nothing else moves
    assert nearest_action(Action(VOTE, 2, 45, 3), valid_actions("code")) == (VOTE, 2, 45, "NA")
    assert nearest_action(Action(SERIAL, 3, 45, "NA"), valid_actions("code")) == (SERIAL, 1, 45, "NA")


def test_nearest_action_among_none():
    with pytest.raises(ValueError):
        nearest_action(Action(VOTE, 2, 30, 1), [])


# ------------------------------------------------------------------------------------ ActionEncoder


def test_encode_and_decode_by_hand():
    encoder = ActionEncoder()
    label = {
        "swarm_id": VOTE,
        "budgets": {"max_candidates_bin": 3, "max_minutes_bin": 120, "max_iterations_bin": "NA"},
    }
    assert encoder.encode_label(label) == EncodedAction(1, 2, 4, 4)
    assert encoder.decode_action(1, 2, 4, 4) == label
    full = {"schema_version": "cyntra.planner_action.v1", "created_at": "2025-03-01T12:00:00Z", **label}
    assert tuple(encoder.encode_label(full)) == (1, 2, 4, 4)
    assert encoder.encode_label(convert(full, PlannerAction, "label")) == EncodedAction(1, 2, 4, 4)


def test_round_trip_over_all_150_actions():
    encoder = ActionEncoder()
    for joint, action in enumerate(valid_actions("fab-asset")):
        encoded = encoder.encode_label(action_dict(action))
        assert encoder.decode_action(*encoded) == action_dict(action)
        assert encoder.joint_index(encoded) == joint


def test_forbidden_combination_has_no_joint_class():
    assert ActionEncoder().joint_index(EncodedAction(0, 1, 0, 0)) is None


def test_indices_follow_the_space_s_own_order():
    encoder = ActionEncoder(ActionSpace((VOTE, SERIAL), ("NA", 1), (60, 15), (1,)))
    encoded = encoder.encode_label(action_dict(Action(SERIAL, 1, 15, 1)))
    assert tuple(encoded) == (1, 1, 1, 0)
    assert encoder.decode_action(*encoded) == action_dict(Action(SERIAL, 1, 15, 1))


LABEL = action_dict(Action(VOTE, 2, 30, 1))


@pytest.mark.parametrize(
    ("label", "path", "found", "choices"),
    [
        ({**LABEL, "swarm_id": "tournament"}, "$.swarm_id", "tournament", [SERIAL, VOTE]),
        ({**LABEL, "swarm_id": ["x"]}, "$.swarm_id", "x", ["str"]),
        ({"budgets": LABEL["budgets"]}, "$", None, ["swarm_id"]),
        (action_dict(Action(VOTE, 4, 30, 1)), "$.budgets.max_candidates_bin", "4", ["1", "2", "3", "NA"]),
        (action_dict(Action(VOTE, True, 30, 1)), "$.budgets.max_candidates_bin", "rue", ["integer", "NA"]),
        (action_dict(Action(VOTE, 2, 20, 1)), "$.budgets.max_minutes_bin", "20", ["15", "120", "NA"]),
        (action_dict(Action(VOTE, 2, 30, None)), "$.budgets.max_iterations_bin", "null", ["integer", "NA"]),
        ({"swarm_id": VOTE}, "$", None, ["budgets"]),
        ({"swarm_id": VOTE, "budgets": None}, "$.budgets", None, []),
    ],
)
def test_label_that_is_no_action(label, path, found, choices):
    with pytest.raises(DataError) as caught:
        ActionEncoder().encode_label(label)
    assert caught.value.path.startswith(path)
    assert found is None or found in caught.value.found
    for choice in choices:
        assert choice in caught.value.expected


def test_label_with_a_numeric_string():
    # an integer that arrives as a numeric string is accepted in every JSON of section 2
    assert tuple(ActionEncoder().encode_label(action_dict(Action(VOTE, "2", "30", "1")))) == (1, 1, 1, 0)


# ------------------------------------------------------------------------------------ masks


def head_masks(job_type, space=None):
    return {name: mask.tolist() for name, mask in ValidityMaskBuilder(space).build_mask(job_type).items()}


T, F = True, False


@pytest.mark.parametrize(
    ("job_type", "candidates", "iterations"),
    [
        ("code", [T, T, T, T], [F, F, F, F, T]),
        ("fab-world", [T, T, T, F], [T, T, T, T, T]),
        ("fab-asset", [T, T, T, T], [T, T, T, T, T]),
        ("research", [T, T, T, T], [T, T, T, T, T]),
    ],
)
def test_head_masks(job_type, candidates, iterations):
    assert head_masks(job_type) == {
        "swarm": [T, T],
        "candidates": candidates,
        "minutes": [T] * 6,
        "iterations": iterations,
    }


def test_head_masks_of_serial_alone():
    masks = head_masks("code", action_space_for_swarms([SERIAL]))
    assert masks == {"swarm": [T], "candidates": [T, F, F, F], "minutes": [T] * 6, "iterations": [F, F, F, F, T]}


def test_mask_types_and_shapes():
    builder = ValidityMaskBuilder(ActionSpace())
    assert {name: (m.shape, m.dtype) for name, m in builder.build_mask("code").items()} == {
        "swarm": ((2,), bool),
        "candidates": ((4,), bool),
        "minutes": ((6,), bool),
        "iterations": ((5,), bool),
    }
    joint = builder.build_joint_mask("code")
    assert (joint.shape, joint.dtype) == ((2, 4, 6, 5), bool)


def test_joint_masks_by_hand():
    builder = ValidityMaskBuilder(ActionSpace())
    serial = np.zeros((4, 6, 5), bool)
    serial[0] = True
    expected = np.stack([serial, np.ones((4, 6, 5), bool)])
    np.testing.assert_array_equal(builder.build_joint_mask("fab-asset"), expected)
    world = expected.copy()
    world[:, 3] = False
    np.testing.assert_array_equal(builder.build_joint_mask("fab-world"), world)
    code = expected.copy()
    code[..., :4] = False
    np.testing.assert_array_equal(builder.build_joint_mask("code"), code)


def test_caller_may_write_into_a_mask():
    builder = ValidityMaskBuilder(ActionSpace())
    builder.build_mask("code")["minutes"][:] = False
    builder.build_joint_mask("code")[:] = False
    assert builder.build_mask("code")["minutes"].all()
    assert builder.build_joint_mask("code").sum() == 30


def test_masks_over_the_150_classes():
    masks = ActionSpace().joint_masks
    assert masks.shape == (4, 150)
    assert masks.sum(axis=1).tolist() == [30, 120, 150, 150]  # code, fab-world, fab-asset, other
    assert np.flatnonzero(masks[0])[:3].tolist() == [4, 9, 14]  # every fifth class has NA iterations
    assert np.flatnonzero(~masks[1]).tolist() == list(range(120, 150))


def test_job_types_of_the_graph():
    assert JOB_TYPES == ("code", "fab-world", "fab-asset", "other")
    names = ["code", "fab-world", "fab-asset", "other", "research", "", "Code"]
    assert [job_type_index(name) for name in names] == [0, 1, 2, 3, 3, 3, 3]


# ------------------------------------------------------------------------------------ tables of the joint classes


def test_head_index_by_hand():
    index = ActionSpace().head_index
    assert index.shape == (150, 4)
    assert index[[0, 4, 5, 30, 75, 149]].tolist() == [
        [0, 0, 0, 0],
        [0, 0, 0, 4],
        [0, 0, 1, 0],
        [1, 0, 0, 0],
        [1, 1, 3, 0],  # speculate_vote, 2, 60, 1
        [1, 3, 5, 4],
    ]


def test_incidence_by_hand():
    incidence = ActionSpace().incidence
    assert (incidence.shape, incidence.dtype) == ((17, 150), np.float32)
    # rows: 2 swarms at 0, 4 candidates at 2, 6 minutes at 6, 5 iterations at 12
    assert np.flatnonzero(incidence[:, 0]).tolist() == [0, 2, 6, 12]
    assert np.flatnonzero(incidence[:, 75]).tolist() == [1, 3, 9, 12]
    assert np.flatnonzero(incidence[:, 149]).tolist() == [1, 5, 11, 16]
    assert incidence.sum(axis=0).tolist() == [4] * 150
    # one candidate is in every serial and in a quarter of the speculative actions
    assert incidence.sum(axis=1).tolist() == [30, 120, 60, 30, 30, 30, *[25] * 6, *[30] * 5]


# ------------------------------------------------------------------------------------ other swarms


@pytest.mark.parametrize(
    ("swarms", "count"),
    [([SERIAL], 30), ([VOTE], 120), (["tournament"], 120), ([SERIAL, VOTE, "tournament"], 270)],
)
def test_space_for_swarms(swarms, count):
    space = action_space_for_swarms(swarms)
    assert space.swarm_ids == tuple(swarms)
    assert space.head_sizes == (len(swarms), 4, 6, 5)
    assert len(space.actions) == count


def test_space_for_swarms_drops_repetitions_and_empty_names():
    assert action_space_for_swarms(iter([VOTE, "", SERIAL, VOTE])).swarm_ids == (VOTE, SERIAL)
    assert action_space_for_swarms([SERIAL, VOTE]) == ActionSpace()
