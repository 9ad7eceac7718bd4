"""Exporting: one graph interface for every policy, a parity gate that bites, and a bundle that is whole or absent."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from planner_core import (
    HEADS,
    ActionSpace,
    ParityError,
    PlannerError,
    PlannerInputEncoder,
    PolicyContext,
    PolicyFailed,
    decide,
)
from planner_core.data.samples import sample_inputs
from planner_core.decision import temperatures_for
from planner_core.harness.run_dir import load_run
from planner_core.harness.sources import open_planner
from planner_core.runtime.bundle import FILES, read_bundle
from planner_core.runtime.planner import Planner
from planner_core.runtime.session import OUTPUTS
from planner_export.bundle import export_bundle
from planner_export.graph import build_graph
from planner_export.parity import TOLERANCE, run_session, sample_batch

SPACE = ActionSpace()
SIZES = dict(zip(HEADS, (2, 4, 6, 5), strict=True))
every = pytest.mark.parametrize("policy", ["mlp", "joint", "heuristic"])


@pytest.fixture(scope="module")
def sessions(bundles):
    """Sessions opened by onnxruntime alone, without any help of the runtime."""
    return {name: onnxruntime.InferenceSession(path / "model.onnx") for name, path in bundles.items()}


def python_side(policy, runs, registry):
    """(policy, context, temperatures) as trained, or as it is."""
    if policy in runs:
        run = load_run(runs[policy], registry)
        return run.policy, run.context, run.temperatures
    spec, context = registry.spec(policy), PolicyContext()
    return spec.load()(spec.config_type(), context), context, temperatures_for("heads")


# -- the graph interface


@every
def test_interface(policy, sessions):
    """Section 5.1, tensor by tensor."""
    session = sessions[policy]
    inputs = {item.name: (item.type, item.shape[1:]) for item in session.get_inputs()}
    assert inputs == {"input": ("tensor(float)", [3779]), "job_type": ("tensor(int64)", [])}
    outputs = {item.name: (item.type, item.shape[1:]) for item in session.get_outputs()}
    assert outputs == {
        **{name: ("tensor(float)", [size]) for name, size in SIZES.items()},
        "action_probs": ("tensor(float)", [150]),
        "action": ("tensor(int64)", []),
        "confidence": ("tensor(float)", []),
    }
    for item in (*session.get_inputs(), *session.get_outputs()):
        assert isinstance(item.shape[0], str)  # a named dimension: any batch


@every
@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_graph_equals_policy(policy, size, sessions, runs, registry):
    """7 is a batch the gate itself never tries."""
    trained, context, temperatures = python_side(policy, runs, registry)
    batch = sample_batch(size, 4000 + size, context)
    expected = decide(trained.predict(batch), batch.job_type, temperatures, SPACE)
    found = run_session(sessions[policy], batch)
    for name in HEADS:
        assert found[name].shape == (size, SIZES[name])
        assert np.abs(found[name] - expected.heads[name]).max() <= 1e-5
    assert np.abs(found["action_probs"] - expected.action_probs).max() <= 1e-5
    assert found["action"].tolist() == expected.action.tolist()
    assert np.abs(found["confidence"] - expected.confidence).max() <= 1e-5


@every
def test_action_probs_are_a_distribution_over_the_valid_actions(policy, sessions):
    batch = sample_batch(32, 77, PolicyContext())
    found = run_session(sessions[policy], batch)
    probs = found["action_probs"]
    assert (probs[~SPACE.joint_masks[batch.job_type]] == 0.0).all()
    assert probs.sum(axis=1) == pytest.approx(np.ones(32), abs=1e-5)
    assert found["action"].tolist() == probs.argmax(axis=1).tolist()
    assert np.array_equal(found["confidence"], probs.max(axis=1))


def test_head_outputs_are_logits_over_temperatures(sessions, runs, registry):
    trained, context, temperatures = python_side("mlp", runs, registry)
    assert any(value != 1.0 for value in temperatures.values())  # else this shows nothing
    batch = sample_batch(8, 5, context)
    scores, found = trained.predict(batch), run_session(sessions["mlp"], batch)
    for name in HEADS:
        assert found[name] == pytest.approx(scores[name] / temperatures[name], abs=1e-5)


def test_joint_heads_are_log_marginals(sessions):
    """exp(head) is the probability of every action that has the class; the floor keeps a forbidden class finite."""
    batch = sample_batch(8, 6, PolicyContext())
    found = run_session(sessions["joint"], batch)
    for head, name in enumerate(HEADS):
        for row in range(8):
            for k in range(SIZES[name]):
                members = [i for i, action in enumerate(SPACE.actions) if SPACE.head_bins[head][k] == action[head]]
                marginal = float(found["action_probs"][row, members].astype(np.float64).sum())
                assert np.exp(found[name][row, k]) == pytest.approx(max(marginal, 1e-9), rel=1e-4, abs=2e-9)
    assert np.isfinite(found["iterations"]).all()


@every
def test_job_type_masks(policy, sessions):
    """The same features under another job type get another mask, in the graph."""
    features = sample_batch(1, 8, PolicyContext()).features.dense()
    for job, count in enumerate((30, 120, 150, 150)):
        feed = {"input": features, "job_type": np.array([job])}
        (probs,) = sessions[policy].run(["action_probs"], feed)
        assert not probs[0][~SPACE.joint_masks[job]].any()
        assert SPACE.joint_masks[job].sum() == count
        if policy != "heuristic":  # whose refused actions underflow to 0
            assert np.count_nonzero(probs[0]) == count


# -- the model file


@every
def test_model_file(policy, bundles, tmp_path):
    path = bundles[policy] / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")) >= 17
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert all(tensor.data_location != TensorProto.EXTERNAL for tensor in model.graph.initializer)
    alone = tmp_path / "alone.onnx"  # nothing beside it can help it
    alone.write_bytes(path.read_bytes())
    onnxruntime.InferenceSession(alone)


@pytest.mark.parametrize("policy", ["mlp", "joint"])
def test_model_of_the_default_size_is_small_enough(policy, registry):
    spec, context = registry.spec(policy), PolicyContext()
    untrained = spec.load()(spec.config_type(), context)
    kind = untrained.score_kind
    graph = build_graph(untrained.export_scorer(), kind, context, temperatures_for(kind))
    size = len(graph.SerializeToString())
    assert 7_000_000 < size < 10_000_000  # the weights are inside, and it is below the target


# -- the bundle


@every
def test_bundle_is_whole(policy, bundles):
    path = bundles[policy]
    assert sorted(p.name for p in path.iterdir()) == sorted([*FILES, "manifest.json"])
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["schema_version"] == "swarm_planner.bundle.v1"
    assert manifest["files"] == {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in FILES}
    assert read_bundle(path).metadata["policy"] == policy


@every
def test_golden_rows_prove_a_port(policy, bundles, sessions):
    """What a port would do: encode the input, compare the positions, feed the graph, compare the outputs."""
    rows = [json.loads(line) for line in (bundles[policy] / "golden.jsonl").read_bytes().splitlines()]
    assert len(rows) == 16
    assert {row["job_type"] for row in rows} == {0, 1, 2, 3}
    encoder = PlannerInputEncoder()
    for row in rows:
        assert encoder.encode_indices(row["planner_input"]).tolist() == row["indices"]
        features = np.zeros((1, 3779), np.float32)
        features[0, row["indices"]] = 1.0
        outputs = sessions[policy].run(list(OUTPUTS), {"input": features, "job_type": np.array([row["job_type"]])})
        for name, values in zip(OUTPUTS, outputs, strict=True):
            assert values[0] == pytest.approx(row["outputs"][name], abs=1e-5), name
        chosen = SPACE.actions[row["outputs"]["action"]]
        budgets = [row["action"]["budgets"][f"max_{name}_bin"] for name in HEADS[1:]]
        assert (row["action"]["swarm_id"], *budgets) == tuple(chosen)


def test_metadata(bundles, runs, dataset):
    metadata = json.loads((bundles["mlp"] / "metadata.json").read_text())
    results = json.loads((runs["mlp"] / "results.json").read_text())
    assert metadata["policy"] == "mlp" and metadata["version"] == "mlp"  # the name of the run directory
    assert metadata["distribution"] == "swarm-planner" and metadata["distribution_version"]
    assert metadata["dataset_hash"] == dataset.meta.dataset_hash
    assert metadata["metrics"]["val"]["exact_match_accuracy"] == results["val"]["exact_match_accuracy"]
    assert metadata["metrics"]["test"]["mean_utility"] == results["test"]["mean_utility"]
    assert metadata["created_at"].endswith("Z")
    config = json.loads((bundles["mlp"] / "config.json").read_text())
    assert config["values"]["d_hidden"] == 32 and config["seed"] == 3


def test_untrained_bundle_says_so(bundles):
    metadata = json.loads((bundles["heuristic"] / "metadata.json").read_text())
    assert metadata["dataset_hash"] is None and metadata["metrics"] == {}
    assert json.loads((bundles["heuristic"] / "calibration.json").read_text())["method"] == "none"


@every
def test_validation_report(policy, bundles):
    report = json.loads((bundles[policy] / "validation_report.json").read_text())
    assert report["parity"]["passed"] is True
    assert [case["batch"] for case in report["parity"]["cases"]] == [1, 2, 64]
    assert all(max(case["max_abs_diff"].values()) <= 1e-5 for case in report["parity"]["cases"])
    assert report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert report["model_bytes"] == (bundles[policy] / "model.onnx").stat().st_size
    assert report["opset"] >= 17


def test_the_encoder_travels(registry, tmp_path):
    export_bundle("heuristic", registry, tmp_path / "b", values={"history_slots": 2})
    bundle = read_bundle(tmp_path / "b")
    assert bundle.encoder.history_slots == 2 and bundle.encoder.d_in == 3779 - 6 * 332
    action = Planner.load(tmp_path / "b", strict=True).decide(sample_inputs(1)[0])
    assert action["abstain_to_default"] is False


@pytest.mark.parametrize("policy", ["mlp", "joint"])
def test_run_and_bundle_decide_alike(policy, runs, bundles, registry):
    from_run = open_planner(policy, registry, runs[policy], {})
    from_bundle = open_planner(policy, registry, bundles[policy], {})
    for document in sample_inputs(20, seed=12):
        a, b = from_run.decide(document), from_bundle.decide(document)
        assert (a["swarm_id"], a["budgets"]) == (b["swarm_id"], b["budgets"])
        assert a["confidence"] == pytest.approx(b["confidence"], abs=1e-5)


# -- the parity gate. A scorer by hand instead of torch's, so that each case costs milliseconds.


def scorer(*, names=HEADS, widths=SIZES, rows=None, bias=0.0, d_in=3779, domain="", inputs=("input",)):
    """A model that scores every class of every head with ``bias``, and its possible flaws."""
    nodes, constants, outputs = [], [], []
    source = inputs[0]
    if rows is not None:  # the batch burnt into the graph
        constants.append(numpy_helper.from_array(np.array([rows, d_in], np.int64), "shape"))
        nodes.append(helper.make_node("Reshape", [source, "shape"], ["frozen"]))
        source = "frozen"
    for name, width in zip(names, widths.values(), strict=True):
        constants.append(numpy_helper.from_array(np.zeros((d_in, width), np.float32), f"w_{name}"))
        constants.append(numpy_helper.from_array(np.full(width, bias, np.float32), f"b_{name}"))
        nodes.append(helper.make_node("MatMul", [source, f"w_{name}"], [f"p_{name}"]))
        nodes.append(helper.make_node("Add", [f"p_{name}", f"b_{name}"], [name], domain=domain))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width]))
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", d_in]) for name in inputs]
    graph = helper.make_graph(nodes, "scorer", given, outputs, constants)
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.fixture
def export_by_hand(runs, registry, monkeypatch):
    """Export ``mlp`` with this model in place of its own, and these scores in place of its predictions."""
    policy_class = registry.spec("mlp").load()

    def export(out, model, scores=0.0, width=None, **options):
        def predict(self, batch):
            predicted = {name: np.zeros((len(batch), size), np.float32) for name, size in SIZES.items()}
            if width is not None:
                predicted["minutes"] = np.zeros((len(batch), width), np.float32)
            predicted["minutes"][:, 3] = scores
            return predicted

        monkeypatch.setattr(policy_class, "predict", predict)
        monkeypatch.setattr(policy_class, "export_scorer", lambda self: model)
        return export_bundle("mlp", registry, out, **{"run": runs["mlp"], **options})

    return export


def tree(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def refused(export, tmp_path, error, words, **case):
    """No bundle where there was none, and the old one where there was one."""
    model = case.pop("model", None) or scorer()
    with pytest.raises(error, match=words):
        export(tmp_path / "new", model, **case)
    assert list(tmp_path.iterdir()) == []
    export(tmp_path / "old", scorer())
    before = tree(tmp_path)
    with pytest.raises(error, match=words):
        export(tmp_path / "old", model, **case)
    assert tree(tmp_path) == before and [p.name for p in tmp_path.iterdir()] == ["old"]


def test_the_scorer_by_hand_passes(export_by_hand, tmp_path):
    """Else the refusals below would show nothing."""
    report = export_by_hand(tmp_path / "b", scorer())
    assert report["parity"]["passed"] and read_bundle(tmp_path / "b")


def test_policy_that_differs_by_a_thousandth(export_by_hand, tmp_path):
    refused(export_by_hand, tmp_path, ParityError, r"output minutes, batch 1.*1e-05", scores=1e-3)


def test_tolerance_is_between_half_and_twice(export_by_hand, tmp_path, runs, registry):
    """In calibrated logits, which is what the graph puts out."""
    temperature = load_run(runs["mlp"], registry).temperatures["minutes"]
    assert TOLERANCE == 1e-5
    assert export_by_hand(tmp_path / "b", scorer(), scores=0.5e-5 * temperature)["parity"]["passed"]
    with pytest.raises(ParityError):
        export_by_hand(tmp_path / "b", scorer(), scores=2e-5 * temperature)


def test_policy_of_another_shape(export_by_hand, tmp_path):
    refused(export_by_hand, tmp_path, PolicyFailed, "failed in predict: .*of shape .*expected", width=7)


def test_policy_that_answers_nan(export_by_hand, tmp_path):
    refused(export_by_hand, tmp_path, PolicyFailed, "failed in predict: 'minutes' holds NaN", scores=np.nan)


def test_outputs_of_other_names(export_by_hand, tmp_path):
    names = ("swarm", "candidates", "minutes", "iters")
    refused(export_by_hand, tmp_path, PlannerError, r"outputs are .*'iters'.*expected", model=scorer(names=names))


def test_inputs_of_other_names(export_by_hand, tmp_path):
    refused(export_by_hand, tmp_path, PlannerError, r"inputs are \['x'\]", model=scorer(inputs=("x",)))


@pytest.mark.parametrize("rows", [1, 2])
def test_batch_burnt_into_the_graph(export_by_hand, tmp_path, rows):
    refused(export_by_hand, tmp_path, PlannerError, r"outputs", model=scorer(rows=rows))


def test_operators_outside_the_standard(export_by_hand, tmp_path):
    model = scorer(domain="com.example")
    refused(export_by_hand, tmp_path, PlannerError, r"operators of \['com\.example'\]", model=model)


def test_weights_outside_the_file(export_by_hand, tmp_path):
    model = scorer()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    refused(export_by_hand, tmp_path, PlannerError, "outside the model", model=model)


def test_head_of_another_width(export_by_hand, tmp_path):
    refused(export_by_hand, tmp_path, PlannerError, None, model=scorer(widths=SIZES | {"swarm": 3}))


def test_features_of_another_width(export_by_hand, tmp_path):
    refused(export_by_hand, tmp_path, PlannerError, None, model=scorer(d_in=3000))


def test_old_opsets_are_lifted(export_by_hand, tmp_path):
    model = scorer()
    model.opset_import[0].version = 13
    assert export_by_hand(tmp_path / "b", model)["opset"] >= 17


# -- the threshold for a wanted accuracy


def test_accuracy_sets_the_threshold(export_by_hand, runs, tmp_path):
    """The point of most coverage among those accurate enough; the runtime then goes by its threshold."""
    run = shutil.copytree(runs["mlp"], tmp_path / "run")
    (run / "run_manifest.json").unlink()  # the hashes of what is changed below
    calibration = json.loads((run / "calibration.json").read_text())
    points = [(0.25, 0.0, 0.9), (0.5, 0.1, 0.8), (0.75, 0.05, 0.7), (1.0, 0.4, 0.2)]
    keys = ("coverage", "risk", "threshold")
    calibration["risk_coverage"]["curve"] = [dict(zip(keys, point, strict=True)) for point in points]
    (run / "calibration.json").write_text(json.dumps(calibration))
    assert export_by_hand(tmp_path / "b", scorer(), run=run, accuracy=0.92)["threshold"] == 0.7
    assert Planner.load(tmp_path / "b", strict=True).threshold == 0.7
    assert Planner.load(tmp_path / "b", strict=True, threshold=0.25).threshold == 0.25
    assert export_by_hand(tmp_path / "b", scorer(), run=run, accuracy=0.96)["threshold"] == 0.9
    calibration["risk_coverage"]["curve"] = calibration["risk_coverage"]["curve"][1:]
    (run / "calibration.json").write_text(json.dumps(calibration))
    with pytest.raises(PlannerError, match=r"no threshold reaches it; 0\.950 is the best"):
        export_by_hand(tmp_path / "c", scorer(), run=run, accuracy=0.96)
    assert not (tmp_path / "c").exists()


def test_without_a_wanted_accuracy_nothing_is_abstained(bundles):
    assert Planner.load(bundles["mlp"], strict=True).threshold == 0.0


def test_accuracy_of_a_policy_that_was_never_judged(registry, tmp_path):
    with pytest.raises(PlannerError, match="judged on a validation split"):
        export_bundle("heuristic", registry, tmp_path / "b", accuracy=0.9)
    assert list(tmp_path.iterdir()) == []


# -- where it is written


@pytest.mark.parametrize("policy", ["mlp", "joint"])
def test_nothing_to_export_without_a_run(policy, registry, tmp_path):
    with pytest.raises(PlannerError, match="without a run"):
        export_bundle(policy, registry, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_directory_is_left_alone(registry, tmp_path):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.tex").write_text("x")
    with pytest.raises(PlannerError, match="not empty"):
        export_bundle("heuristic", registry, out)
    assert tree(tmp_path) == {"thesis/chapter1.tex": b"x"}
    with pytest.raises(PlannerError):
        export_bundle("heuristic", registry, out / "chapter1.tex")
    assert tree(tmp_path) == {"thesis/chapter1.tex": b"x"}


def test_an_empty_directory_and_an_old_bundle_give_way(registry, tmp_path):
    out = tmp_path / "b"
    out.mkdir()
    export_bundle("heuristic", registry, out)
    first = read_bundle(out).digest
    export_bundle("heuristic", registry, out, values={"history_slots": 0})
    assert read_bundle(out).digest != first and read_bundle(out).encoder.history_slots == 0
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
