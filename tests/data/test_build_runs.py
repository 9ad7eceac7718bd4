"""What a build keeps of each run, and what it says of everything it rounded, guessed or left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from workplace import START, Workplace, run

from planner_core import jsonio
from planner_core.data import runs as runs_module
from planner_core.data.build import SHOWN, build_dataset
from planner_core.data.dataset import load_dataset
from planner_core.errors import DataError

ISSUE = {"id": "x"}
VOTE = {"swarm_id": "speculate_vote", "max_candidates": 3, "max_minutes": 90, "max_iterations": None}


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def failed(*codes: str, gates: Any = ()) -> dict[str, Any]:
    return {"status": "failed", "fail_codes": list(codes), "gates": list(gates)}


def test_what_happened_stands_beside_the_label(work: Workplace) -> None:
    candidates = [
        {"passed": False, "duration_ms": 60_000, "cost_usd": 0.5},
        {"passed": True, "duration_ms": 120_000, "cost_usd": None},
    ]
    propensities = {"speculate_vote|3|90|1": 0.25, "serial_handoff|1|30|1": 0.75}
    work.build(
        [ISSUE],
        [
            run(
                "r",
                "x",
                action=VOTE,
                outcome=failed("test_failed"),
                runtime={"duration_ms": 240_000},
                cost_usd_est=1.25,
                propensity=0.25,
                propensities=propensities,
                candidates=candidates,
            )
        ],
    )
    (line,) = work.lines
    assert line["label_action"]["budgets"] == {
        "max_candidates_bin": 3,
        "max_minutes_bin": 60,
        "max_iterations_bin": "NA",
    }
    assert line["executed"] == {
        "action": ["speculate_vote", 3, 90, None],
        "status": "failed",
        "passed": False,
        "duration_ms": 240_000,
        "cost_usd": 1.25,
        "fail_codes": ["test_failed"],
        "propensity": 0.25,
        "propensities": propensities,
        "candidates": candidates,
        "evidence": True,
    }


def test_evidence_is_no_history(work: Workplace) -> None:
    more = {"propensity": 0.5, "propensities": {"serial_handoff|1|30|1": 0.5}, "candidates": [{"passed": True}]}
    work.build([ISSUE], [run("r1", "x", decision_id="d", **more), run("r2", "x", at=1)])
    (history,) = work.lines[1]["planner_input"]["history"]["last_n_similar_runs"]
    assert history == run("r1", "x", decision_id="d")
    assert work.lines[0]["executed"]["propensity"] == 0.5


@pytest.mark.parametrize(
    ("outcome", "passed"),
    [
        ({"status": "success", "fail_codes": [], "gates": []}, True),
        ({"status": "success", "fail_codes": [], "gates": [{"name": "test", "passed": True}]}, True),
        (
            {
                "status": "success",
                "fail_codes": [],
                "gates": [{"name": "test", "passed": True}, {"name": "lint", "passed": False}],
            },
            False,
        ),
        ({"status": "timeout", "fail_codes": [], "gates": [{"name": "test", "passed": True}]}, False),
        (failed(), False),
    ],
)
def test_passed_is_success_with_no_known_gate_failed(work: Workplace, outcome: Any, passed: bool) -> None:
    report = work.build([ISSUE], [run("r", "x", outcome=outcome)])
    assert work.lines[0]["executed"]["passed"] is passed
    assert report.passed == passed


@pytest.mark.parametrize(
    ("codes", "evidence"),
    [
        ([], True),
        (["test_failed"], True),
        (["test_failed", "rate_limited"], False),
        (["Rate-Limit: 429"], False),
        (["INFRA"], False),
        (["infrastructure_error"], False),
        (["sandbox crashed"], False),
        (["not_a_sandbox"], True),
    ],
)
def test_what_is_not_the_agents_is_no_evidence(work: Workplace, codes: list[str], evidence: bool) -> None:
    report = work.build([ISSUE], [run("r", "x", outcome=failed(*codes)), run("s", "x", at=9)])
    assert work.lines[0]["executed"]["evidence"] is evidence
    assert report.evidence == 1 + evidence
    assert any("no evidence" in message for message in report.messages) is not evidence
    assert len(work.lines[1]["planner_input"]["history"]["last_n_similar_runs"]) == 1  # history it is, either way


def test_a_run_that_passed_is_evidence_whatever_codes_it_met(work: Workplace) -> None:
    work.build([ISSUE], [run("r", "x", outcome={"status": "success", "fail_codes": ["rate_limit"], "gates": []})])
    assert work.lines[0]["executed"]["evidence"] is True


def test_codes_of_ones_own(work: Workplace) -> None:
    runs = [run("r", "x", outcome=failed("gpu_lost")), run("s", "x", at=1, outcome=failed("sandbox"))]
    work.build([ISSUE], runs, not_evidence=["gpu_*"])
    assert [line["executed"]["evidence"] for line in work.lines] == [False, True]
    assert json.loads((work.out / "meta.json").read_text())["not_evidence"] == ["gpu_*"]


def test_what_is_rounded_or_guessed_is_counted(work: Workplace) -> None:
    actions: list[dict[str, Any]] = [
        VOTE,
        VOTE,
        {"swarm_id": "best_of_n", "max_candidates": 4, "max_minutes": 100},
        {"swarm_id": "lone_wolf", "max_minutes": 30},
        {"swarm_id": None, "max_candidates": 2, "max_minutes": 15},
        {"swarm_id": "serial_handoff", "max_candidates": 3, "max_iterations": 4},
        {"swarm_id": "serial_handoff", "max_iterations": 1},
    ]
    report = work.build([ISSUE], [run(f"r{i}", "x", at=i, action=action) for i, action in enumerate(actions)])
    assert report.rounded == {
        "minutes": {"90 as 60": 2, "100 as 120": 1},
        "swarm": {"best_of_n as speculate_vote": 1, "lone_wolf as serial_handoff": 1, "none as speculate_vote": 1},
        "candidates": {"3 as 1": 1, "4 as 3": 1},
        "iterations": {"4 as NA": 1},
    }
    assert report.missing == {"propensity": 7, "propensities": 7, "cost_usd": 7, "candidates": 7}
    assert "labels have minutes 90 as 60 (2), 100 as 120 (1); what was run is kept as it was" in report.messages
    assert "missing of 7 runs: propensity in 7, propensities in 7, cost_usd in 7, candidates in 7" in report.messages
    meta = json.loads((work.out / "meta.json").read_text())
    assert (meta["rounded"], meta["missing"]) == (report.rounded, report.missing)
    assert [line["executed"]["action"][0] for line in work.lines][2:5] == ["best_of_n", "lone_wolf", None]
    executed = load_dataset(work.out).everything.executed
    assert executed is not None
    assert executed.swarm.tolist() == [1, 1, 1, 0, 1, 0, 0]
    assert executed.candidates.tolist() == [3, 3, 4, 1, 2, 1, 1]
    assert executed.minutes.tolist() == [90, 90, 100, 30, 15, 240, 240]


@pytest.mark.parametrize("passed", [(True, True), (False, False), (True, False)])
def test_runs_that_all_end_alike_are_said_to_tell_little(work: Workplace, passed: tuple[bool, ...]) -> None:
    outcomes = [{"status": "success", "fail_codes": [], "gates": []} if ok else failed() for ok in passed]
    infra = run("i", "x", at=9, outcome=failed("infra"))
    report = work.build([ISSUE], [*(run(f"r{i}", "x", at=i, outcome=end) for i, end in enumerate(outcomes)), infra])
    said = [message for message in report.messages if message.startswith("every run that is evidence")]
    assert len(said) == (len(set(passed)) == 1)


def test_only_the_most_frequent_values_are_named(work: Workplace) -> None:
    actions = [{"swarm_id": "serial_handoff", "max_minutes": 200 + i} for i in range(SHOWN + 5)]
    report = work.build([ISSUE], [run(f"r{i}", "x", at=i, action=action) for i, action in enumerate(actions)])
    assert len(report.rounded["minutes"]) == SHOWN + 1
    assert report.rounded["minutes"]["others"] == 5


def test_defaults_of_issues_are_counted(work: Workplace) -> None:
    issues = [{"id": "x"}, {"id": "y", "priority": 1, "dk_size": "S"}, {"id": "gone", "status": "tombstone"}]
    report = work.build(issues, [run("r", "x")])
    assert report.issue_defaults == {"dk_priority": 1, "dk_risk": 2, "dk_size": 1}


@pytest.mark.parametrize(
    ("more", "note", "lacking"),
    [
        ({"propensity": 0.5}, None, {"propensities"}),
        ({"propensity": 0.0}, "rule out what was run", {"propensity", "propensities"}),
        ({"propensities": {"serial_handoff|1|30|1": 0.4}}, "taken from the propensities", set()),
        ({"propensities": {"serial_handoff|1|30|1": 0.4}, "propensity": 0.4}, None, set()),
        ({"propensities": {"serial_handoff|1|30|1": 0.4}, "propensity": 0.2}, "the latter count", set()),
        (
            {"propensities": {"serial_handoff|1|60|1": 1.0}, "propensity": 0.2},
            "rule out what was run",
            {"propensity", "propensities"},
        ),
    ],
)
def test_what_is_made_of_propensities_is_said(
    work: Workplace, more: dict[str, Any], note: str | None, lacking: set[str]
) -> None:
    report = work.build([ISSUE], [run("r", "x", **more)])
    assert set(report.missing) - {"cost_usd", "candidates"} == lacking
    if note is None:
        assert report.noted == {}
    else:
        assert [count for what, count in report.noted.items() if note in what] == [1]


@pytest.mark.parametrize(
    ("propensities", "path", "expected"),
    [
        ({"serial": 0.5}, "$.propensities['serial']", "whole numbers"),
        ({"serial_handoff|1|30": 0.5}, "$.propensities['serial_handoff|1|30']", "whole numbers"),
        ({"serial_handoff|1|30.5|1": 0.5}, "$.propensities['serial_handoff|1|30.5|1']", "whole numbers"),
        ({"serial_handoff|1|-30|1": 0.5}, "$.propensities['serial_handoff|1|-30|1']", "whole numbers"),
        ({"serial_handoff|1|30|1": 0.6, "serial_handoff|1|60|1": 0.6}, "$.propensities", "a sum of at most 1"),
        ({"serial_handoff|1|30|1": 1.5}, "$.propensities.serial_handoff|1|30|1", "`float` <= 1.0"),
    ],
)
def test_propensities_that_cannot_be_read_name_their_place(
    work: Workplace, propensities: dict[str, float], path: str, expected: str
) -> None:
    with pytest.raises(DataError) as caught:
        work.build([ISSUE], [run("r", "x"), run("s", "x", at=1, propensities=propensities)])
    assert (caught.value.source, caught.value.line, caught.value.path) == (str(work.runs), 2, path)
    assert expected in caught.value.expected
    assert not work.out.exists()


def test_a_run_that_comes_twice_is_taken_once_and_counted(work: Workplace) -> None:
    later = run("r", "x", outcome=failed("late"))
    runs = [run("r", "x"), run("r", "x"), later, run("s", "unknown"), run("s", "unknown")]
    report = work.build([ISSUE], runs)
    assert report.runs_left_out == {
        "repeated, the same": 2,
        "replaced by a later row of the same run": 1,
        "unknown issue": 1,
    }
    assert report.examples + sum(report.runs_left_out.values()) == report.runs_read == 5
    assert work.lines[0]["executed"]["status"] == "failed"
    assert any("1 replaced by a later row" in message for message in report.messages)


def test_two_runs_of_one_id_in_two_files_are_an_error_that_names_both(work: Workplace) -> None:
    work.build([ISSUE, {"id": "y"}], [run("a", "x"), run("r", "x")])
    other = work.path / "other.jsonl"
    other.write_text(json.dumps(run("r", "y")) + "\n")
    with pytest.raises(DataError) as caught:
        build_dataset([work.issues], [work.runs, other], work.path / "both")
    assert (caught.value.source, caught.value.line, caught.value.path) == (str(other), 1, "$.run_id")
    assert f"{work.runs}, line 2" in caught.value.expected
    assert not (work.path / "both").exists()


def test_files_add_up_and_may_be_packed(work: Workplace) -> None:
    issues = [{"id": "x"}, {"id": "y", "dk_size": "S"}, {"id": "x", "dk_size": "XL"}]
    runs = [run(f"r{i}", "xy"[i % 2], at=i) for i in range(8)]
    whole = work.build(issues, runs)

    def packed(name: str, rows: list[Any]) -> Path:
        path = work.path / name
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        return path

    plain = work.path / "later.jsonl"
    plain.write_text("".join(json.dumps(row) + "\n" for row in runs[5:]))
    parts = build_dataset(
        [packed("i1.jsonl.gz", issues[:2]), packed("i2", issues[2:])],
        [packed("r.jsonl.gz", runs[:5]), plain],
        work.path / "parts",
    )
    assert parts.dataset_hash == whole.dataset_hash
    assert (parts.runs_read, parts.issues_read) == (8, 3)


@pytest.mark.parametrize("cut", [5, 30])
def test_a_damaged_gzip_file_is_said_to_be_one(work: Workplace, cut: int) -> None:
    work.build([ISSUE], [run("r", "x")])
    work.runs.write_bytes(gzip.compress(work.runs.read_bytes())[:cut])
    with pytest.raises(DataError, match=r"runs\.jsonl: found a damaged gzip file"):
        build_dataset([work.issues], [work.runs], work.path / "again")
    assert not (work.path / "again").exists()


def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    work: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.build([ISSUE], [run("r", "x")])
    monkeypatch.setattr("planner_core.data.lines.MAX_LINE_BYTES", 1 << 20)
    work.runs.write_bytes(gzip.compress(b" " * (2 << 20)))
    with pytest.raises(DataError, match=r"runs\.jsonl, line 1: found more than 1 MiB in one line"):
        build_dataset([work.issues], [work.runs], work.path / "again")


def test_a_run_is_decoded_once(work: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes | str] = []

    def counting(raw: bytes | str, source: str, line: int | None = None) -> Any:
        decoded.append(raw)
        return jsonio.decode(raw, source, line)

    monkeypatch.setattr("planner_core.data.lines.decode", counting)
    work.build([ISSUE], [run(f"r{i}", "x", at=i) for i in range(5)])
    assert len(decoded) == 5 + 1  # and the issue
    assert not hasattr(runs_module, "read") and not hasattr(runs_module, "decode")


def test_runs_keep_their_time_and_their_issue(work: Workplace) -> None:
    work.build([ISSUE, {"id": "y"}], [run(f"r{i}", "xyx"[i], at=i) for i in range(3)])
    executed = load_dataset(work.out).everything.executed
    assert executed is not None
    assert executed.issue.tolist() == [0, 1, 0]
    assert executed.started_ms.tolist() == [START, START + 60_000, START + 120_000]
