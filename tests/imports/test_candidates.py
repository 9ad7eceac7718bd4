"""Several candidates recorded one by one: which rows are one run, and what that run is."""

from __future__ import annotations

import json

import pytest

MS = 1_772_359_200_000


def rows(*cells, **common):
    base = {"issue": "x", "started": MS, "result": "ok", "took_s": 5} | common
    return "".join(json.dumps(base | row) + "\n" for row in cells)


VOTE = {"agents": 3, "swarm": "vote", "timeout_min": 30}


def test_rows_of_one_issue_start_tool_and_action_are_one_run(place):
    content = rows(
        {"result": "fail", "took_s": 30, "cost": 1.0, "error_code": "lint", "input_tokens": 5},
        {"issue": "y", "cost": 9.0},
        {"result": "ok", "took_s": 10, "cost": 0.5, "input_tokens": 7},
        {"started": MS + 1, "cost": 9.0},
        {"model": "sonnet", "cost": 9.0},
        {"agents": 2, "cost": 9.0},
        **VOTE,
        model="opus",
    )
    report = place.table(content)
    run = next(run for run in place.runs if "candidates" in run)
    assert [run["issue_id"] for run in place.runs].count("x") == 4 and report.runs == 5
    assert run["candidates"] == [
        {"passed": False, "duration_ms": 30_000, "cost_usd": 1.0},
        {"passed": True, "duration_ms": 10_000, "cost_usd": 0.5},
    ]
    assert run["outcome"] == {"status": "success", "fail_codes": [], "gates": []}
    assert (run["runtime"]["duration_ms"], run["cost_usd_est"], run["tokens_in"]) == (30_000, 1.5, 12)
    assert run["action_executed"]["max_candidates"] == 3  # as allowed, though two are recorded
    assert report.sources[0].guessed["a run of several candidates passed if one of them did"] == 1


def test_without_a_number_the_rows_are_the_candidates(place):
    place.table(rows({"took_s": 1}, {"took_s": 2}))
    (run,) = place.runs
    assert run["action_executed"] == {
        **{"swarm_id": "speculate_vote", "max_candidates": 2, "max_minutes": None, "max_iterations": None}
    }


@pytest.mark.parametrize(
    ("results", "chosen", "status"),
    [
        (["fail", "timeout"], [None, None], "failed"),
        (["timeout", "timeout"], [None, None], "timeout"),
        (["fail", "ok"], [True, False], "failed"),
        (["timeout", "ok"], [False, True], "success"),
    ],
)
def test_how_a_run_of_several_ended(place, results, chosen, status):
    pairs = zip(results, chosen, strict=True)
    place.table(rows(*({"result": r, "winner": c, "took_s": i} for i, (r, c) in enumerate(pairs))))
    assert place.runs[0]["outcome"]["status"] == status


@pytest.mark.parametrize("serial", [{"agents": 1}, {"swarm": "serial"}])
def test_rows_that_were_allowed_one_agent_are_runs_of_their_own(place, serial):
    place.table(rows({"took_s": 1}, {"took_s": 2}, **serial))
    assert [run["run_id"] for run in place.runs] == [f"x@{MS}", f"x@{MS}#2"]


def test_days_are_no_start(place):
    report = place.table(rows({"took_s": 1}, {"took_s": 2}, started="2026-03-01"))
    assert report.runs == 2 and any("starts are days" in note for note in report.sources[0].notes)


def test_rows_of_a_run_id(place):
    told_apart = rows(
        {"rollout": "a", "started": MS + 500, "took_s": 1},
        {"run_id": "r2", "took_s": 9},
        {"rollout": "b", "result": "fail", "took_s": 2},
        run_id="r1",
    )
    place.table(told_apart)
    assert [(run["run_id"], len(run.get("candidates", []))) for run in place.runs] == [("r2", 0), ("r1", 2)]
    assert (place.runs[1]["started_ms"], place.runs[1]["runtime"]["duration_ms"]) == (MS, 2000)
    place.out = place.path / "again"
    assert place.table(rows({"took_s": 1}, {"took_s": 2}, run_id="r1", swarm="vote")).runs == 1


def test_equal_rows_count_once_unless_there_were_that_many(place):
    report = place.table(rows({}, {}, {"took_s": 6}, run_id="r1", swarm="vote"))
    assert report.sources[0].left_out == {"repeated, the same in every column": 1}
    assert len(place.runs[0]["candidates"]) == 2
    place.out = place.path / "again"
    report = place.table(rows({}, {}, {"took_s": 6}, **VOTE))
    assert report.sources[0].left_out == {} and len(place.runs[0]["candidates"]) == 3
    place.out = place.path / "numbered"
    report = place.table(rows({"rollout": 1}, {"rollout": 1}, {"rollout": 2}, **VOTE))
    assert report.sources[0].left_out == {"repeated, the same in every column": 1}


BAD = {
    "two rows of a run without a word for it": (
        rows({}, {"took_s": 6}, run_id="r"),
        "line 2: found another row of the run 'r', which line 1 has, too, and says otherwise; "
        "expected one row a run, or --map candidate=COLUMN",
    ),
    "another issue": (
        rows({}, {"issue": "y"}, run_id="r", swarm="vote"),
        "line 2: found 'y' for issue_id of run r; expected 'x', as line 1 says, or another run_id",
    ),
    "another start": (
        rows({}, {"started": MS + 5}, run_id="r", swarm="vote"),
        f"line 2: found {MS + 5} for started_ms of run r; expected {MS}",
    ),
    "another limit": (
        rows({"max_minutes": 5}, {"max_minutes": 9}, run_id="r", swarm="vote"),
        "line 2: found 9 for minutes of run r",
    ),
    "more than were allowed": (
        rows(*({"took_s": i} for i in range(4)), **VOTE),
        "line 4: found 4 different rows of one run; expected at most 3, the candidates it was allowed",
    ),
    "one candidate with two results": (
        rows({"rollout": 1}, {"rollout": 1, "result": "fail"}, run_id="r"),
        "line 2: found the candidate '1' of one run twice, with different results; expected each candidate once",
    ),
    "far too many": (
        rows(*({"took_s": i} for i in range(300))),
        "line 257: found more than 256 rows of one run; expected at most 256; --map run_id=COLUMN",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_that_contradict_each_other(place, case):
    content, said = BAD[case]
    assert place.refused_table(content).startswith("t.csv, " + said)


def test_rows_need_not_stand_together(place):
    """What is held are the rows of runs that are not complete."""
    one = [{"issue": f"i{i}", "started": MS + i, "took_s": 1} for i in range(50)]
    other = [{**row, "took_s": 2, "result": "fail"} for row in one]
    report = place.table(rows(*one, *other))
    assert report.runs == 50 and all(len(run["candidates"]) == 2 for run in place.runs)


def test_two_files_of_one_log_do_not_repeat_it(place):
    content = rows({"took_s": 1}, {"took_s": 2}, {"issue": "y"})
    first, second = place.file("a.jsonl", content), place.file("b.jsonl", content)
    report = place.read(first, second)
    assert (report.runs, report.repeated_runs) == (2, 2)
