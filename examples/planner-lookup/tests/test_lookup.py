"""What the table learns: the best action of a cell, leaning on coarser cells, whatever is known of outcomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner_core import (
    PRIORITIES,
    RISKS,
    SIZES,
    Action,
    ActionSpace,
    DataError,
    Examples,
    Executed,
    Outcomes,
    PlannerError,
    PolicyContext,
    SparseFeatures,
    TrainingSession,
    decide,
)
from planner_lookup import LookupConfig
from planner_lookup.cells import KEYS, cells_of
from planner_lookup.policy import Lookup

SPACE = ActionSpace()
CHEAP = SPACE.index[Action("serial_handoff", 1, 15, "NA")]
STRONG = SPACE.index[Action("speculate_vote", 3, 30, "NA")]
CODE, FAB_ASSET = 0, 2


def examples(keys, labels, outcomes=None):
    """Examples of (job, size, risk, priority) ``keys`` with joint ``labels``."""
    keys, labels = np.asarray(keys), np.asarray(labels)
    dense = np.zeros((len(keys), PolicyContext().encoder.d_in), np.float32)
    rows = np.arange(len(keys))
    dense[rows, keys[:, 3]] = 1.0
    dense[rows, len(PRIORITIES) + keys[:, 2]] = 1.0
    dense[rows, len(PRIORITIES) + len(RISKS) + keys[:, 1]] = 1.0
    dense[:, 40] = 1.0  # a tag, which the table does not read
    features = SparseFeatures.from_dense(dense)
    return Examples(features, keys[:, 0], SPACE.head_index[labels], labels, keys[:, 3], outcomes)


def outcomes(count, **passed):
    """Outcomes in which CHEAP and STRONG alone were tried, 10 minutes and 1 USD each; ``passed`` by name."""
    arrays = [np.full((count, len(SPACE.actions)), np.nan, np.float32) for _ in range(3)]
    for name, values in passed.items():
        for array, value in zip(arrays, (values, 10.0, 1.0), strict=True):
            array[:, {"cheap": CHEAP, "strong": STRONG}[name]] = value
    return Outcomes(*arrays)


def fitted(train, tmp_path, impute=lambda examples: None, **config):
    policy = Lookup(LookupConfig(**config), PolicyContext())
    none = train.take(np.arange(0))
    return policy, policy.fit(TrainingSession(train, none, tmp_path, impute=impute))


def chosen(policy, keys):
    batch = examples(keys, [CHEAP] * len(keys)).batch()
    return decide(policy.predict(batch), batch.job_type, {"joint": 1.0}, SPACE).action.tolist()


def test_every_cell_is_reached_by_its_own_input():
    assert len(KEYS) == 4 * len(SIZES) * len(RISKS) * len(PRIORITIES)
    assert cells_of(examples(KEYS, [CHEAP] * len(KEYS)).batch()).tolist() == list(range(len(KEYS)))


def test_the_highest_mean_utility_wins_not_the_most_frequent_label(tmp_path):
    keys = [(CODE, 0, 0, 0)] * 40 + [(CODE, 4, 0, 0)] * 40
    small = np.repeat([True, False], 40)
    known = outcomes(80, cheap=np.where(small, 0.9, 0.1), strong=np.where(small, 0.8, 0.7))
    policy, report = fitted(examples(keys, [CHEAP] * 80, known), tmp_path, objective="utility")
    assert chosen(policy, [keys[0], keys[-1]]) == [CHEAP, STRONG]
    assert "mean utility" in report.notes[0] and not report.notes[1:]
    # These outcomes are expectations, so that the best of them may be imitated.
    by_label, report = fitted(examples(keys, [CHEAP] * 80, known), tmp_path)
    assert chosen(by_label, [keys[0], keys[-1]]) == [CHEAP, CHEAP]
    assert "label frequency" in report.notes[0] and not report.notes[1:]


def test_of_realised_outcomes_the_mean_is_learnt_not_the_luckiest(tmp_path):
    keys = [(CODE, 0, 0, 0)] * 40
    known = outcomes(40, cheap=(np.arange(40) % 4 < 3).astype(float), strong=(np.arange(40) % 4 == 3).astype(float))
    policy, report = fitted(examples(keys, [STRONG] * 40, known), tmp_path)
    assert chosen(policy, keys[:1]) == [CHEAP]
    assert "mean utility" in report.notes[0]


def test_of_a_log_the_imputed_utilities_are_learnt(tmp_path):
    keys = [(CODE, 0, 0, 0)] * 40 + [(CODE, 4, 0, 0)] * 40
    train = with_log(examples(keys, [CHEAP] * 80))
    imputed = np.full((80, len(SPACE.actions)), -1.0, np.float32)
    imputed[:, CHEAP], imputed[40:, STRONG] = 0.5, 1.0
    policy, report = fitted(train, tmp_path, impute=lambda examples: imputed)
    assert chosen(policy, [keys[0], keys[-1]]) == [CHEAP, STRONG]
    assert "mean utility" in report.notes[0] and "imputed" in report.notes[1]
    policy, report = fitted(train, tmp_path, impute=lambda examples: None)
    assert chosen(policy, [keys[0], keys[-1]]) == [CHEAP, CHEAP]
    assert "label frequency" in report.notes[0] and "are imitated" in report.notes[1]


def with_log(examples):
    """The same examples, all of them runs of CHEAP that passed."""
    count = len(examples)
    numbers = {name: np.zeros(count, np.int64) for name in ("swarm", "issue", "started_ms")}
    quantities = ("candidates", "minutes", "iterations", "passed", "duration_minutes", "cost_usd", "propensity")
    ran = Executed(
        **numbers,
        **{name: np.ones(count, np.float32) for name in quantities},
        minutes_limited=np.ones(count, bool),
        action=np.full(count, CHEAP),
        status=np.zeros(count, np.int8),
        propensity_starts=np.zeros(count + 1, np.int64),
        propensity_actions=np.empty((0, 4), np.int64),
        propensity_values=np.empty(0, np.float32),
        candidate_passed=np.full((count, 3), -1, np.int8),
        candidate_minutes=np.full((count, 3), np.nan, np.float32),
        candidate_cost_usd=np.full((count, 3), np.nan, np.float32),
        evidence=np.ones(count, bool),
    )
    return replace(examples, executed=ran)


def test_a_cell_without_examples_takes_the_coarser_cell(tmp_path):
    keys = [(CODE, 0, 0, 0)] * 40 + [(CODE, 4, 0, 0)] * 20
    policy, _ = fitted(examples(keys, [CHEAP] * 40 + [STRONG] * 20), tmp_path)
    same_size_other_risk, another_job = (CODE, 4, 3, 0), (FAB_ASSET, 2, 1, 2)
    assert chosen(policy, [same_size_other_risk, another_job]) == [STRONG, CHEAP]


def test_one_lucky_example_does_not_overrule_its_coarser_cell(tmp_path):
    keys = [(CODE, 0, 0, 0)] * 40 + [(CODE, 0, 3, 0)]
    train = examples(keys, [CHEAP] * 40 + [STRONG])
    assert chosen(fitted(train, tmp_path)[0], keys[-1:]) == [CHEAP]
    assert chosen(fitted(train, tmp_path, shrinkage=0.1)[0], keys[-1:]) == [STRONG]


def test_an_action_that_nobody_tried_is_not_chosen(tmp_path):
    keys = [(CODE, 0, 0, 0)] * 10
    policy, _ = fitted(examples(keys, [CHEAP] * 10, outcomes(10, cheap=0.0, strong=1.0)), tmp_path)
    assert chosen(policy, keys[:1]) == [STRONG]


def test_utility_without_outcomes_is_refused(tmp_path):
    keys = [(CODE, 0, 0, 0)] * 3
    for known in (None, outcomes(3)):
        with pytest.raises(PlannerError, match="objective=utility needs outcomes"):
            fitted(examples(keys, [CHEAP] * 3, known), tmp_path, objective="utility")


def test_what_is_loaded_is_what_was_saved_and_a_person_can_read_it(tmp_path):
    keys = [(CODE, 0, 0, 0)] * 3
    policy, _ = fitted(examples(keys, [STRONG] * 3), tmp_path)
    policy.save(tmp_path)
    again = Lookup(LookupConfig(), PolicyContext())
    again.load(tmp_path)
    assert again.table.tobytes() == policy.table.tobytes()
    lines = (tmp_path / "lookup.csv").read_text().splitlines()
    assert lines[1] == "code,XS,low,P0,3,speculate_vote,3,30,NA" and len(lines) == 1 + len(KEYS)
    (tmp_path / "lookup.csv").write_text("\n".join(lines).replace("speculate_vote", "serial_handoff"))
    with pytest.raises(DataError, match=r"lookup\.csv"):
        again.load(tmp_path)
    (tmp_path / "lookup.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"lookup\.npz"):
        again.load(tmp_path)
