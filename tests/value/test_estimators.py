"""The estimators and their intervals against loops, and IPS and SNIPS against vw-estimators."""

from __future__ import annotations

from dataclasses import replace

import loop_definitions as definitions
import msgspec
import numpy as np
import pytest
import toy_world as synthetic

from planner_core.errors import DataError
from planner_core.value import METRICS, Predictions, Value, estimate_value, plain_value, read_log
from planner_core.value.intervals import Clusters, Mean
from planner_core.value.student import quantile

N = 900


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(8)
    world = synthetic.draw(rng, N, per_issue=2)
    p = synthetic.distribution(world, 0.8)
    action = synthetic.sample(rng, p)
    target = np.array([synthetic.find(job, (0, 1, 45, 1)) for job in world.job_type])
    reference = np.array(
        [synthetic.find(job, (0, 1, 60 if row % 3 else 45, 1)) for row, job in enumerate(world.job_type)]
    )
    predictions = Predictions(rng.random((N, 150)), 60 * rng.random((N, 150)), 5 * rng.random((N, 150)))
    executed = synthetic.log(world, action, p)
    return world, executed, action, target, reference, predictions


def loops(case, action):
    """Contributions of one target in loops: {estimator: [4][n]} and the plain weights."""
    world, executed, ran, _, _, predictions = case
    out = {name: [[0.0] * N for _ in range(4)] for name in ("ips", "dr", "augmented_replay")}
    plain = []
    for row in range(N):
        job, a = int(world.job_type[row]), int(action[row])
        was = [float(executed.passed[row]), float(executed.duration_minutes[row]), float(executed.cost_usd[row])]
        was.append(definitions.utility(was, synthetic.WEIGHTS))
        m = definitions.expected_of(predictions, row, a, synthetic.WEIGHTS)
        v = 1.0 / float(executed.propensity[row]) if ran[row] == a else 0.0
        told = definitions.replayed(executed, row, a, job, synthetic.PER_CANDIDATE, synthetic.VOTE)
        plain.append(v)
        for i in range(4):
            out["ips"][i][row] = v * was[i]
            out["dr"][i][row] = m[i] + v * (was[i] - m[i])
        parts = []
        for i in range(3):
            w = definitions.weight(executed, row, a, job, for_cost=i == 2)
            parts.append(m[i] + w * (told[i] - m[i]))
        for i, part in enumerate([*parts, definitions.utility(parts, synthetic.WEIGHTS)]):
            out["augmented_replay"][i][row] = part
    return {name: np.array(rows) for name, rows in out.items()}, np.array(plain)


def mean_and_error(contributions, issue):
    mean = contributions.mean()
    return mean, definitions.clustered_error(contributions - mean, issue)


def check(found, mean, error, df):
    reach = quantile(0.975, df) * error
    assert found.estimate == pytest.approx(mean, rel=1e-4, abs=1e-6)
    assert found.low == pytest.approx(mean - reach, rel=1e-4, abs=1e-5)
    assert found.high == pytest.approx(mean + reach, rel=1e-4, abs=1e-5)


def issues_in_full(case, rows):
    world, executed, _, target, _, _ = case
    full = set()
    for row in np.flatnonzero(rows):
        swarm, k, budget, i = definitions.TABLE.resolved[world.job_type[row], target[row]].tolist()
        own = (int(executed.swarm[row]), int(executed.candidates[row]), int(executed.iterations[row]))
        if own == (swarm, k, i) and executed.minutes[row] >= budget:
            full.add(int(world.issue[row]))
    return len(full)


