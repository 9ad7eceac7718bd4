"""Decision logs and run logs become one dataset: who is joined with what, and what a run takes over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from workplace import START, Workplace, run

from planner_core.action_space import ActionSpace
from planner_core.cli.app import app
from planner_core.clock import rfc3339
from planner_core.contracts import INPUT_SCHEMA
from planner_core.data.dataset import load_dataset
from planner_core.errors import DataError

SERIAL = {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30}
SERIAL_KEY, VOTE_KEY = "serial_handoff|1|30|1", "speculate_vote|3|60|1"
ODDS = {SERIAL_KEY: 0.7, VOTE_KEY: 0.3}


def planner_input(issue_id: str, **issue: Any) -> dict[str, Any]:
    fields = {"dk_priority": "P1", "dk_risk": "low", "dk_size": "S", "dk_tool_hint": None, "dk_attempts": 2, "tags": []}
    return {
        "schema_version": INPUT_SCHEMA,
        "created_at": rfc3339(START),
        "universe_id": "decided",
        "job_type": "code",
        "universe_defaults": {},
        "issue": {"issue_id": issue_id, **fields, **issue},
        "history": {"last_n_similar_runs": []},
        "action_space": ActionSpace().to_dict(),
    }


def decision(name: str, issue_id: str, *, at: float = 0, **more: Any) -> dict[str, Any]:
    budgets = {"max_candidates_bin": 1, "max_minutes_bin": 30, "max_iterations_bin": "NA"}
    return {
        "schema_version": "swarm_planner.decision.v1",
        "decision_id": name,
        "time": rfc3339(START + round(at * 60_000)),
        "issue_id": issue_id,
        "job_type": "code",
        "input_hash": "ab" * 32,
        "mode": "enforce",
        "rollout": {"share": 0.7, "explore": 0.0, "salt": "s", "explore_within": 0.1},
        "arm": "model",
        "action": {"swarm_id": "serial_handoff", "budgets": budgets},
        "propensity": 0.7,
        "propensities": ODDS,
        "planner_input": planner_input(issue_id, tags=[name]),
        **more,
    }


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def log_of(work: Workplace, *decisions: dict[str, Any] | str) -> Path:
    path = work.path / "decisions.jsonl"
    path.write_text("".join((d if isinstance(d, str) else json.dumps(d)) + "\n" for d in decisions))
    return path


def test_a_run_takes_over_what_was_decided(work: Workplace) -> None:
    log = log_of(work, decision("d1", "x"), decision("d2", "x"))
    report = work.build([{"id": "x"}], [run("r", "x", at=5, decision_id="d1")], decisions=[log])
    [line] = work.lines
    assert line["planner_input"] == planner_input("x", tags=["d1"])
    assert line["executed"]["propensity"] == 0.7 and line["executed"]["propensities"] == ODDS
    assert line["executed"]["action"] == ["serial_handoff", 1, 30, None]
    assert report.decisions == {"decisions": 2, "joined by decision_id": 1}
    assert report.missing == {"cost_usd": 1, "candidates": 1}
    executed = load_dataset(work.out).split("train").executed
    assert executed is not None and executed.propensity[0] == pytest.approx(0.7)
    assert executed.propensity_values.tolist() == pytest.approx([0.7, 0.3])
    meta = json.loads((work.out / "meta.json").read_text())
    assert meta["decisions"] == report.decisions
    assert any("decision logs: 2 decisions" in message for message in report.messages)


@pytest.mark.parametrize(("at", "found"), [(5, "d1"), (10, "d2"), (15, "d2"), (30, "d3"), (-1, None)])
def test_without_a_name_it_is_the_latest_decision_before(work: Workplace, at: int, found: str | None) -> None:
    """Of the issue's own, and one of the same moment counts."""
    rows = [decision("d2", "x", at=10), decision("d1", "x"), decision("d3", "x", at=20), decision("y", "y", at=4)]
    report = work.build([{"id": "x"}, {"id": "y"}], [run("r", "x", at=at)], decisions=[log_of(work, *rows)])
    [line] = work.lines
    if found is None:
        assert line["planner_input"]["universe_id"] == "default" and line["executed"]["propensity"] is None
        assert report.decisions["no decision of the issue before the run"] == 1
    else:
        assert line["planner_input"]["issue"]["tags"] == [found]
        assert report.decisions["joined to the latest decision of the issue"] == 1


def test_another_plan_than_was_decided_has_no_known_probability(work: Workplace) -> None:
    """Somebody changed it by hand: what was known stays, the odds do not."""
    other = {"swarm_id": "speculate_vote", "max_candidates": 3, "max_minutes": 60}
    report = work.build([{"id": "x"}], [run("r", "x", action=other)], decisions=[log_of(work, decision("d1", "x"))])
    [line] = work.lines
    assert line["executed"]["propensity"] is None and line["executed"]["propensities"] is None
    assert line["executed"]["action"] == ["speculate_vote", 3, 60, None]
    assert line["planner_input"]["issue"]["tags"] == ["d1"]
    assert report.decisions["another plan was run than was decided"] == 1


def test_the_same_plan_in_other_words_is_the_plan(work: Workplace) -> None:
    """No limit, and the number that stands for it."""
    budgets = {"max_candidates_bin": "NA", "max_minutes_bin": "NA", "max_iterations_bin": "NA"}
    row = decision("d1", "x", action={"swarm_id": "speculate_vote", "budgets": budgets})
    row |= {"propensity": 0.4, "propensities": {"speculate_vote|2|240|1": 0.4, VOTE_KEY: 0.6}}
    executed = {"swarm_id": "speculate_vote", "max_candidates": 2, "max_minutes": None}
    work.build([{"id": "x"}], [run("r", "x", action=executed)], decisions=[log_of(work, row)])
    assert work.lines[0]["executed"]["propensity"] == 0.4


