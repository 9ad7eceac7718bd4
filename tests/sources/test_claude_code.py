"""Claude Code sessions: messages once, time at work, issue and outcome by session or branch, USD by a price file."""

from __future__ import annotations

from typing import Any

import pytest
from desk import Desk
from session_lines import answer, issue, prompt, tool_result

from planner_core import ConfigError

PRICE = {"input": 2.0, "output": 10.0, "cache_read": 0.1, "cache_write": 4.0}


def put(desk: Desk, *lines: dict[str, Any], issues: list[dict[str, Any]] | None = None, name: str = "s-1") -> None:
    desk.put("beads.jsonl", issues or [issue("x-1", "s-1")])
    desk.put(f"projects/-w/{name}.jsonl", list(lines))


def test_a_session_that_closed_an_issue_is_a_run_of_it(desk: Desk) -> None:
    put(desk, {"type": "summary", "summary": "S", "leafUuid": "u"}, prompt(0), answer(4, "m1"), tool_result(5))
    found = desk.read()
    run = found.run
    assert run["run_id"] == "claude:s-1" and run["issue_id"] == "x-1" and run["outcome"]["status"] == "success"
    assert run["runtime"]["duration_ms"] == 5 * 60_000 and run["tags"] == ["tool:claude", "model:m-1"]
    assert (run["tokens_in"], run["tokens_out"]) == (1210, 100) and "cost_usd_est" not in run
    assert any("--set prices=FILE" in note for note in found.of("claude-code").notes)


def test_waiting_for_the_user_is_no_time_of_the_agent(desk: Desk) -> None:
    reminder = prompt(64, isMeta=True, uuid="meta")
    put(desk, prompt(0), answer(4, "m1"), tool_result(5), answer(7, "m2"), reminder, prompt(65), answer(68, "m3"))
    assert desk.read().run["runtime"]["duration_ms"] == (7 + 3) * 60_000


def test_the_parts_of_one_message_count_once_with_its_last_tokens(desk: Desk) -> None:
    put(desk, prompt(0), answer(1, "m1", tokens=3), answer(2, "m1", tokens=90), answer(3, "m2", tokens=7))
    run = desk.read().run
    assert (run["tokens_in"], run["tokens_out"]) == (2 * 1210, 97)


@pytest.mark.parametrize("side_first", [True, False])
def test_a_replay_in_a_side_conversation_counts_once(desk: Desk, side_first: bool) -> None:
    put(desk, prompt(0), answer(1, "m1"))
    replay = answer(1, "m1", "req-again", isSidechain=True, uuid="r")
    own = answer(2, "m-side", isSidechain=True, uuid="q", tokens=40)
    name = "projects/-w/a-first.jsonl" if side_first else "projects/-w/s-1/subagents/agent-z.jsonl"
    desk.put(name, [replay, own])
    found = desk.read()
    assert (found.run["tokens_in"], found.run["tokens_out"]) == (2 * 1210, 140)
    assert found.of("claude-code").left_out == {"replays of messages in side conversations": 1}


def test_a_forked_session_has_only_what_is_its_own(desk: Desk) -> None:
    first = [prompt(0, uuid="u0"), answer(4, "m1", uuid="u1")]
    put(desk, *first, issues=[issue("x-1", "s-1"), issue("x-2", "s-2")])
    copied = [line | {"sessionId": "s-2"} for line in first]
    desk.put("projects/-w/s-2.jsonl", [*copied, prompt(30, "s-2"), answer(33, "m2", sessionId="s-2", tokens=7)])
    runs = desk.read().runs
    assert (runs["claude:s-1"]["tokens_out"], runs["claude:s-2"]["tokens_out"]) == (100, 7)
    assert runs["claude:s-2"]["runtime"]["duration_ms"] == 3 * 60_000


@pytest.mark.parametrize(
    ("branch", "joined"),
    [
        ("feature/x-1-login", True),
        ("x-1", True),
        ("mara/x-1/second-try", True),
        ("x-12-other", False),
        ("main", False),
    ],
)
def test_a_branch_names_an_issue_by_whole_words(desk: Desk, branch: str, joined: bool) -> None:
    put(desk, prompt(0, branch=branch), answer(4, "m1", gitBranch=branch), issues=[issue("x-1"), issue("y-2")])
    found = desk.read()
    assert bool(found.runs) is joined
    if joined:
        assert found.run["issue_id"] == "x-1" and len(found.of("claude-code").guessed) == 1
    else:
        assert any("of no issue" in reason for reason in found.of("claude-code").left_out)


@pytest.mark.parametrize(
    ("branch", "joined"), [("12-login", True), ("fix/gh-12", True), ("issue/12", True), ("retry-12-times", False)]
)
def test_a_number_is_an_issue_only_where_it_leads(desk: Desk, branch: str, joined: bool) -> None:
    put(desk, prompt(0, branch=branch), answer(4, "m1", gitBranch=branch), issues=[issue("12")])
    assert bool(desk.read().runs) is joined


