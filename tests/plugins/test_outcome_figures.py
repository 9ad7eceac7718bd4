"""The ``outcome`` policy with log figures: in Python, in its graph, in a bundle, and where an input has none."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from planner_core import (
    BundleError,
    EncoderConfig,
    Planner,
    PolicyContext,
    TrainingSession,
    load_dataset,
    sample_inputs,
)
from planner_core.harness.train import figure_notes
from planner_core.runtime.bundle import INDEX_MODEL, MODEL, read_bundle, write_bundle
from planner_core.settings import make_settings
from planner_outcome.additive import Additive
from planner_outcome.config import OutcomeConfig
from planner_outcome.policy import OutcomePolicy
from planner_outcome.residuals import Effects

sys.path.insert(0, str(Path(__file__).parent))
from outcome_support import parity

WITH = EncoderConfig(log_figures=True)
BRIEF = {"rounds": 1, "steps": 10}
POLICIES = ("outcome", "mlp")


def fitted(examples, encoder=WITH):
    policy = OutcomePolicy(OutcomeConfig(**BRIEF), PolicyContext(encoder=encoder))
    train = examples.with_evidence("executed")
    policy.fit(TrainingSession(train=train, valid=train.between(0, 0), directory=Path()))
    return policy


@pytest.fixture(scope="module")
def data(world):
    return load_dataset(world, WITH, cache=False)


@pytest.fixture(scope="module")
def learnt(data):
    return fitted(data.split("train"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory, data, registry):
    """{policy: bundle with log figures} of one that reads them and one that does not."""
    from planner_core.harness.train import train
    from planner_export.bundle import export_bundle

    root = tmp_path_factory.mktemp("figures")
    brief = {"outcome": {**BRIEF, "evidence": "executed"}, "mlp": {"d_hidden": 32, "epochs": 2}}
    for policy, values in brief.items():
        settings = make_settings(policy, registry.spec(policy).config_type, {**values, "log_figures": True})
        train(policy, data, root / "run" / policy, settings, registry)
        export_bundle(policy, registry, root / policy, run=root / "run" / policy)
    return {policy: root / policy for policy in POLICIES}


def predicted(policy, batch, **figures):
    return policy.predict(replace(batch, features=replace(batch.features, **figures)))


def test_the_encoded_dataset_has_the_figures_of_its_inputs(data):
    figures = data.everything.features.figures
    assert figures.shape == (400, 19) and figures.dtype == np.float32
    assert [x.log_figures.known for x in data.everything.inputs] == pytest.approx(figures[:, 0].tolist())
    assert (data.split("test").features.figures == figures[360:]).all()


def test_they_change_what_is_predicted(data, learnt):
    batch = data.split("test").batch()
    figures = np.array(batch.features.figures)
    usual = predicted(learnt, batch)["passed"]
    group = WITH.group("log_passed").start - WITH.group("log_figures").start
    weights = learnt.model.weights[learnt.model.features.slices["log"], 0]
    better = figures + np.concatenate([np.zeros(1), 0.1 * np.sign(weights)])[None].astype(np.float32)
    assert group == 1 and weights.any()
    assert (predicted(learnt, batch, figures=better)["passed"] > usual).mean() > 0.99


def test_no_figures_are_figures_that_know_nothing(data, learnt):
    batch = data.split("test").batch()
    zeros = predicted(learnt, batch, figures=np.zeros_like(batch.features.figures))
    without = predicted(learnt, batch, figures=None)
    assert all((zeros[name] == without[name]).all() for name in zeros)


def test_what_is_not_known_is_filled_in_by_the_features(data, learnt):
    """Where nothing is known the figures are what tags and tool let one expect: on average those that are there."""
    rows = data.split("train").features
    model, known = learnt.model.features, rows.figures[:, :1].astype(float)
    log = model.slices["log"]
    jobs = data.split("train").job_type
    full, empty = (model.features(r, jobs)[:, log] for r in (rows, replace(rows, figures=None)))
    assert empty == pytest.approx(model.own(rows) @ model.expected)
    assert full == pytest.approx(rows.figures[:, 1:] + (1 - known) * empty, abs=1e-6)


def test_it_is_saved_and_loaded(data, learnt, tmp_path):
    learnt.save(tmp_path)
    again = OutcomePolicy(OutcomeConfig(), PolicyContext(encoder=WITH))
    again.load(tmp_path)
    batch = data.split("test").batch()
    assert all((again.predict(batch)[name] == values).all() for name, values in learnt.predict(batch).items())


def test_the_graph_reads_them_for_the_additive_model_too(data, learnt):
    rng, n_features = np.random.default_rng(0), len(learnt.model.weights)
    effects = Effects(*(0.2 * rng.standard_normal((4, 150)) for _ in range(3)))
    additive = Additive(0.1 * rng.standard_normal((n_features, 3)), np.array([0.5, 20.0, 1.0]), effects, 0.75)
    policy = OutcomePolicy(OutcomeConfig(), PolicyContext(encoder=WITH))
    policy._model = replace(learnt.model, additive=additive)
    parity(policy, data.split("test"))


def test_without_them_nothing_reads_them(world):
    data = load_dataset(world, cache=False)
    policy = fitted(data.split("train"), EncoderConfig())
    assert policy.model.features.expected is None and "log" not in policy.model.features.widths
    (given, _) = policy.export_scorer().graph.input
    assert given.type.tensor_type.shape.dim[1].dim_value == 3779


@pytest.mark.parametrize("policy", POLICIES)
def test_the_bundle_says_so_and_its_golden_rows_have_them(exported, policy):
    path = exported[policy]
    assert json.loads((path / "encoder.json").read_text())["log_figures"] is True
    rows = [json.loads(line) for line in (path / "golden.jsonl").read_text().splitlines()]
    assert all(len(row["figures"]) == 19 for row in rows)
    assert {any(row["figures"]) for row in rows} == {True, False}
    for row in rows:
        assert any(row["figures"]) == ("log_figures" in row["planner_input"])
    assert (path / INDEX_MODEL).exists() <= (policy != "outcome")  # positions of bits hold no numbers
    assert onnx.load(path / MODEL).graph.input[0].type.tensor_type.shape.dim[1].dim_value == 3798


@pytest.mark.parametrize("policy", POLICIES)
def test_the_runtime_decides_on_them(exported, policy):
    planner = Planner.load(exported[policy], strict=True)
    documents = sample_inputs(24, seed=4, log_figures=True)
    one_by_one = [planner.decide(x) for x in documents]
    for alone, together in zip(one_by_one, planner.decide_batch(documents), strict=True):
        assert not alone["abstain_to_default"]
        assert alone["confidence"] == pytest.approx(together["confidence"], abs=1e-5)
    bare = [{k: v for k, v in x.items() if k != "log_figures"} for x in documents]
    differs = [a["confidence"] != planner.decide(x)["confidence"] for a, x in zip(one_by_one, bare, strict=True)]
    there = ["log_figures" in x for x in documents]
    assert differs == (there if policy == "outcome" else [False] * 24)


def test_golden_rows_with_other_figures_are_refused(exported, tmp_path):
    path = shutil.copytree(exported["outcome"], tmp_path / "bundle")
    content = {p.name: p.read_bytes() for p in path.iterdir() if p.name != "manifest.json"}
    rows = [json.loads(line) for line in content["golden.jsonl"].splitlines()]
    rows[3]["figures"][5] += 1.0
    content["golden.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    write_bundle(path, content)
    assert read_bundle(path)
    with pytest.raises(BundleError, match="golden row 4: the encoder gives other features"):
        Planner.load(path, strict=True)


def test_training_without_any_says_so(data, world_lines, write_lines, tmp_path):
    lines = world_lines(12)
    for line in lines:
        line["planner_input"].pop("log_figures")
    old = load_dataset(write_lines(tmp_path / "old", lines), WITH)
    assert not old.everything.features.figures.any()
    (note,) = figure_notes(old.everything)
    assert "no training example has log figures" in note
    assert figure_notes(data.everything) == []
