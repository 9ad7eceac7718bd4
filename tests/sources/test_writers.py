"""Files as the tools themselves write them, where their packages are installed: the formats are theirs, not ours.

``atif`` comes with the development extra. mini-SWE-agent and SWE-bench bring hundreds of megabytes of other things and
Harbor needs Python 3.12, so these are tried where somebody has them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import Desk

TASK = "django__django-11099"
START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_mini_swe_agent(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MSWEA_GLOBAL_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("MSWEA_SILENT_STARTUP", "1")
    default = pytest.importorskip("minisweagent.agents.default", reason="mini-swe-agent is not installed")
    models = pytest.importorskip("minisweagent.models.test_models", reason="mini-swe-agent is not installed")
    local = pytest.importorskip("minisweagent.environments.local", reason="mini-swe-agent is not installed")
    submit = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo patch"
    for minute, (folder, limits) in enumerate((("done", {}), ("cut", {"cost_limit": 0.25}))):
        answers = [
            models.make_output("a", [{"command": "true"}], 0.25),
            models.make_output("b", [{"command": submit}], 0.5),
        ]
        answers[0]["extra"]["timestamp"] = (START + timedelta(minutes=minute)).timestamp()
        agent = default.DefaultAgent(
            models.DeterministicModel(outputs=answers),
            local.LocalEnvironment(),
            **{"system_template": "s", "instance_template": "{{task}}", "wall_time_limit_seconds": 600, **limits},
        )
        agent.run("t")
        agent.save(desk.path / folder / TASK / f"{TASK}.traj.json", {"instance_id": TASK})
        resolved, empty = ([TASK], []) if folder == "done" else ([], [TASK])
        report = {"resolved_ids": resolved, "empty_patch_ids": empty, "unresolved_ids": [], "submitted_ids": [TASK]}
        desk.put(f"{folder}/report.json", report)
    runs = sorted(desk.read().runs.values(), key=lambda run: run["cost_usd_est"])
    assert [run["cost_usd_est"] for run in runs] == [0.25, 0.75]
    assert [run["outcome"]["status"] for run in runs] == ["failed", "success"]
    assert runs[0]["outcome"]["fail_codes"] == ["empty_patch", "limitsexceeded"]
    assert all(run["action_executed"]["max_minutes"] == 10 for run in runs)


def test_swebench(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    reporting = pytest.importorskip("swebench.harness.reporting", reason="swebench is not installed")
    names = {"repo__a-1": True, "repo__a-2": False, "repo__a-3": None, "repo__a-4": ""}
    monkeypatch.chdir(desk.path)
    predictions = {}
    for name, resolved in names.items():
        predictions[name] = {
            "instance_id": name,
            "model_name_or_path": "m",
            "model_patch": resolved if resolved == "" else "d",
        }
        if resolved is not None and resolved != "":
            log = desk.path / "logs" / "run_evaluation" / "first" / "m" / name / "report.json"
            log.parent.mkdir(parents=True)
            log.write_text(json.dumps({name: {"resolved": resolved, "patch_successfully_applied": True}}))
        extra = {"timestamp": START.timestamp()}
        info = {"model_stats": {"instance_cost": 0.1, "api_calls": 1}, "exit_status": "Submitted"}
        desk.put(
            f"{name}/{name}.traj.json",
            {"info": info, "messages": [{"role": "assistant", "extra": extra}], "instance_id": name},
        )
    report = reporting.make_run_report(predictions, [{"instance_id": name} for name in names], "first")
    outcomes = {run["issue_id"]: run["outcome"] for run in desk.read().runs.values()}
    assert Path(report).exists()
    assert {name: outcome["status"] for name, outcome in outcomes.items()} == {
        "repo__a-1": "success",
        "repo__a-2": "failed",
        "repo__a-3": "failed",
        "repo__a-4": "failed",
    }
    assert [outcomes[name]["fail_codes"] for name in sorted(names)] == [
        [],
        ["tests_failed"],
        ["infra:evaluation_error"],
        ["empty_patch"],
    ]


def _trial(name: str, **more: Any) -> Any:
    result = pytest.importorskip("harbor.models.trial.result", reason="harbor is not installed")
    config = pytest.importorskip("harbor.models.trial.config")
    return result.TrialResult(
        task_name=name,
        trial_name=f"{name}__x",
        trial_uri="file:///jobs/x",
        task_id={"path": f"tasks/{name}"},
        source="set",
        task_checksum="c",
        config=config.TrialConfig(task={"path": name}, agent={"name": "a", "override_timeout_sec": 600}),
        agent_info={"name": "a", "version": "1", "model_info": {"name": "m", "provider": "p"}},
        started_at=START,
        finished_at=START + timedelta(minutes=9),
        agent_execution={"started_at": START, "finished_at": START + timedelta(minutes=7)},
        **more,
    )


def test_harbor(desk: Desk) -> None:
    passed = _trial(
        "good", verifier_result={"rewards": {"reward": 1}}, agent_result={"n_input_tokens": 5, "cost_usd": 0.5}
    )
    broken = {
        "exception_type": "ApiOverloadedError",
        "exception_message": "",
        "exception_traceback": "",
        "occurred_at": START,
    }
    failed = _trial("bad", exception_info=broken)
    for trial in (passed, failed):
        desk.put(f"job/{trial.trial_name}/result.json", trial.model_dump_json(indent=4))
    runs = {run["issue_id"]: run for run in desk.read("job").runs.values()}
    assert runs["good"]["outcome"]["status"] == "success" and runs["good"]["runtime"]["duration_ms"] == 7 * 60_000
    assert runs["good"]["cost_usd_est"] == 0.5 and runs["good"]["action_executed"]["max_minutes"] == 10
    assert runs["bad"]["outcome"]["fail_codes"] == ["infra:ApiOverloadedError"]


def test_atif(desk: Desk) -> None:
    atif = pytest.importorskip("atif", reason="atif is not installed")
    steps = [
        {"step_id": 1, "source": "user", "message": "Do it."},
        {
            "step_id": 2,
            "source": "agent",
            "message": ".",
            "metrics": {"prompt_tokens": 40, "completion_tokens": 4, "cost_usd": 0.5},
        },
        {"step_id": 3, "source": "agent", "message": ".", "is_copied_context": True, "metrics": {"prompt_tokens": 9}},
    ]
    agent = {"name": "a", "version": "1"}
    trajectory = atif.Trajectory.model_validate({"schema_version": "ATIF-v1.8", "agent": agent, "steps": steps})
    trial = {
        "id": "t",
        "task_name": "good",
        "trial_name": "good__x",
        "agent_info": agent,
        "started_at": START.isoformat(),
        "finished_at": (START + timedelta(minutes=3)).isoformat(),
        "verifier_result": {"rewards": {"reward": 1.0}},
    }
    desk.put("job/good__x/result.json", trial)
    desk.put("job/good__x/agent/trajectory.json", trajectory.to_json_dict())
    run = desk.read("job").run
    assert (run["tokens_in"], run["tokens_out"], run["cost_usd_est"]) == (40, 4, 0.5)
