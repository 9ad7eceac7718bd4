"""Harbor: trials as runs, rewards as outcomes, what broke from outside kept apart."""

from __future__ import annotations

from typing import Any

import pytest
from desk import Desk

from planner_core import ConfigError


def trial(number: int = 0, reward: float | None = 1.0, problem: str | None = None, **more: Any) -> dict[str, Any]:
    exception = {"exception_type": problem, "exception_message": "", "exception_traceback": ""}
    return {
        "id": f"{number:08x}-0000-4000-8000-000000000000",
        "task_name": "fix-git",
        "trial_name": f"fix-git__{number}",
        "source": "terminal-bench",
        "config": {"timeout_multiplier": 2.0, "agent": {"override_timeout_sec": 450.0}},
        "agent_info": {"name": "terminus-2", "version": "2", "model_info": {"name": "m-1", "provider": "acme"}},
        "agent_result": {"n_input_tokens": 5000, "n_cache_tokens": 10, "n_output_tokens": 300, "cost_usd": 0.25},
        "verifier_result": None if reward is None else {"rewards": {"reward": reward}},
        "exception_info": exception if problem else None,
        "started_at": "2026-03-02T09:00:00.000001Z",
        "finished_at": "2026-03-02T09:20:00Z",
        "agent_execution": {"started_at": "2026-03-02T09:02:00Z", "finished_at": "2026-03-02T09:12:30Z"},
        **more,
    }


def put(desk: Desk, document: dict[str, Any], job: str = "job") -> None:
    desk.put(f"{job}/{document['trial_name']}/result.json", document)


def atif(**more: Any) -> dict[str, Any]:
    steps = [
        {"step_id": 1, "source": "user", "message": "."},
        {"step_id": 2, "source": "agent", "message": ".", "metrics": {"prompt_tokens": 70, "completion_tokens": 7}},
        {"step_id": 3, "source": "agent", "message": ".", "metrics": {"prompt_tokens": 5, "cost_usd": 0.5}},
    ]
    agent = {"name": "terminus-2", "version": "2"}
    return {"schema_version": "ATIF-v1.6", "session_id": "s", "agent": agent, "steps": steps, **more}


def test_a_trial_is_a_run_of_its_task(desk: Desk) -> None:
    put(desk, trial())
    desk.put("job/result.json", {"id": "x", "started_at": "2026-03-02T09:00:00Z", "n_total_trials": 1, "stats": {}})
    desk.put("job/fix-git__0/config.json", {"agent": {}})
    found = desk.read("job")
    run = found.run
    assert run["issue_id"] == "fix-git" and list(found.issues) == ["fix-git"]
    assert run["runtime"]["duration_ms"] == 10 * 60_000 + 30_000
    assert run["outcome"] == {
        "status": "success",
        "fail_codes": [],
        "gates": [{"name": "reward", "passed": True, "score": 1.0}],
    }
    assert run["action_executed"]["max_minutes"] == 15  # 450 s, twice
    assert (run["tokens_in"], run["tokens_out"], run["cost_usd_est"]) == (5000, 300, 0.25)
    assert run["tags"] == ["dataset:terminal-bench", "tool:terminus-2", "model:m-1"]


@pytest.mark.parametrize(
    ("reward", "problem", "status", "codes"),
    [
        (0.0, None, "failed", ["not_rewarded"]),
        (0.5, None, "failed", ["not_rewarded"]),
        (0.0, "AgentTimeoutError", "timeout", ["agenttimeouterror"]),
        (1.0, "AgentTimeoutError", "success", []),
        (0.0, "ContextWindowExceededError", "failed", ["contextwindowexceedederror"]),
        (0.0, "ApiRateLimitError", "failed", ["infra:ApiRateLimitError"]),
        (1.0, "ApiRateLimitError", "failed", ["infra:ApiRateLimitError"]),
        (None, "EnvironmentStartTimeoutError", "failed", ["infra:EnvironmentStartTimeoutError"]),
        (None, "VerifierTimeoutError", "failed", ["infra:VerifierTimeoutError"]),
        (0.0, "NonZeroAgentExitCodeError", "failed", ["infra:NonZeroAgentExitCodeError"]),
    ],
)
def test_endings(desk: Desk, reward: float | None, problem: str | None, status: str, codes: list[str]) -> None:
    put(desk, trial(reward=reward, problem=problem))
    outcome = desk.read().run["outcome"]
    assert (outcome["status"], outcome["fail_codes"]) == (status, codes)
    if codes and codes[0].startswith("infra"):
        assert outcome["gates"] == []  # a reward that is no measurement


