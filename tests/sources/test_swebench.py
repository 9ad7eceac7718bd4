"""SWE-bench: reports, predictions and trajectories joined by instance; what broke from outside is no evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import Desk

INSTANCE = "django__django-11099"
REPORT: dict[str, Any] = {
    "total_instances": 1,
    "completed_ids": [],
    "incomplete_ids": [],
    "empty_patch_ids": [],
    "submitted_ids": [],
    "resolved_ids": [],
    "unresolved_ids": [],
    "error_ids": [],
    "schema_version": 2,
}


def mini(*times: float, status: str = "Submitted", cost: float = 0.4, **agent: float) -> dict[str, Any]:
    usage = {"usage": {"prompt_tokens": 1000, "completion_tokens": 50}}
    return {
        "info": {
            "model_stats": {"instance_cost": cost, "api_calls": 2},
            "config": {"agent": {"step_limit": 0, "cost_limit": 0.0, **agent}, "model": {"model_name": "acme/m-1"}},
            "mini_version": "2.4.6",
            "exit_status": status,
            "submission": "",
        },
        "messages": [
            {"role": "system", "content": "..."},
            *({"role": "assistant", "extra": {"timestamp": at, "response": usage}} for at in times or (100.0, 400.5)),
            {"role": "exit", "content": status, "extra": {"exit_status": status}},
        ],
        "trajectory_format": "mini-swe-agent-1.1",
        "instance_id": INSTANCE,
    }


def swe(status: str = "submitted") -> dict[str, Any]:
    stats = {"instance_cost": 1.2, "tokens_sent": 9000, "tokens_received": 400, "api_calls": 7}
    step = {"action": "ls", "observation": "", "response": "", "thought": "", "execution_time": 30.0, "state": {}}
    return {"trajectory": [step, step], "history": [], "info": {"model_stats": stats, "exit_status": status}}


def put(desk: Desk, trajectory: dict[str, Any], folder: str = "", **outcome: list[str]) -> None:
    desk.put(f"{folder}{INSTANCE}/{INSTANCE}.traj.json", trajectory)
    desk.put(f"{folder}acme__m-1.first.json", REPORT | (outcome or {"resolved_ids": [INSTANCE]}))


def test_a_trajectory_and_its_outcome_are_a_run(desk: Desk) -> None:
    put(desk, mini(step_limit=250, cost_limit=3.0, wall_time_limit_seconds=1800))
    desk.put("preds.json", {INSTANCE: {"model_name_or_path": "x", "instance_id": INSTANCE, "model_patch": "d"}})
    found = desk.read()
    run = found.run
    assert run["issue_id"] == INSTANCE and run["started_ms"] == 100_000 and run["runtime"]["duration_ms"] == 300_500
    assert run["outcome"] == {"status": "success", "fail_codes": [], "gates": []}
    assert run["action_executed"]["max_minutes"] == 30 and run["action_executed"]["max_candidates"] == 1
    assert (run["cost_usd_est"], run["tokens_in"], run["tokens_out"]) == (0.4, 2000, 100)
    assert run["tags"] == ["tool:acme/m-1"] and run["limits"] == {"step_limit": 250, "cost_limit": 3.0}
    assert found.issues[INSTANCE]["tags"] == ["repo:django/django"]
    assert len(found.of("swebench").unused) == 2


@pytest.mark.parametrize(
    ("status", "outcome", "ended", "codes", "evidence"),
    [
        ("Submitted", "unresolved_ids", "failed", ["tests_failed"], True),
        ("LimitsExceeded", "empty_patch_ids", "failed", ["empty_patch", "limitsexceeded"], True),
        ("TimeExceeded", "empty_patch_ids", "timeout", ["empty_patch", "timeexceeded"], True),
        ("RateLimitError", "empty_patch_ids", "failed", ["empty_patch", "infra:RateLimitError"], False),
        ("DockerException", "empty_patch_ids", "failed", ["empty_patch", "infra:DockerException"], False),
        ("Submitted", "error_ids", "failed", ["infra:evaluation_error"], False),
        ("RateLimitError", "resolved_ids", "success", [], True),
    ],
)
def test_endings(desk: Desk, status: str, outcome: str, ended: str, codes: list[str], evidence: bool) -> None:
    put(
        desk,
        mini(status=status),
        **{outcome: [INSTANCE]},
        **({} if outcome == "resolved_ids" else {"resolved_ids": []}),
    )
    run = desk.read().run
    assert (run["outcome"]["status"], run["outcome"]["fail_codes"]) == (ended, codes)
    assert any(code.startswith("infra") for code in codes) is not evidence


def test_an_environment_that_broke_is_told_apart_as_the_report_tells_it(desk: Desk) -> None:
    put(desk, mini(), unresolved_ids=[INSTANCE], infra_failure_ids=[INSTANCE])
    assert desk.read().run["outcome"]["fail_codes"] == ["infra:environment"]


def test_swe_agent_has_no_clock_and_it_is_said(desk: Desk, dated: Callable[[Path, float], None]) -> None:
    dated(desk.put(f"{INSTANCE}/{INSTANCE}.traj", swe("submitted (exit_cost)")), 1_770_000_000)
    desk.put("report.json", REPORT | {"unresolved_ids": [INSTANCE]})
    found = desk.read()
    assert found.run["started_ms"] == 1_769_999_940_000 and found.run["runtime"]["duration_ms"] == 60_000
    assert found.run["outcome"]["fail_codes"] == ["tests_failed", "exit_cost"]
    assert (found.run["tokens_in"], found.run["cost_usd_est"]) == (9000, 1.2)
    assert len([note for note in found.of("swebench").notes if "SWE-agent" in note]) == 2


def test_the_model_of_a_prediction_stands_for_one_that_no_trajectory_names(desk: Desk) -> None:
    desk.put(f"run/{INSTANCE}/{INSTANCE}.traj", swe())
    desk.put("run/report.json", REPORT | {"resolved_ids": [INSTANCE]})
    prediction = {"model_name_or_path": "acme/m-2", "instance_id": INSTANCE, "model_patch": "d"}
    desk.put("run/all_preds.jsonl", [prediction])
    assert desk.read().run["tags"] == ["tool:acme/m-2"]


def test_the_first_version_of_the_agent_has_the_time_of_every_message_right_in_it(desk: Desk) -> None:
    document = mini()
    document["trajectory_format"] = "mini-swe-agent-1"
    for at, message in enumerate(document["messages"]):
        message["timestamp"] = 1000.0 + 60 * at
        message.get("extra", {}).pop("timestamp", None)
    put(desk, document)
    found = desk.read()
    assert (found.run["started_ms"], found.run["runtime"]["duration_ms"]) == (1_000_000, 180_000)
    assert not any("first answer" in note for note in found.of("swebench").notes)


def test_a_cost_that_was_not_counted_is_unknown(desk: Desk) -> None:
    put(desk, mini(cost=0.0))
    found = desk.read()
    assert "cost_usd_est" not in found.run
    assert found.of("swebench").guessed == {"a cost of 0 for calls of a model is an unknown one": 1}


def test_the_nearest_report_counts(desk: Desk) -> None:
    put(desk, mini(), "one/")
    put(desk, mini(500.0, 600.0), "other/", unresolved_ids=[INSTANCE])
    outcomes = {run["started_ms"]: run["outcome"]["status"] for run in desk.read().runs.values()}
    assert outcomes == {100_000: "success", 500_000: "failed"}


def test_reports_equally_near_must_agree(desk: Desk) -> None:
    put(desk, mini())
    desk.put("second.json", REPORT | {"unresolved_ids": [INSTANCE]})
    problem = desk.refused()
    assert problem.source.endswith("second.json")
    assert problem.found == f"{INSTANCE}: tests_failed" and "resolved, as" in problem.expected


def test_a_report_with_two_outcomes_of_one_instance_is_refused(desk: Desk) -> None:
    put(desk, mini(), resolved_ids=[INSTANCE], unresolved_ids=[INSTANCE])
    problem = desk.refused()
    assert problem.found == f"{INSTANCE} both resolved and tests_failed"


def test_what_has_no_outcome_or_no_trajectory_is_left_out_and_counted(desk: Desk) -> None:
    put(desk, mini(), resolved_ids=["sympy__sympy-1"])
    found = desk.read()
    assert not found.runs and sorted(found.issues) == [INSTANCE, "sympy__sympy-1"]
    assert list(found.of("swebench").left_out.values()) == [1, 1]


def test_reports_of_single_instances_and_the_benchmarks_difficulty(desk: Desk) -> None:
    desk.put(f"{INSTANCE}/{INSTANCE}.traj.json", mini())
    patch = {"patch_is_None": False, "patch_exists": True, "patch_successfully_applied": True, "resolved": True}
    desk.put(f"{INSTANCE}/report.json", {INSTANCE: patch})
    instance = {"repo": "django/django", "instance_id": INSTANCE, "base_commit": "0" * 40, "problem_statement": "..."}
    desk.put("verified.jsonl", [instance | {"difficulty": "1-4 hours"}])
    found = desk.read()
    assert found.run["outcome"]["status"] == "success"
    assert found.issues[INSTANCE]["dk_size"] == "M"


def test_a_cancelled_run_is_left_out(desk: Desk) -> None:
    put(desk, mini(status="KeyboardInterrupt"))
    found = desk.read()
    assert not found.runs and found.of("swebench").left_out == {"runs that somebody cancelled": 1}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"messages": [{"role": "user"}]}, "$.messages[...].extra.timestamp"),
        ({"messages": [{"extra": {"timestamp": "noon"}}]}, "$.messages[0].extra.timestamp"),
        ({"messages": [{"extra": {"timestamp": -5}}]}, "$.messages[0].extra.timestamp"),
        ({"info": {"model_stats": {"instance_cost": -1}}}, "$.info.model_stats.instance_cost"),
        ({"messages": {}}, "$.messages"),
        ({"instance_id": 7}, "$.instance_id"),
    ],
)
def test_what_does_not_fit_names_its_place(desk: Desk, change: dict[str, Any], path: str) -> None:
    put(desk, mini() | change)
    problem = desk.refused()
    assert problem.path == path and problem.source.endswith(".traj.json")
