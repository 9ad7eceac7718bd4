"""Where the outcomes of some actions are known, no row counts because of what the policy does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner_core.action_space import ActionSpace
from planner_core.examples import Outcomes
from planner_core.harness.evaluate import judge
from planner_core.harness.evaluation import baseline_decider
from planner_core.policy import PolicyContext

SPACE = ActionSpace()


def with_known(dataset, keep):
    """The dataset with the outcomes of the actions ``keep`` bool [n, 150] alone."""
    known = dataset.everything.outcomes
    arrays = (np.where(keep, getattr(known, name), np.nan) for name in ("passed", "minutes", "cost_usd"))
    return replace(dataset, everything=replace(dataset.everything, outcomes=Outcomes(*arrays)), _splits={})


@pytest.fixture(scope="module")
def rules(registry):
    return baseline_decider(registry, PolicyContext())


def test_rows_with_a_choice_are_judged_whatever_is_chosen(dataset, rules):
    n = len(dataset.everything)
    rng = np.random.default_rng(0)
    valid = SPACE.joint_masks[dataset.everything.job_type]
    keep = (rng.random((n, 150)) < 0.2) & valid
    keep[: n // 2] = False  # half of the rows know nothing
    found = judge(rules, with_known(dataset, keep), "test")
    rows = np.flatnonzero(dataset.split_of == 2)
    assert found.outcome.outcome_coverage == pytest.approx((keep[rows].sum(axis=1) >= 2).mean())
    # On every row it is the known action that the rules give the highest probability.
    known = keep[rows]
    expected = np.where(known, found.decision.action_probs, -1.0).argmax(axis=1)
    passed = dataset.everything.outcomes.passed[rows, expected]
    judged = known.sum(axis=1) >= 2
    assert found.outcome.pass_rate == pytest.approx(passed[judged].mean(), rel=1e-5)


def test_one_known_outcome_a_row_is_no_choice(dataset, rules):
    """The outcome of what was run alone: nothing is looked up, however often the policy would do the same."""
    run = dataset.everything.executed.action
    keep = np.zeros((len(run), 150), bool)
    keep[np.arange(len(run)), run] = True
    data = with_known(dataset, keep)
    assert data.everything.known == "executed"
    assert judge(rules, data, "test").outcome is None
