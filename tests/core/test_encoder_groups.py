"""The groups of issue, action space, universe defaults and system state: the numbers of ``encoder_positions``."""

from __future__ import annotations

import pytest
from encoder_positions import MINIMAL, on, with_group

# ---------------------------------------------------------------------------------------------------- issue block

ISSUE_CASES = [
    *[("dk_priority", f"P{n}", 0, 3, {n}) for n in range(4)],
    ("dk_risk", "low", 4, 7, {4}),
    ("dk_risk", "medium", 4, 7, {5}),
    ("dk_risk", "high", 4, 7, {6}),
    ("dk_risk", "critical", 4, 7, {7}),
    ("dk_size", "XS", 8, 12, {8}),
    ("dk_size", "S", 8, 12, {9}),
    ("dk_size", "M", 8, 12, {10}),
    ("dk_size", "L", 8, 12, {11}),
    ("dk_size", "XL", 8, 12, {12}),
    ("dk_attempts", 0, 13, 16, {13}),
    ("dk_attempts", 1, 13, 16, {14}),
    ("dk_attempts", 2, 13, 16, {15}),
    ("dk_attempts", 3, 13, 16, {16}),
    ("dk_attempts", 7, 13, 16, {16}),
    ("dk_attempts", "2", 13, 16, {15}),  # a tracker that writes numbers as strings
    # tool hint: ten bits at 17..26, the high one first, then the null flag at 27
    ("dk_tool_hint", None, 17, 27, {27}),
    ("dk_tool_hint", "codex", 17, 27, {19, 20, 21, 22, 24}),  # 244 = 0011110100
    ("dk_tool_hint", "claude", 17, 27, {19, 22, 23, 24, 26}),  # 157 = 0010011101
    ("dk_tool_hint", "größe", 17, 27, {17, 20, 21, 24, 25, 26}),  # 615 = 1001100111
    ("dk_tool_hint", "tag-590", 17, 27, {17}),  # 512: the high bit alone
    ("dk_tool_hint", "tag-919", 17, 27, {26}),  # 1: the low bit alone
    ("dk_tool_hint", "tag-957", 17, 27, set(range(17, 27))),  # 1023
    ("dk_tool_hint", "tag-1545", 17, 27, set()),  # 0: a name, so no null flag either
    # tags: 28 + bucket in 1024
    ("tags", [], 28, 1051, set()),
    ("tags", ["bug"], 28, 1051, {850}),
    ("tags", ["größe"], 28, 1051, {643}),
    ("tags", ["bug", "docs"], 28, 1051, {850, 862}),
    ("tags", ["bug", "bug"], 28, 1051, {850}),
    ("tags", ["tag-1545"], 28, 1051, {28}),  # bucket 0, the first
    ("tags", ["tag-957"], 28, 1051, {1051}),  # bucket 1023, the last
    ("tags", ["tag-17", "tag-56"], 28, 1051, {356}),  # both in bucket 328
]


@pytest.mark.parametrize(("field", "value", "first", "last", "positions"), ISSUE_CASES)
def test_issue_group(make_input, field, value, first, last, positions):
    assert on(make_input(issue={field: value})) == with_group(MINIMAL, first, last, positions)


def test_only_the_first_eight_tags_count(make_input):
    tags = ["bug", "docs", "backend", "ui", "api", "perf", "infra", "auth", "db"]
    # buckets 822, 834, 577, 485, 670, 887, 593, 60; db (465) is the ninth
    expected = {850, 862, 605, 513, 698, 915, 621, 88}
    assert on(make_input(issue={"tags": tags})) == MINIMAL | expected
    assert 493 in on(make_input(issue={"tags": tags[::-1]}))


def test_repeated_tags_still_use_up_the_first_eight(make_input):
    assert on(make_input(issue={"tags": ["bug"] * 8 + ["docs"]})) == MINIMAL | {850}


def test_fields_of_the_kernel_rules_are_no_features(make_input):
    assert on(make_input(issue={"dk_speculate": True, "on_critical_path": True})) == MINIMAL


