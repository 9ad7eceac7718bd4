"""Trees: what they learn, sums that are exact in every order, and the graph that computes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from planner_core import (
    Action,
    ActionSpace,
    DataError,
    EncoderConfig,
    Examples,
    Outcomes,
    PlannerError,
    PolicyContext,
    SparseFeatures,
    TrainingSession,
)
from planner_gbdt import GBDTConfig
from planner_gbdt.goals import Known, goal_of
from planner_gbdt.growing import UNSEEN, grow
from planner_gbdt.policy import GBDT
from planner_gbdt.trees import unit_for

SPACE = ActionSpace()
CONTEXT = PolicyContext(EncoderConfig(history_slots=1, tag_buckets=16, fail_code_buckets=4))
SEEN = np.array([3, 40, 77])
CHEAP = SPACE.index[Action("serial_handoff", 1, 15, 1)]
STRONG, TWIN = (SPACE.index[Action("speculate_vote", k, 30, 2)] for k in (3, "NA"))


def examples(count, seed, actions=SEEN):
    """Random features; the action follows from the first two of them."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((count, CONTEXT.encoder.d_in)) < 0.2).astype(np.float32)
    action = actions[np.minimum(dense[:, 0] + dense[:, 1], len(actions) - 1).astype(int)]
    job_type = np.full(count, 3)
    return Examples(
        SparseFeatures.from_dense(dense), job_type, SPACE.head_index[action], action, np.zeros(count, np.int64)
    )


def fitted(tmp_path, train, valid=None, **config):
    policy = GBDT(GBDTConfig(**{"rounds": 25, "min_data_in_leaf": 5, **config}), CONTEXT)
    seen = []
    valid = train.take(np.arange(0)) if valid is None else valid
    report = policy.fit(TrainingSession(train, valid, tmp_path, on_epoch=seen.append))
    assert seen == report.history
    return policy, report


def shown(policy):
    """The joint actions that have a score of their own."""
    return np.flatnonzero(policy.predict(examples(1, 0).batch())["joint"][0] > UNSEEN).tolist()


def by_graph(policy, batch):
    session = onnxruntime.InferenceSession(policy.export_scorer().SerializeToString())
    return session.run(["joint"], {"input": batch.features.dense(), "job_type": batch.job_type})[0]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("run"), examples(300, 1), examples(80, 2))


def test_it_learns_and_reports(learned):
    policy, report = learned
    batch = examples(200, 3)
    assert (policy.predict(batch.batch())["joint"].argmax(1) == batch.action).mean() > 0.95
    assert report.history[report.best_epoch - 1].valid_exact_match > 0.9
    assert min(report.history, key=lambda r: r.valid_loss).epoch == report.best_epoch


def test_unseen_actions_are_last(learned):
    scores = learned[0].predict(examples(20, 4).batch())["joint"]
    others = np.delete(scores, SEEN, axis=1)
    assert (others == UNSEEN).all() and scores[:, SEEN].min() > UNSEEN + 5


def test_the_graph_computes_the_same_bits(learned):
    for count in (1, 2, 64, 300):
        batch = examples(count, count).batch()
        assert (by_graph(learned[0], batch) == learned[0].predict(batch)["joint"]).all()


def test_leaves_add_up_exactly_in_float32(tmp_path):
    session = TrainingSession(examples(300, 1), examples(80, 2), tmp_path)
    config = GBDTConfig(rounds=25, min_data_in_leaf=5)
    booster, _ = grow(config, CONTEXT, session, goal_of(config, session, SPACE))
    values = np.array(
        [
            booster.get_leaf_output(tree["tree_index"], leaf)
            for tree in booster.dump_model()["tree_info"]
            for leaf in range(tree["num_leaves"])
        ]
    )
    assert (values == values.astype(np.float32)).all()
    rng = np.random.default_rng(0)
    for _ in range(20):
        some = rng.permutation(values)[: booster.num_trees()]
        assert float(some.astype(np.float32).sum(dtype=np.float32)) == float(some.sum())


def with_utilities(examples, kind):
    """The same examples with passes of every action: STRONG's are surer where the second feature is on."""
    n, strong = len(examples), examples.features.dense()[:, 1] > 0
    passed = np.zeros((n, len(SPACE.actions)), np.float32)
    passed[:, CHEAP], passed[:, STRONG] = 0.6, np.where(strong, 1.0, 0.2)
    if kind == "realised":
        passed = (passed > np.random.default_rng(n).random(passed.shape)).astype(np.float32)
    nothing = np.zeros_like(passed)
    return replace(examples, outcomes=Outcomes(passed, nothing, nothing)), strong


def test_of_realised_outcomes_the_best_on_average_is_learnt(tmp_path):
    (train, _), (valid, _) = (with_utilities(examples(n, n), "realised") for n in (800, 200))
    policy, report = fitted(tmp_path, train, valid, rounds=40)
    assert report.notes[0] == "objective: expected utility, of several actions of each example"
    judged, strong = with_utilities(examples(300, 7), "expected")
    chosen = policy.predict(judged.batch())["joint"].argmax(1)
    assert (chosen == np.where(strong, STRONG, CHEAP)).mean() > 0.95
    assert report.history[0].valid_utility is not None and report.history[0].valid_exact_match is None