def test_what_cannot_be_used_is_left_out_and_counted(desk: Desk) -> None:
    put(desk, trial(0))
    put(desk, trial(1, reward=None))
    put(desk, trial(2, problem="CancelledError"))
    put(desk, trial(3, agent_execution=None, finished_at=None))
    found = desk.read()
    assert len(found.runs) == 1 and sorted(found.of("harbor").left_out.values()) == [1, 1, 1]


def test_a_limit_that_the_result_does_not_have_is_told(desk: Desk) -> None:
    put(desk, trial(config={"agent": {}}))
    found = desk.read()
    assert found.run["action_executed"]["max_minutes"] is None
    assert any("time limit is not in its result" in what for what in found.of("harbor").guessed)


def test_steps_add_up_and_a_step_may_end_it(desk: Desk) -> None:
    usage = {"n_input_tokens": 10, "n_output_tokens": 1, "cost_usd": 0.1}
    steps = [{"step_name": name, "agent_result": usage} for name in "ab"]
    steps[1]["exception_info"] = {"exception_type": "AgentTimeoutError"}
    put(desk, trial(reward=0.0, agent_result=None, step_results=steps))
    run = desk.read().run
    assert (run["tokens_in"], run["tokens_out"], run["cost_usd_est"]) == (20, 2, 0.2)
    assert run["outcome"]["status"] == "timeout"


def test_a_trajectory_tells_what_the_result_does_not(desk: Desk) -> None:
    put(desk, trial(agent_result=None))
    copied = {
        "step_id": 4,
        "source": "agent",
        "message": ".",
        "is_copied_context": True,
        "metrics": {"prompt_tokens": 999},
    }
    inner = atif(trajectory_id="t", final_metrics={"total_prompt_tokens": 1000, "total_cost_usd": 1.0})
    document = atif(subagent_trajectories=[inner])
    document["steps"].append(copied)
    desk.put("job/fix-git__0/agent/trajectory.json", document)
    run = desk.read("job").run
    assert (run["tokens_in"], run["tokens_out"], run["cost_usd_est"]) == (75 + 1000, 7 + 7, 0.5 + 1.0)


def test_a_trajectory_without_a_trial_has_no_outcome(desk: Desk) -> None:
    put(desk, trial())
    desk.put("alone/trajectory.json", atif())
    found = desk.read()
    assert len(found.runs) == 1
    assert found.of("harbor").left_out == {"ATIF trajectories without a trial: no outcome": 1}


def test_of_several_rewards_the_user_says_which_counts(desk: Desk) -> None:
    document = trial(verifier_result={"rewards": {"tests": 0.8, "style": 0.1}})
    put(desk, document)
    problem = desk.refused()
    assert problem.path == "$.verifier_result.rewards" and problem.found == "the keys tests, style"
    assert "--set reward=NAME" in problem.expected
    found = desk.read(options=["reward=tests", "pass-at=0.75"])
    assert found.run["outcome"]["gates"] == [{"name": "tests", "passed": True, "score": 0.8}]


def test_an_option_that_is_no_number_is_refused(desk: Desk) -> None:
    put(desk, trial())
    with pytest.raises(ConfigError, match="pass-at=most: expected a number"):
        desk.read(options=["pass-at=most"])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"started_at": "noon"}, "$.started_at"),
        (
            {"agent_execution": {"started_at": "2026-03-02T09:02:00Z", "finished_at": "2026-03-02T09:01:00Z"}},
            "$.agent_execution.finished_at",
        ),
        ({"verifier_result": {"rewards": {"reward": "good"}}}, "$.verifier_result.rewards.reward"),
        ({"agent_info": {}}, "$.agent_info"),
        ({"agent_result": {"cost_usd": -1}}, "$.agent_result.cost_usd"),
    ],
)
def test_what_does_not_fit_names_its_place(desk: Desk, change: dict[str, Any], path: str) -> None:
    put(desk, trial() | change)
    problem = desk.refused()
    assert problem.path == path and problem.source.endswith("result.json")


def test_two_trials_of_one_id_contradict(desk: Desk) -> None:
    put(desk, trial(0))
    put(desk, trial(0, reward=0.0, trial_name="fix-git__b"))
    assert desk.refused().path == "$.run_id"


def test_subagents_without_end_are_refused(desk: Desk) -> None:
    put(desk, trial())
    document = atif()
    for _ in range(20):
        document = atif(subagent_trajectories=[document])
    desk.put("job/fix-git__0/agent/trajectory.json", document)
    assert "17 deep" in str(desk.refused("job"))