@pytest.mark.parametrize("job_type", ["code", "fab-world", "fab-asset", "research"])
def test_job_type_of_the_request_is_no_feature(make_input, job_type):
    assert on(make_input(job_type=job_type)) == MINIMAL


# ---------------------------------------------------------------------------------------------------- action space


def space(swarms, candidates, minutes, iterations):
    return {
        "swarm_ids": swarms,
        "max_candidates_bins": candidates,
        "max_minutes_bins": minutes,
        "max_iterations_bins": iterations,
        "validity_rules": [],
    }


SPACE_CASES = [
    (space([], [], [], []), set()),
    (space(["serial_handoff"], [], [], []), {3708}),
    (space(["speculate_vote"], [], [], []), {3709}),
    (space(["tournament"], [], [], []), set()),
    (space([], [1], [], []), {3716}),
    (space([], [2], [], []), {3717}),
    (space([], [3], [], []), {3718}),
    (space([], ["NA"], [], []), {3719}),
    (space([], [4], [], []), set()),
    (space([], [], [15], []), {3724}),
    (space([], [], [30], []), {3725}),
    (space([], [], [45], []), {3726}),
    (space([], [], [60], []), {3727}),
    (space([], [], [120], []), {3728}),
    (space([], [], ["NA"], []), {3729}),
    (space([], [], [90], []), set()),
    (space([], [], [], [1]), {3732}),
    (space([], [], [], [2]), {3733}),
    (space([], [], [], [3]), {3734}),
    (space([], [], [], [5]), {3735}),
    (space([], [], [], ["NA"]), {3736}),
    (space([], [], [], [4]), set()),
    # the position is that of the default list, so the request's own order changes nothing
    (
        space(["speculate_vote", "serial_handoff"], ["NA", 3, 1], ["NA", 120, 15], ["NA", 5, 1]),
        {3708, 3709, 3716, 3718, 3719, 3724, 3728, 3729, 3732, 3735, 3736},
    ),
    (space(["serial_handoff"], ["1"], ["15"], ["5"]), {3708, 3716, 3724, 3735}),  # numeric strings
]


@pytest.mark.parametrize(("request_space", "positions"), SPACE_CASES)
def test_action_space_presence(make_input, request_space, positions):
    assert on(make_input(action_space=request_space)) == with_group(MINIMAL, 3708, 3739, positions)


# ---------------------------------------------------------------------------------------------------- universe

UNIVERSE_CASES = [
    ({}, {3742, 3753}),
    ({"swarm_id": None, "objective_id": None}, {3742, 3753}),
    ({"swarm_id": "serial_handoff"}, {3740, 3753}),
    ({"swarm_id": "speculate_vote"}, {3741, 3753}),
    ({"swarm_id": "tournament"}, {3753}),
    # objective: ten bits at 3743..3752, the null flag at 3753
    ({"objective_id": "realism"}, {3742, 3743, 3745, 3746, 3748, 3750, 3751, 3752}),  # 727 = 1011010111
    ({"objective_id": "tag-590"}, {3742, 3743}),  # 512
    ({"objective_id": "tag-919"}, {3742, 3752}),  # 1
    ({"objective_id": "tag-1545"}, {3742}),  # 0
]


@pytest.mark.parametrize(("defaults", "positions"), UNIVERSE_CASES)
def test_universe_defaults(make_input, defaults, positions):
    assert on(make_input(universe_defaults=defaults)) == with_group(MINIMAL, 3740, 3753, positions)


# ---------------------------------------------------------------------------------------------------- system state

ALL_NULL = {3758, 3763, 3768, 3773, 3778}
NULL_FIELDS = (
    *("active_workcells_bin", "queue_depth_bin", "hour_bucket", "budget_remaining_bin"),
    *("available_toolchains", "toolchain_health"),
)

