"""Cyntra: workcells, votes put together, and benches whose outcomes of several actions reach the dataset."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
from desk import Desk

from planner_core import build_dataset, load_dataset

AT = "2026-03-02T09:{:02d}:00.000Z"
SERIAL, VOTE = ["serial_handoff", 1, "NA", "NA"], ["speculate_vote", 2, 30, "NA"]


def workcell(
    desk: Desk,
    name: str = "wc-1",
    minute: int = 0,
    *,
    swarm: str = "serial_handoff",
    agents: int = 1,
    took: int = 10,
    passed: bool = True,
    issue: str = "7",
    root: str = "archives",
    manifest: Any = None,
    **proof: Any,
) -> None:
    planned = {
        "issue_id": issue,
        "dk_priority": "P1",
        "dk_risk": "low",
        "dk_size": "S",
        "dk_attempts": 0,
        "tags": ["a"],
    }
    executed = {
        "swarm_id_executed": swarm,
        "max_candidates_executed": agents,
        "timeout_seconds_executed": 1800,
        "max_iterations_executed": None,
        "fallback_applied": False,
    }
    planner = {
        "planner_input": {"created_at": AT.format(minute), "job_type": "code", "issue": planned, "universe_id": "u"},
        "executed_plan": executed,
    }
    document = {
        "schema_version": "1.0.0",
        "workcell_id": name,
        "issue": {"id": issue, "title": "T"},
        "toolchain": "codex",
        "branch_name": f"wc/{issue}",
        "planner": planner,
    }
    desk.put(f"{root}/{name}/manifest.json", document | (manifest or {}))
    gates = {"test": {"passed": passed, "exit_code": 0}}
    found = {"gates": gates, "all_passed": passed, "blocking_failures": [] if passed else ["gate.test"]}
    metadata = {"toolchain": "codex", "started_at": AT.format(minute), "duration_ms": took * 60_000, "cost_usd": 0.5}
    base = {
        "schema_version": "1.0.0",
        "workcell_id": name,
        "status": "success" if passed else "failed",
        "verification": found,
        "metadata": metadata,
    }
    if proof.get("status") != "none":
        desk.put(f"{root}/{name}/proof.json", base | proof)


def bench(desk: Desk, *records: dict[str, Any]) -> None:
    desk.put("results/best_of_k.json", list(records))


def record(issue: str = "7", winner: Any = "wc-2", **more: Any) -> dict[str, Any]:
    candidates = [
        {
            "action": SERIAL,
            "verified": False,
            "status": "failed",
            "duration_ms": 1_800_000,
            "cost_usd": 1.0,
            "workcell_id": "wc-1",
        },
        {
            "action": VOTE,
            "verified": True,
            "status": "success",
            "duration_ms": 900_000,
            "cost_usd": 2.0,
            "workcell_id": "wc-2",
        },
    ]
    return {
        "issue_id": issue,
        "title": "T",
        "job_type": "code",
        "candidates": candidates,
        "winner": {"workcell_id": winner},
        **more,
    }


def test_a_workcell_is_a_run(desk: Desk) -> None:
    workcell(desk)
    found = desk.read()
    run = found.run
    assert run["run_id"] == "wc-1" and run["runtime"]["duration_ms"] == 600_000 and run["cost_usd_est"] == 0.5
    assert run["action_executed"] == {
        "swarm_id": "serial_handoff",
        "max_candidates": 1,
        "max_minutes": 30,
        "max_iterations": None,
    }
    assert run["outcome"]["gates"] == [{"name": "test", "passed": True, "score": None}]
    assert run["tags"] == ["a", "tool:codex"] and run["universe_id"] == "u"
    assert found.issues["7"] == {
        "id": "7",
        "title": "T",
        "dk_priority": "P1",
        "dk_risk": "low",
        "dk_size": "S",
        "dk_attempts": 0,
        "tags": ["a"],
    }


@pytest.mark.parametrize(
    ("proof", "status", "codes"),
    [
        ({"status": "partial"}, "success", []),
        ({"status": "timeout", "verification": {"all_passed": False}}, "timeout", []),
        ({"status": "error", "verification": {}}, "failed", ["infra:error"]),
        (
            {"status": "success", "verification": {"gates": {}, "all_passed": False, "blocking_failures": ["x"]}},
            "failed",
            ["x"],
        ),
    ],
)
def test_endings(desk: Desk, proof: dict[str, Any], status: str, codes: list[str]) -> None:
    workcell(desk, **proof)
    outcome = desk.read().run["outcome"]
    assert (outcome["status"], outcome["fail_codes"]) == (status, codes)


def test_workcells_of_one_vote_are_the_candidates_of_one_run(desk: Desk) -> None:
    workcell(desk, "wc-1", 0, swarm="speculate_vote", agents=2, passed=False, took=10)
    workcell(desk, "wc-2", 1, swarm="speculate_vote", agents=2, took=12)
    workcell(desk, "wc-3", 2, swarm="speculate_vote", agents=2, took=5)  # a vote of its own: two were allowed
    runs = desk.read().runs
    assert sorted(runs) == ["wc-1+1", "wc-3"]
    vote = runs["wc-1+1"]
    assert (
        vote["outcome"]["status"] == "success"
        and vote["runtime"]["duration_ms"] == 13 * 60_000
        and vote["cost_usd_est"] == 1.0
    )
    assert [candidate["passed"] for candidate in vote["candidates"]] == [False, True]


def test_what_cannot_be_used_is_left_out_and_counted(desk: Desk) -> None:
    workcell(desk, "wc-1")
    workcell(desk, "wc-2", status="none")
    workcell(desk, "wc-3", metadata={"started_at": AT.format(1)})
    workcell(desk, "wc-4", manifest={"issue": None, "planner": {}})
    found = desk.read()
    assert list(found.runs) == ["wc-1"] and sorted(found.of("cyntra").left_out.values()) == [1, 1, 1]


def test_without_an_executed_plan_only_the_swarm_is_known_and_it_is_told(desk: Desk) -> None:
    workcell(desk, manifest={"planner": {}, "speculate_mode": True, "issue": {"id": "7", "tags": ["z"]}})
    found = desk.read()
    assert found.run["action_executed"]["swarm_id"] == "speculate_vote" and found.issues["7"]["tags"] == ["z"]
    assert len(found.of("cyntra").guessed) == 1


@pytest.mark.parametrize("ids", [True, False])
def test_a_bench_is_known_outcomes_of_several_actions_up_to_the_dataset(desk: Desk, ids: bool) -> None:
    workcell(desk, "wc-1", 0)
    workcell(desk, "wc-2", 30, swarm="speculate_vote", agents=2)
    document = record()
    if not ids:  # as benches are that name the winner's workcell alone
        document["candidates"] = [
            {k: c[k] for k in ("action", "verified", "duration_ms", "cost_usd")} for c in document["candidates"]
        ]
    bench(desk, document, {"issue_id": "8", "title": "T", "job_type": "fab-world", "skipped": True})
    found = desk.read()
    run = found.run
    assert (
        run["outcome"]["status"] == "failed" and run["action_executed"]["max_minutes"] is None
    )  # the first, not the winner
    assert [c["is_winner"] for c in run["counterfactuals"]] == [False, True]
    assert found.of("cyntra").left_out["issues that the bench skipped"] == 1

    report = build_dataset([desk.out / "issues.jsonl"], [desk.out / "runs.jsonl"], desk.path.parent / "data")
    assert (report.label_source, report.several_known) == ("best_of_k", 1)
    everything = load_dataset(desk.path.parent / "data").everything
    assert everything.known == "all" and everything.outcomes is not None and everything.outcomes.kind == "realised"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"winner": {"workcell_id": "wc-9"}}, "$[0].winner"),
        ({"issue_id": "8"}, "$[0].issue_id"),
        (
            {"candidates": [{"action": ["serial_handoff", 1, 17, "NA"], "verified": True, "duration_ms": 1}]},
            "$[0].candidates[0].action",
        ),
        (
            {"candidates": [{"action": ["serial_handoff", 1, 30, 2], "verified": True, "duration_ms": 1}]},
            "$[0].candidates[0].action",
        ),
        ({"candidates": [{"action": SERIAL, "verified": "yes"}]}, "$[0].candidates[0].verified"),
        ({"candidates": [record()["candidates"][0]] * 2}, "$[0].candidates[1].action"),
    ],
)
def test_a_bench_that_does_not_fit_names_its_place(desk: Desk, change: dict[str, Any], path: str) -> None:
    workcell(desk, "wc-1")
    workcell(desk, "wc-2")
    bench(desk, record() | change)
    problem = desk.refused()
    assert problem.path == path and problem.source.endswith("best_of_k.json")


def test_a_bench_without_archives_has_neither_time_nor_issue(desk: Desk) -> None:
    bench(desk, record())
    workcell(desk, "wc-other", root="elsewhere/archives")
    found = desk.read()
    assert list(found.runs) == ["wc-other"] and any(
        "without the archive" in reason for reason in found.of("cyntra").left_out
    )


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"workcell_id": "wc-9"}, "$.workcell_id"),
        ({"status": "won"}, "$.status"),
        ({"metadata": {"duration_ms": -1}}, "$.metadata.duration_ms"),
        ({"metadata": {"started_at": AT.format(9), "completed_at": AT.format(1)}}, "$.metadata.completed_at"),
    ],
)
def test_a_proof_that_does_not_fit_names_its_place(desk: Desk, change: dict[str, Any], path: str) -> None:
    workcell(desk, **change)
    problem = desk.refused()
    assert problem.path == path and problem.source.endswith("proof.json")


def test_a_manifest_of_two_issues_is_refused(desk: Desk) -> None:
    workcell(desk, manifest={"issue": {"id": "8", "title": "T"}})
    problem = desk.refused()
    assert problem.path == "$.planner.planner_input.issue.issue_id" and problem.found == "7"


def test_a_tracker_knows_its_issues_better(desk: Desk) -> None:
    desk.put("issues.jsonl", [{"_type": "issue", "id": "7", "dk_priority": "P3", "tags": []}])
    workcell(desk)
    assert desk.read("issues.jsonl", "archives").issues["7"]["dk_priority"] == "P3"


def test_the_same_archive_copied_is_one_run(desk: Desk) -> None:
    workcell(desk)
    shutil.copytree(desk.path / "archives", desk.path / "copy" / "archives")
    found = desk.read()
    assert len(found.runs) == 1 and found.report.repeated_runs == 1
    proof = desk.path / "copy" / "archives" / "wc-1" / "proof.json"
    document = json.loads(proof.read_text())
    proof.write_text(json.dumps(document | {"status": "timeout", "verification": {"all_passed": False}}))
    again = Desk(desk.path.parent / "again")
    shutil.copytree(desk.path, again.path, dirs_exist_ok=True)
    assert again.refused().path == "$.run_id"
