"""The slots of the history, group by group and slot after slot: the numbers of ``encoder_positions``."""

from __future__ import annotations

import pytest
from encoder_positions import DAY_MS, MINIMAL, MINUTE_MS, NOW_MS, RUN, on, with_group

from planner_core.encoder import PlannerInputEncoder

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
