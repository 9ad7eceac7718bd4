"""The check that replay holds: its level where it does, its power where work fills the budget it is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import toy_world as synthetic

from planner_core.value import estimate_value, read_log


def log_of(world, p, action, stretched=None):
    executed = synthetic.log(world, action, p)
    return read_log(executed if stretched is None else stretched(executed), world.job_type, weights_of(len(world)))


def weights_of(n):
    return np.tile(synthetic.WEIGHTS, (n, 1))


def test_it_keeps_its_level():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    contradicted = 0
    for _ in range(60):
        world = synthetic.draw(rng, 1500, per_issue=2)
        p = synthetic.distribution(world, 0.5)
        log = log_of(world, p, synthetic.sample(rng, p))
        assert log.check.comparisons >= 2
        contradicted += log.replay_state == "contradicted"
    assert stats.binomtest(contradicted, 60, 0.01, alternative="greater").pvalue > 0.01


def test_it_sees_that_work_fills_its_budget():
    rng = np.random.default_rng(2)
    world = synthetic.draw(rng, 3000)
    p = synthetic.distribution(world, 0.5)
    action = synthetic.sample(rng, p)
    minutes = synthetic.TABLE.resolved[world.job_type, action, 2]
    # Passing takes a share of whatever is given: of the same issue, the longer the budget the later.
    world.end = np.where(np.isfinite(world.end), np.minimum(world.end / 40, 0.95) * minutes[:, None], np.inf)
    log = log_of(world, p, action)
    assert log.replay_state == "contradicted"
    assert not log.replayed.any()
    assert any("contradicted" in note for note in log.notes)
    value = estimate_value(log, synthetic.baseline(world))
    assert value.replay == "contradicted"
    assert value.estimator == "dr"
    assert "do not behave alike" in value.verdict.text


@pytest.mark.parametrize("explore", [0.0, 0.02])
def test_without_overlap_it_is_assumed_and_carries_no_verdict(explore):
    rng = np.random.default_rng(3)
    world = synthetic.draw(rng, 500)
    p = synthetic.distribution(world, explore)
    executed = synthetic.log(world, synthetic.sample(rng, p), p)
    log = read_log(executed, world.job_type, weights_of(500), use="assumed")
    assert log.replay_state == "assumed, not checked"
    assert log.replayed.all()
    assert log.check.comparisons == 0
    careful = read_log(executed, world.job_type, weights_of(500))
    assert careful.replay_state == "assumed, not checked"
    assert any("replay is assumed" in note for note in careful.notes)
    shorter = np.array([synthetic.find(j, t) for j, t in enumerate([(1, 2, 30, 1), (0, 1, 45, 2), (0, 1, 15, 2)])])
    target = shorter[world.job_type]
    trusted, doubted = estimate_value(log, target), estimate_value(careful, target)
    assert doubted.value == trusted.value
    assert doubted.verdict.answer == "cannot_tell"
    assert "assumed, not checked" in doubted.verdict.text
    assert "assumed, not checked" not in trusted.verdict.text
    assert read_log(executed, world.job_type, weights_of(500), use="off").replay_state == "off: not asked for"


def test_rows_without_a_distribution_are_not_asked():
    rng = np.random.default_rng(4)
    world = synthetic.draw(rng, 2000)
    p = synthetic.distribution(world, 0.5)
    log = log_of(world, p, synthetic.sample(rng, p))
    blind = log_of(
        world,
        p,
        synthetic.sample(rng, p),
        lambda executed: replace(
            executed,
            propensity_starts=np.zeros(len(world) + 1, np.int64),
            propensity_actions=np.zeros((0, 4), np.int64),
            propensity_values=np.zeros(0, np.float32),
        ),
    )
    assert log.check.comparisons > 0
    assert blind.replay_state.startswith("off")


def test_a_verdict_that_needs_no_replay_needs_no_check():
    """An A/B of two actions, each with its one budget: no budgets to compare, and none to replay."""
    rng = np.random.default_rng(5)
    world = synthetic.draw(rng, 3000)
    one, other = (
        np.array([synthetic.find(job, (*action, 1 if job == 0 else 2)) for job in range(3)])
        for action in ((0, 1, 60), (1, 3, 15))
    )
    p = np.zeros((3000, 150))
    row = np.arange(3000)
    p[row, one[world.job_type]] = p[row, other[world.job_type]] = 0.5
    log = log_of(world, p, synthetic.sample(rng, p))
    assert log.replay_state == "assumed, not checked"
    value = estimate_value(log, other[world.job_type], against=one[world.job_type])
    gap = synthetic.utility(world, other[world.job_type]) - synthetic.utility(world, one[world.job_type])
    assert abs(gap.mean()) > 0.2
    assert value.verdict.answer == ("better" if gap.mean() > 0 else "worse")
