"""Codex sessions: tokens from running totals, spawned sessions part of their parent's, replays counted once."""

from __future__ import annotations

from typing import Any

import pytest
from desk import Desk
from session_lines import event, issue, meta, prompt, total, turn


def put(desk: Desk, *lines: dict[str, Any], name: str = "a", issues: list[dict[str, Any]] | None = None) -> None:
    desk.put("beads.jsonl", issues or [issue("x-1", "t-1")])
    desk.put(f"sessions/2026/03/02/rollout-{name}.jsonl", list(lines))


def turns() -> list[dict[str, Any]]:
    return [
        meta("t-1"),
        event(0, "task_started"),
        turn(0),
        {"timestamp": prompt(0)["timestamp"], "type": "response_item", "payload": {"type": "message", "role": "user"}},
        event(0, "user_message", message="Do it."),
        event(1, "token_count", info=None, rate_limits={}),
        total(4, 1000, 400, 50),
        total(6, 3000, 1400, 90),
        event(6, "task_complete"),
        event(66, "task_started"),
        turn(66, "g-2"),
        event(66, "user_message", message="And that."),
        total(68, 3500, 1500, 100),
        event(68, "task_complete"),
    ]


def test_a_session_is_a_run(desk: Desk) -> None:
    put(desk, *turns())
    prices = desk.put("../prices.json", {"g-*": {"input": 2.0, "output": 10.0, "cache_read": 0.5}})
    run = desk.read(options=[f"prices={prices}"]).run
    assert run["run_id"] == "codex:t-1" and run["issue_id"] == "x-1"
    assert run["runtime"]["duration_ms"] == (6 + 2) * 60_000
    assert (run["tokens_in"], run["tokens_out"]) == (3500, 100)
    assert run["cost_usd_est"] == pytest.approx((2000 * 2 + 1500 * 0.5 + 100 * 10) / 1e6)
    assert run["tags"] == ["tool:codex", "model:g-1", "model:g-2"]


def test_totals_that_begin_again_add_up(desk: Desk) -> None:
    put(desk, meta("t-1"), turn(0), total(1, 1000, 0, 10), total(2, 200, 0, 5), total(3, 500, 0, 9))
    run = desk.read().run
    assert (run["tokens_in"], run["tokens_out"]) == (1500, 19)


def test_a_spawned_session_counts_for_its_parent_without_the_replay(desk: Desk) -> None:
    put(desk, *turns())
    spawn = {"subagent": {"thread_spawn": {"parent_thread_id": "t-1", "depth": 1}}}
    child = [meta("t-2", minute=5, source=spawn), total(5.2, 1000, 400, 50), turn(6), total(8, 1700, 400, 70)]
    desk.put("sessions/2026/03/02/rollout-b.jsonl", child)
    found = desk.read()
    assert (found.run["tokens_in"], found.run["tokens_out"]) == (3500 + 700, 100 + 20)
    assert found.of("codex").values["session"] == {"spawned by another": ("tokens of that one", 1)}


def test_a_replay_of_a_parent_that_is_not_here_is_known_by_its_second(desk: Desk) -> None:
    put(desk, meta("t-1", forked_from_id="gone"), total(0, 9000, 0, 500), turn(1), total(2, 9500, 0, 520))
    run = desk.read().run
    assert (run["tokens_in"], run["tokens_out"]) == (500, 20)


def test_a_fork_is_a_session_of_its_own(desk: Desk) -> None:
    put(desk, *turns(), issues=[issue("x-1", "t-1"), issue("x-2", "t-3")])
    desk.put(
        "sessions/rollout-c.jsonl",
        [meta("t-3", minute=90, forked_from_id="t-1"), total(91, 3500, 1500, 100), total(95, 3900, 1500, 130)],
    )
    runs = desk.read().runs
    assert (runs["codex:t-3"]["tokens_in"], runs["codex:t-3"]["tokens_out"]) == (400, 30)
    assert runs["codex:t-1"]["tokens_out"] == 100


def test_two_files_of_one_session_are_refused(desk: Desk) -> None:
    put(desk, *turns())
    desk.put("sessions/rollout-copy.jsonl", turns())
    problem = desk.refused()
    assert problem.path == "$.payload.id" and "rollout-a.jsonl has it too" in problem.expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"type": "turn_context", "payload": {}}, "timestamp"),
        (turn(1) | {"payload": {"model": 3}}, "$.payload.model"),
        (total(1, -5, 0, 0), "$.payload.info.total_token_usage.input_tokens"),
        (event(1, "x") | {"payload": []}, "$.payload"),
    ],
)
def test_what_does_not_fit_names_file_and_line(desk: Desk, line: Any, said: str) -> None:
    put(desk, meta("t-1"), line)
    problem = desk.refused()
    assert problem.line == 2 and said in str(problem)


def test_a_file_that_does_not_begin_with_its_session_is_refused(desk: Desk) -> None:
    put(desk, turn(0), meta("t-1"))
    problem = desk.refused("sessions", source="codex")
    assert (problem.line, problem.path, problem.found) == (1, "$.type", "turn_context")
