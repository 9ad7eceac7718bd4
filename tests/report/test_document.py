"""The figures of a report are those of the evaluation, and what only the report says follows from its definition."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from planner_core.action_space import ActionSpace
from planner_core.data.dataset import load_dataset
from planner_core.errors import PlannerError
from planner_core.harness.report import make_report
from planner_core.utility import weight_table

SPACE = ActionSpace()


def rows_of(report):
    return {row.key: row for row in report.rows}


def test_the_rows_are_the_metrics_of_the_evaluation(known):
    rows, found = rows_of(known), known.evaluation
    assert list(rows) == ["as_run", "heuristic", "best_constant", "policy"]
    for key, document in (
        ("heuristic", found["heuristic"]),
        ("best_constant", found["best_constant"]),
        ("policy", found),
    ):
        assert rows[key].basis == "known"
        assert rows[key].figures.pass_rate.estimate == pytest.approx(document["pass_rate"])
        assert rows[key].figures.cost_usd.estimate == pytest.approx(document["mean_cost_usd"])
        assert rows[key].figures.utility.estimate == pytest.approx(document["mean_utility"])
        assert rows[key].cost_per_solved_usd == pytest.approx(document["cost_per_pass_usd"])
    as_run = rows["as_run"].figures
    assert rows["as_run"].basis == "observed"
    assert as_run.pass_rate.estimate == pytest.approx(found["as_run"]["pass_rate"])
    assert as_run.utility.estimate == pytest.approx(found["as_run"]["mean_utility"])
    assert as_run.cost_usd.low < as_run.cost_usd.estimate < as_run.cost_usd.high


def test_on_logs_the_rows_are_the_estimates(logged):
    rows, values = rows_of(logged), logged.evaluation["values"]
    for key in ("heuristic", "policy"):
        estimate = values[f"{key} against as_run"]["value"]
        assert rows[key].basis == "estimated"
        assert msgspec.to_builtins(rows[key].figures.cost_usd) == estimate["cost_usd"]
    was = values["policy against as_run"]["as_run"]
    assert rows["as_run"].figures.utility.estimate == pytest.approx(was["utility"]["estimate"])
    assert rows["as_run"].figures.utility.low == pytest.approx(was["utility"]["low"])
    assert logged.against == "what was run" and known_against(logged) == "as_run"


def known_against(report):
    return report.evaluation["against"]


def test_the_difference_is_that_of_the_verdict(known, logged):
    for report, reference in ((known, "heuristic"), (logged, "as_run")):
        value = report.evaluation["values"][f"policy against {reference}"]
        assert msgspec.to_builtins(report.difference) == value["value"]["difference"]
        assert report.issues == value["issues"]


def test_groups_add_up_to_the_whole(known):
    """Sizes part the rows: the mean over all is the mean of the groups by their rows."""
    whole = known.difference
    for by in ("size", "risk", "priority"):
        groups = [group.value for group in known.changes.groups if group.by == by]
        assert sum(group.rows for group in groups) == known.changes.rows
        assert sum(round(group.changed * group.rows) for group in groups) == known.changes.changed
        for metric in ("pass_rate", "cost_usd"):
            parts = [group.rows * getattr(group.difference, metric).estimate for group in groups if not group.reasons]
            if all(not group.reasons for group in groups):
                assert sum(parts) / known.changes.rows == pytest.approx(getattr(whole, metric).estimate)


def test_the_largest_changes_are_known_outcomes(known, world):
    data = load_dataset(world)
    test = data.split("test")
    weights = weight_table(data.meta.utility)
    assert known.changes.basis == "known" and 0 < len(known.changes.largest) <= 10
    sizes = [abs(issue.utility) for issue in known.changes.largest]
    assert sizes == sorted(sizes, reverse=True)
    ids = [given.issue.issue_id for given in test.inputs]
    first = known.changes.largest[0]
    rows = [i for i, name in enumerate(ids) if name == first.issue_id]
    assert len(rows) == first.runs
    if len(rows) == 1:
        row, out = rows[0], test.outcomes
        new = find(first.becomes)
        old = find(first.was)
        passes = float(out.passed[row, new]) - float(out.passed[row, old])
        usd = float(out.cost_usd[row, new]) - float(out.cost_usd[row, old])
        minutes = float(out.minutes[row, new]) - float(out.minutes[row, old])
        assert (first.passes, first.cost_usd) == (pytest.approx(passes), pytest.approx(usd))
        w = weights[test.priority[row]]
        assert first.utility == pytest.approx(w[0] * passes - w[1] * minutes / 60 - w[2] * usd)


def find(action):
    return next(i for i, each in enumerate(SPACE.actions) if list(each) == list(action))


def test_moves_count_every_changed_run_once(known):
    assert sum(move.rows for move in known.changes.moves) <= known.changes.changed
    assert all(move.was != move.becomes for move in known.changes.moves)
    counts = [move.rows for move in known.changes.moves]
    assert counts == sorted(counts, reverse=True)


def test_on_logs_moves_start_from_the_raw_numbers(logged, logs):
    """What was run is told as it was, not as the nearest bins."""
    executed = load_dataset(logs).everything.executed
    raw = {
        (int(executed.candidates[i]), int(executed.minutes[i]) if executed.minutes_limited[i] else None)
        for i in range(len(executed))
    }
    assert {(move.was[1], move.was[2]) for move in logged.changes.moves} <= raw
    assert logged.changes.basis == "predicted"


def test_bins_hold_every_run(known):
    assert sum(row.rows for row in known.calibration) == known.evaluation["predictions"]["rows"]
    for row in known.calibration:
        assert row.low <= row.realised <= row.high and row.issues <= row.rows
    gap = sum(row.rows * abs(row.predicted - row.realised) for row in known.calibration)
    assert gap / known.evaluation["predictions"]["rows"] == pytest.approx(known.evaluation["predictions"]["ece"])


def test_the_choices_start_from_the_policy_as_it_is(known):
    found = known.evaluation["sensitivity"]
    at = next(choice for choice in found["choices"] if choice["multiple"] == 1.0)
    assert at["changed"] == 0.0
    assert at["pass_rate"]["estimate"] == pytest.approx(known.evaluation["pass_rate"])
    costs = [choice["cost_usd"]["estimate"] for choice in found["choices"]]
    assert costs[0] < costs[-1]


@pytest.fixture
def no_model(monkeypatch):
    """Without an outcome model, which a handful of rows does not make better and which takes seconds to learn."""
    monkeypatch.setattr("planner_core.harness.evaluation.predicted", lambda *_: None)


def stripped(lines, test=20, **executed):
    """Lines of a log of which the last ``test`` are judged, with some keys of ``executed`` replaced."""
    for i, line in enumerate(lines):
        line["split"] = "test" if i >= len(lines) - test else "train"
        line["executed"] |= executed
        line.pop("candidates", None)
    return lines


def test_no_cost_known_is_no_cost_told(write_lines, world_lines, registry, no_model, tmp_path):
    lines = stripped(world_lines(60), cost_usd=None, candidates=None)
    report = make_report(registry, dataset=write_lines(tmp_path / "D", lines), policy="heuristic")
    assert report.priced is False
    assert {row.figures.cost_usd.estimate for row in report.rows} == {None}
    assert {row.cost_per_solved_usd for row in report.rows} == {None}
    assert report.difference.cost_usd.estimate is None
    assert "no judged run says what it cost: utility counts USD as 0" in report.left_out
    observed = rows_of(report)["as_run"].figures
    assert observed.utility.estimate is not None and observed.pass_rate.estimate is not None


def test_one_judged_row(write_lines, world_lines, registry, no_model, tmp_path):
    report = make_report(
        registry, dataset=write_lines(tmp_path / "D", stripped(world_lines(30), 1)), policy="heuristic"
    )
    assert report.evaluation["rows"] == 1
    assert report.evaluation["verdict"]["answer"] == "cannot_tell"
    assert all(group.value.reasons for group in report.changes.groups)


def test_runs_that_the_infrastructure_ended_are_left_out(write_lines, world_lines, registry, no_model, tmp_path):
    lines = stripped(world_lines(60))
    for line in lines[-5:]:
        line["executed"]["evidence"] = False
    meta = {"rounded": {"minutes": {"90 to 60": 7}}, "missing": {"propensity": 3}, "noted": {"odd swarm": 2}}
    report = make_report(registry, dataset=write_lines(tmp_path / "D", lines, **meta), policy="heuristic")
    assert "5 runs ended for reasons that are not the agent's and are not counted" in report.left_out
    assert "minutes rounded: 90 to 60 (7 runs)" in report.left_out
    assert "3 runs of the whole dataset do not say propensity" in report.left_out
    assert "2 runs of the whole dataset: odd swarm" in report.left_out


def test_outcomes_without_runs_are_reported_too(dataset, write_lines, world_lines, registry, tmp_path):
    """An older dataset: outcomes of every action, and nothing of what was run."""
    lines = stripped(world_lines(60))
    known = {name: getattr(dataset.everything.outcomes, name)[:60] for name in ("passed", "minutes", "cost_usd")}
    for line in lines:
        del line["executed"]
    report = make_report(registry, dataset=write_lines(tmp_path / "D", lines, known), policy="heuristic")
    assert [row.key for row in report.rows] == ["heuristic", "best_constant", "policy"]
    assert (report.known, report.first_ms, report.calibration, report.priced) == ("all", None, [], True)
    assert report.changes.changed == 0 and report.changes.moves == [] and report.changes.largest == []
    assert "decides as" in report.evaluation["verdict"]["text"] or report.difference.utility.estimate == 0.0


def test_nothing_known_is_refused(write_lines, world_lines, registry, no_model, tmp_path):
    lines = stripped(world_lines(30))
    for line in lines:
        del line["executed"]
    with pytest.raises(PlannerError, match="no outcome is known of any example"):
        make_report(registry, dataset=write_lines(tmp_path / "D", lines), policy="heuristic")


def test_a_bundle_gives_the_report_of_its_run(known, world, outcome_run, registry, tmp_path):
    """Its graph tells what it expects of every action, so that it chooses anew as the run does."""
    from planner_export.bundle import export_bundle

    export_bundle("outcome", registry, tmp_path / "bundle", run=outcome_run)
    report = make_report(registry, dataset=world, source=tmp_path / "bundle")
    assert report.source["policy"] == "outcome" and report.source["digest"] != known.source["digest"]
    assert report.difference.utility.estimate == pytest.approx(known.difference.utility.estimate)
    assert len(report.calibration) == len(known.calibration)
    costs = [
        [choice["cost_usd"]["estimate"] for choice in each.evaluation["sensitivity"]["choices"]]
        for each in (report, known)
    ]
    assert costs[0] == pytest.approx(costs[1], abs=0.01)


def test_other_weights_change_the_document(known, world, outcome_run, registry):
    report = make_report(registry, dataset=world, source=outcome_run, value=["usd=2"])
    assert report.evaluation["utility"]["P2"] == {**known.evaluation["utility"]["P2"], "cost": 2.0}
    assert report.difference.utility.estimate != known.difference.utility.estimate
    assert rows_of(report)["as_run"].figures.cost_usd == rows_of(known)["as_run"].figures.cost_usd


def test_the_document_is_json_without_nan(known, logged):
    for report in (known, logged):
        text = msgspec.json.encode(report)
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in the document"))
        assert np.isfinite(report.issues)
