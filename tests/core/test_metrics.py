"""Every metric against numbers worked out by hand, and calibration errors against a loop of their definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner_core.action_space import Action, ActionSpace
from planner_core.decision import Decision
from planner_core.errors import PlannerError
from planner_core.examples import Examples, Outcomes
from planner_core.features import SparseFeatures
from planner_core.harness.bootstrap import intervals
from planner_core.harness.evaluate import decide_split, judge
from planner_core.harness.evaluation import baseline_decider, evaluate
from planner_core.harness.metrics import evaluate_decision, reliability, risk_coverage, threshold_for
from planner_core.harness.outcome_metrics import evaluate_outcomes, gap_closed, outcome_columns
from planner_core.harness.run_dir import default_context
from planner_core.utility import weight_table

SPACE = ActionSpace()
A = Action("serial_handoff", 1, 30, "NA")
B = Action("speculate_vote", 2, 30, "NA")
C = Action("speculate_vote", 3, 60, "NA")


def index(*actions):
    return np.array([SPACE.index[action] for action in actions])


def decision(chosen, confidence=None, heads=None):
    n = len(chosen)
    probs = np.zeros((n, 150), np.float32)
    probs[np.arange(n), index(*chosen)] = 1.0
    flat = {name: np.zeros((n, size), np.float32) for name, size in zip(SIZES, SIZES.values(), strict=True)}
    sure = np.ones(n, np.float32) if confidence is None else np.array(confidence, np.float32)
    return Decision({**flat, **(heads or {})}, probs, index(*chosen), sure)


SIZES = {"swarm": 2, "candidates": 4, "minutes": 6, "iterations": 5}
CODE = 0


def metrics_of(chosen, gold, before=None, **options):
    labels = SPACE.head_index[index(*gold)]
    return evaluate_decision(decision(chosen, **options), labels, index(*gold), np.full(len(gold), CODE), SPACE, before)


# -- diagnostic and collapse


def test_accuracy_and_collapse_by_hand():
    found = metrics_of([A, B, B, B], gold=[A, A, B, C])
    assert found.n == 4
    assert found.exact_match_accuracy == 0.5
    assert found.per_head_accuracy == {"swarm": 0.75, "candidates": 0.5, "minutes": 0.75, "iterations": 1.0}
    assert found.action_entropy == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))
    assert found.top1_frequency == 0.75
    assert found.unique_actions == 2
    assert found.unique_action_ratio == pytest.approx(2 / 3)  # three distinct gold actions


def test_total_collapse():
    found = metrics_of([A, A, A, A], gold=[A, B, C, C])
    assert (found.action_entropy, found.top1_frequency, found.unique_actions) == (0.0, 1.0, 1)
    assert math.copysign(1.0, found.action_entropy) == 1.0  # 0, not -0
    assert found.unique_action_ratio == pytest.approx(1 / 3)


def test_more_actions_than_gold_has():
    assert metrics_of([A, B, C], gold=[A, A, A]).unique_action_ratio == 3.0


def test_uniform_choice():
    chosen = list(SPACE.actions[:8])
    assert metrics_of(chosen, gold=chosen).action_entropy == pytest.approx(math.log(8))


# -- calibration


def test_ece_and_mce_by_hand():
    """Swarm: 0.8 sure and right half the time, a gap of 0.3. The other heads are made right with certainty."""
    right = {name: np.full((2, size), -50.0, np.float32) for name, size in SIZES.items()}
    labels = SPACE.head_index[index(A, B)]
    for head, name in enumerate(SIZES):
        right[name][np.arange(2), labels[:, head]] = 50.0
    swarm = np.log(np.array([[0.8, 0.2], [0.8, 0.2]], np.float32))
    found = metrics_of([A, B], gold=[A, B], heads={**right, "swarm": swarm}, confidence=[0.9, 0.6])
    assert found.ece == pytest.approx(0.3 / 4, abs=1e-6)
    assert found.mce == pytest.approx(0.3 / 4, abs=1e-6)
    assert found.joint_ece == pytest.approx((0.1 + 0.4) / 2, abs=1e-6)  # both right
    assert found.ece_before is None and found.joint_ece_before is None


def test_head_calibration_is_over_valid_classes_only():
    """A code job has one valid class of iterations: certain and right, whatever the other logits say."""
    heads = {"iterations": np.array([[9.0, 9.0, 9.0, 9.0, -9.0]], np.float32)}
    with_noise = metrics_of([A], gold=[A], heads=heads)
    assert with_noise.ece == metrics_of([A], gold=[A]).ece


def test_before_is_the_same_metric_of_the_other_decision():
    heads = {"swarm": np.log(np.array([[0.9, 0.1]], np.float32))}
    before = decision([B], confidence=[0.4], heads=heads)
    found = metrics_of([A], gold=[A], before=before)
    alone = metrics_of([B], gold=[A], confidence=[0.4], heads=heads)
    assert (found.ece_before, found.mce_before, found.joint_ece_before) == (alone.ece, alone.mce, alone.joint_ece)
    assert found.ece != found.ece_before


def by_the_definition(confidence, correct):
    """ECE and MCE as Naeini et al. define them: ten bins (lower, upper], 0 in the first."""
    gaps, ece = [0.0], 0.0
    for k in range(10):
        members = [
            (c, right)
            for c, right in zip(confidence, correct, strict=True)
            if k / 10 < c <= (k + 1) / 10 or (k == 0 and c == 0.0)
        ]
        if members:
            gap = abs(sum(c for c, _ in members) / len(members) - sum(right for _, right in members) / len(members))
            gaps.append(gap)
            ece += gap * len(members) / len(confidence)
    return ece, max(gaps)


# Multiples of 1/64 are exact in binary, so no rounding decides about a bin; 0, 0.5 and 1 are among them.
@given(st.lists(st.tuples(st.integers(0, 64).map(lambda k: k / 64), st.booleans()), min_size=1, max_size=40))
def test_calibration_error_against_a_loop(rows):
    confidence, correct = (np.array(column) for column in zip(*rows, strict=True))
    table = reliability(confidence, correct)
    ece, mce = by_the_definition(confidence.tolist(), correct.tolist())
    assert table.ece == pytest.approx(ece) and table.mce == pytest.approx(mce)
    assert table.count.sum() == len(rows)


def test_bins_include_their_upper_edge():
    table = reliability(np.array([0.0, 0.1, 0.5, 0.5001, 1.0]), np.ones(5, bool))
    assert table.count.tolist() == [2, 0, 0, 0, 1, 1, 0, 0, 0, 1]


# -- risk and coverage


def test_risk_coverage_by_hand():
    found = risk_coverage(np.array([0.5, 0.9, 0.6, 0.8]), np.array([False, True, True, False]), points=5)
    assert found["area"] == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert found["curve"] == [
        {"coverage": 0.25, "risk": 0.0, "threshold": 0.9},
        {"coverage": 0.5, "risk": 0.5, "threshold": 0.8},
        {"coverage": 0.75, "risk": pytest.approx(1 / 3), "threshold": 0.6},
        {"coverage": 1.0, "risk": 0.5, "threshold": 0.5},
    ]


def test_risk_coverage_of_one_decision():
    found = risk_coverage(np.array([0.7]), np.array([True]))
    assert found["area"] == 0.0 and {point["coverage"] for point in found["curve"]} == {1.0}


@given(st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), min_size=1, max_size=30, unique_by=lambda row: row[0]))
def test_a_threshold_of_the_curve_gives_the_risk_beside_it(rows):
    confidence = np.array([c / 10**6 for c, _ in rows])
    correct = np.array([right for _, right in rows])
    for point in risk_coverage(confidence, correct)["curve"]:
        decided = confidence >= point["threshold"]  # as the runtime applies it
        assert decided.mean() == pytest.approx(point["coverage"])
        assert 1.0 - correct[decided].mean() == pytest.approx(point["risk"])


def test_a_threshold_gives_its_risk_where_confidences_are_equal():
    """Equal inputs have equal confidence, so this is an ordinary log; export --accuracy reads its threshold here."""
    confidence, correct = np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, False, True, False])
    for point in risk_coverage(confidence, correct, points=5)["curve"]:
        decided = confidence >= point["threshold"]
        assert 1.0 - correct[decided].mean() == pytest.approx(point["risk"])


def test_threshold_for_an_accuracy():
    curve = risk_coverage(np.array([0.9, 0.8, 0.6, 0.5]), np.array([True, False, True, False]), points=5)["curve"]
    assert threshold_for(curve, 0.9)["threshold"] == 0.9
    assert threshold_for(curve, 0.65)["threshold"] == 0.6  # the most coverage, not the most accuracy
    assert threshold_for(curve, 0.5)["coverage"] == 1.0
    assert threshold_for(curve[1:], 0.9) is None


# -- outcomes


def examples(known, *, priority, job_type=CODE, gold=A):
    """Rows with the given outcomes: ``known`` [{action: (passed, minutes, cost)}]."""
    n = len(known)
    arrays = {name: np.full((n, 150), np.nan, np.float32) for name in ("passed", "minutes", "cost_usd")}
    for row, outcomes in enumerate(known):
        for action, values in outcomes.items():
            for name, value in zip(arrays, values, strict=True):
                arrays[name][row, SPACE.index[action]] = value
    gold_index = np.full(n, SPACE.index[gold])
    return Examples(
        SparseFeatures(np.array([], np.int32), np.zeros(n + 1, np.int64), 1),
        np.full(n, job_type),
        SPACE.head_index[gold_index],
        gold_index,
        np.array(priority),
        Outcomes(**arrays),
    )


def outcome(chosen, rows, objective="utility"):
    return evaluate_outcomes(outcome_columns(index(*chosen), rows, SPACE, weight_table(), objective))


def test_outcomes_by_hand():
    """P0: 4 x pass - hours - 0.10 x USD; P1: 3, 0.8, 0.15; P2: 2, 0.6, 0.20."""
    rows = examples(
        [
            {A: (1, 30, 2), B: (1, 12, 1)},  # P0, A taken: 4 - 0.5 - 0.2 = 3.3; B would be 4 - 0.2 - 0.1 = 3.7
            {A: (0, 60, 3), B: (0, 30, 1)},  # P2, A taken: -0.6 - 0.6 = -1.2; B would be -0.3 - 0.2 = -0.5
            {A: (1, 30, 2)},  # C taken, which nobody knows
            {B: (1, 30, 2)},  # P1, B taken: 3 - 0.4 - 0.3 = 2.3, the best known
        ],
        priority=[0, 2, 1, 1],
    )
    found = outcome([A, A, C, B], rows)
    assert found.outcome_coverage == 0.75
    assert found.pass_rate == pytest.approx(2 / 3)
    assert found.mean_time_to_pass_min == pytest.approx(30)
    assert found.minutes_per_pass == pytest.approx((30 + 60 + 30) / 2)
    assert found.cost_per_pass_usd == pytest.approx((2 + 3 + 2) / 2)
    assert found.mean_utility == pytest.approx((3.3 - 1.2 + 2.3) / 3)
    assert found.mean_regret == pytest.approx((0.4 + 0.7 + 0.0) / 3)
    assert found.oracle_match_rate == pytest.approx(1 / 3)


def test_expected_outcomes_are_weighed_by_their_probability():
    rows = examples([{A: (0.5, 20, 1)}, {A: (0.25, 40, 1)}], priority=[2, 2])
    found = outcome([A, A], rows)
    assert found.pass_rate == pytest.approx(0.375)
    assert found.mean_time_to_pass_min == pytest.approx((0.5 * 20 + 0.25 * 40) / 0.75)
    assert found.minutes_per_pass == pytest.approx(60 / 0.75)


def test_nothing_passed():
    found = outcome([A, A], examples([{A: (0, 20, 1)}] * 2, priority=[3, 3]))
    assert found.pass_rate == 0.0
    assert found.mean_time_to_pass_min is found.minutes_per_pass is found.cost_per_pass_usd is None
    assert found.mean_utility == pytest.approx(-0.3 / 3 - 0.3)


def test_nothing_known():
    assert outcome([B, B], examples([{A: (1, 20, 1)}] * 2, priority=[0, 0])) is None
    bare = examples([{}], priority=[0])
    assert outcome_columns(index(A), Examples(*list(vars(bare).values())[:5]), SPACE, weight_table()) is None
    assert evaluate_outcomes(None) is None


def test_winner_follows_the_objective_and_passing_comes_first():
    quick_failure = {A: (1, 50, 1.0), B: (1, 40, 9.0), C: (0, 5, 0.1)}
    rows = examples([quick_failure] * 3, priority=[2, 2, 2])
    chosen = [A, B, C]
    assert outcome(chosen, rows, "cost").oracle_match_rate == pytest.approx(1 / 3)
    assert outcome([B] * 3, rows, "duration").oracle_match_rate == 1.0
    assert outcome([A] * 3, rows, "cost").oracle_match_rate == 1.0
    assert outcome([C] * 3, rows, "duration").oracle_match_rate == 0.0


def test_an_invalid_action_is_no_oracle():
    """Its outcome may be recorded; a policy may not choose it, so it is nothing to regret."""
    iterating = Action("serial_handoff", 1, 30, 2)
    rows = examples([{A: (1, 60, 1), iterating: (1, 1, 0)}], priority=[0])
    assert outcome([A], rows).mean_regret == 0.0


def test_regret_where_the_best_has_no_known_cost():
    rows = examples([{A: (1, 60, 1), B: (1, 30, np.nan)}, {A: (1, 60, 1)}], priority=[0, 0])
    found = outcome([A, A], rows, "duration")
    assert found.mean_regret is None or np.isfinite(found.mean_regret)


def test_gap_closed():
    assert gap_closed(1.0, floor=0.8, ceiling=1.2) == pytest.approx(0.5)
    assert gap_closed(0.6, floor=0.8, ceiling=1.2) == pytest.approx(-0.5)
    assert gap_closed(1.0, floor=1.0, ceiling=1.0) is None


# -- bootstrap


def columns(utility, passed=None):
    n = len(utility)
    names = ("exact", "passed", "minutes", "cost", "regret", "oracle", "passed_minutes")
    return {name: np.ones(n) for name in names} | {
        "one": np.ones(n),
        "utility": np.asarray(utility, float),
        **({} if passed is None else {"passed": np.asarray(passed, float)}),
    }


def test_interval_of_a_mean_is_about_that_of_the_normal():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = intervals(columns(values), {"heuristic": columns(values)})["mean_utility"]["policy"]
    half = 1.96 * values.std() / math.sqrt(400)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.1 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_the_difference_is_paired():
    """Noise common to both policies cancels; unpaired it would be wider than either interval."""
    common = np.random.default_rng(1).normal(0, 10, 200)
    found = intervals(columns(common + 0.5), {"heuristic": columns(common)})["mean_utility"]
    assert found["difference to heuristic"] == pytest.approx([0.5, 0.5])
    assert found["policy"][1] - found["policy"][0] > 1.0


def test_rows_of_one_issue_are_drawn_together():
    """Ten copies of each row say no more than one of each."""
    values = np.random.default_rng(4).normal(0, 1, 60)
    once = intervals(columns(values), {})["mean_utility"]["policy"]
    copies, issue = np.repeat(values, 10), np.repeat(np.arange(60), 10)
    as_rows = intervals(columns(copies), {})["mean_utility"]["policy"]
    as_issues = intervals(columns(copies), {}, issue)["mean_utility"]["policy"]
    assert as_issues == pytest.approx(once)
    assert as_rows[1] - as_rows[0] < 0.5 * (once[1] - once[0])


def test_intervals_repeat_by_seed():
    values = np.random.default_rng(2).normal(0, 1, 50)
    first, again, other = (intervals(columns(values), {"heuristic": columns(values)}, seed=seed) for seed in (5, 5, 6))
    assert first == again != other


def test_no_interval_where_a_resample_has_no_pass():
    found = intervals(columns([0.0] * 3, passed=[1, 0, 0]), {"heuristic": columns([0.0] * 3)})["minutes_per_pass"]
    assert found["policy"] is None and found["difference to heuristic"] is None
    assert found["heuristic"] == [1.0, 1.0]


# -- on a dataset


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
