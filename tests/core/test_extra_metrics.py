"""Metrics of plugins: by their own names everywhere, and one that cannot be had is said and left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from planner_core import NA, ActionSpace, Decision, Metric, PolicyContext
from planner_core.cli import reports
from planner_core.harness import extra_metrics as module
from planner_core.harness.evaluate import judge
from planner_core.harness.evaluation import baseline_decider, evaluate
from planner_requests import mean_candidate_minutes, unbounded_rate

SPACE = ActionSpace()
ACME, OTHER, OWN = "acme-planner 1.2", "other-planner 0.1", "swarm-planner 0.1.0"


def metric(name="mine", compute=lambda decision, examples, space: 0.5, **fields):
    return Metric(name, "A metric of a test.", compute, **fields)


@pytest.fixture
def given(plugged):
    """``given((origin, metric), ...)``: exactly these are registered."""

    def use(*records):
        module.extra_metrics.cache_clear()
        plugged("planner_metrics", *records)

    yield use
    module.extra_metrics.cache_clear()


@pytest.fixture
def judged(registry, dataset):
    """Metrics of the heuristic on the test split, and the whole document."""
    decider = baseline_decider(registry, PolicyContext())
    return lambda: evaluate("heuristic", decider, dataset, "test", registry, PolicyContext()).to_dict()


def test_what_a_metric_is_given(given, judged, dataset):
    seen = []
    given((ACME, metric(compute=lambda *what: seen.append(what) or 2)))
    document = judged()
    assert document["mine"] == 2.0 and document["heuristic"]["mine"] == 2.0
    decision, examples, space = seen[0]
    assert len(decision.action) == len(examples) == len(dataset.split("test")) and space == SPACE


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(2), 3, np.float64(0.0)])
def test_numbers_of_any_kind_become_json(value, given, judged):
    given((ACME, metric(compute=lambda *_: value)))
    assert json.loads(json.dumps(judged()["mine"])) == float(value)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), np.float32("-inf")])
def test_no_figure_is_null(value, given, judged, caplog):
    given((ACME, metric(compute=lambda *_: value)))
    document = judged()
    assert document["mine"] is None and document["heuristic"]["mine"] is None
    said = [] if value is None else [f"the metric 'mine' of acme-planner 1.2 is {float(value)}; it is left empty"]
    assert [record.getMessage() for record in caplog.records] == said


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda *_: exit(3), "SystemExit: 3"),
        (lambda *_: "0.5", "TypeError: it returned a str, expected a number or None"),
        (lambda *_: np.zeros(2), "TypeError: it returned a ndarray"),
        (lambda decision: 0.5, "TypeError"),
    ],
    ids=["raises", "exits", "text", "array", "signature"],
)
def test_one_that_fails_is_left_out(compute, said, given, judged, caplog):
    given((ACME, metric("bad", compute)), (OTHER, metric("good")))
    document = judged()
    assert "bad" not in document and "bad" not in document["heuristic"]
    assert document["good"] == document["heuristic"]["good"] == 0.5
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and f"the metric 'bad' of acme-planner 1.2 is left out: {said}" in warnings[0]


@pytest.mark.parametrize("name", ["ece", "mean_utility", "heuristic", "gap_closed", "risk_coverage", "n", "split"])
def test_a_built_in_name_is_refused(name, given, judged, caplog):
    given()
    before = judged()
    given((ACME, metric(name)))
    assert judged()[name] == before[name]
    assert f"the metric '{name}' of acme-planner 1.2 is left out: shadows the built-in '{name}'" in caplog.text


def test_everything_an_evaluation_says_is_reserved(given, judged):
    given()
    assert set(judged()) <= module.RESERVED


@pytest.mark.parametrize("thing", ["mine", None, metric(name="two words"), metric(name=3), metric(compute=None)])
def test_what_is_no_metric_is_left_out(thing, given, caplog):
    given((ACME, thing))
    assert module.extra_metrics() == ()
    assert "of acme-planner 1.2 is left out: " in caplog.text


def test_two_of_one_name(given, caplog):
    given((ACME, metric()), (OTHER, metric()))
    assert module.extra_metrics() == ()
    assert "claimed by acme-planner 1.2 and other-planner 0.1; uninstall one" in caplog.text


def test_a_built_in_plugin_keeps_its_name(given, caplog):
    given((OWN, metric()), (ACME, metric()))
    assert [offer.plugin.origin for offer in module.extra_metrics()] == ["swarm-planner 0.1.0"]
    assert "the metric 'mine' of acme-planner 1.2 is left out: shadows the built-in 'mine'" in caplog.text


@pytest.mark.parametrize(("better", "arrow"), [(1, "mine ↑"), (-1, "mine ↓"), (0, "mine ")])
def test_the_table_shows_it(better, arrow, given, judged):
    from rich.console import Console

    given((ACME, metric(better=better)))
    console = Console(width=200)
    with console.capture() as capture:
        console.print(*reports.evaluation_blocks(judged()), sep="\n")
    row = next(line for line in capture.get().splitlines() if "mine" in line)
    assert arrow in row and row.count("0.5000") == 2


# -- the two that ship


def decisions(*actions):
    index = np.array([SPACE.index[action] for action in actions], np.int64)
    return Decision({}, np.zeros((len(index), 150), np.float32), index, np.ones(len(index), np.float32))


def test_candidate_minutes_by_hand():
    chosen = decisions(
        ("serial_handoff", 1, 15, NA),
        ("speculate_vote", 3, 60, NA),
        ("speculate_vote", NA, 60, NA),
        ("speculate_vote", 2, NA, 5),
    )
    assert mean_candidate_minutes(chosen, None, SPACE) == (1 * 15 + 3 * 60) / 2
    assert unbounded_rate(chosen, None, SPACE) == 0.5


def test_candidate_minutes_where_nothing_is_limited():
    chosen = decisions(("speculate_vote", NA, NA, NA))
    assert mean_candidate_minutes(chosen, None, SPACE) is None
    assert unbounded_rate(chosen, None, SPACE) == 1.0


def test_every_evaluation_has_them(registry, dataset, runs):
    found = judge(baseline_decider(registry, PolicyContext()), dataset, "test").to_dict()
    actions = [
        SPACE.actions[index]
        for index in judge(baseline_decider(registry, PolicyContext()), dataset, "test").decision.action
    ]
    by_hand = [action.candidates * action.minutes for action in actions]  # the rules always limit both
    assert found["mean_candidate_minutes"] == pytest.approx(np.mean(by_hand))
    assert found["unbounded_rate"] == 0.0
    results = json.loads((runs["mlp"] / "results.json").read_text())
    assert {"mean_candidate_minutes", "unbounded_rate"} <= set(results["val"]) & set(results["test"]["heuristic"])
