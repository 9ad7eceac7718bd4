"""Replay: times, weights, outcomes and support against the definitions in loops; and their expectation, enumerated."""

from __future__ import annotations

from dataclasses import replace

import loop_definitions as definitions
import numpy as np
import pytest
import toy_world as synthetic

from planner_core.errors import ConfigError, DataError
from planner_core.value import Predictions, Range, estimate_value, read_log
from planner_core.value.actions import Target, classes
from planner_core.value.comparison import look
from planner_core.value.propensity import estimate_propensities, logging_policy, run_budget
from planner_core.value.replay import replay

TABLE = classes()


def uniform(world):
    return synthetic.distribution(world, 1.0)


def weights_of(n):
    return np.tile(synthetic.WEIGHTS, (n, 1))


def model(rng, n):
    return Predictions(rng.random((n, 150)), 60 * rng.random((n, 150)), 5 * rng.random((n, 150)))


@pytest.fixture(scope="module")
def small():
    rng = np.random.default_rng(3)
    world = synthetic.draw(rng, 600, per_issue=3)
    p = synthetic.distribution(world, 0.6)
    action = synthetic.sample(rng, p)
    target = synthetic.sample(rng, uniform(world))
    # Half of the targets are of the run's own family, so that there is something to replay.
    own = np.flatnonzero(rng.random(len(world)) < 0.5)
    for row in own:
        job = world.job_type[row]
        members = np.flatnonzero((TABLE.family[job] == TABLE.family[job, action[row]]) & TABLE.valid[job])
        target[row] = rng.choice(members)
    return world, synthetic.log(world, action, p), target


def test_weights_and_outcomes_are_the_definitions(small):
    world, executed, target = small
    n = len(world)
    log = read_log(executed, world.job_type, weights_of(n))
    assert log.replay_state == "holds"
    side = look(log, target, None, "target")
    outcome = log.runs.under(side.parts[0].budget)
    told = 0
    for row in range(n):
        job, action = int(world.job_type[row]), int(target[row])
        for_pass = definitions.weight(executed, row, action, job, False)
        for_cost = definitions.weight(executed, row, action, job, True)
        assert side.terms.for_pass[row] == pytest.approx(for_pass, rel=1e-6)
        assert side.terms.for_cost[row] == pytest.approx(for_cost, rel=1e-6)
        assert side.supported[row] == definitions.support(executed, row, action, job)
        truth = definitions.replayed(executed, row, action, job, synthetic.PER_CANDIDATE, synthetic.VOTE)
        if for_pass:
            assert outcome[:2, row] == pytest.approx(truth[:2], rel=1e-5)
        if for_cost:
            told += 1
            assert outcome[2, row] == pytest.approx(truth[2], rel=1e-5)
    assert told > 100


def test_replay_gives_what_the_action_would_have_come_to(small):
    """The outcomes of the world under the target itself, wherever a run is evidence."""
    world, executed, target = small
    log = read_log(executed, world.job_type, weights_of(len(world)))
    side = look(log, target, None, "target")
    passed, minutes, usd, *_ = synthetic.outcome(world, target)
    outcome = log.runs.under(side.parts[0].budget)
    told, paid = side.terms.for_pass > 0, side.terms.for_cost > 0
    assert (told & ~paid).any()  # the loser's end matters for USD only
    np.testing.assert_allclose(outcome[0, told], passed[told])
    np.testing.assert_allclose(outcome[1, told], minutes[told], rtol=1e-5)
    np.testing.assert_allclose(outcome[2, paid], usd[paid], rtol=1e-4)


