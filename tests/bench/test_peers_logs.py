"""``planner bench peers --logs``: everyone learns from what was run and nothing else, and is judged by what is true."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from planner_bench.command import app
from planner_bench.peers import log_learners
from planner_bench.peers.learners import Columns
from planner_bench.peers.log_learners import LOG_LEARNERS, Setting, _policy, _shrunken, fit_learner
from planner_bench.peers.logs import (
    BEST_CONSTANT,
    CONSTANT,
    HEURISTIC,
    Cell,
    _cluster_se,
    compare_logs,
    compare_logs_of,
)
from planner_core.errors import ConfigError, PlannerError
from planner_core.utility import weight_table

for module in ("sklearn", "lightgbm", "scipy"):
    pytest.importorskip(module, reason="the learners need the extra 'peers'")


@pytest.fixture(scope="module")
def logged(dataset):
    """Training, validation and test runs, without any other outcome."""
    return {name: dataset.split(name).with_evidence("executed") for name in ("train", "val", "test")}


@pytest.fixture(scope="module")
def setting(dataset, logged):
    weights = weight_table(dataset.meta.utility)
    return Setting(Columns(logged["train"].features), dataset.action_space, dataset.encoder, weights, 0)


@pytest.fixture(scope="module")
def chosen(setting, logged):
    return {name: fit_learner(name, setting, logged["train"], logged["val"]) for name in LOG_LEARNERS}


@pytest.mark.parametrize("name", LOG_LEARNERS)
def test_decisions_are_valid_and_stand_for_their_twins(chosen, dataset, name):
    everything = dataset.everything
    action = chosen[name](everything)
    assert dataset.action_space.joint_masks[everything.job_type, action].all()
    np.testing.assert_array_equal(dataset.action_space.canonical[everything.job_type, action], action)


@pytest.mark.parametrize("name", LOG_LEARNERS)
def test_a_seed_repeats(chosen, setting, logged, name):
    again = fit_learner(name, setting, logged["train"], logged["val"])
    np.testing.assert_array_equal(again(logged["test"]), chosen[name](logged["test"]))


@pytest.mark.parametrize("name", LOG_LEARNERS)
def test_no_validation_run_is_no_obstacle(setting, logged, name):
    fit_learner(name, setting, logged["train"], logged["val"].between(0, 0))(logged["test"])


def _one_action_pays(examples, space, paid):
    """The log in which exactly the runs of the actions ``paid`` passed, at no cost and in a minute."""
    ran = examples.executed
    wide = np.isin(ran.action, paid)
    worth = {"passed": wide.astype(np.float32), "cost_usd": np.full(len(wide), 0.01, np.float32)}
    executed = dataclasses.replace(ran, duration_minutes=np.ones(len(wide), np.float32), **worth)
    return dataclasses.replace(examples, executed=executed)


@pytest.mark.parametrize("name", LOG_LEARNERS)
def test_what_pays_is_found(setting, logged, dataset, name):
    """Where only the action that is run most often passes, it is what everyone chooses on the job type."""
    train = logged["train"]
    code = train.job_type == 0
    most = int(np.bincount(train.executed.action[code]).argmax())
    paying = _one_action_pays(train.take(np.flatnonzero(code)), dataset.action_space, [most])
    test = logged["test"].take(np.flatnonzero(logged["test"].job_type == 0))
    action = fit_learner(name, setting, paying, paying.between(0, 0))(test)
    assert (action == most).mean() > 0.8


def test_a_log_that_does_not_say_how_likely_is_refused(setting, logged):
    train = logged["train"]
    unknown = dataclasses.replace(train.executed, propensity=np.full(len(train), np.nan, np.float32))
    with pytest.raises(PlannerError, match="no training run says what was run"):
        fit_learner("ips", setting, dataclasses.replace(train, executed=unknown), train)


def test_a_policy_takes_the_gain_that_its_features_show(setting, logged, dataset):
    """One action gains on one priority, another on another; the softmax policy tells them apart."""
    log = setting.log(logged["train"])
    of = [np.flatnonzero((log.examples.priority == p) & (log.examples.job_type == 0)) for p in (1, 2)]
    count = min(map(len, of))
    log = log.take(np.concatenate([rows[:count] for rows in of]))
    assert len(log) >= 50
    pair = setting.allowed(0)[[0, -1]]
    wanted = np.repeat(pair, count)
    gain = np.zeros((len(log), len(dataset.action_space.actions)))
    gain[np.arange(len(log)), wanted] = 1.0
    np.testing.assert_array_equal(_policy(setting, log, gain, 1e-6)(log.examples), wanted)


def test_shrinkage_keeps_what_differs_and_drops_what_does_not():
    rng = np.random.default_rng(0)
    cell = np.repeat(np.arange(40), 25)
    truth = rng.normal(0.0, 2.0, 40)
    noise = rng.normal(0.0, 1.0, len(cell))
    ones = np.ones(len(cell))
    kept = _shrunken(truth[cell] + noise, cell, ones)
    means = np.bincount(cell, truth[cell] + noise) / 25
    expected = 4.0 / (4.0 + 1.0 / 25)
    np.testing.assert_allclose(kept / means, expected, atol=0.02)
    assert np.abs(_shrunken(noise, cell, ones)).max() < 0.2 < np.abs(np.bincount(cell, noise) / 25).max() * 1.5


def test_errors_cluster_by_issue():
    rng = np.random.default_rng(1)
    once = rng.normal(size=200)
    single = _cluster_se(once, np.arange(200))
    assert single == pytest.approx(once.std(ddof=1) / np.sqrt(200))
    twice = np.repeat(once, 2)  # the same news told twice is no more news
    assert _cluster_se(twice, np.repeat(np.arange(200), 2)) == pytest.approx(single)


@pytest.fixture(scope="module")
def result(registry):
    return compare_logs([Cell("default", 160, 0.2)], [4, 5], registry, policies=[], learners=["linear", "table"])


def test_the_rules_close_nothing_and_the_best_comes_first(result):
    (cell,) = result["cells"]
    rows = {row["name"]: row for row in cell["learners"]}
    assert set(rows) >= {"linear", "table", HEURISTIC, BEST_CONSTANT}
    assert rows[HEURISTIC]["gap_by_seed"] == pytest.approx([0.0, 0.0], abs=1e-6)
    gaps = [row["gap_closed"] for row in cell["learners"]]
    assert gaps == sorted(gaps, reverse=True) and max(gaps) < 1.2
    for row in rows.values():
        assert row["gap_closed"] == pytest.approx(np.mean(row["gap_by_seed"]))
        assert row["seeds"] == len(row["gap_by_seed"])
        assert (row["gap_se_by_issue"] > 0) == (row["name"] != HEURISTIC)
    assert rows["linear"]["fit_seconds"] > 0 and rows[HEURISTIC]["fit_seconds"] is None


def test_ours_learns_from_the_same_runs(monkeypatch, registry, dataset):
    """Nothing but what was run reaches a fit: a policy sees no other outcome."""
    from planner_bench.peers import logs

    seen = []
    real = logs.fit_learner
    monkeypatch.setattr(logs, "fit_learner", lambda *a: seen.append(a[2].known) or real(*a))
    result = compare_logs_of(dataset, registry, policies=["outcome"], learners=["table"])
    assert seen == ["executed"]
    rows = {row["name"]: row for row in result["cells"][0]["learners"]}
    assert rows["outcome"]["fit_seconds"] > 0 and {"table", HEURISTIC} <= set(rows)


def test_a_dataset_without_known_outcomes_is_judged_from_its_log(registry, dataset):
    everything = dataclasses.replace(dataset.everything, outcomes=None)
    bare = dataclasses.replace(dataset, everything=everything, _splits={})
    result = compare_logs_of(bare, registry, policies=[], learners=["table"])
    rows = {row["name"]: row for row in result["values"]}
    assert BEST_CONSTANT not in rows or CONSTANT in rows
    assert rows[HEURISTIC]["verdict"] and 0 <= rows["table"]["support"] <= 1
    assert rows[HEURISTIC]["difference"]["estimate"] == pytest.approx(0.0)


def test_a_dataset_that_does_not_say_what_was_run_is_refused(registry, dataset):
    everything = dataclasses.replace(dataset.everything, executed=None)
    with pytest.raises(PlannerError, match="does not say what was run"):
        compare_logs_of(dataclasses.replace(dataset, everything=everything, _splits={}), registry, learners=["table"])


def test_the_command_prints_a_table_and_json(world):
    options = ["peers", "--logs", "--dataset", str(world), "--peer", "table", "--policy", "outcome"]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    assert "gap closed" in done.stdout and "table" in done.stdout and "outcome" in done.stdout
    done = CliRunner().invoke(
        app, ["peers", "--logs", "--runs", "80", "--seeds", "1", "--peer", "table", "-p", "outcome", "--json"]
    )
    assert done.exit_code == 0, done.output
    (cell,) = json.loads(done.stdout)["cells"]
    assert (cell["world"], cell["runs"], cell["exploration"]) == ("default", 80, 0.2)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--world", "formless"], "--world goes with --logs"),
        (["--logs", "--run", "x"], "--run goes without --logs"),
        (["--logs", "--dataset", "x", "--runs", "100"], "--runs makes worlds"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, why):
    done = CliRunner().invoke(app, ["peers", *options], env={"COLUMNS": "200"})
    assert done.exit_code == 2 and why in done.output


def test_unknown_names_are_refused():
    done = CliRunner().invoke(app, ["peers", "--logs", "--peer", "lightgb"])
    assert isinstance(done.exception, ConfigError) and "did you mean 'lightgbm'?" in str(done.exception)
    done = CliRunner().invoke(app, ["peers", "--logs", "--world", "flat", "--peer", "table", "-p", "outcome"])
    assert isinstance(done.exception, ConfigError) and "there is no world 'flat'" in str(done.exception)


def test_a_missing_package_names_the_extra(monkeypatch):
    import sys

    from planner_core.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtra, match="planner bench peers needs the 'peers' extra"):
        log_learners.require_learners(["lightgbm"])
    log_learners.require_learners(["table"])
