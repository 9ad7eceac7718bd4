"""Judging a decider on a dataset: floor, oracle, abstentions, chunks, run and bundle."""

from __future__ import annotations

import numpy as np
import pytest
from small_decisions import SPACE, decision

from planner_core.errors import PlannerError
from planner_core.harness.evaluate import decide_split, judge
from planner_core.harness.evaluation import baseline_decider, evaluate
from planner_core.harness.outcome_metrics import outcome_columns
from planner_core.harness.run_dir import default_context
from planner_core.utility import weight_table


@pytest.fixture(scope="module")
def rules(registry):
    return baseline_decider(registry, default_context())


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_heuristic_is_the_floor_of_the_world(dataset, rules, split):
    """The world computed its floor without the harness; the two must meet."""
    found = judge(rules, dataset, split).to_dict()
    floor = dataset.meta.floor[split]
    assert found["mean_utility"] == pytest.approx(floor["mean_utility"], abs=1e-5)
    assert found["exact_match_accuracy"] == pytest.approx(floor["exact_match_accuracy"])
    assert found["gap_closed"] == pytest.approx(0.0, abs=1e-4)


def test_a_policy_that_knows_the_labels(dataset):
    def oracle(batch):  # 40 rows are one chunk, so this is asked once
        return decision([SPACE.actions[i] for i in dataset.split("test").action]), None

    found = judge(oracle, dataset, "test").to_dict()
    assert found["exact_match_accuracy"] == 1.0 and found["unique_action_ratio"] == 1.0
    assert found["oracle_match_rate"] == 1.0 and found["mean_regret"] == pytest.approx(0.0, abs=1e-9)
    assert found["gap_closed"] > 1.0  # the labels know the noise, which the ceiling does not


def test_abstentions(dataset, runs, registry):
    from planner_core.harness.sources import open_source

    decider = open_source("mlp", registry, runs["mlp"], {}).decider
    sure = decide_split(decider, dataset.split("test"))[0].confidence
    threshold = float(np.median(sure))
    metrics = judge(decider, dataset, "test", threshold=threshold).to_dict()
    assert metrics["abstain_rate"] == pytest.approx((sure < threshold).mean())
    plain = judge(decider, dataset, "test").to_dict()
    assert "abstain_rate" not in plain and plain["exact_match_accuracy"] == metrics["exact_match_accuracy"]


@pytest.mark.parametrize("chunk", [1, 7, 40, 1000])
def test_chunks_change_nothing(dataset, rules, chunk):
    whole, _ = decide_split(rules, dataset.split("test"))
    parts, _ = decide_split(rules, dataset.split("test"), chunk)
    assert np.array_equal(whole.action, parts.action) and np.array_equal(whole.action_probs, parts.action_probs)


def test_empty_split(dataset, rules, tmp_path, write_lines, world_lines):
    from planner_core.data.dataset import load_dataset

    empty = load_dataset(write_lines(tmp_path / "d", world_lines(3)))
    with pytest.raises(PlannerError, match="the split 'test' is empty"):
        judge(rules, empty, "test")


def test_document_holds_the_heuristic_on_the_same_rows(dataset, rules, registry):
    document = evaluate("heuristic", rules, dataset, "test", registry, default_context()).to_dict()
    for name in ("exact_match_accuracy", "mean_utility", "ece", "unique_actions"):
        assert document[name] == document["heuristic"][name]
    assert document["floor"] == dataset.meta.floor["test"] and document["ceiling"] == dataset.meta.ceiling["test"]
    assert document["intervals"]["mean_utility"]["difference to heuristic"] == pytest.approx([0.0, 0.0], abs=1e-12)


@pytest.mark.parametrize("policy", ["mlp", "joint"])
def test_run_and_bundle_are_judged_alike(policy, dataset, runs, bundles, registry):
    """A bundle holds calibrated scores only; what was before the calibration is recovered from them."""
    from planner_core.harness.sources import open_source

    a, b = (
        judge(open_source(policy, registry, path[policy], {}).decider, dataset, "test").to_dict()
        for path in (runs, bundles)
    )
    names = ("exact_match_accuracy", "ece", "mce", "joint_ece", "ece_before", "mce_before", "joint_ece_before")
    for name in (*names, "mean_utility", "action_entropy"):
        assert a[name] == pytest.approx(b[name], abs=1e-4), name


@pytest.mark.parametrize("chunk", [3, 16, 1000])
def test_a_bundles_decisions_do_not_depend_on_the_chunk(dataset, bundles, registry, chunk):
    """Chunks share one dense buffer: a bit that one of them leaves behind is a feature of the next."""
    from planner_core.harness.sources import open_source

    decider = open_source("mlp", registry, bundles["mlp"], {}).decider
    examples = dataset.split("test")
    expected, before = (part for part in decider(examples.batch()))
    found, found_before = decide_split(decider, examples, chunk)
    assert np.array_equal(found.action, expected.action)
    assert np.allclose(found.action_probs, expected.action_probs, atol=1e-6)
    assert np.allclose(found_before.confidence, before.confidence, atol=1e-6)


def test_a_session_that_fails_leaves_the_buffer_clear(dataset):
    from planner_core.harness.bundle_decider import _DenseRows

    dense, examples = _DenseRows(dataset.encoder.d_in), dataset.split("test")
    with pytest.raises(RuntimeError), dense.of(examples.features):
        raise RuntimeError("the session gave up")
    few = examples.features.take(np.array([4, 2]))
    with dense.of(few) as rows:
        assert np.array_equal(rows, few.dense())


def test_outcomes_are_judged_in_blocks(dataset, monkeypatch):
    examples = dataset.split("train")
    chosen = np.roll(examples.action, 1)  # some of them with an unknown outcome, as another job type's
    whole = outcome_columns(chosen, examples, SPACE, weight_table())
    monkeypatch.setattr("planner_core.harness.outcome_metrics._ROWS_AT_ONCE", 7)
    parts = outcome_columns(chosen, examples, SPACE, weight_table())
    assert whole.keys() == parts.keys()
    for name, values in whole.items():
        assert np.array_equal(values, parts[name], equal_nan=True), name
    assert 0 < np.isnan(whole["utility"]).sum() < len(chosen)