def enumerated(world, p):
    """One row for every (run, action the log may choose): (executed, rows of the world, chances)."""
    row, action = np.nonzero(p)
    each = world.take(row)
    return each, synthetic.log(each, action, p[row]), row, p[row, action]


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("stochastic", [False, True])
def test_augmented_replay_has_the_truth_as_its_expectation_whatever_the_model_says(stochastic, tokens):
    rng = np.random.default_rng(11)
    world = synthetic.draw(rng, 40)
    # With tokens USD is another figure of issue, candidate and budget, whatever the minutes.
    world = replace(world, tokens=rng.exponential(2.0, (40, 3)) if tokens else None)
    p = synthetic.distribution(world, 0.7)
    # Chances that differ from action to action, and some that are 0.
    p = p * rng.random(p.shape) * (rng.random(p.shape) < 0.8)
    p[np.arange(len(world)), synthetic.baseline(world)] += 0.1
    p /= p.sum(axis=1, keepdims=True)
    each, executed, row, chance = enumerated(world, p)
    log = read_log(executed, each.job_type, weights_of(len(each)), use="assumed")
    assert log.replayed.all()
    assert log.longer_tells is not tokens
    predictions = model(rng, len(world))
    target = uniform(world) if stochastic else synthetic.sample(rng, uniform(world))
    every = np.broadcast_to(np.arange(150), (len(each), 150))
    longest, exact = log.logging.longest_of(each.job_type, every), log.logging.exactly(each.job_type, every) > 0
    possible = exact if tokens else longest >= TABLE.resolved[..., 2][each.job_type]
    possible = possible[np.unique(row, return_index=True)[1]]
    if stochastic:
        target = target * possible
        target /= target.sum(axis=1, keepdims=True)
        truth = np.zeros((4, len(world)))
        for column in range(150):
            given = np.full(len(world), column)
            outcome = np.stack([*synthetic.outcome(world, given)[:3], synthetic.utility(world, given)])
            truth += target[:, column] * outcome
    else:
        truth = np.stack([*synthetic.outcome(world, target)[:3], synthetic.utility(world, target)]).astype(float)
    side = look(log, target[row], predictions.take(row), "target")
    supported = side.supported[np.unique(row, return_index=True)[1]]
    assert supported.sum() >= 15
    contribution = side.terms.expected + side.terms.replayed
    expectation = np.stack([np.bincount(row, chance * values) for values in contribution])
    np.testing.assert_allclose(expectation[:, supported], truth[:, supported], rtol=2e-4, atol=2e-4)
    # Where there is no support it is the model's word, and no estimate.
    if not stochastic:
        gap = np.abs(expectation - truth)[3, ~supported]
        assert gap.size == 0 or gap.max() > 0.05
    for weight in (side.terms.for_pass, side.terms.for_cost):
        np.testing.assert_allclose(np.bincount(row, chance * weight)[supported], 1.0, rtol=1e-4)


def test_one_time_for_pass_and_cost_would_be_biased():
    """The loser that outlives the first pass: weighting USD by the time of the first pass must go wrong."""
    rng = np.random.default_rng(5)
    world = synthetic.draw(rng, 60)
    p = uniform(world)
    each, executed, row, chance = enumerated(world, p)
    log = read_log(executed, each.job_type, weights_of(len(each)), use="assumed")
    assert log.replayed.all()
    target = np.array([synthetic.find(job, (1, 2, 120, 1 if job == 0 else 2)) for job in world.job_type])
    side = look(log, target[row], None, "target")
    usd = log.runs.under(side.parts[0].budget)[2]
    right = np.bincount(row, chance * side.terms.for_cost * usd).mean()
    naive = np.bincount(row, chance * side.terms.for_pass * usd).mean()
    truth = synthetic.outcome(world, target)[2].mean()
    assert right == pytest.approx(truth, rel=1e-4)
    assert abs(naive - truth) > 0.02 * truth


def test_a_run_without_a_limit_counts_as_240_minutes():
    world = synthetic.draw(np.random.default_rng(0), 1)
    world.end[:] = 300.0
    world.good[:] = True
    world.job_type[:] = 1
    na = synthetic.find(1, (0, 1, 240, 1))
    p = np.zeros((1, 150))
    p[0, na] = 1.0
    executed = replace(
        synthetic.log(world, np.array([na]), p),
        passed=np.ones(1, np.float32),
        status=np.zeros(1, np.int8),
        duration_minutes=np.full(1, 300, np.float32),
        candidate_passed=np.array([[1, -1, -1]], np.int8),
        candidate_minutes=np.array([[300, np.nan, np.nan]], np.float32),
        minutes_limited=np.zeros(1, bool),
    )
    log = read_log(executed, world.job_type, weights_of(1))
    same = look(log, np.array([na]), None, "target")
    assert same.terms.for_cost[0] == 1.0
    assert log.runs.under(np.array([240.0]))[:2, 0].tolist() == [1.0, 300.0]
    assert log.runs.under(np.array([120.0]))[:2, 0].tolist() == [0.0, 120.0]


def test_an_outvoted_run_ended_at_its_first_pass():
    world = synthetic.draw(np.random.default_rng(0), 1)
    world.job_type[:] = 0
    world.end[:] = [[20.0, 50.0, np.inf]]
    world.good[:] = [[True, True, False]]
    world.vote_right[:] = False
    action = np.array([synthetic.find(0, (1, 3, 60, 1))])
    executed = synthetic.log(world, action, uniform(world))
    log = read_log(executed, world.job_type, weights_of(1))
    assert (log.runs.time_pass[0], log.runs.time_cost[0]) == (20.0, np.inf)
    assert log.runs.under(np.array([30.0]))[:2, 0].tolist() == [0.0, 22.0]
    assert log.runs.under(np.array([15.0]))[:2, 0].tolist() == [0.0, 17.0]
    usd = log.runs.under(np.array([30.0]))[2, 0]
    # Fewer than 20 candidates tell no fixed part: USD goes with the minutes alone.
    assert usd == pytest.approx(1.02 + (0.05 * 50 + 0.02) * 30 / 50 + 3.02 * 30 / 60, rel=1e-5)