STATE_CASES = [
    *[("active_workcells_bin", v, 3754, 3758, {3754}) for v in ("0", 0)],
    *[("active_workcells_bin", v, 3754, 3758, {3755}) for v in ("1-2", 1, 2)],
    *[("active_workcells_bin", v, 3754, 3758, {3756}) for v in ("3-5", 3, 5)],
    *[("active_workcells_bin", v, 3754, 3758, {3757}) for v in ("6+", 6, 4000)],
    ("active_workcells_bin", None, 3754, 3758, {3758}),
    ("active_workcells_bin", "1-5", 3754, 3758, set()),  # the queue's label, none of its own
    *[("queue_depth_bin", v, 3759, 3763, {3759}) for v in ("0", 0)],
    *[("queue_depth_bin", v, 3759, 3763, {3760}) for v in ("1-5", 1, 5)],
    *[("queue_depth_bin", v, 3759, 3763, {3761}) for v in ("6-20", 6, 20)],
    *[("queue_depth_bin", v, 3759, 3763, {3762}) for v in ("20+", 21, 4000)],
    ("queue_depth_bin", None, 3759, 3763, {3763}),
    ("queue_depth_bin", "long", 3759, 3763, set()),
    ("hour_bucket", "night", 3764, 3768, {3764}),
    ("hour_bucket", "morning", 3764, 3768, {3765}),
    ("hour_bucket", "afternoon", 3764, 3768, {3766}),
    ("hour_bucket", "evening", 3764, 3768, {3767}),
    ("hour_bucket", None, 3764, 3768, {3768}),
    ("hour_bucket", "noon", 3764, 3768, set()),
    ("budget_remaining_bin", "low", 3769, 3773, {3769}),
    ("budget_remaining_bin", "medium", 3769, 3773, {3770}),
    ("budget_remaining_bin", "high", 3769, 3773, {3771}),
    ("budget_remaining_bin", "unlimited", 3769, 3773, {3772}),
    ("budget_remaining_bin", None, 3769, 3773, {3773}),
    ("budget_remaining_bin", "broke", 3769, 3773, set()),
    ("available_toolchains", None, 3774, 3777, set()),
    ("available_toolchains", [], 3774, 3777, set()),
    ("available_toolchains", ["codex"], 3774, 3777, {3774}),
    ("available_toolchains", ["claude"], 3774, 3777, {3775}),
    ("available_toolchains", ["crush"], 3774, 3777, {3776}),
    ("available_toolchains", ["opencode"], 3774, 3777, {3777}),
    ("available_toolchains", ["opencode", "codex", "vim", "codex"], 3774, 3777, {3774, 3777}),
]


@pytest.mark.parametrize(("field", "value", "first", "last", "positions"), STATE_CASES)
def test_system_state_group(make_input, field, value, first, last, positions):
    found = on(make_input(system_state={field: value}))
    assert found == with_group(MINIMAL | ALL_NULL, first, last, positions)


@pytest.mark.parametrize(
    ("field", "text", "position"), [("active_workcells_bin", "4", 3756), ("queue_depth_bin", "7", 3761)]
)
def test_a_count_in_a_string_falls_into_its_bin_too(make_input, field, text, position):
    # an integer may arrive as a numeric string wherever an integer may arrive
    assert position in on(make_input(system_state={field: text}))


@pytest.mark.parametrize("state", [{}, dict.fromkeys(NULL_FIELDS)])
def test_state_of_nulls_is_present_and_null(make_input, state):
    assert on(make_input(system_state=state)) == MINIMAL | ALL_NULL


def test_no_system_state_is_a_block_of_zeros(make_input):
    document = make_input()
    assert on(document) == MINIMAL
    del document["system_state"]
    assert on(document) == MINIMAL


def test_kernel_extras_of_the_state_are_no_features(make_input):
    state = {"action_rate": 0.4, "force_speculate": True, "toolchain_health": {"codex": "down"}, "region": "eu"}
    assert on(make_input(system_state=state)) == MINIMAL | ALL_NULL
