"""Forward cross-fitting: what is judged, and by what was learnt from what."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner_core import PolicySpec, make_settings
from planner_core.decision import decide, temperatures_for
from planner_core.errors import PlannerError
from planner_core.harness import forward as module
from planner_core.harness.forward import Forward, blocks_of
from planner_core.training import FitReport
from planner_core.utility import weight_table


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=60), st.integers(1, 5))
def test_nothing_is_judged_by_itself_or_by_what_came_later(runs, count):
    starts = np.array([start for start, _ in runs], np.int64)
    issue = np.array([number for _, number in runs], np.int64)
    blocks = blocks_of(starts, issue, count=count)
    judged = np.concatenate([b.judged for b in blocks]) if blocks else np.zeros(0, np.int64)
    assert len(np.unique(judged)) == len(judged) and len(blocks) <= count
    for block in blocks:
        assert len(block.learn) and starts[block.learn].max() < starts[block.judged].min()
        assert not np.isin(issue[block.learn], issue[block.judged]).any()


def test_all_after_the_first_two_fifths():
    blocks = blocks_of(np.arange(100)[::-1], np.arange(100))
    assert [len(b.judged) for b in blocks] == [20, 20, 20] and [len(b.learn) for b in blocks] == [40, 60, 80]
    assert sorted(np.concatenate([b.judged for b in blocks]).tolist()) == list(range(60))  # the newest stand first


@pytest.fixture(scope="module")
def logs(dataset):
    """The world's runs, of whose outcomes nothing else is known."""
    from dataclasses import replace

    return replace(dataset, everything=dataset.everything.with_evidence("executed"), _splits={})


class Remembers:
    """Decides as the newest row it learnt from was labelled, and keeps what it was given."""

    score_kind: ClassVar = "joint"
    fits: ClassVar = []

    def __init__(self, config, context):
        self.context, self.action = context, 0

    def fit(self, session):
        self.fits.append((session.train, session.valid))
        self.action = int(session.valid.action[-1])
        return FitReport()

    def predict(self, batch):
        logits = np.zeros((len(batch), 150), np.float32)
        logits[:, self.action] = 9.0
        return {"joint": logits}

    def export_scorer(self):
        raise PlannerError("no graph")

    def save(self, directory): ...

    def load(self, directory): ...


class Nothing(msgspec.Struct, frozen=True):
    """No configuration."""


def test_each_block_is_decided_by_what_was_learnt_before_it(logs, registry):
    Remembers.fits.clear()
    forward = Forward(logs, weight_table())
    spec = PolicySpec("remembers", "for the test", Nothing, lambda: Remembers, trainable=True)
    fitted = forward.fit(spec, make_settings("remembers", Nothing, {}), registry)
    assert len(Remembers.fits) == 3
    begin, examples = 0, logs.everything
    for block, (train, valid) in zip(forward.blocks, Remembers.fits, strict=True):
        learn = examples.take(block.learn)
        assert len(train) + len(valid) == len(learn) and len(valid) == len(learn) // 9
        assert train.known == "executed"
        assert train.executed.started_ms.max() <= valid.executed.started_ms.min()
        rows = slice(begin, begin + len(block.judged))
        action = int(examples.action[block.learn[-1]])
        logits = np.zeros((len(block.judged), 150), np.float32)
        logits[:, action] = 9.0
        jobs = examples.job_type[block.judged]
        expected = decide({"joint": logits}, jobs, temperatures_for("joint"), logs.action_space).action
        assert np.array_equal(fitted.action[rows], expected)
        begin = rows.stop
    assert begin == len(forward.rows) == 240


def test_the_outcome_model_never_saw_the_issue_it_predicts(logs, monkeypatch):
    asked = []

    def predicted(learn, judge, encoder, seed):
        asked.append(
            (set(learn.issue), set(judge.issue), learn.executed.started_ms.max(), judge.executed.started_ms.min())
        )
        return {name: np.full((len(judge), 150), len(asked), np.float32) for name in ("passed", "minutes", "cost_usd")}

    monkeypatch.setattr(module, "predicted", predicted)
    forward = Forward(logs, weight_table())
    found = forward.predictions
    assert len(asked) == 3 and all(not a & b and last < first for a, b, last, first in asked)
    sizes = [len(block.judged) for block in forward.blocks]
    assert np.array_equal(found.passed[:, 0], np.repeat([1, 2, 3], sizes))


def test_constants_are_chosen_on_earlier_runs(logs, monkeypatch):
    asked = []

    def ranked(train, space, weights, count):
        asked.append(len(train))
        return {0: [len(asked), 40 + len(asked)]}

    monkeypatch.setattr(module, "ranked_constants", ranked)
    forward = Forward(logs, weight_table())
    (best, newest), (second, _) = forward.constants(logs.action_space, 2)
    assert asked == [len(block.learn) for block in forward.blocks] and newest == {0: 3}
    job, sizes = forward.examples.job_type, [len(block.judged) for block in forward.blocks]
    number = np.repeat([1, 2, 3], sizes)
    assert np.array_equal(best[job == 0], number[job == 0]) and np.array_equal(second[job == 0], 40 + number[job == 0])
    first_valid = [int(np.flatnonzero(mask)[0]) for mask in logs.action_space.joint_masks]
    assert all(best[row] == first_valid[job[row]] for row in np.flatnonzero(job != 0))


def test_too_few_runs(logs):
    from dataclasses import replace

    one = replace(logs, everything=logs.everything.between(0, 1))
    with pytest.raises(PlannerError, match="too few runs to learn from some"):
        Forward(one, weight_table())