def test_losers_that_stop_at_the_first_pass_have_ended():
    world = synthetic.draw(np.random.default_rng(0), 1)
    action = np.array([synthetic.find(0, (1, 2, 60, 1))])
    world.job_type[:] = 0
    executed = replace(
        synthetic.log(world, action, uniform(world)),
        passed=np.ones(1, np.float32),
        duration_minutes=np.array([12], np.float32),
        candidate_passed=np.array([[1, 0, -1]], np.int8),
        candidate_minutes=np.array([[10, 10, np.nan]], np.float32),
    )
    runs = replay(executed, run_budget(executed))
    assert (runs.time_pass[0], runs.time_cost[0]) == (10.0, 10.0)


def test_votes_that_wait_for_everybody_are_not_replayed():
    rng = np.random.default_rng(1)
    world = synthetic.draw(rng, 2000)
    p = uniform(world)
    action = synthetic.sample(rng, p)
    executed = synthetic.log(world, action, p)
    waited = np.nanmax(executed.candidate_minutes, axis=1) + synthetic.VOTE * executed.swarm
    log = read_log(replace(executed, duration_minutes=waited), world.job_type, weights_of(len(world)))
    assert not log.replayed[executed.candidates > 1].any()
    assert log.replayed[executed.candidates == 1].all()
    assert any("first pass" in note for note in log.notes)
    target = np.array([synthetic.find(job, (1, 2, 45, 1 if job == 0 else 2)) for job in world.job_type])
    side = look(log, target, None, "target")
    np.testing.assert_array_equal(side.terms.for_cost, side.terms.plain)


def test_without_the_distribution_weights_are_plain():
    rng = np.random.default_rng(2)
    world = synthetic.draw(rng, 3000)
    p = uniform(world)
    action = synthetic.sample(rng, p)
    executed = synthetic.log(world, action, p, whole=False)
    log = read_log(executed, world.job_type, weights_of(len(world)))
    target = np.array([synthetic.find(job, (0, 1, 60, 1)) for job in world.job_type])
    side = look(log, target, None, "target")
    expected = np.where(action == target, 1 / executed.propensity, 0.0)
    np.testing.assert_allclose(side.terms.for_cost, expected, rtol=1e-6)
    assert side.supported.all()
    value = estimate_value(log, target)
    assert value.estimator == "dr"
    assert value.propensities == "logged, of the executed action only"
    assert value.replay.startswith("off")


def test_runs_known_only_as_a_whole_keep_their_pass_and_time():
    rng = np.random.default_rng(4)
    world = synthetic.draw(rng, 3000)
    p = uniform(world)
    action = synthetic.sample(rng, p)
    known = replay(synthetic.log(world, action, p), np.rint(synthetic.log(world, action, p).minutes).astype(int))
    executed = synthetic.log(world, action, p, detail=False)
    blind = replay(executed, run_budget(executed))
    np.testing.assert_allclose(blind.overhead, known.overhead, atol=1e-4)
    np.testing.assert_allclose(blind.time_pass, known.time_pass, rtol=1e-4)
    assert any("scaled" in note for note in blind.notes)
    short = np.full(len(world), 30.0)
    several = (known.candidates > 1) & (known.time_pass > 30)
    ratio = np.full(len(world), 0.5)
    usd = blind.under(short, ratio)[2]
    part = 30.0 / (known.minutes - known.overhead)
    expected = known.usd / known.candidates * (part + (known.candidates - 1) * 0.5)
    longer = several & (known.limit > 30)
    np.testing.assert_allclose(usd[longer], expected[longer], rtol=1e-3)


def _busy(log):
    """Busy minutes of all candidates of each run."""
    told = np.isfinite(log.runs.busy)
    return np.where(told.any(axis=1), np.nansum(log.runs.busy, axis=1), log.runs.minutes * log.runs.candidates)


def test_missing_costs_are_assumed_and_said(small):
    world, executed, _ = small
    gone = np.arange(len(world)) % 3 == 0
    part = replace(
        executed,
        cost_usd=np.where(gone, np.nan, executed.cost_usd).astype(np.float32),
        candidate_cost_usd=np.where(gone[:, None], np.nan, executed.candidate_cost_usd).astype(np.float32),
    )
    log = read_log(part, world.job_type, weights_of(len(world)))
    count = int(gone[log.rows].sum())
    rate = log.runs.usd[~gone[log.rows]].sum() / _busy(log)[~gone[log.rows]].sum()
    assert f"{count} runs do not say what they cost: {rate:.3g} USD a busy minute assumed" in log.notes
    assert np.isfinite(log.runs.usd).all() and log.runs.usd_assumed == count
    said = estimate_value(log, np.zeros(len(world), np.int64)).verdict.text
    assert f"; the cost of {count:,} of the runs is assumed, which the interval takes for seen." in said
    nothing = replace(
        executed,
        cost_usd=np.full(len(world), np.nan, np.float32),
        candidate_cost_usd=np.full((len(world), 3), np.nan, np.float32),
    )
    log = read_log(nothing, world.job_type, weights_of(len(world)))
    assert not log.runs.usd_known and log.runs.usd_assumed == 0
    assert any("USD counts as 0" in note for note in log.notes)