@pytest.mark.parametrize("against", ["as_run", "action"])
def test_every_estimator_is_its_definition(case, against):
    world, executed, _, target, reference, predictions = case
    log = read_log(executed, world.job_type, np.tile(synthetic.WEIGHTS, (N, 1)))
    value = estimate_value(log, target, against=None if against == "as_run" else reference, predictions=predictions)
    mine, plain = loops(case, target)
    was = np.array([executed.passed, executed.duration_minutes, executed.cost_usd], float)
    was = np.vstack([was, definitions.utility(was, synthetic.WEIGHTS)])
    theirs, plain_reference = loops(case, reference)
    everywhere = np.ones(N, bool)
    differing = everywhere if against == "as_run" else target != reference
    n_all, n_differing = issues_in_full(case, everywhere), issues_in_full(case, differing)
    assert value.n_full == n_differing
    figures = {**value.estimators, value.estimator: value.value}
    assert set(figures) == {"ips", "snips", "dr", "augmented_replay"}
    for name in ("ips", "dr", "augmented_replay"):
        for i, metric in enumerate(METRICS):
            check(getattr(figures[name], metric), *mean_and_error(mine[name][i], world.issue), n_all - 1)
            gap = mine[name][i] - (was[i] if against == "as_run" else theirs[name][i])
            check(getattr(figures[name].difference, metric), *mean_and_error(gap, world.issue), n_differing - 1)
    for i, metric in enumerate(METRICS):
        snips = mine["ips"][i].sum() / plain.sum()
        influence = (mine["ips"][i] - plain * snips) / plain.mean()
        check(getattr(figures["snips"], metric), snips, definitions.clustered_error(influence, world.issue), n_all - 1)
        if against == "as_run":
            other, influence_other = was[i].mean(), was[i] - was[i].mean()
        else:
            other = theirs["ips"][i].sum() / plain_reference.sum()
            influence_other = (theirs["ips"][i] - plain_reference * other) / plain_reference.mean()
        error = definitions.clustered_error(influence - influence_other, world.issue)
        check(getattr(figures["snips"].difference, metric), snips - other, error, n_differing - 1)
        check(getattr(value.as_run, metric), *mean_and_error(was[i], world.issue), len(set(world.issue.tolist())) - 1)


