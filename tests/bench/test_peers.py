"""``planner bench peers``: other learners fitted, decoded and judged like ours. No times are asserted."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from planner_bench.command import app
from planner_bench.peers.learners import FLOOR, PEERS, Columns, fit_peer, require_peers
from planner_core.action_space import HEADS
from planner_core.contracts import PlannerAction
from planner_core.data.dataset import load_dataset
from planner_core.decision import decide, temperatures_for
from planner_core.errors import ConfigError, MissingExtra, PlannerError
from planner_core.jsonio import convert

REASON = "the peers need the extra 'peers'"
PACKAGES = ("sklearn", "lightgbm", "vowpalwabbit")
WAYS = {
    "logistic": {"sparse row", "dense row", "by hand"},
    "lightgbm": {"sparse row", "dense row", "C interface"},
    "sklearn mlp": {"sparse row", "dense row", "by hand"},
    "vowpal wabbit": {"text"},
}


@pytest.fixture
def packages():
    for module in PACKAGES:
        pytest.importorskip(module, reason=REASON)


@pytest.fixture(scope="module")
def fitted(dataset):
    for module in PACKAGES:
        pytest.importorskip(module, reason=REASON)
    return {name: fit_peer(name, dataset, dataset.action_space) for name in PEERS}


@pytest.fixture(scope="module")
def result(dataset, registry, runs):
    for module in PACKAGES:
        pytest.importorskip(module, reason=REASON)
    from planner_bench.peers.compare import compare

    return compare(dataset, registry, runs=[runs["joint"]], peers=["logistic"], repeats=3)


def chosen(peer, examples, space):
    scores = peer.predict(examples.features)
    kind = "joint" if "joint" in scores else "heads"
    return decide(scores, examples.job_type, temperatures_for(kind), space).action


def test_the_matrix_holds_the_features_that_occur_in_training(packages, dataset):
    train, valid = dataset.split("train").features, dataset.split("val").features
    columns = Columns(train)
    active = train.dense().any(axis=0)
    assert columns.width == active.sum() < train.d_in
    np.testing.assert_array_equal(columns.matrix(train).toarray(), train.dense()[:, active])
    np.testing.assert_array_equal(columns.matrix(valid).toarray(), valid.dense()[:, active])


@pytest.mark.parametrize("name", PEERS)
def test_scores_are_log_probabilities(fitted, dataset, name):
    peer, valid = fitted[name], dataset.split("val")
    scores = peer.predict(valid.features)
    space = dataset.action_space
    sizes = dict(zip(HEADS, space.head_sizes, strict=True)) | {"joint": len(space.actions)}
    assert set(scores) in ({"joint"}, set(HEADS))
    for part, values in scores.items():
        assert values.shape == (len(valid), sizes[part])
        assert values.dtype == np.float32
        np.testing.assert_allclose(np.exp(values).sum(axis=1), 1.0, atol=1e-4)


@pytest.mark.parametrize("name", PEERS)
def test_decisions_obey_the_rules_of_the_job_type(fitted, dataset, name):
    everything = dataset.everything
    actions = chosen(fitted[name], everything, dataset.action_space)
    assert dataset.action_space.joint_masks[everything.job_type, actions].all()


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_learns(fitted, dataset, name):
    """Far better on its own training rows than the most frequent label is."""
    train = dataset.split("train")
    common = np.bincount(train.action).max() / len(train)
    assert (chosen(fitted[name], train, dataset.action_space) == train.action).mean() > 1.5 * common


@pytest.mark.parametrize("name", PEERS)
def test_one_row_scores_as_it_does_among_others(fitted, dataset, name):
    """However it is asked for; also rows with features that training never showed."""
    peer, valid = fitted[name], dataset.split("val")
    assert set(peer.rows) == WAYS[name]
    all_rows = peer.predict(valid.features)
    one = peer.predict(valid.features.take(np.array([7])))
    starts = valid.features.starts
    for part in all_rows:
        np.testing.assert_allclose(one[part][0], all_rows[part][7], atol=1e-4)
    for way in peer.rows:
        for row in range(len(valid)):
            positions = valid.features.indices[starts[row] : starts[row + 1]].tolist()
            scores = peer.predict_row(way, positions)
            assert set(scores) == set(all_rows)
            for part, values in scores.items():
                # Far below, float32 and float64 sums of the same terms part ways; nothing is decided there.
                np.testing.assert_allclose(np.exp(values[0]), np.exp(all_rows[part][row]), atol=1e-5)


@pytest.mark.parametrize("name", PEERS)
def test_what_is_timed_is_the_same_decision(fitted, dataset, name):
    """JSON in, a valid planner_action out: the action that the same peer chooses for the row among others."""
    from planner_bench.peers.compare import _of_peer, sample_documents

    contestant = _of_peer(fitted[name], 1.0, dataset)
    expected = contestant.choose(dataset.split("test"))
    documents = sample_documents(dataset)
    assert len(documents) == len(expected) and set(contestant.planners) == WAYS[name]
    for planner in contestant.planners.values():
        for document, action in zip(documents, expected, strict=True):
            found = planner.decide(document)
            convert(found, PlannerAction, "decision")
            assert found["reason"] is None and not found["abstain_to_default"]
            swarm, *bins = dataset.action_space.actions[action]
            assert (found["swarm_id"], *found["budgets"].values()) == (swarm, *bins)


def test_a_contestant_that_does_not_decide_is_not_timed(packages, fitted, dataset):
    from planner_bench.peers.compare import _check_decisions, _of_peer, sample_documents

    (planner,) = _of_peer(fitted["vowpal wabbit"], 1.0, dataset).planners.values()
    planner.predictor.way = "none"
    with pytest.raises(PlannerError, match="vowpal wabbit, text: it does not decide"):
        _check_decisions("vowpal wabbit", "text", planner, sample_documents(dataset)[:1])


def test_two_classes_are_one_logit(packages, world_lines, write_lines, tmp_path):
    """scikit-learn keeps one column of weights for two classes; by hand it has to come out the same."""
    lines = [line for line in world_lines(60) if line["planner_input"]["job_type"] == "code"]
    first = lines[0]["label_action"]
    labels = [first, next(x["label_action"] for x in lines if x["label_action"]["budgets"] != first["budgets"])]
    for i, line in enumerate(lines):
        line["split"], line["label_action"] = "train", labels[i % 2]
    data = load_dataset(write_lines(tmp_path / "d", lines))
    train = data.split("train")
    assert len(np.unique(train.action)) == 2
    for name in ("logistic", "sklearn mlp"):
        peer = fit_peer(name, data, data.action_space)
        expected = peer.predict(train.features)
        for row in range(5):
            positions = train.features.indices[train.features.starts[row] : train.features.starts[row + 1]].tolist()
            for way in peer.rows:
                for part, values in peer.predict_row(way, positions).items():
                    np.testing.assert_allclose(np.exp(values[0]), np.exp(expected[part][row]), atol=1e-5)


@pytest.mark.parametrize("name", PEERS)
def test_a_seed_repeats(packages, fitted, dataset, name):
    again = fit_peer(name, dataset, dataset.action_space).predict(dataset.split("val").features)
    first = fitted[name].predict(dataset.split("val").features)
    assert all(np.array_equal(first[part], again[part]) for part in first)


@pytest.mark.parametrize("name", PEERS)
def test_a_head_with_one_class_is_constant(packages, world_lines, write_lines, tmp_path, name):
    """Every training label is one action; validation holds others, which no peer can know."""
    lines = world_lines(40)
    label = lines[0]["label_action"]
    same = [line for line in lines if line["planner_input"]["job_type"] == lines[0]["planner_input"]["job_type"]]
    for i, line in enumerate(same):
        line["split"] = "val" if i % 3 == 0 else "train"
        if line["split"] == "train":
            line["label_action"] = label
    data = load_dataset(write_lines(tmp_path / "d", same))
    peer = fit_peer(name, data, data.action_space)
    valid = data.split("val")
    assert (chosen(peer, valid, data.action_space) == data.split("train").action[0]).all()
    for values in peer.predict(valid.features).values():
        np.testing.assert_allclose(np.unique(values), [np.log(FLOOR), 0.0], rtol=1e-6)


@pytest.mark.parametrize("name", PEERS)
def test_no_validation_split_is_no_obstacle(packages, world_lines, write_lines, tmp_path, name):
    lines = world_lines(50)
    for i, line in enumerate(lines):
        line["split"] = "test" if i % 10 == 0 else "train"
    data = load_dataset(write_lines(tmp_path / "d", lines))
    peer = fit_peer(name, data, data.action_space)
    assert len(chosen(peer, data.split("test"), data.action_space)) == len(data.split("test"))


def test_ours_and_peers_stand_in_one_report(result, dataset):
    ours, peer = result["contestants"]
    assert (ours["name"], peer["name"]) == ("joint", "logistic")
    assert set(ours["latency_ms"]) == {"bundle", "python"}
    assert set(peer["latency_ms"]) == WAYS["logistic"]
    assert ours["latency_ms"]["bundle"]["to_ours"] == 1.0
    for row in (ours, peer):
        medians = [found["p50"] for found in row["latency_ms"].values()]
        assert medians == sorted(medians)  # the fastest way first
        for found in row["latency_ms"].values():
            assert 0 < found["p50"] <= found["p90"] <= found["p99"] <= found["p99.9"]
            assert found["ratio"] > 0 and found["to_ours"] > 0
            assert found["cold_p50"] > 0 and found["cold_to_ours"] > 0
    assert ours["latency_ms"]["bundle"]["cold_to_ours"] == 1.0
    assert set(result["noise"]) == {"tail", "drift", "waiting", "quiet"}
    for row in (ours, peer):
        assert row["fit_seconds"] > 0
        for split in ("val", "test"):
            floor, ceiling = (getattr(dataset.meta, name)[split]["mean_utility"] for name in ("floor", "ceiling"))
            expected = (row[split]["mean_utility"] - floor) / (ceiling - floor)
            assert row[split]["gap_closed"] == pytest.approx(expected)


def test_our_figures_are_those_of_the_run(result, runs):
    recorded = json.loads((runs["joint"] / "results.json").read_text())
    for split in ("val", "test"):
        for name in ("exact_match_accuracy", "mean_utility", "gap_closed"):
            assert result["contestants"][0][split][name] == pytest.approx(recorded[split][name])


def test_a_policy_can_be_trained_for_the_comparison(packages, dataset, registry):
    from planner_bench.peers.compare import compare

    values = {"d_hidden": 8, "n_layers": 1, "epochs": 1}
    result = compare(dataset, registry, policies=["mlp"], values=values, peers=[], repeats=2)
    assert [row["name"] for row in result["contestants"]] == ["mlp"]


def test_features_must_be_the_same_for_all(packages, dataset, registry, quick_train, tmp_path):
    from planner_bench.peers.compare import compare

    with pytest.raises(PlannerError, match="same features"):
        compare(dataset, registry, policies=["mlp"], values={"history_slots": 2}, peers=[])
    other = load_dataset(dataset.directory, type(dataset.encoder)(history_slots=2))
    quick_train("mlp", other, tmp_path / "run", history_slots=2)
    with pytest.raises(PlannerError, match="another encoding"):
        compare(dataset, registry, runs=[tmp_path / "run"], peers=[])


def test_the_command_prints_tables_that_fit_80_columns(monkeypatch, packages, world, result):
    from rich.console import Console

    from planner_bench import command
    from planner_bench.peers import compare

    monkeypatch.setattr(compare, "compare", lambda *args, **options: result)
    monkeypatch.setattr(command, "out", Console(width=80, highlight=False))
    done = CliRunner().invoke(app, ["peers", "--dataset", str(world)])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert "…" not in done.stdout and "the machine was" in done.stdout
    for names in (("split", "exact match", "gap closed", "fit s"), ("by", "p50", "p99", "/ ref", "/ ours")):
        assert any(all(name in line for name in names) for line in lines)
    for row in result["contestants"]:
        assert any(row["name"] in line and f"{row['val']['exact_match_accuracy']:.3f}" in line for line in lines)
        assert all(any(way in line for line in lines) for way in row["latency_ms"])


def test_the_command_prints_json(monkeypatch, packages, world, result):
    from planner_bench.peers import compare

    monkeypatch.setattr(compare, "compare", lambda *args, **options: result)
    done = CliRunner().invoke(app, ["peers", "--dataset", str(world), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == result


def test_an_unknown_peer_is_refused(packages, world):
    done = CliRunner().invoke(app, ["peers", "--dataset", str(world), "--peer", "lightgmb"])
    assert isinstance(done.exception, ConfigError)
    assert "did you mean 'lightgbm'?" in str(done.exception)


@pytest.mark.parametrize(
    ("name", "module"), [("logistic", "sklearn"), ("lightgbm", "lightgbm"), ("vowpal wabbit", "vowpalwabbit")]
)
def test_a_missing_package_names_the_extra(monkeypatch, packages, world, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"planner bench peers needs the 'peers' extra \({module} is not"):
        require_peers([name])
    require_peers([other for other in PEERS if module not in PEERS[other].packages])
    done = CliRunner().invoke(app, ["peers", "--dataset", str(world)])
    assert isinstance(done.exception, MissingExtra)


def test_nothing_of_the_peers_is_imported_with_the_commands():
    """``planner bench`` works, and starts fast, without the extra."""
    import subprocess

    code = "import sys, planner_bench.command, planner_bench.peers.learners; print([m for m in sys.modules if m in %r])"
    heavy = ("sklearn", "lightgbm", "vowpalwabbit", "scipy", "torch")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