def test_what_did_not_close_its_issue_has_no_outcome_unless_the_user_says_so(desk: Desk) -> None:
    put(
        desk,
        prompt(0),
        answer(4, "m1"),
        issues=[issue("x-1", "s-1"), issue("x-2", status="open"), issue("x-3", close_reason="Duplicate")],
    )
    for number, branch in enumerate(("x-1-try", "x-2-try", "x-3-try")):
        name = f"t-{number}"
        desk.put(
            f"projects/-w/{name}.jsonl",
            [prompt(-90, name, branch), answer(-80, name, sessionId=name, gitBranch=branch)],
        )
    found = desk.read()
    assert list(found.runs) == ["claude:s-1"]
    assert sorted(found.of("claude-code").left_out.values()) == [1, 1, 1]
    assert any("pass rates cannot be told" in note for note in found.of("claude-code").notes)


def test_unclosed_may_count_as_failed(desk: Desk) -> None:
    put(desk, prompt(0), answer(4, "m1"))
    desk.put(
        "projects/-w/t.jsonl", [prompt(-90, "t", "x-1-try"), answer(-80, "m0", sessionId="t", gitBranch="x-1-try")]
    )
    found = desk.read(options=["unclosed=failed"])
    outcomes = {run: document["outcome"] for run, document in found.runs.items()}
    assert outcomes["claude:t"] == {"status": "failed", "fail_codes": ["not_closed"], "gates": []}
    assert outcomes["claude:s-1"]["status"] == "success"


def test_a_session_that_closed_several_issues_cannot_be_divided(desk: Desk) -> None:
    put(desk, prompt(0), answer(4, "m1"), issues=[issue("x-1", "s-1"), issue("x-2", "s-1")])
    found = desk.read()
    assert not found.runs and any("cannot be divided" in reason for reason in found.of("claude-code").left_out)


def test_tokens_cost_what_the_price_file_says(desk: Desk) -> None:
    put(desk, prompt(0), answer(4, "m1", tokens=1000))
    prices = desk.path.parent / "prices.json"
    prices.write_text('{"other": {"input": 9, "output": 9}, "m-*": ' + str(PRICE).replace("'", '"') + "}")
    assert desk.read(options=[f"prices={prices}"]).run["cost_usd_est"] == pytest.approx((20 + 100 + 800 + 10000) / 1e6)


def test_an_hour_in_the_cache_has_a_price_of_its_own(desk: Desk) -> None:
    line = answer(4, "m1", tokens=0)
    line["message"]["usage"]["cache_creation"] = {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 150}
    put(desk, prompt(0), line)
    prices = desk.put("../prices.json", {"m-1": PRICE})
    found = desk.read(options=[f"prices={prices}"])
    assert "cost_usd_est" not in found.run
    assert "no cache_write_1h of m-1" in next(iter(found.of("claude-code").guessed))
    again = Desk(desk.path.parent / "again")
    put(again, prompt(0), line)
    again.put("../prices.json", {"m-1": PRICE | {"cache_write_1h": 8.0}})
    run = again.read(options=[f"prices={again.path.parent / 'prices.json'}"]).run
    assert run["cost_usd_est"] == pytest.approx((20 + 100 + 50 * 4 + 150 * 8) / 1e6)


def test_a_model_without_a_price_has_no_cost_and_it_is_told(desk: Desk) -> None:
    put(desk, prompt(0), answer(4, "m1"))
    prices = desk.put("../prices.json", {"other": PRICE})
    found = desk.read(options=[f"prices={prices}"])
    assert "cost_usd_est" not in found.run
    assert found.of("claude-code").guessed == {"the price of m-1 is not in the price file: no cost": 1}


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({"m-1": {"input": 1}}, "$.m-1"),
        ({"m-1": {"input": -1, "output": 1}}, "$.m-1.input"),
        ({"m-1": {"input": 1, "output": 1, "per": "1k"}}, "$.m-1"),
        ({}, "$"),
    ],
)
def test_a_price_file_that_is_none_names_its_place(desk: Desk, content: Any, path: str) -> None:
    put(desk, prompt(0), answer(4, "m1"))
    prices = desk.put("../prices.json", content)
    problem = desk.refused(options=[f"prices={prices}"])
    assert problem.path == path and problem.source.endswith("prices.json")


def test_an_option_that_is_none_is_refused(desk: Desk) -> None:
    put(desk, prompt(0), answer(4, "m1"))
    with pytest.raises(ConfigError, match="unclosed=maybe: expected unknown or failed"):
        desk.read(options=["unclosed=maybe"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"sessionId": "s-1"}, "neither type nor message"),
        (answer(1, "m") | {"timestamp": "noon"}, "$.timestamp"),
        (answer(1, "m") | {"timestamp": None}, "the key `timestamp`"),
        (answer(1, "m") | {"message": {"model": "m", "usage": {"input_tokens": -1}}}, "$.message.usage.input_tokens"),
        ([1, 2], "object"),
    ],
)
def test_what_does_not_fit_names_file_and_line(desk: Desk, line: Any, said: str) -> None:
    put(desk, prompt(0), line)
    problem = desk.refused()
    assert problem.line == 2 and said in str(problem) and problem.source.endswith("s-1.jsonl")