def test_of_expected_outcomes_the_labels_are_learnt(tmp_path):
    train, _ = with_utilities(examples(200, 1), "expected")
    policy, report = fitted(tmp_path, train)
    assert set(shown(policy)) == set(SEEN) and "objective" not in report.notes[0]


def test_noise_in_the_utilities_averages_out(tmp_path):
    """The best of a row is luck here: the action that is best in most rows is worse on average."""
    count = 2000
    utility = np.full((count, len(SPACE.actions)), np.nan, np.float32)
    utility[:, CHEAP] = 0.4
    utility[:, STRONG] = np.where(np.random.default_rng(0).random(count) < 0.55, 1.2, -1.0)
    utility[:, TWIN] = 9.0  # another name of what nobody tried, and no action of its own
    train, _ = with_utilities(examples(count, 1), "realised")
    policy = GBDT(GBDTConfig(blind_rounds=20, min_data_in_leaf=300), CONTEXT)
    session = TrainingSession(train, train.take(np.arange(0)), tmp_path)
    session.utilities = lambda examples, rows=None: utility[: len(examples)]
    policy.fit(session)
    assert shown(policy) == [CHEAP, STRONG]
    batch = examples(200, 5).batch()
    assert (policy.predict(batch)["joint"].argmax(1) == CHEAP).mean() > 0.8
    assert (by_graph(policy, batch) == policy.predict(batch)["joint"]).all()


def test_the_derivatives_are_those_of_the_loss():
    rng = np.random.default_rng(3)
    known = np.array([[True, True, False, True], [True, False, True, True]])
    part = Known(np.arange(2), np.where(known, rng.normal(size=(2, 4)), 0.0), known, 0.1)
    scores, step = rng.normal(size=(2, 4)), 1e-6
    first, _ = part.gradient(scores)
    for place in np.ndindex(2, 4):
        moved = scores.copy()
        moved[place] += step
        slope = (part.loss(moved) - part.loss(scores)) / step * len(scores)
        assert slope == pytest.approx(first[place], abs=1e-4)
    # At softmax(U / tau) there is nothing to gain.
    assert np.abs(part.gradient(part.utility)[0]).max() < 1e-12


def test_utility_without_outcomes_is_refused_and_a_log_without_a_model_is_imitated(tmp_path):
    with pytest.raises(PlannerError, match="objective=utility needs outcomes"):
        fitted(tmp_path, examples(60, 1), objective="utility")
    _, report = fitted(tmp_path, examples(60, 1), blind_rounds=3)
    assert "are imitated" in report.notes[0]


@pytest.mark.parametrize(("largest", "trees"), [(0.3, 1), (0.9, 100), (7.0, 3000)])
def test_the_unit_leaves_room_for_the_largest_sum(largest, trees):
    unit = unit_for([{0: largest, 1: -0.1}] * trees, classes=1)
    assert np.log2(unit) == int(np.log2(unit))
    assert (largest + unit) * trees <= unit * 2**24
    assert unit < largest * trees * 1e-6


def test_a_single_action_needs_no_trees(tmp_path):
    policy, report = fitted(tmp_path, examples(30, 1, SEEN[1:2]))
    assert len(report.history) == 1 and "no trees" in report.notes[-1]
    batch = examples(5, 2).batch()
    assert (policy.predict(batch)["joint"].argmax(1) == SEEN[1]).all()
    assert (by_graph(policy, batch) == policy.predict(batch)["joint"]).all()


def test_nothing_to_stop_on_and_nothing_to_split(tmp_path):
    """Without validation rows a set number of rounds; with too few examples trees that are single leaves."""
    policy, report = fitted(tmp_path, examples(4, 5), blind_rounds=7, min_data_in_leaf=20)
    assert len(report.history) == 7 and "all 7 rounds" in report.notes[-1]
    batch = examples(3, 6).batch()
    assert (by_graph(policy, batch) == policy.predict(batch)["joint"]).all()


def test_a_validation_label_that_training_lacks_is_no_error(tmp_path):
    valid = examples(10, 7, np.array([120]))
    _, report = fitted(tmp_path, examples(60, 1), valid, blind_rounds=3)
    assert len(report.history) == 3


def test_the_seed_decides(tmp_path):
    data = examples(300, 1), examples(80, 2)
    batch = examples(50, 9).batch()
    first, again = (fitted(tmp_path, *data)[0].predict(batch)["joint"] for _ in range(2))
    assert (first == again).all()


def test_what_is_loaded_is_what_was_saved(learned, tmp_path):
    policy = learned[0]
    policy.save(tmp_path)
    again = GBDT(GBDTConfig(), CONTEXT)
    again.load(tmp_path)
    batch = examples(50, 9).batch()
    assert (again.predict(batch)["joint"] == policy.predict(batch)["joint"]).all()
    with pytest.raises(DataError, match="input"):
        GBDT(GBDTConfig(), PolicyContext()).load(tmp_path)
