"""The passes that make the first layer cheap: same values, same interface, refused where they do not fit."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from planner_core import BundleError, Planner, PolicyContext
from planner_core.data.samples import sample_inputs
from planner_core.errors import ParityError
from planner_core.runtime.bundle import INDEX_MODEL, MODEL, manifest_bytes, read_bundle
from planner_core.runtime.session import check_interface, open_session, padded_indices
from planner_export.bundle import export_bundle
from planner_export.first_layer import MIN_WEIGHTS, by_indices, first_layer, narrowed
from planner_export.parity import run_session, sample_batch

D_IN, WIDTH = 40, 3
NEVER_SEEN = [0, 7, 39]


def weights(d_in=D_IN, width=WIDTH):
    """Random, with rows of zeros for the features training never saw."""
    made = np.random.default_rng(1).normal(size=(d_in, width)).astype(np.float32)
    made[NEVER_SEEN] = 0.0
    return made


def graph(nodes, constants, *, outputs=("out",)):
    made = helper.make_graph(
        nodes,
        "predictor",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", D_IN])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "width"]) for name in outputs],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def dense_layer(op="Gemm", **attributes):
    weight = weights().T if attributes.get("transB") else weights()
    inputs = ["input", "w"] if op == "MatMul" else ["input", "w", "b"]
    return graph([helper.make_node(op, inputs, ["out"], **attributes)], {"w": weight, "b": np.arange(WIDTH)})


def rows(count):
    return (np.random.default_rng(2).random((count, D_IN)) < 0.3).astype(np.float32)


def run(model, **feed):
    return open_session(model.SerializeToString()).run(None, feed)[0]


LAYERS = {
    "gemm": dense_layer(),
    "gemm, transposed": dense_layer(transB=1),
    "product alone": dense_layer("MatMul"),
}
layers = pytest.mark.parametrize("model", LAYERS.values(), ids=LAYERS.keys())


@layers
@pytest.mark.parametrize("count", [1, 2, 64])
def test_narrowed_computes_the_same(model, count):
    small = narrowed(model)
    features = rows(count)
    assert run(small, input=features) == pytest.approx(run(model, input=features), abs=1e-6)
    assert [i.name for i in small.graph.input] == ["input"]
    assert D_IN - len(NEVER_SEEN) in {d for t in small.graph.initializer for d in t.dims}
    assert not any(list(t.dims) in ([D_IN, WIDTH], [WIDTH, D_IN]) for t in small.graph.initializer)


@layers
@pytest.mark.parametrize("count", [1, 2, 64])
def test_indices_compute_the_same(model, count, monkeypatch):
    monkeypatch.setattr("planner_export.first_layer.MIN_WEIGHTS", 0)
    features = rows(count)
    indices = padded_indices([np.flatnonzero(row).tolist() for row in features], D_IN)
    found = run(by_indices(model), indices=indices)
    assert found == pytest.approx(run(model, input=features), abs=1e-6)


def test_a_row_without_any_feature(monkeypatch):
    monkeypatch.setattr("planner_export.first_layer.MIN_WEIGHTS", 0)
    alone = run(by_indices(dense_layer()), indices=np.full((1, 4), D_IN))
    assert alone[0].tolist() == [0.0, 1.0, 2.0]  # the bias


def test_all_weights_zero():
    """Nothing was learnt: one feature stays, so that the product still has a shape."""
    model = dense_layer()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((D_IN, WIDTH), np.float32), "w"))
    assert run(narrowed(model), input=rows(5)).tolist() == [[0.0, 1.0, 2.0]] * 5


def test_every_feature_in_use_is_left_alone():
    model = dense_layer()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((D_IN, WIDTH), np.float32), "w"))
    assert narrowed(model) is model


OTHERS = {
    "read twice": graph(
        [
            helper.make_node("MatMul", ["input", "w"], ["a"]),
            helper.make_node("ReduceSum", ["input"], ["sum"]),
            helper.make_node("Add", ["a", "sum"], ["out"]),
        ],
        {"w": weights()},
    ),
    "another operator": graph([helper.make_node("Relu", ["input"], ["out"])], {}),
    "features on the right": graph([helper.make_node("MatMul", ["w", "input"], ["out"])], {"w": np.ones((2, 5))}),
    "scaled": dense_layer(alpha=0.5),
    "bias scaled": dense_layer(beta=0.5),
    "no constant": graph(
        [helper.make_node("Relu", ["input"], ["other"]), helper.make_node("MatMul", ["input", "other"], ["out"])], {}
    ),
}


@pytest.mark.parametrize("model", OTHERS.values(), ids=OTHERS.keys())
def test_other_graphs_are_left_alone(model):
    assert first_layer(model) is None
    assert narrowed(model) is model
    assert by_indices(model) is None


def test_a_small_layer_gets_no_second_graph():
    assert D_IN * WIDTH < MIN_WEIGHTS and by_indices(dense_layer()) is None


# -- in a bundle


@pytest.fixture(scope="module")
def large(tmp_path_factory, dataset, quick_train, registry):
    """A bundle whose first layer is large enough for the second graph."""
    root = tmp_path_factory.mktemp("large")
    quick_train("mlp", dataset, root / "run", d_hidden=512, epochs=1)
    export_bundle("mlp", registry, root / "bundle", run=root / "run")
    return root / "bundle"


def test_both_graphs_are_in_the_bundle(large):
    bundle = read_bundle(large)
    session = open_session(bundle.index_model)
    check_interface(session, bundle.encoder.d_in, bundle.action_space, INDEX_MODEL)
    assert [i.name for i in session.get_inputs()] == ["indices", "job_type"]
    batch = sample_batch(64, 5, PolicyContext())
    dense, by_index = run_session(open_session(bundle.model), batch), run_session(session, batch)
    for name, values in dense.items():
        assert by_index[name] == pytest.approx(values, abs=1e-5), name
    report = json.loads((large / "validation_report.json").read_text())
    assert report[INDEX_MODEL]["parity"]["passed"] and report["parity"]["passed"]


def test_one_and_many_decide_alike(large):
    planner = Planner.load(large, strict=True)
    inputs = sample_inputs(40, 3)
    together = planner.decide_batch(inputs)
    for alone, of_many in zip(map(planner.decide, inputs), together, strict=True):
        assert alone.pop("confidence") == pytest.approx(of_many.pop("confidence"), abs=1e-5)
        del alone["created_at"], of_many["created_at"]
        assert alone == of_many


def test_single_decisions_read_indices(large):
    predictor = Planner.load(large, strict=True).predictor
    planner = Planner.load(large, strict=True)
    x = planner_input(sample_inputs(1, 3)[0])
    assert set(predictor.encode([x])) == {"indices", "job_type"}
    assert set(predictor.encode([x, x])) == {"input", "job_type"}
    assert planner.predictor.run(predictor.encode([x])).shape == (1, 150)


def planner_input(document):
    from planner_core import PlannerInput, convert

    return convert(document, PlannerInput, "test")


def resealed(bundle, path, **changed):
    """A copy with other contents (None: without the file) and a manifest that fits."""
    import hashlib

    shutil.copytree(bundle, path)
    files = json.loads((path / "manifest.json").read_text())["files"]
    for name, content in changed.items():
        if content is None:
            (path / name).unlink()
            del files[name]
        else:
            (path / name).write_bytes(content)
            files[name] = hashlib.sha256(content).hexdigest()
    (path / "manifest.json").write_bytes(manifest_bytes(files))
    return path


def test_the_second_graph_is_optional(large, tmp_path):
    alone = Planner.load(resealed(large, tmp_path / "b", **{INDEX_MODEL: None}), strict=True)
    whole = Planner.load(large, strict=True)
    for x in sample_inputs(10, 4):
        assert alone.decide(x)["budgets"] == whole.decide(x)["budgets"]


def test_an_altered_second_graph_is_refused(large, tmp_path):
    shutil.copytree(large, tmp_path / "b")
    content = bytearray((large / INDEX_MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "b" / INDEX_MODEL).write_bytes(content)
    with pytest.raises(BundleError, match=f"{INDEX_MODEL}: found SHA-256"):
        read_bundle(tmp_path / "b")


def test_a_second_graph_with_the_wrong_inputs_is_refused(large, tmp_path):
    path = resealed(large, tmp_path / "b", **{INDEX_MODEL: (large / MODEL).read_bytes()})
    with pytest.raises(BundleError, match=f"{INDEX_MODEL}: found inputs"):
        Planner.load(path, strict=True)


def test_a_second_graph_with_weights_elsewhere_is_refused(large, tmp_path):
    model = onnx.load_from_string((large / INDEX_MODEL).read_bytes())
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    path = resealed(large, tmp_path / "b", **{INDEX_MODEL: model.SerializeToString()})
    with pytest.raises(BundleError, match=f"{INDEX_MODEL}: it keeps weights in other files"):
        read_bundle(path)


def test_the_parity_gate_covers_the_second_graph(large, registry, monkeypatch, tmp_path):
    def wrong(model, n_figures):
        made = by_indices(model, n_figures)
        for tensor in made.graph.initializer:
            if tensor.name == "first/rows":
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.01, tensor.name))
        return made

    monkeypatch.setattr("planner_export.first_layer.by_indices", wrong)
    with pytest.raises(ParityError):
        export_bundle("mlp", registry, tmp_path / "bundle", run=large.parent / "run")
    assert not (tmp_path / "bundle").exists()