def test_a_run_that_does_not_say_what_was_run_did_what_was_decided(work: Workplace) -> None:
    runs = [run("r1", "x", action={"swarm_id": None}), run("r2", "x", at=9)]
    report = work.build([{"id": "x"}], runs, decisions=[log_of(work, decision("d1", "x"))])
    first = work.lines[0]
    assert first["executed"]["action"] == ["serial_handoff", 1, 30, None] and first["executed"]["propensity"] == 0.7
    assert first["label_action"]["budgets"]["max_minutes_bin"] == 30
    assert report.decisions["what was run is taken from the decision, for the run does not say it"] == 1


def test_history_shows_what_was_run(work: Workplace) -> None:
    runs = [run("r1", "x", action={"swarm_id": None}), run("r2", "y", at=9)]
    work.build([{"id": "x"}, {"id": "y"}], runs, decisions=[log_of(work, decision("d1", "x"))])
    [shown] = work.lines[1]["planner_input"]["history"]["last_n_similar_runs"]
    assert shown["action_executed"] == {**SERIAL, "max_iterations": None}


@pytest.mark.parametrize(
    ("own", "propensity", "whole"),
    [
        ({"propensity": 0.7}, 0.7, True),
        ({"propensity": 0.2}, 0.2, False),
        ({"propensities": {SERIAL_KEY: 0.5}}, None, False),
    ],
)
def test_what_the_run_itself_says_goes_before(work: Workplace, own: Any, propensity: Any, whole: bool) -> None:
    work.build([{"id": "x"}], [run("r", "x", **own)], decisions=[log_of(work, decision("d1", "x"))])
    executed = work.lines[0]["executed"]
    assert executed["propensity"] == propensity
    assert executed["propensities"] == (ODDS if whole else own.get("propensities"))


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ({"decision_id": "lost"}, "decision_id is in no decision log"),
        ({"decision_id": "of y"}, "the decision is of another issue or job type"),
        ({"job_type": "fab-asset", "domain": "fab_asset"}, "the decision is of another issue or job type"),
    ],
)
def test_a_decision_that_cannot_be_the_runs(work: Workplace, given: Any, counted: str) -> None:
    log = log_of(work, decision("d1", "x"), decision("of y", "y"))
    report = work.build([{"id": "x"}], [run("r", "x", **given)], decisions=[log])
    [line] = work.lines
    assert line["planner_input"]["universe_id"] == "default" and line["executed"]["propensity"] is None
    assert report.decisions[counted] == 1


def test_torn_and_repeated_lines_and_lines_without_an_input(work: Workplace) -> None:
    bare = decision("d2", "x", at=3)
    del bare["planner_input"]
    log = log_of(work, decision("d1", "x"), '{"schema_version":"swarm', bare)
    runs = [run("r1", "x"), run("r2", "x", at=4)]
    report = work.build([{"id": "x"}], runs, decisions=[log, log])
    assert report.decisions == {
        **{"decisions": 4, "torn lines": 2, "repeated": 2},
        **{"joined to the latest decision of the issue": 2},
    }
    first, second = work.lines
    assert first["planner_input"]["universe_id"] == "decided" and second["planner_input"]["universe_id"] == "default"
    assert [line["executed"]["propensity"] for line in (first, second)] == [0.7, 0.7]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"arm": "x"}, r"decisions\.jsonl, line 1, at \$\.arm"),
        ({"propensities": {"nonsense": 0.5}}, r"decisions\.jsonl, at \$\.propensities"),
        ({"planner_input": {"issue": 3}}, r"planner_input of decision d1"),
    ],
)
def test_a_bad_decision_is_told_and_nothing_is_written(work: Workplace, change: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        work.build([{"id": "x"}], [run("r", "x")], decisions=[log_of(work, decision("d1", "x", **change))])
    assert not work.out.exists()


def test_a_log_without_a_decision_is_told(work: Workplace) -> None:
    with pytest.raises(DataError, match="no decision, 1 torn lines"):
        work.build([{"id": "x"}], [run("r", "x")], decisions=[log_of(work, '{"schema')])
    with pytest.raises(DataError, match="readable decision log"):
        work.build([{"id": "x"}], [run("r", "x")], decisions=[work.path / "none.jsonl"])
    assert not work.out.exists()


def test_without_logs_nothing_is_said_of_decisions(work: Workplace) -> None:
    report = work.build([{"id": "x"}], [run("r", "x", decision_id="d1")])
    assert report.decisions == {} and "decisions" not in json.loads((work.out / "meta.json").read_text())


def test_on_the_command_line(work: Workplace) -> None:
    from typer.testing import CliRunner

    log = log_of(work, decision("d1", "x"))
    work.issues.write_text('{"id": "x"}\n')
    work.runs.write_text(json.dumps(run("r", "x")) + "\n")
    command = ["data", "build", "--issues", str(work.issues), "--runs", str(work.runs), "--decisions", str(log)]
    done = CliRunner().invoke(app, [*command, "--out", str(work.out)])
    assert done.exit_code == 0 and "1 joined to the latest decision of the issue" in " ".join(done.output.split())
