"""Several actions tried on one issue: known outcomes, the best as label, and no history of what was not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workplace import Workplace, run

from planner_core.data.dataset import load_dataset
from planner_core.data.describe import describe
from planner_core.errors import DataError

SERIAL, VOTE = ["serial_handoff", 1, "NA", "NA"], ["speculate_vote", 2, 30, "NA"]


def tried(action: list[Any], passed: bool, minutes: int, *, winner: bool = False) -> dict[str, Any]:
    status = "success" if passed else "failed"
    outcome = {"status": status, "duration_ms": minutes * 60_000, "cost_usd": 0.5, "all_gates_passed": passed}
    return {"action": action, "outcome": outcome, "is_winner": winner}


BENCH = [tried(SERIAL, False, 40), tried(VOTE, True, 20, winner=True)]


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_they_are_candidates_of_the_example_and_the_winner_its_label(work: Workplace) -> None:
    runs = [run("r", "x", counterfactuals=BENCH), run("s", "x", at=9, counterfactuals=BENCH)]
    report = work.build([{"id": "x"}], runs)
    assert (report.several_known, report.label_source) == (2, "best_of_k")
    assert any("2 of 2 examples know what came of several actions" in message for message in report.messages)

    dataset = load_dataset(work.out)
    found = describe(dataset)
    assert (found["known"], found["label_source"], found["outcomes"]) == ("all", "best_of_k", "realised")
    outcomes = dataset.everything.outcomes
    assert outcomes is not None
    columns = [dataset.action_space.index[tuple(action)] for action in (SERIAL, VOTE)]
    assert outcomes.passed[0, columns].tolist() == [0.0, 1.0]
    assert outcomes.minutes[1, columns].tolist() == [40.0, 20.0]
    assert np.isnan(outcomes.passed).sum(axis=1).tolist() == [148, 148]
    assert dataset.everything.action.tolist() == [columns[1]] * 2

    line = work.lines[1]
    assert line["executed"]["action"] == ["serial_handoff", 1, 30, None]  # what was run stays what was run
    assert line["executed"]["evidence"] is True
    (earlier,) = line["planner_input"]["history"]["last_n_similar_runs"]
    assert earlier["run_id"] == "r" and "counterfactuals" not in earlier


def test_some_runs_alone_do_not_make_labels_the_best_of_k(work: Workplace) -> None:
    report = work.build([{"id": "x"}], [run("r", "x", counterfactuals=BENCH), run("s", "x", at=9)])
    assert (report.several_known, report.label_source) == (1, "executed_plan")
    assert json.loads((work.out / "meta.json").read_text())["label_source"] == "executed_plan"
    assert load_dataset(work.out).everything.known == "all"


def test_without_a_winner_the_label_is_what_was_executed(work: Workplace) -> None:
    report = work.build(
        [{"id": "x"}], [run("r", "x", counterfactuals=[tried(SERIAL, False, 40), tried(VOTE, True, 2)])]
    )
    assert report.label_source == "executed_plan"
    assert work.lines[0]["label_action"]["budgets"]["max_minutes_bin"] == 30


@pytest.mark.parametrize(
    ("counterfactuals", "path", "expected"),
    [
        ([tried(["best_of_n", 1, 30, "NA"], True, 1)], "[0].action", "default action space"),
        ([tried(["serial_handoff", 1, 90, "NA"], True, 1)], "[0].action", "default action space"),
        ([tried(["serial_handoff", 1, 30, 3], True, 1)], "[0].action", "job type code"),
        ([tried(VOTE, True, 1), tried(VOTE, False, 1)], "[1].action", "each action once"),
        ([tried(VOTE, True, 1, winner=True), tried(SERIAL, True, 1, winner=True)], "[1].is_winner", "one winner"),
        ([{"action": VOTE, "outcome": {"status": "won", "duration_ms": 1}}], "[0].outcome.status", "one of failed"),
        ([{"action": VOTE[:3], "outcome": {"status": "failed", "duration_ms": 1}}], "[0].action", "length 4"),
    ],
)
def test_what_is_wrong_names_its_place_and_nothing_is_written(
    work: Workplace, counterfactuals: list[Any], path: str, expected: str
) -> None:
    with pytest.raises(DataError) as caught:
        work.build([{"id": "x"}], [run("s", "x"), run("r", "x", at=1, counterfactuals=counterfactuals)])
    assert caught.value.line == 2
    assert caught.value.path == "$.counterfactuals" + path
    assert expected in caught.value.expected
    assert not work.out.exists()
