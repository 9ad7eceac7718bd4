"""GitHub issues: labels by rules that the user can change, several repositories, and no runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from desk import Desk

from planner_core import ConfigError, LogSample, read_issues
from planner_sources import github


def issue(number: int = 1, *labels: str, repo: str = "acme/library", **more: Any) -> dict[str, Any]:
    return {
        "labels": [{"id": "LA_1", "name": name, "description": "", "color": "ededed"} for name in labels],
        "number": number,
        "state": "OPEN",
        "stateReason": "",
        "title": "T",
        "url": f"https://github.com/{repo}/issues/{number}",
        **more,
    }


@pytest.mark.parametrize(
    ("label", "field", "value"),
    [
        ("P0", "dk_priority", "P0"),
        ("priority: high", "dk_priority", "P1"),
        ("Priority/Critical", "dk_priority", "P0"),
        ("prio-low", "dk_priority", "P3"),
        ("p4", "dk_priority", "P3"),
        ("urgent", "dk_priority", "P0"),
        ("risk: critical", "dk_risk", "critical"),
        ("security", "dk_risk", "high"),
        ("size/XS", "dk_size", "XS"),
        ("size: XXL", "dk_size", "XL"),
        ("effort: large", "dk_size", "L"),
        ("good first issue", "dk_size", "S"),
        ("agent:codex", "dk_tool_hint", "codex"),
    ],
)
def test_labels_by_the_rules(desk: Desk, label: str, field: str, value: str) -> None:
    desk.put("issues.json", [issue(1, label, "bug")])
    found = desk.read()
    assert found.issues["1"][field] == value
    assert found.issues["1"]["tags"] == ["bug"]
    assert found.of("github").values["labels"][label] == (f"{field}:{value}", 1)


@pytest.mark.parametrize("label", ["bug", "area: high", "priority", "size: purple", "s", "help wanted", "model"])
def test_other_labels_are_tags(desk: Desk, label: str) -> None:
    desk.put("issues.json", [issue(1, label)])
    assert desk.read().issues["1"] == {"id": "1", "title": "T", "tags": [label]}


def test_the_user_changes_a_rule_label_by_label_and_by_file(desk: Desk) -> None:
    desk.put("issues.json", [issue(1, "urgent", "needs: triage", "big=one")])
    values = ["labels:urgent=tag", "labels:needs: triage=ignore", "labels:big=one=dk_size:L"]
    found = desk.read(values=values)
    assert found.issues["1"] == {"id": "1", "title": "T", "tags": ["urgent"], "dk_size": "L"}
    again = Desk(desk.path / "again")
    again.put("issues.json", [issue(1, "urgent", "needs: triage", "big=one")])
    assert again.read(maps=[str(desk.out / "mapping.json")]).issues == found.issues


@pytest.mark.parametrize("meaning", ["dk_priority:P9", "dk_priority", "dk_risk:huge", "size:L", "dk_tool_hint:"])
def test_a_meaning_that_is_none_is_refused(desk: Desk, meaning: str) -> None:
    desk.put("issues.json", [issue(1, "urgent")])
    with pytest.raises(ConfigError, match=r"labels:urgent=.*expected one of dk_priority:P0\|P1"):
        desk.read(values=[f"labels:urgent={meaning}"])
    assert not desk.out.exists()


def test_of_several_labels_the_highest_counts_and_it_is_told(desk: Desk) -> None:
    desk.put("issues.json", [issue(1, "P2", "P0", "risk: low", "security", "size/S", "size/L")])
    found = desk.read()
    fields = ("dk_priority", "dk_risk", "dk_size")
    assert [found.issues["1"][field] for field in fields] == ["P0", "high", "L"]
    assert sum(found.of("github").guessed.values()) == 3


def test_without_labels_everything_is_a_default_of_the_build(desk: Desk) -> None:
    desk.put("issues.json", [issue(7, milestone={"number": 1, "title": "v2", "dueOn": None, "description": ""})])
    desk.read()
    (planned,) = read_issues(desk.out / "issues.jsonl")
    assert planned.issue["tags"] == ["milestone:v2"]
    assert planned.defaults == ("dk_priority", "dk_risk", "dk_size")


def test_there_are_no_runs_and_it_says_what_to_bring(desk: Desk) -> None:
    desk.put("issues.json", [issue()])
    found = desk.read()
    assert any("GitHub keeps no runs" in note for note in found.of("github").notes)
    assert [lack.what for lack in found.report.lacks] == ["runs"] and found.report.next is None


def test_several_repositories_keep_their_numbers_apart(desk: Desk) -> None:
    desk.put("one.json", [issue(1, repo="acme/library")])
    desk.put("other.json", [issue(1, repo="acme/shop")])
    assert sorted(desk.read().issues) == ["acme/library#1", "acme/shop#1"]


def test_of_several_repositories_each_issue_needs_its_url(desk: Desk) -> None:
    desk.put("a.json", [issue(1, repo="acme/library"), issue(1, repo="acme/shop"), issue(3, url=None)])
    problem = desk.refused()
    assert problem.path == "$[2].url" and "acme/library, acme/shop" in problem.expected


def test_a_contradiction_between_two_exports_names_both(desk: Desk) -> None:
    desk.put("a.json", [issue(1, "P1")])
    desk.put("b.json", [issue(1, "P2")])
    problem = desk.refused()
    assert problem.source.endswith("b.json") and "a.json, at $[0]" in problem.expected
    assert problem.path == "$[0].dk_priority"


@pytest.mark.parametrize(
    ("row", "path"),
    [
        (issue(1) | {"isDraft": False}, "$[0].isDraft"),
        (issue(0), "$[0].number"),
        (issue(1) | {"labels": [{"color": "x"}]}, "$[0].labels[0]"),
        (issue(1) | {"title": 4}, "$[0].title"),
        ("text", "$[0]"),
    ],
)
def test_what_does_not_fit_names_its_place(desk: Desk, row: Any, path: str) -> None:
    desk.put("issues.json", [row])
    assert desk.refused(source="github").path == path


def alone(**fields: Any) -> dict[str, Any]:
    return issue(7, "bug", "risk:high") | fields


def test_one_issue_is_read_as_github(desk: Desk) -> None:
    desk.put("i.json", json.dumps(alone()))
    assert desk.read().of("github") is not None
    desk.out = desk.out.with_name("again")
    assert "bug" in desk.read("i.json").issues["7"]["tags"]


@pytest.mark.parametrize(
    ("content", "mine"),
    [
        (json.dumps(alone()), True),
        (json.dumps(alone(labels=[], state="CLOSED"), indent=2), True),
        (json.dumps(alone(labels=["bug"])), False),
        (json.dumps({"number": 7, "state": "done", "cost": 3}), False),
        (json.dumps(alone()) + "\n" + json.dumps(alone(number=8)) + "\n", False),
    ],
)
def test_one_issue_is_known_by_its_labels_or_its_state(content: str, mine: bool) -> None:
    assert (github.sniff(LogSample("i.json", content.encode())) > 0) is mine


def test_a_long_issue_is_known_by_what_it_begins_with() -> None:
    long = json.dumps(alone(body="x" * 100_000)).encode()[: 64 << 10]
    assert github.sniff(LogSample("i.json", long, whole=False)) > 0
    lines = (json.dumps(alone()) + "\n").encode() * 500
    assert github.sniff(LogSample("i.json", lines[: 64 << 10], whole=False)) == 0


def test_a_contradiction_within_one_export_names_both_places(desk: Desk) -> None:
    desk.put("i.json", [issue(1), issue(7, "risk:high"), issue(7, "risk:low")])
    problem = desk.refused()
    assert problem.path == "$[2].dk_risk" and "i.json, at $[1] says of the same issue" in problem.expected