def test_diagnostics(case):
    world, executed, _, target, reference, predictions = case
    log = read_log(executed, world.job_type, np.tile(synthetic.WEIGHTS, (N, 1)))
    value = estimate_value(log, target, against=reference, predictions=predictions)
    differing = target != reference
    weight = np.array([definitions.weight(executed, r, int(target[r]), int(world.job_type[r]), True) for r in range(N)])
    sums = np.bincount(world.issue, np.where(differing, weight, 0))
    assert value.ess == pytest.approx(sums.sum() ** 2 / (sums**2).sum(), rel=1e-5)
    assert value.weights.mean == pytest.approx(weight[differing].mean(), rel=1e-5)
    assert value.differing == pytest.approx(differing.mean())
    assert value.support == 1.0
    assert (value.known, value.rows, value.issues, value.coverage) == ("executed", N, N // 2, 1.0)
    document = msgspec.json.decode(msgspec.json.encode(value))
    assert set(document) >= {"known", "rows", "coverage", "value", "estimator", "n_full", "ess", "support", "verdict"}
    assert set(document["value"]) == {*METRICS, "difference"}
    assert set(document["value"]["difference"]["utility"]) == {"estimate", "low", "high"}
    assert set(document["verdict"]) >= {"answer", "against", "text", "runs_needed"}
    assert msgspec.convert(document, Value) == value


def test_a_good_model_narrows_the_interval_and_none_is_said(case):
    world, executed, _, target, reference, _ = case
    log = read_log(executed, world.job_type, np.tile(synthetic.WEIGHTS, (N, 1)))
    blind = estimate_value(log, target, against=reference)
    assert blind.predictions == "none"
    assert any("no outcome model" in note for note in blind.notes)
    columns = [synthetic.outcome(world, np.full(N, column))[:3] for column in range(150)]
    truth = Predictions(*(np.stack([c[i] for c in columns], axis=1).astype(np.float32) for i in range(3)))
    seeing = estimate_value(log, target, against=reference, predictions=truth)
    width = seeing.value.difference.utility.high - seeing.value.difference.utility.low
    assert width < 0.5 * (blind.value.difference.utility.high - blind.value.difference.utility.low)


def test_a_distribution_on_one_action_is_that_action(case):
    world, executed, _, target, reference, predictions = case
    log = read_log(executed, world.job_type, np.tile(synthetic.WEIGHTS, (N, 1)))
    one_hot = np.zeros((N, 150))
    one_hot[np.arange(N), target] = 1.0
    sure = estimate_value(log, target, against=reference, predictions=predictions)
    drawn = estimate_value(log, one_hot, against=reference, predictions=predictions)
    for metric in METRICS:
        a, b = getattr(sure.value.difference, metric), getattr(drawn.value.difference, metric)
        assert a.estimate == pytest.approx(b.estimate, rel=1e-9)
    assert drawn.n_full is None
    assert drawn.differing == sure.differing


def test_runs_that_are_no_evidence_are_left_out(case):
    world, executed, _, target, _, _ = case
    keep = np.arange(N) % 4 > 0
    weights = np.tile(synthetic.WEIGHTS, (N, 1))
    some = estimate_value(read_log(replace(executed, evidence=keep), world.job_type, weights), target)
    rows = np.flatnonzero(keep)
    alone = estimate_value(read_log(executed.take(rows), world.job_type[rows], weights[rows]), target[rows])
    assert some.value == alone.value
    assert some.rows == keep.sum()
    assert some.coverage == pytest.approx(keep.mean())
    assert any("not the agent's" in note for note in some.notes)


def test_intervals_take_the_issue_as_their_unit():
    rng = np.random.default_rng(0)
    per_issue = rng.normal(size=50)
    influence = np.repeat(per_issue - per_issue.mean(), 10)
    clusters = Clusters(np.repeat(np.arange(50), 10))
    assert clusters.error(influence) == pytest.approx(np.std(per_issue, ddof=1) / np.sqrt(50))
    alone = Clusters(np.full(500, -1))
    assert alone.count == 500
    assert alone.error(influence) < 0.5 * clusters.error(influence)
    assert clusters.effective_size(np.ones(500)) == pytest.approx(50)
    assert clusters.effective_size(np.zeros(500)) == 0.0
    assert Mean(1.0, 0.5, 0).reach == np.inf
    assert Mean(0.0, 0.0, 0).reach == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_plain_estimates_against_vw_estimators(seed):
    ips = pytest.importorskip("estimators.bandits.ips", reason="vw-estimators is not installed")
    snips = pytest.importorskip("estimators.bandits.snips")
    gaussian = pytest.importorskip("estimators.bandits.gaussian")
    rng = np.random.default_rng(seed)
    n = 5000
    p, q, r = rng.uniform(0.1, 0.9, n), rng.uniform(0, 1, n), rng.integers(0, 2, n).astype(float)
    peers = [ips.Estimator(), snips.Estimator(), gaussian.Interval()]
    for example in zip(p, r, q, strict=True):
        for peer in peers:
            peer.add_example(*map(float, example))
    ours = plain_value(r, p, q)
    assert ours.ips.estimate == pytest.approx(peers[0].get(), rel=1e-10)
    assert ours.snips.estimate == pytest.approx(peers[1].get(), rel=1e-10)
    low, high = peers[2].get(0.05)
    # Theirs has a normal quantile, ours a t quantile: the same to a thousandth at this size.
    assert ours.ips.low == pytest.approx(low, rel=2e-3)
    assert ours.ips.high == pytest.approx(high, rel=2e-3)
    # DR with a constant model is IPS of what the model leaves over.
    dr = plain_value(r, p, q, expected=np.full(n, 0.3), expected_executed=np.full(n, 0.3))
    rest = ips.Estimator()
    for example in zip(p, r - 0.3, q, strict=True):
        rest.add_example(*map(float, example))
    assert dr.dr.estimate == pytest.approx(0.3 + rest.get(), rel=1e-10)


def test_our_logs_against_vw_estimators(case):
    """The same through the whole of the package: propensities of a log and a target that is an action."""
    ips = pytest.importorskip("estimators.bandits.ips", reason="vw-estimators is not installed")
    snips = pytest.importorskip("estimators.bandits.snips")
    world, executed, ran, target, _, predictions = case
    log = read_log(executed, world.job_type, np.tile(synthetic.WEIGHTS, (N, 1)))
    value = estimate_value(log, target, predictions=predictions)
    peers = {"ips": ips.Estimator(), "snips": snips.Estimator()}
    model = ips.Estimator()
    for row in range(N):
        was = [float(executed.passed[row]), float(executed.duration_minutes[row]), float(executed.cost_usd[row])]
        reward = definitions.utility(was, synthetic.WEIGHTS)
        same = float(ran[row] == target[row])
        for peer in peers.values():
            peer.add_example(float(executed.propensity[row]), reward, same)
        expected = definitions.expected_of(predictions, row, int(target[row]), synthetic.WEIGHTS)[3]
        model.add_example(float(executed.propensity[row]), reward - expected, same)
    for name, peer in peers.items():
        assert value.estimators[name].utility.estimate == pytest.approx(peer.get(), rel=1e-5)
    prediction = np.mean(
        [definitions.expected_of(predictions, row, int(target[row]), synthetic.WEIGHTS)[3] for row in range(N)]
    )
    assert value.estimators["dr"].utility.estimate == pytest.approx(prediction + model.get(), rel=1e-5)


def test_plain_refuses_impossible_propensities():
    with pytest.raises(DataError, match="positive probability"):
        plain_value(np.ones(3), np.array([0.5, 0.0, 0.5]), np.ones(3))