@pytest.mark.parametrize("reference", [None, "rules"])
def test_unknown_costs_are_no_figure_of_usd(small, reference):
    world, executed, _ = small
    n = len(world)
    nothing = replace(
        executed,
        cost_usd=np.full(n, np.nan, np.float32),
        candidate_cost_usd=np.full((n, 3), np.nan, np.float32),
    )
    log = read_log(nothing, world.job_type, weights_of(n))
    target = np.where(np.arange(n) % 2, 0, executed.action)
    against = None if reference is None else synthetic.baseline(world)
    guess = np.full((n, 150), 0.5)
    dear = Predictions(guess, 20 * guess, 100 * np.random.default_rng(0).random((n, 150)))
    value, free = (
        estimate_value(log, target, against=against, predictions=p)
        for p in (dear, Predictions(guess, 20 * guess, 0 * guess))
    )
    assert value.value == free.value and value.verdict == free.verdict
    assert value.as_run.cost_usd == Range() and value.as_run.utility != Range()
    parts = [value.value, *value.estimators.values(), *([value.partial.value] if value.partial else [])]
    for part in parts:
        assert part.cost_usd == Range() and part.difference.cost_usd == Range()
    assert "$" not in value.verdict.text


def test_propensities_are_frequencies_within_strata():
    rng = np.random.default_rng(6)
    world = synthetic.draw(rng, 4000)
    p = synthetic.distribution(world, 0.5)
    action = synthetic.sample(rng, p)
    executed = synthetic.log(world, action, p, whole=False)
    silent = replace(executed, propensity=np.full(len(world), np.nan, np.float32))
    assert logging_policy(silent).source == "unknown"
    guessed = estimate_propensities(silent, world.job_type)
    logging = logging_policy(guessed, estimated=len(world))
    assert logging.source == "estimated"
    for job in range(3):
        of_job = world.job_type == job
        for a in np.unique(action[of_job])[:5]:
            share = (action[of_job] == a).mean()
            np.testing.assert_allclose(logging.own[of_job & (action == a)], share, rtol=1e-6)
    # A log that knows is left alone.
    assert estimate_propensities(executed, world.job_type) is executed
    value = estimate_value(read_log(silent, world.job_type, weights_of(len(world)), strata=world.job_type), action * 0)
    assert value.propensities == "estimated"
    assert any("estimated by frequency" in note for note in value.notes)


def test_rare_strata_are_taken_together():
    rng = np.random.default_rng(6)
    world = synthetic.draw(rng, 30)
    p = synthetic.distribution(world, 0.5)
    executed = synthetic.log(world, synthetic.sample(rng, p), p, whole=False)
    silent = replace(executed, propensity=np.full(len(world), np.nan, np.float32))
    guessed = estimate_propensities(silent, np.arange(30))
    assert (
        np.bincount(np.repeat(np.arange(30), np.diff(guessed.propensity_starts)), guessed.propensity_values).min()
        > 0.99
    )
    assert logging_policy(guessed).own.max() < 1


@pytest.mark.parametrize("what", ["no chance of what was run", "more than 1"])
def test_impossible_propensities_are_refused(small, what):
    world, executed, _ = small
    values = executed.propensity_values.copy()
    if what == "more than 1":
        values[: executed.propensity_starts[1]] *= 3
    else:
        values[: executed.propensity_starts[1]] = 0
    with pytest.raises(DataError, match="expected"):
        read_log(replace(executed, propensity_values=values), world.job_type, weights_of(len(world)))


@pytest.mark.parametrize(
    "target",
    [np.zeros(2, int), np.full(3, 150), np.full(3, -1), np.zeros((3, 149)), np.zeros((3, 150)), np.zeros(3)],
)
def test_targets_that_are_none(target):
    with pytest.raises(ConfigError, match="expected"):
        Target.of(target, 3)


def test_twins_carry_one_canonical_class():
    job = 0
    for column in range(150):
        twin = TABLE.canonical[job, column]
        assert (TABLE.resolved[job, twin] == TABLE.resolved[job, column]).all()
    assert len(np.unique(TABLE.canonical[0][TABLE.valid[0]])) == 24
    assert len(np.unique(TABLE.canonical[3])) == 96
