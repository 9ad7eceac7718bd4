"""The tool of a run: what a build makes of it, for the issue and for history."""

from __future__ import annotations

from pathlib import Path

import pytest
from workplace import Workplace, run

from planner_core import tool_of, tool_tag, with_tool


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_names() -> None:
    assert tool_of(["a", "tool:opus", "tool:sonnet"]) == "opus"
    assert tool_of(["a", "tool:"]) is None and tool_of([]) is None
    assert with_tool(["a", "tool:sonnet"], "opus") == ["a", tool_tag("opus")]


def test_an_example_shows_the_tool_it_was_run_with(work: Workplace) -> None:
    issue = {"id": "x", "dk_tool_hint": "human", "tags": ["a"]}
    runs = [run("1", "x", at=0, tags=["a", "tool:opus"]), run("2", "x", at=1, tags=["a", "tool:sonnet"])]
    work.build([issue], [*runs, run("3", "x", at=2)])
    planned = [line["planner_input"]["issue"] for line in work.lines]
    assert [issue["dk_tool_hint"] for issue in planned] == ["opus", "sonnet", "human"]
    assert all(issue["tags"] == ["a"] for issue in planned)


def test_history_prefers_runs_of_the_same_tool(work: Workplace) -> None:
    """Three earlier runs of equal tags: without tools the latest ones are taken, with tools those of the same one."""
    issue = {"id": "x", "tags": ["a"]}

    def history(*tools: str | None) -> list[str]:
        tags = [["a", *([f"tool:{tool}"] if tool else [])] for tool in tools]
        runs = [run(f"r{i}", "y", at=i, tags=tags[i]) for i in range(3)] + [run("now", "x", at=3, tags=tags[3])]
        work.build([issue, {"id": "y", "tags": ["a"]}], runs, n_similar=1, replace=True)
        (line,) = (line for line in work.lines if line["run_id"] == "now")
        return [earlier["run_id"] for earlier in line["planner_input"]["history"]["last_n_similar_runs"]]

    assert history(None, None, None, None) == ["r2"]
    assert history("opus", "sonnet", "sonnet", "opus") == ["r0"]
    assert history("opus", "sonnet", "opus", "sonnet") == ["r1"]
