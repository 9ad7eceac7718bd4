"""Which issues of a tracker are ready, in both dialects of Beads, and what is said of those that are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner_core.data.issues import read_tracker
from planner_core.data.ready import BLOCKING, FOR_HUMANS, counted, read_states
from planner_core.errors import DataError


def states_of(tmp_path: Path, *rows: Any) -> Any:
    path = tmp_path / "issues.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_states([path], read_tracker([path]))


def why_not(tmp_path: Path, *rows: Any) -> str | None:
    """Of the first of the rows."""
    states = states_of(tmp_path, *rows)
    found: str | None = states[rows[0]["id"]].why_not
    return found


def after(first: str, kind: str = "blocks", name: str = "type") -> dict[str, Any]:
    return {"id": "x", "dependencies": [{"issue_id": "x", "depends_on_id": first, name: kind}]}


@pytest.mark.parametrize("status", ["open", "ready", None])
def test_open_issues_are_ready(tmp_path: Path, status: str | None) -> None:
    assert why_not(tmp_path, {"id": "x", "status": status}) is None


@pytest.mark.parametrize("status", ["in_progress", "blocked", "deferred", "done", "closed", "escalated", "hooked"])
def test_others_are_not(tmp_path: Path, status: str) -> None:
    assert why_not(tmp_path, {"id": "x", "status": status}) == f"its status is {status}"


@pytest.mark.parametrize("tag", FOR_HUMANS)
@pytest.mark.parametrize("where", ["tags", "labels"])
def test_what_is_for_humans(tmp_path: Path, tag: str, where: str) -> None:
    assert why_not(tmp_path, {"id": "x", where: ["a", tag]}) == f"it is for a human (tag {tag})"
    assert why_not(tmp_path, {"id": "x", where: ["a", tag + "s"]}) is None


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"dk_attempts": 2}, None),
        ({"dk_attempts": 3}, "it was tried 3 of 3 times"),
        ({"dk_attempts": "3", "dk_max_attempts": "5"}, None),
        ({"dk_attempts": 5, "dk_max_attempts": 5}, "it was tried 5 of 5 times"),
        ({"dk_max_attempts": 0}, "it was tried 0 of 0 times"),
    ],
)
def test_attempts(tmp_path: Path, row: Any, told: str | None) -> None:
    assert why_not(tmp_path, {"id": "x", **row}) == told


@pytest.mark.parametrize("kind", [*BLOCKING])
@pytest.mark.parametrize("name", ["type", "dep_type", "dependency_type"])
@pytest.mark.parametrize(
    ("status", "ready"), [("open", False), ("in_progress", False), ("done", True), ("closed", True)]
)
def test_a_blocker_has_to_be_done(tmp_path: Path, kind: str, name: str, status: str, ready: bool) -> None:
    told = why_not(tmp_path, after("y", kind, name), {"id": "y", "status": status})
    assert told == (None if ready else "it waits for y")


@pytest.mark.parametrize("kind", ["related", "discovered-from", "tracks", "duplicates", "something new"])
def test_other_relations_do_not_block(tmp_path: Path, kind: str) -> None:
    assert why_not(tmp_path, after("y", kind), {"id": "y", "status": "open"}) is None


def test_a_dependency_in_a_row_of_its_own(tmp_path: Path) -> None:
    link = {"from_id": "y", "to_id": "x", "dep_type": "blocks"}
    assert why_not(tmp_path, {"id": "x"}, link, {"id": "y"}) == "it waits for y"
    assert why_not(tmp_path, {"id": "x"}, link, {"id": "y", "status": "done"}) is None
    assert why_not(tmp_path, {"id": "x"}, {**link, "dep_type": "discovered"}, {"id": "y"}) is None
    assert why_not(tmp_path, {"id": "x"}, {**link, "to_id": "gone"}, {"id": "y"}) is None


def test_a_listing_names_the_blocker_by_its_id(tmp_path: Path) -> None:
    row = {"id": "x", "dependencies": [{"id": "y", "title": "t", "status": "open", "dependency_type": "blocks"}]}
    assert why_not(tmp_path, row, {"id": "y"}) == "it waits for y"


def test_blockers_that_are_gone(tmp_path: Path) -> None:
    """A deleted one keeps nobody waiting; one that nobody knows may be anything."""
    assert why_not(tmp_path, after("y"), {"id": "y", "status": "tombstone"}) is None
    assert why_not(tmp_path, after("y")) == "it waits for y (not in the tracker)"


def test_a_child_waits_with_its_parent(tmp_path: Path) -> None:
    """Not for it: an open parent with nothing before it blocks nobody."""
    child, parent = after("p", "parent-child"), {**after("y"), "id": "p"}
    assert why_not(tmp_path, child, {"id": "p"}) is None
    assert why_not(tmp_path, child, parent, {"id": "y"}) == "it waits for y"
    grandchild = {**after("x", "parent-child"), "id": "g"}
    assert why_not(tmp_path, grandchild, child, parent, {"id": "y"}) == "it waits for y"
    assert why_not(tmp_path, child, parent, {"id": "y", "status": "done"}) is None


def test_circles_end(tmp_path: Path) -> None:
    rows = [{**after("b", "parent-child"), "id": "a"}, {**after("a", "parent-child"), "id": "b"}]
    assert why_not(tmp_path, *rows) is None
    assert why_not(tmp_path, after("x")) == "it waits for x"


def test_a_long_chain_ends(tmp_path: Path) -> None:
    rows = [{**after(f"{i + 1}", "parent-child"), "id": f"{i}"} for i in range(3000)]
    assert why_not(tmp_path, *rows, {**after("end"), "id": "3000"}, {"id": "end"}) == "it waits for end"


def test_the_later_row_counts(tmp_path: Path) -> None:
    assert why_not(tmp_path, {"id": "x", "status": "open"}, {"id": "x", "status": "done"}) == "its status is done"


def test_counts(tmp_path: Path) -> None:
    rows = [
        {"id": "a"},
        after("a"),
        {"id": "z", "status": "closed"},
        {"id": "t", "status": "tombstone"},
        {"_type": "m"},
    ]
    assert counted(states_of(tmp_path, *rows)) == {"issues": 3, "done": 1, "ready": 1, "not_ready": 1}


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ({"id": "x", "status": 3}, r"\$\.status: found 3"),
        ({"id": "x", "dk_max_attempts": -1}, r"\$\.dk_max_attempts: found -1"),
        ({"id": "x", "dependencies": "y"}, r"\$\.dependencies"),
        ({"id": "x", "dependencies": ["y"]}, r"\$\.dependencies\[0\]"),
        ({"id": "x", "dependencies": [{"type": "blocks"}]}, r"\$\.dependencies\[0\]: found no id"),
        ({"from_id": "x", "to_id": 3}, r"\$\.to_id: found 3"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(tmp_path: Path, row: Any, place: str) -> None:
    with pytest.raises(DataError, match=r"issues\.jsonl, line 2, at " + place):
        states_of(tmp_path, {"id": "a"}, row)
