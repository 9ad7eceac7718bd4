"""Beads: both dialects, ``dk_*`` inside metadata, and times as runs where nothing else tells of an issue's runs."""

from __future__ import annotations

from typing import Any

import pytest
from desk import Desk

from planner_core import read_issues

BASE = {"title": "T", "status": "closed", "priority": 2, "issue_type": "task", "created_at": "2026-03-01T08:00:00Z"}
TIMES = {"started_at": "2026-03-02T09:00:00Z", "closed_at": "2026-03-02T09:26:30.5+00:00"}


def row(name: str = "x-1", **more: Any) -> dict[str, Any]:
    return {"_type": "issue", "id": name, **BASE, **more}


def test_both_dialects_become_the_issues_that_a_build_reads(desk: Desk) -> None:
    desk.put(
        "issues.jsonl",
        [
            row("a", priority=4, estimated_minutes=300, labels=["risk:high", "ui"]),
            {"id": "b", "dk_priority": "P0", "dk_risk": "low", "dk_size": "XS", "dk_attempts": "2", "tags": ["x"]},
            row("c", metadata={"dk_size": "XL", "dk_tool_hint": "codex", "files": ["a.py"]}),
        ],
    )
    desk.read()
    a, b, c = (planned.issue for planned in read_issues(desk.out / "issues.jsonl"))
    assert (a["dk_priority"], a["dk_risk"], a["dk_size"], a["tags"]) == (
        "P3",
        "high",
        "L",
        ["risk:high", "ui", "type:task"],
    )
    assert (b["dk_priority"], b["dk_risk"], b["dk_size"], b["dk_attempts"], b["tags"]) == ("P0", "low", "XS", 2, ["x"])
    assert (c["dk_size"], c["dk_tool_hint"]) == ("XL", "codex")


def test_metadata_that_contradicts_its_row_names_the_place(desk: Desk) -> None:
    desk.put("issues.jsonl", [row("a"), row("b", dk_size="S", metadata={"dk_size": "XL"})])
    problem = desk.refused()
    assert (problem.line, problem.path, problem.found) == (2, "$.metadata.dk_size", "'XL'")
    assert "'S'" in problem.expected


def test_the_same_said_twice_is_no_contradiction(desk: Desk) -> None:
    desk.put("issues.jsonl", [row("b", dk_attempts=3, metadata={"dk_attempts": "3"})])
    assert desk.read().issues["b"]["dk_attempts"] == 3


def test_times_are_a_run_that_tells_time_and_says_so(desk: Desk) -> None:
    desk.put("issues.jsonl", [row(**TIMES, labels=["ui"])])
    found = desk.read()
    assert found.run["runtime"]["duration_ms"] == 26 * 60_000 + 30_500
    assert found.run["action_executed"] == dict.fromkeys(
        ("swarm_id", "max_candidates", "max_minutes", "max_iterations")
    )
    assert found.run["outcome"] == {"status": "success", "fail_codes": [], "gates": []}
    assert any("wall-clock" in note and "nothing of what fails" in note for note in found.of("beads").notes)
    assert {"minutes budget", "cost", "propensity"} <= {lack.what for lack in found.report.lacks}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"close_reason": "Duplicate of x-2", **TIMES}, "closed without being solved"),
        ({"close_reason": "won't fix", **TIMES}, "closed without being solved"),
        ({"closed_at": TIMES["closed_at"]}, "do not say when they were begun"),
    ],
)
def test_times_that_tell_nothing_are_left_out_and_counted(desk: Desk, more: dict[str, Any], reason: str) -> None:
    desk.put("issues.jsonl", [row(**more)])
    found = desk.read()
    assert not found.runs and len(found.issues) == 1
    assert any(reason in text for text in found.of("beads").left_out)


def test_an_open_issue_has_no_run(desk: Desk) -> None:
    desk.put("issues.jsonl", [row(status="in_progress", started_at=TIMES["started_at"])])
    assert not desk.read().runs


def test_a_run_log_counts_more_than_times(desk: Desk) -> None:
    desk.put("issues.jsonl", [row("a", **TIMES), row("b", **TIMES)])
    desk.put("runs.csv", "issue,status,started,duration_min,cost_usd\na,failed,2026-03-02T09:00:00Z,7,0.5\n")
    found = desk.read()
    assert sorted(run["issue_id"] for run in found.runs.values()) == ["a", "b"]
    assert found.runs["beads:b"]["outcome"]["status"] == "success"
    assert found.of("beads").left_out == {"runs on standby: other logs have runs of their issues": 1}


def test_an_end_before_the_start_names_both(desk: Desk) -> None:
    desk.put("issues.jsonl", [row(started_at=TIMES["closed_at"], closed_at=TIMES["started_at"])])
    problem = desk.refused()
    assert (problem.line, problem.path) == (1, "$.closed_at")
    assert problem.found is not None and problem.found.startswith("2026-03-02T09:00") and "09:26" in problem.expected


def test_what_is_no_issue_is_left_out_by_reason(desk: Desk) -> None:
    desk.put(
        "issues.jsonl",
        [
            row(),
            {"_type": "memory", "key": "k", "value": "v"},
            row("t", status="tombstone"),
            row("d", deleted_at="2026-03-01T00:00:00Z"),
            row("m", issue_type="message"),
            row("p", is_template=True),
            {"id": 7, "issue_id": "x-1", "text": "a comment"},
        ],
    )
    found = desk.read()
    assert list(found.issues) == ["x-1"]
    assert found.of("beads").left_out == {
        "rows of the type memory": 1,
        "deleted": 2,
        "templates and rows of Beads' own machinery": 2,
        "rows that are no issues": 1,
    }


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"priority": 9}, "$.priority"),
        ({"dk_risk": "huge"}, "$.dk_risk"),
        ({"metadata": "text"}, "$.metadata"),
        ({"closed_at": "yesterday"}, "$.closed_at"),
        ({"labels": ["risk:huge"]}, "$.labels[0]"),
        ({"metadata": {"dk_size": "HUGE"}}, "$.dk_size"),
    ],
)
def test_what_does_not_fit_names_file_line_and_field(desk: Desk, more: dict[str, Any], path: str) -> None:
    desk.put("issues.jsonl", [row("a"), row("b", **more)])
    problem = desk.refused()
    assert (problem.line, problem.path) == (2, path)
    assert problem.source.endswith("issues.jsonl")
