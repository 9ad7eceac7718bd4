"""Every position of SPEC section 4, as absolute numbers worked out from its table, never from the code.

Layout used below: issue 0, history 1052 (slots of 332), action space 3708, universe defaults 3740, system state
3754, end 3779. Inside a slot: job type 0, domain 3, swarm 6, candidates 9, minutes 13, iterations 19, status 24,
fail codes 27, gates 283, duration 315, cost 321, recency 327, filled 331.
Buckets come from `printf %s NAME | sha256sum`.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner_core.encoder import EncoderConfig, PlannerInputEncoder, bucket
from planner_core.errors import DataError

# P0, low, XS, 0 attempts, no hint | all 2+4+6+5 entries of the default action space | no default swarm, no objective
ISSUE = {0, 4, 8, 13, 27}
ACTION_SPACE = {3708, 3709, 3716, 3717, 3718, 3719, *range(3724, 3730), *range(3732, 3737)}
UNIVERSE = {3742, 3753}
MINIMAL = ISSUE | ACTION_SPACE | UNIVERSE

# One run in slot 0: job type code, domain code, swarm null, NA, NA, NA, success, <1 minute, cost null, <1 day, filled
RUN = {1052, 1055, 1060, 1064, 1070, 1075, 1076, 1367, 1378, 1379, 1383}

NOW_MS = 1_740_830_400_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000


def on(document, config=None):
    return set(PlannerInputEncoder(config).encode_indices(document).tolist())


def with_group(before, first, last, positions):
    """`before` with what stands in first..last replaced: proof that the other features did not move."""
    assert positions <= set(range(first, last + 1))
    return {i for i in before if not first <= i <= last} | positions


# ---------------------------------------------------------------------------------------------------- whole vector


def test_minimal_input_is_exactly_the_hand_written_set(make_input):
    assert on(make_input()) == MINIMAL


def test_minimal_run_is_exactly_the_hand_written_set(make_input, make_run):
    assert on(make_input(runs=[make_run()])) == MINIMAL | RUN


BLOCKS = ("issue", "history", "action_space", "universe_defaults", "system_state")


def test_default_layout_is_the_table():
    config = EncoderConfig()
    assert config.d_in == 3779
    assert {name: config.group(name) for name in BLOCKS} == {
        "issue": range(0, 1052),
        "history": range(1052, 3708),
        "action_space": range(3708, 3740),
        "universe_defaults": range(3740, 3754),
        "system_state": range(3754, 3779),
    }
    assert config.group("run", slot=1) == range(1052 + 332, 1052 + 2 * 332)


def test_groups_have_names():
    encoder = PlannerInputEncoder()
    assert encoder.group("risk") == range(4, 8)
    assert encoder.group("tags") == range(28, 1052)
    assert encoder.group("status", slot=0) == range(1052 + 24, 1052 + 27)
    assert encoder.group("filled", slot=7) == range(3707, 3708)
    assert encoder.group("present") == range(3778, 3779)
    with pytest.raises(KeyError):
        encoder.group("status")  # a group of a slot, and no slot named
    with pytest.raises(IndexError, match="no history slot 8; the encoder has 8"):
        encoder.group("status", slot=8)


def test_groups_tile_the_vector():
    """Every feature belongs to exactly one block, and every position of a block to exactly one group."""
    config = EncoderConfig(history_slots=2, tag_buckets=7, fail_code_buckets=5)
    inside = ("priority", "risk", "size", "attempts", "tool_hint", "tags")
    offered = ("offered_swarms", "offered_candidates", "offered_minutes", "offered_iterations")
    system = ("workcells", "queue", "hour", "budget", "toolchains", "present")
    run = ("job_type", "domain", "swarm", "candidates", "minutes", "iterations", "status", "fail_codes", "gates")
    run += ("duration", "cost", "recency", "filled")
    groups = [config.group(name) for name in (*inside, *offered, "default_swarm", "objective", *system)]
    groups += [config.group(name, slot) for name in run for slot in (0, 1)]
    assert sorted(i for group in groups for i in group) == list(range(config.d_in))
    assert [i for name in BLOCKS for i in config.group(name)] == list(range(config.d_in))


@pytest.mark.parametrize(
    ("slots", "d_in", "action_space"),
    [
        (0, 1123, 1052),  # 1052 + 0 x 332 + 32 + 14 + 25
        (1, 1455, 1384),
        (4, 2451, 2380),
        (8, 3779, 3708),
        (16, 6435, 6364),
    ],
)
def test_history_slots_move_what_comes_after(make_input, make_run, slots, d_in, action_space):
    config = EncoderConfig(history_slots=slots)
    document = make_input(runs=[make_run()] * 20)
    assert config.d_in == d_in
    assert PlannerInputEncoder(config).encode(document).shape == (d_in,)
    expected = set(ISSUE) | {i - 3708 + action_space for i in ACTION_SPACE | UNIVERSE}
    for slot in range(slots):
        expected |= {i + slot * 332 for i in RUN}
    assert on(document, config) == expected


def test_bucket_counts_are_configuration(make_input, make_run):
    config = EncoderConfig(tag_buckets=512, fail_code_buckets=128)
    # issue 28 + 512 = 540, slot 76 + 128 = 204, action space at 540 + 8 x 204 = 2172, then 32, 14 and 25
    assert (config.group("tags").stop, config.d_run, config.group("action_space").start) == (540, 204, 2172)
    assert config.d_in == 2243
    document = make_input(issue={"tags": ["bug"]}, runs=[make_run(outcome={"fail_codes": ["tests_failed"]})])
    found = on(document, config)
    assert {i for i in found if 28 <= i < 540} == {338}  # 28 + 0xecb53f36 % 512 = 310
    assert {i for i in found if 567 <= i < 695} == {691}  # 540 + 27 + 0xdfcada7c % 128 = 124
    assert {i for i in found if 540 <= i < 567} == {i - 512 for i in RUN if i < 1079}
    # the rest of the slot stands 512 tags and 128 fail codes earlier
    assert {i for i in found if 695 <= i < 744} == {i - 640 for i in RUN if i > 1334}


@pytest.mark.parametrize("bad", [{"history_slots": -1}, {"tag_buckets": 0}, {"fail_code_buckets": 0}])
def test_impossible_configuration_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        EncoderConfig(**bad)


@pytest.mark.parametrize(
    ("text", "number", "buckets", "expected"),
    [
        ("claude", 0xC857D09D, 1024, 157),
        ("tests_failed", 0xDFCADA7C, 256, 124),
        ("größe", 0xD353A267, 1024, 615),  # the UTF-8 bytes are hashed
    ],
)
def test_bucket_is_the_first_eight_hex_digits(text, number, buckets, expected):
    assert number % buckets == expected
    assert bucket(text, buckets) == expected


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


# ---------------------------------------------------------------------------------------------------- history slots

RUN_CASES = [
    ({"job_type": "code"}, 1052, 1054, {1052}),
    ({"job_type": "fab-world"}, 1052, 1054, {1053}),
    ({"job_type": "fab-asset"}, 1052, 1054, {1054}),
    ({"job_type": "research"}, 1052, 1054, set()),  # outside the closed set: no bit
    ({"job_type": "fab_world"}, 1052, 1054, set()),  # the domain's spelling is not the job type's
    ({"domain": "code"}, 1055, 1057, {1055}),
    ({"domain": "fab_world"}, 1055, 1057, {1056}),
    ({"domain": "fab_asset"}, 1055, 1057, {1057}),
    ({"action": {"swarm_id": "serial_handoff"}}, 1058, 1060, {1058}),
    ({"action": {"swarm_id": "speculate_vote"}}, 1058, 1060, {1059}),
    ({"action": {"swarm_id": None}}, 1058, 1060, {1060}),
    ({"action": {"swarm_id": "tournament"}}, 1058, 1060, set()),  # unknown is not null
    *[({"action": {"max_candidates": n}}, 1061, 1064, {at}) for n, at in [(1, 1061), (2, 1062), (3, 1063)]],
    ({"action": {"max_candidates": None}}, 1061, 1064, {1064}),
    ({"action": {"max_candidates": 0}}, 1061, 1064, {1061}),
    ({"action": {"max_candidates": 9}}, 1061, 1064, {1063}),  # nearest number, never NA
    *[
        ({"action": {"max_minutes": n}}, 1065, 1070, {at})
        for n, at in [(15, 1065), (30, 1066), (45, 1067), (60, 1068), (120, 1069)]
    ],
    ({"action": {"max_minutes": None}}, 1065, 1070, {1070}),
    ({"action": {"max_minutes": 22}}, 1065, 1070, {1065}),
    ({"action": {"max_minutes": 23}}, 1065, 1070, {1066}),
    ({"action": {"max_minutes": 90}}, 1065, 1070, {1068}),  # as far from 60 as from 120: the lower
    ({"action": {"max_minutes": 91}}, 1065, 1070, {1069}),
    ({"action": {"max_minutes": 100_000}}, 1065, 1070, {1069}),
    *[({"action": {"max_iterations": n}}, 1071, 1075, {at}) for n, at in [(1, 1071), (2, 1072), (3, 1073), (5, 1074)]],
    ({"action": {"max_iterations": None}}, 1071, 1075, {1075}),
    ({"action": {"max_iterations": 4}}, 1071, 1075, {1073}),  # as far from 3 as from 5: the lower
    ({"action": {"max_iterations": 6}}, 1071, 1075, {1074}),
    ({"outcome": {"status": "success"}}, 1076, 1078, {1076}),
    ({"outcome": {"status": "failed"}}, 1076, 1078, {1077}),
    ({"outcome": {"status": "timeout"}}, 1076, 1078, {1078}),
    # fail codes: 1079 + bucket in 256
    ({"outcome": {"fail_codes": ["tests_failed"]}}, 1079, 1334, {1203}),  # 124
    ({"outcome": {"fail_codes": ["tests_failed", "oom"]}}, 1079, 1334, {1203, 1298}),  # 124, 219
    ({"outcome": {"fail_codes": ["E102"]}}, 1079, 1334, {1079}),  # bucket 0, the first
    ({"outcome": {"fail_codes": ["E475"]}}, 1079, 1334, {1334}),  # bucket 255, the last
    ({"outcome": {"fail_codes": ["E3", "E12"]}}, 1079, 1334, {1249}),  # both in bucket 170
    (
        # five count: 124, 144, 152, 219, 235; timeout (181) and lint_error (172) do not
        {
            "outcome": {
                "fail_codes": [
                    *("tests_failed", "build_failed", "merge_conflict", "oom", "flaky", "timeout", "lint_error")
                ]
            }
        },
        1079,
        1334,
        {1203, 1223, 1231, 1298, 1314},
    ),
    # duration: each edge belongs to the longer bin
    ({"duration_ms": 0}, 1367, 1372, {1367}),
    ({"duration_ms": MINUTE_MS - 1}, 1367, 1372, {1367}),
    ({"duration_ms": MINUTE_MS}, 1367, 1372, {1368}),
    ({"duration_ms": 5 * MINUTE_MS - 1}, 1367, 1372, {1368}),
    ({"duration_ms": 5 * MINUTE_MS}, 1367, 1372, {1369}),
    ({"duration_ms": 15 * MINUTE_MS - 1}, 1367, 1372, {1369}),
    ({"duration_ms": 15 * MINUTE_MS}, 1367, 1372, {1370}),
    ({"duration_ms": 30 * MINUTE_MS - 1}, 1367, 1372, {1370}),
    ({"duration_ms": 30 * MINUTE_MS}, 1367, 1372, {1371}),
    ({"duration_ms": 60 * MINUTE_MS - 1}, 1367, 1372, {1371}),
    ({"duration_ms": 60 * MINUTE_MS}, 1367, 1372, {1372}),
    # cost: likewise
    ({"cost_usd_est": 0}, 1373, 1378, {1373}),
    ({"cost_usd_est": 0.0099}, 1373, 1378, {1373}),
    ({"cost_usd_est": 0.01}, 1373, 1378, {1374}),
    ({"cost_usd_est": 0.0999}, 1373, 1378, {1374}),
    ({"cost_usd_est": 0.1}, 1373, 1378, {1375}),
    ({"cost_usd_est": 0.999}, 1373, 1378, {1375}),
    ({"cost_usd_est": 1}, 1373, 1378, {1376}),
    ({"cost_usd_est": 9.99}, 1373, 1378, {1376}),
    ({"cost_usd_est": 10}, 1373, 1378, {1377}),
    ({"cost_usd_est": None}, 1373, 1378, {1378}),
    # recency: full days before created_at
    ({"started_ms": NOW_MS - DAY_MS + 1}, 1379, 1382, {1379}),
    ({"started_ms": NOW_MS - DAY_MS}, 1379, 1382, {1380}),
    ({"started_ms": NOW_MS - 7 * DAY_MS + 1}, 1379, 1382, {1380}),
    ({"started_ms": NOW_MS - 7 * DAY_MS}, 1379, 1382, {1381}),
    ({"started_ms": NOW_MS - 30 * DAY_MS + 1}, 1379, 1382, {1381}),
    ({"started_ms": NOW_MS - 30 * DAY_MS}, 1379, 1382, {1382}),
    ({"started_ms": 0}, 1379, 1382, {1382}),
    ({"started_ms": NOW_MS + 1000}, 1379, 1382, {1379}),  # a clock a second ahead is still "less than a day"
]


@pytest.mark.parametrize(("changes", "first", "last", "positions"), RUN_CASES)
def test_run_group(make_input, make_run, changes, first, last, positions):
    assert on(make_input(runs=[make_run(**changes)])) == with_group(MINIMAL | RUN, first, last, positions)


def test_sixth_fail_code_counts_when_it_comes_earlier(make_input, make_run):
    run = make_run(outcome={"fail_codes": ["timeout", "lint_error"]})
    assert on(make_input(runs=[run])) == MINIMAL | RUN | {1260, 1251}  # 1079 + 181, 1079 + 172


GATES = [
    ("test", 1335, 1336),
    ("typecheck", 1337, 1338),
    ("lint", 1339, 1340),
    ("build", 1341, 1342),
    ("format", 1343, 1344),
    ("security", 1345, 1346),
    ("coverage", 1347, 1348),
    ("review", 1349, 1350),
    ("e2e", 1351, 1352),
    ("integration", 1353, 1354),
    ("performance", 1355, 1356),
    ("docs", 1357, 1358),
    ("fab-realism", 1359, 1360),
    ("godot", 1361, 1362),
    ("asset-only", 1363, 1364),
    ("godot-config", 1365, 1366),
]


@pytest.mark.parametrize(("name", "present", "passed"), GATES)
def test_gate_is_present_and_passed(make_input, make_run, name, present, passed):
    def gates(verdict):
        return on(make_input(runs=[make_run(outcome={"gates": [{"name": name, "passed": verdict}]})]))

    assert gates(True) == MINIMAL | RUN | {present, passed}
    assert gates(False) == MINIMAL | RUN | {present}


GATE_NAME_CASES = [
    ([("test:unit", True)], {1335, 1336}),
    ([("godot:import:strict", True)], {1361, 1362}),
    ([("godot-config:x", False)], {1365}),
    ([("fab-realism:", True)], {1359, 1360}),
    ([("vibes", True)], set()),
    ([("unit:test", True)], set()),  # only what comes before the colon is looked at
    ([("Test", True)], set()),
    ([("tests", True)], set()),
    ([("", True)], set()),
    ([("lint", True), ("vibes", False), ("test", False)], {1339, 1340, 1335}),
    # SPEC is silent on one name given twice; a gate of which a part failed has not passed, in either order
    ([("test:unit", True), ("test:api", False)], {1335}),
    ([("test:unit", False), ("test:api", True)], {1335}),
    ([("test:unit", True), ("test:api", True)], {1335, 1336}),
]


@pytest.mark.parametrize(("gates", "positions"), GATE_NAME_CASES)
def test_gate_names(make_input, make_run, gates, positions):
    listed = [{"name": name, "passed": passed} for name, passed in gates]
    assert on(make_input(runs=[make_run(outcome={"gates": listed})])) == MINIMAL | RUN | positions


def test_slots_follow_the_order_of_the_runs(make_input, make_run):
    runs = [
        make_run(),
        make_run(job_type="fab-world", domain="fab_world"),
        make_run(
            job_type="fab-asset",
            domain="fab_asset",
            action={"swarm_id": "speculate_vote", "max_candidates": 2, "max_minutes": 45, "max_iterations": 5},
            outcome={"status": "timeout", "fail_codes": ["oom"], "gates": [{"name": "lint", "passed": True}]},
            duration_ms=20 * MINUTE_MS,
            cost_usd_est=2.5,
            started_ms=NOW_MS - 8 * DAY_MS,
        ),
    ]
    second = {1385, 1388, 1392, 1396, 1402, 1407, 1408, 1699, 1710, 1711, 1715}  # slot at 1384
    third = {
        *(1718, 1721, 1723),  # fab-asset, fab_asset, speculate_vote of the slot at 1716
        *(1726, 1731, 1738),  # 2 candidates 1725+1, 45 minutes 1729+2, 5 iterations 1735+3
        *(1742, 1962),  # timeout, oom 1743 + 219
        *(2003, 2004),  # lint present and passed, 1999 + 4
        *(2034, 2040, 2045, 2047),  # 15-30 minutes, <10 USD, <30 days, filled
    }
    assert on(make_input(runs=runs)) == MINIMAL | RUN | second | third


def test_ninth_run_is_left_out(make_input, make_run):
    runs = [make_run() for _ in range(8)] + [make_run(outcome={"fail_codes": ["oom"]})]
    expected = {i + slot * 332 for i in RUN for slot in range(8)}
    assert max(expected) == 3707
    assert on(make_input(runs=runs)) == MINIMAL | expected


def test_empty_slots_are_zero(make_input, make_run):
    dense = PlannerInputEncoder().encode(make_input(runs=[make_run(), make_run()]))
    assert dense[1384:1716].sum() == 11
    assert dense[1716:3708].sum() == 0


@pytest.mark.parametrize("created_at", ["2025-03-01T13:30:00+01:30", "2025-03-01T04:00:00.000-08:00"])
def test_recency_reads_the_offset_of_created_at(make_input, make_run, created_at):
    edge = make_run(started_ms=NOW_MS - DAY_MS)
    inside = make_run(started_ms=NOW_MS - DAY_MS + 1)
    assert {1380, 1711} <= on(make_input(runs=[edge, inside], created_at=created_at))


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


# ---------------------------------------------------------------------------------------------------- output forms


def test_output_types(make_input):
    encoder = PlannerInputEncoder()
    dense = encoder.encode(make_input())
    assert (dense.dtype, dense.shape) == (np.float32, (3779,))
    indices = encoder.encode_indices(make_input())
    assert (indices.dtype, indices.shape) == (np.int32, (24,))


def test_all_forms_agree(make_input, make_run):
    encoder = PlannerInputEncoder()
    documents = [make_input(), make_input(runs=[make_run()] * 3, system_state={}), make_input(issue={"tags": ["bug"]})]
    expected = np.zeros((3, 3779), np.float32)
    for row, document in zip(expected, documents, strict=True):
        row[list(on(document))] = 1
    np.testing.assert_array_equal(np.stack([encoder.encode(d) for d in documents]), expected)
    np.testing.assert_array_equal(encoder.encode_batch(documents), expected)
    flat, starts = encoder.encode_indices_batch(documents)
    assert starts.tolist() == [0, 24, 24 + 24 + 33 + 5, 24 + 24 + 33 + 5 + 25]
    for i, document in enumerate(documents):
        assert flat[starts[i] : starts[i + 1]].tolist() == sorted(on(document))


def test_batch_of_nothing():
    encoder = PlannerInputEncoder()
    assert encoder.encode_batch([]).shape == (0, 3779)
    flat, starts = encoder.encode_indices_batch([])
    assert (flat.tolist(), starts.tolist()) == ([], [0])


def test_dict_is_checked_before_it_is_encoded(make_input):
    with pytest.raises(DataError, match=r"\$\.issue\.dk_risk"):
        PlannerInputEncoder().encode(make_input(issue={"dk_risk": "severe"}))


def test_text_that_is_no_utf8_is_a_data_error(make_input):
    # json.loads turns "\ud800" into a lone surrogate, which has no UTF-8 bytes to hash
    with pytest.raises(DataError):
        PlannerInputEncoder().encode(make_input(issue={"tags": ["\ud800"]}))


# ---------------------------------------------------------------------------------------------------- any valid input

names = st.one_of(
    st.sampled_from(["serial_handoff", "speculate_vote", "code", "fab-world", "test", "lint:x", "6+", "night"]),
    st.text(max_size=12),
)
maybe_count = st.none() | st.integers(0, 500)


def bins(*values):
    return st.lists(st.sampled_from([*values, "NA", 7]), max_size=7)


runs = st.fixed_dictionaries(
    {
        "run_id": names,
        "started_ms": st.integers(0, 2 * NOW_MS),
        "job_type": names,
        "domain": st.sampled_from(["code", "fab_world", "fab_asset"]),
        "action_executed": st.fixed_dictionaries(
            {},
            optional={
                "swarm_id": st.none() | names,
                "max_candidates": maybe_count,
                "max_minutes": maybe_count,
                "max_iterations": maybe_count,
            },
        ),
        "outcome": st.fixed_dictionaries(
            {
                "status": st.sampled_from(["success", "failed", "timeout"]),
                "fail_codes": st.lists(names, max_size=7),
                "gates": st.lists(st.fixed_dictionaries({"name": names, "passed": st.booleans()}), max_size=6),
            }
        ),
        "runtime": st.fixed_dictionaries({"duration_ms": st.integers(0, 10**8)}),
    },
    optional={"cost_usd_est": st.none() | st.floats(0, 100)},
)
inputs = st.fixed_dictionaries(
    {
        "schema_version": st.just("cyntra.planner_input.v1"),
        "created_at": st.datetimes().map(lambda t: t.isoformat(timespec="seconds") + "Z"),
        "universe_id": names,
        "job_type": names,
        "universe_defaults": st.fixed_dictionaries(
            {}, optional={"swarm_id": st.none() | names, "objective_id": st.none() | names}
        ),
        "issue": st.fixed_dictionaries(
            {
                "issue_id": names,
                "dk_priority": st.sampled_from(["P0", "P1", "P2", "P3"]),
                "dk_risk": st.sampled_from(["low", "medium", "high", "critical"]),
                "dk_size": st.sampled_from(["XS", "S", "M", "L", "XL"]),
                "dk_tool_hint": st.none() | names,
                "dk_attempts": st.integers(0, 50) | st.integers(0, 50).map(str),
                "tags": st.lists(names, max_size=12),
            }
        ),
        "history": st.fixed_dictionaries({"last_n_similar_runs": st.lists(runs, max_size=10)}),
        "action_space": st.fixed_dictionaries(
            {
                "swarm_ids": st.lists(names, max_size=3),
                "max_candidates_bins": bins(1, 2, 3),
                "max_minutes_bins": bins(15, 30, 45, 60, 120),
                "max_iterations_bins": bins(1, 2, 3, 5),
                "validity_rules": st.just([]),
            }
        ),
        "system_state": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "active_workcells_bin": st.none() | names | st.integers(-2, 40),
                "queue_depth_bin": st.none() | names | st.integers(-2, 40),
                "hour_bucket": st.none() | names,
                "budget_remaining_bin": st.none() | names,
                "available_toolchains": st.none() | st.lists(names, max_size=5),
            },
        ),
    }
)
configs = st.builds(
    EncoderConfig,
    history_slots=st.sampled_from([0, 1, 4, 8, 16]),
    tag_buckets=st.sampled_from([1, 64, 1024]),
    fail_code_buckets=st.sampled_from([1, 256]),
)


@given(document=inputs, config=configs)
@settings(max_examples=150, deadline=None)
def test_any_valid_input_gives_ascending_unique_positions(document, config):
    encoder = PlannerInputEncoder(config)
    indices = encoder.encode_indices(document).tolist()
    assert indices == sorted(set(indices))
    assert min(indices) >= 0
    assert max(indices) < config.d_in
    dense = encoder.encode(document)
    assert np.flatnonzero(dense).tolist() == indices
    assert set(np.unique(dense)) <= {np.float32(0), np.float32(1)}
    np.testing.assert_array_equal(encoder.encode_batch([document, document])[1], dense)
