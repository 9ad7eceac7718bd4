"""A dataset from issues and runs: both Beads dialects, what is left out, and every error with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workplace import START, Workplace, run

from planner_core.action_space import NA
from planner_core.contracts import DatasetExample, DatasetMeta
from planner_core.data.build import build_dataset
from planner_core.data.writer import dataset_hash
from planner_core.encoder import PlannerInputEncoder
from planner_core.errors import DataError, PlannerError
from planner_core.jsonio import read, read_file

REVEREND = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "reverend"


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_an_example_in_full(work: Workplace) -> None:
    issues = [{"id": "x", "dk_priority": "P0", "tags": ["a", "b"], "dk_speculate": True}]
    first = run("r1", "x", at=0, custom={"kept": 1})
    report = work.build(issues, [run("r2", "x", at=5), first])
    line = work.lines[1]
    assert (line["run_id"], line["started_ms"], line["split"]) == ("r2", START + 300_000, "test")
    label = line.pop("label_action")
    assert label == {
        "schema_version": "cyntra.planner_action.v1",
        "created_at": "2026-02-02T02:45:00.000Z",
        "swarm_id": "serial_handoff",
        "budgets": {"max_candidates_bin": 1, "max_minutes_bin": 30, "max_iterations_bin": "NA"},
    }
    given = line["planner_input"]
    assert given["created_at"] == label["created_at"]
    assert (given["universe_id"], given["system_state"]) == ("default", None)
    assert given["universe_defaults"] == {"swarm_id": None, "objective_id": None}
    assert given["issue"] == {
        "issue_id": "x",
        "dk_priority": "P0",
        "dk_risk": "medium",
        "dk_size": "M",
        "dk_tool_hint": None,
        "dk_attempts": 0,
        "tags": ["a", "b"],
        "dk_speculate": True,
    }
    assert given["history"]["last_n_similar_runs"] == [first]
    assert len(given["action_space"]["validity_rules"]) == 3
    meta = read_file(work.out / "meta.json", DatasetMeta)
    assert meta.label_source == "executed_plan"
    assert meta.dataset_hash == report.dataset_hash == dataset_hash(work.out)
    assert report.split_counts == meta.split_counts == {"train": 1, "val": 0, "test": 1}
    assert (report.issues_kept, report.runs_read, report.examples, report.n_labels) == (1, 2, 2, 1)
    assert any("empty: val" in message for message in report.messages)
    assert PlannerInputEncoder().encode(given).sum() > 10


def test_dk_dialect(work: Workplace) -> None:
    assert work.issue({"dk_priority": "P1", "dk_risk": "critical", "dk_size": "XL", "dk_attempts": "3"}) == {
        "issue_id": "x",
        "dk_priority": "P1",
        "dk_risk": "critical",
        "dk_size": "XL",
        "dk_tool_hint": None,
        "dk_attempts": 3,
        "tags": [],
    }
    empty = work.issue({"dk_risk": None, "dk_tool_hint": "codex", "on_critical_path": False})
    assert (empty["dk_priority"], empty["dk_risk"], empty["dk_tool_hint"]) == ("P2", "medium", "codex")
    assert empty["on_critical_path"] is False


def test_standard_dialect(work: Workplace) -> None:
    issue = work.issue({"priority": 1, "estimated_minutes": 90, "labels": ["api", "risk:high"], "issue_type": "bug"})
    assert (issue["dk_priority"], issue["dk_size"], issue["dk_risk"]) == ("P1", "M", "high")
    assert issue["tags"] == ["api", "risk:high", "type:bug"]


@pytest.mark.parametrize(("given", "wanted"), [(0, "P0"), (3, "P3"), (4, "P3"), ("2", "P2"), (None, "P2")])
def test_standard_priorities(work: Workplace, given: Any, wanted: str) -> None:
    assert work.issue({"priority": given, "issue_type": "task"})["dk_priority"] == wanted


@pytest.mark.parametrize(
    ("minutes", "size"),
    [(0, "XS"), (15, "XS"), (16, "S"), (60, "S"), ("61", "M"), (240, "M"), (480, "L"), (480.5, "XL"), (None, "M")],
)
def test_standard_sizes(work: Workplace, minutes: Any, size: str) -> None:
    assert work.issue({"estimated_minutes": minutes})["dk_size"] == size


def test_dk_keys_win_over_standard_ones(work: Workplace) -> None:
    issue = work.issue(
        {"dk_risk": "low", "dk_size": "S", "dk_priority": "P3", "priority": 0, "labels": ["risk:high"], "tags": ["t"]}
    )
    assert (issue["dk_risk"], issue["dk_size"], issue["dk_priority"], issue["tags"]) == ("low", "S", "P3", ["t"])


def test_what_is_no_issue_is_counted_and_left_out(work: Workplace) -> None:
    rows: list[Any] = [
        {"id": "x"},
        {"id": "gone", "status": "tombstone", "dk_risk": "severe"},
        {"id": "gone2", "status": "deleted"},
        {"id": "gone3", "deleted": True},
        {"id": "gone4", "deleted_at": "2026-01-01T00:00:00Z"},
        {"issue_id": "x", "depends_on_id": "y", "type": "blocks"},
        {"id": 7, "issue_id": "x", "author": "me", "text": "a comment"},
        {"_type": "memory", "id": "m", "value": "v"},
        ["a", "list"],
        {"id": "x", "_type": "issue", "dk_size": "S"},
        {"id": "was"},
        {"id": "was", "status": "tombstone"},
    ]
    runs = [run("r1", "x"), run("r2", "gone"), run("r3", "nobody"), run("r4", None), run("r5", "was"), run("r6", "x")]
    report = work.build(rows, runs)
    assert report.issues_read == 12
    assert report.issues_kept == 1
    assert report.issues_left_out == {"deleted": 5, "not an issue": 4, "replaced by a later row": 2}
    assert report.runs_left_out == {"deleted issue": 2, "unknown issue": 1, "no issue_id": 1}
    assert [e.run_id for e in work.examples] == ["r1", "r6"]
    assert work.examples[0].planner_input.issue.dk_size == "S"
    assert "left out of 6 runs: 2 deleted issue, 1 no issue_id, 1 unknown issue" in report.messages
    assert "left out of 12 issue rows: 5 deleted, 4 not an issue, 2 replaced by a later row" in report.messages


@pytest.mark.parametrize(
    ("action", "label"),
    [
        ({"swarm_id": None}, ("serial_handoff", 1, NA, NA)),
        ({"swarm_id": "serial_handoff", "max_candidates": 3, "max_minutes": 20}, ("serial_handoff", 1, 15, NA)),
        ({"swarm_id": "speculate_vote", "max_candidates": 9, "max_minutes": 500}, ("speculate_vote", 3, 120, NA)),
        ({"swarm_id": "speculate_vote", "max_iterations": 3, "max_minutes": "50"}, ("speculate_vote", NA, 45, NA)),
    ],
)
def test_labels_of_code(work: Workplace, action: dict[str, Any], label: tuple[Any, ...]) -> None:
    assert work.label(action) == label


def test_labels_of_other_job_types(work: Workplace) -> None:
    vote = {"swarm_id": "speculate_vote", "max_minutes": 60, "max_iterations": 4}
    assert work.label(vote, job_type="fab-world", domain="fab_world") == ("speculate_vote", 3, 60, 3)
    assert work.label(vote, job_type="fab-asset", domain="fab_asset") == ("speculate_vote", NA, 60, 3)


def test_world_and_objective(work: Workplace) -> None:
    fab = {"job_type": "fab-world", "domain": "fab_world"}
    runs = [
        run("r1", "x", at=1, universe_id="u", objective_id="o", **fab),
        run("r2", "x", at=2, universe_id="v", **fab),
        run("r3", "y", at=3, **fab),
    ]
    work.build([{"id": "x"}, {"id": "y", "universe_id": "u"}], runs)
    given = [e.planner_input for e in work.examples]
    assert [x.universe_id for x in given] == ["u", "v", "u"]
    assert given[0].universe_defaults.objective_id == "o"
    assert [r.run_id for r in given[2].history.last_n_similar_runs] == ["r1"]


def test_history_starts_strictly_earlier_and_is_limited(work: Workplace) -> None:
    runs = [run(f"r{i}", "x", at=i // 2) for i in range(8)]
    work.build([{"id": "x"}], runs, n_similar=3)
    histories = [[r.run_id for r in e.planner_input.history.last_n_similar_runs] for e in work.examples]
    assert histories[:4] == [[], [], ["r0", "r1"], ["r0", "r1"]]
    assert histories[6] == ["r4", "r5", "r2"]
    assert read_file(work.out / "meta.json", DatasetMeta).n_similar_runs == 3


def test_same_input_same_bytes(work: Workplace) -> None:
    issues, runs = [{"id": "x"}], [run(f"r{i}", "x", at=i) for i in range(12)]
    work.build(issues, runs)
    before = {p.name: p.read_bytes() for p in work.out.iterdir()}
    with pytest.raises(PlannerError, match="already exists"):
        work.build(issues, runs)
    work.build(issues, runs[::-1], replace=True)
    assert {p.name: p.read_bytes() for p in work.out.iterdir()} == before


GOOD_ISSUE, GOOD_RUN = {"id": "x"}, run("r", "x")


@pytest.mark.parametrize(
    ("issues", "runs", "message"),
    [
        (
            [GOOD_ISSUE, {"id": "y", "dk_risk": "severe"}],
            [GOOD_RUN],
            'issues.jsonl, line 2, at $.dk_risk: found "severe"; expected one of ',
        ),
        ([{"id": "y", "priority": 7}], [GOOD_RUN], "issues.jsonl, line 1, at $.priority: found 7; expected `int` <= 4"),
        (
            [{"id": "y", "labels": ["a", "risk:severe"]}],
            [GOOD_RUN],
            "issues.jsonl, line 1, at $.labels[1]: found risk:severe; expected one of risk:low, risk:medium, ",
        ),
        ([{"id": 5}], [GOOD_RUN], "issues.jsonl, line 1, at $.id: found 5; expected `str`"),
        (["", GOOD_ISSUE, "{not json"], [GOOD_RUN], "issues.jsonl, line 3: found {not json; expected a JSON document"),
        ([], [GOOD_RUN], "issues.jsonl: found an empty file; expected at least one JSON line"),
        ([GOOD_ISSUE], [], "runs.jsonl: found an empty file; expected at least one JSON line"),
        ([GOOD_ISSUE], [GOOD_RUN, "]"], "runs.jsonl, line 2: found ]; expected a JSON document"),
        (
            [GOOD_ISSUE],
            [GOOD_RUN, run("r", "x", at=1)],
            "runs.jsonl, line 2, at $.run_id: found r; expected a run_id of its own (",
        ),
        (
            [GOOD_ISSUE],
            [{**GOOD_RUN, "started_ms": 10**15}],
            "runs.jsonl, line 1, at $.started_ms: found 1000000000000000; expected Unix milliseconds before the year",
        ),
        (
            [GOOD_ISSUE],
            [{**GOOD_RUN, "started_ms": -1}],
            "runs.jsonl, line 1, at $.started_ms: found -1; expected `int` >= 0",
        ),
        (
            [GOOD_ISSUE],
            [{**GOOD_RUN, "runtime": {}}],
            "runs.jsonl, line 1, at $.runtime: found no such key; expected the key `duration_ms`",
        ),
        ([GOOD_ISSUE], [run("r", "z")], "runs.jsonl: found 1 runs, none of an issue in "),
    ],
)
def test_errors_name_the_place_and_leave_nothing(
    work: Workplace, issues: list[Any], runs: list[Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        work.build(issues, runs)
    assert message in str(caught.value)
    assert str(work.path) in str(caught.value)
    assert sorted(p.name for p in work.path.iterdir()) == ["issues.jsonl", "runs.jsonl"]


def test_a_missing_file_and_a_negative_number(work: Workplace) -> None:
    with pytest.raises(DataError, match=r"issues\.jsonl: expected a readable file"):
        build_dataset([work.issues], [work.runs], work.out)
    with pytest.raises(DataError, match="found -1"):
        build_dataset([work.issues], [work.runs], work.out, n_similar=-1)


@pytest.mark.skipif(not REVEREND.is_dir(), reason=f"the real sample is not here: {REVEREND}")
def test_the_real_sample(tmp_path: Path) -> None:
    report = build_dataset([REVEREND / "issues.jsonl"], [REVEREND / "runs.jsonl"], tmp_path / "out")
    assert (report.issues_read, report.runs_read, report.examples) == (218, 183, 183)
    assert report.issues_left_out == report.runs_left_out == {}
    assert report.split_counts == {"train": 146, "val": 18, "test": 19}
    assert report.n_labels == 1
    assert any("nothing to learn" in message for message in report.messages)
    for i, line in enumerate((tmp_path / "out" / "dataset.jsonl").read_bytes().splitlines(), 1):
        example = read(line, DatasetExample, "dataset.jsonl", i)
        assert PlannerInputEncoder().encode(example.planner_input).shape == (3779,)
