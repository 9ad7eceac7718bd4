"""Loading puts a bundle to work: parts that do not belong together, and graphs without a bound, are refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from planner_core.action_space import ActionSpace
from planner_core.data.samples import sample_inputs
from planner_core.errors import BundleError
from planner_core.runtime import opening
from planner_core.runtime.bundle import MANIFEST, manifest_bytes
from planner_core.runtime.onnx_bounds import DENIED, MAX_NODES, OPERATORS, check_bounded, graph_metadata
from planner_core.runtime.planner import Planner
from planner_export.bundle import export_bundle

DOCUMENT = sample_inputs(1, seed=1)[0]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, registry, runs):
    """{policy: bundle directory} of ``mlp`` and ``joint``, each with both graphs, however small its first layer is."""
    root = tmp_path_factory.mktemp("indexed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner_export.first_layer.MIN_WEIGHTS", 1)
        for policy in ("mlp", "joint"):
            export_bundle(policy, registry, root / policy, run=runs[policy])
    return {policy: root / policy for policy in ("mlp", "joint")}


@pytest.fixture
def bundle(bundles, tmp_path):
    """A copy of a bundle that a test may spoil."""
    return shutil.copytree(bundles["mlp"], tmp_path / "bundle")


def seal(path, **content):
    """Write files into a bundle, and the manifest that fits them all."""
    for name, data in content.items():
        (path / name.replace("__", ".")).write_bytes(data)
    names = json.loads((path / MANIFEST).read_text())["files"]
    files = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}
    (path / MANIFEST).write_bytes(manifest_bytes(files))
    return path


def refused(path, words):
    with pytest.raises(BundleError, match=words):
        Planner.load(path, strict=True)
    assert Planner.load(path).decide(DOCUMENT)["reason"].startswith("bundle_unusable: ")


def without_identity(raw):
    model = onnx.ModelProto.FromString(raw)
    del model.metadata_props[:]
    return model.SerializeToString()


def test_the_copy_is_accepted(bundle):
    """Else the refusals below would show nothing; and a graph of an earlier version says nothing of itself."""
    seal(bundle)
    assert Planner.load(bundle, strict=True).decide(DOCUMENT)["abstain_to_default"] is False
    plain = {
        name.replace(".", "__"): without_identity((bundle / name).read_bytes())
        for name in ("model.onnx", "model_indices.onnx")
    }
    seal(bundle, **plain)
    assert Planner.load(bundle, strict=True).decide(DOCUMENT)["abstain_to_default"] is False


@pytest.mark.parametrize("name", ["model.onnx", "model_indices.onnx"])
def test_swapped_graph(bundle, bundles, name):
    """``joint``'s graphs have the very same interface; with their identity taken away the golden rows tell."""
    other = (bundles["joint"] / name).read_bytes()
    refused(seal(bundle, **{name.replace(".", "__"): other}), r"swarm_planner\.policy = 'joint'")
    refused(seal(bundle, **{name.replace(".", "__"): without_identity(other)}), f"{name}: golden row 1")


def test_swapped_action_space(bundle):
    space = ActionSpace(swarm_ids=("speculate_vote", "serial_handoff")).to_dict()
    refused(seal(bundle, action_space__json=json.dumps(space).encode()), r"swarm_planner\.labels")
    for name in ("model.onnx", "model_indices.onnx"):
        seal(bundle, **{name.replace(".", "__"): without_identity((bundle / name).read_bytes())})
    refused(bundle, "golden row 1: the action")


@pytest.mark.parametrize("rows", [0, 1, 15, 17])
def test_golden_file_of_another_length(bundle, rows):
    lines = (bundle / "golden.jsonl").read_bytes().splitlines(keepends=True)
    refused(seal(bundle, golden__jsonl=b"".join((lines * 2)[:rows])), f"found {rows} rows, expected 16")


def edited(bundle, change):
    rows = [json.loads(line) for line in (bundle / "golden.jsonl").read_bytes().splitlines()]
    change(rows[7])
    return seal(bundle, golden__jsonl="\n".join(map(json.dumps, rows)).encode())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: row["indices"].pop(), "golden row 8: the encoder"),
        (lambda row: row.update(job_type=(row["job_type"] + 1) % 4), "golden row 8: the encoder"),
        (lambda row: row["outputs"].update(action_probs=row["outputs"]["action_probs"][::-1]), "golden row 8"),
        (lambda row: row["action"]["budgets"].update(max_minutes_bin=7), "golden row 8: the action"),
        (lambda row: row.update(planner_input={}), r"golden\.jsonl, line 8"),
        (lambda row: row["rollout"].update(draw=0.5), "golden row 8: the rollout"),
        (lambda row: row["rollout"].update(salt="another"), "golden row 8: the rollout"),
        (lambda row: row["rollout"].update(arm="both"), r"golden\.jsonl, line 8, at \$\.rollout\.arm"),
        (lambda row: row["rollout"].update(share=2), "share must lie in"),
    ],
    ids=["indices", "job type", "probabilities", "action", "input", "draw", "salt", "arm", "share"],
)
def test_one_golden_row(bundle, change, words):
    refused(edited(bundle, change), words)


def test_golden_rows_of_an_earlier_version_have_no_rollout(bundle):
    assert Planner.load(edited(bundle, lambda row: row.pop("rollout")), strict=True).model


def test_golden_rollouts_show_every_arm(bundles):
    for bundle in bundles.values():
        rows = [json.loads(line)["rollout"] for line in (bundle / "golden.jsonl").read_bytes().splitlines()]
        assert {row["arm"] for row in rows} == {"baseline", "model", "explore"}
        assert not any(row["salt"].isascii() for row in rows)


def test_a_decision_that_takes_too_long(bundle, monkeypatch):
    monkeypatch.setattr(opening, "MAX_DECISION_S", 0.0)
    refused(bundle, r"model\.onnx: (a decision takes|does not answer)")


# -- identity and digest


def test_the_graphs_say_what_they_are(bundles):
    metadata = json.loads((bundles["mlp"] / "metadata.json").read_text())
    for name in ("model.onnx", "model_indices.onnx"):
        raw = (bundles["mlp"] / name).read_bytes()
        said = graph_metadata(raw)
        assert said["swarm_planner.policy"] == "mlp"
        assert said["swarm_planner.dataset_hash"] == metadata["dataset_hash"]
        assert {"swarm_planner.encoder", "swarm_planner.labels"} <= said.keys()
        assert said == {entry.key: entry.value for entry in onnx.ModelProto.FromString(raw).metadata_props}


def test_a_digest_pins_a_bundle(bundles):
    digest = "sha256:" + json.loads((bundles["mlp"] / MANIFEST).read_text())["digest"]
    planner = Planner.load(bundles["mlp"], strict=True, digest=digest)
    with pytest.raises(BundleError, match=f"expected {digest}"):
        Planner.load(bundles["joint"], strict=True, digest=digest)
    assert Planner.load(bundles["joint"], digest=digest).decide(DOCUMENT)["reason"].startswith("bundle_unusable")
    with pytest.raises(ValueError, match="digest"):
        planner.reload(bundles["joint"])  # a pin is not lost by the way
    with pytest.raises(BundleError, match="digest"):
        planner.reload(bundles["joint"], digest=digest)
    planner.reload(bundles["mlp"], digest=digest)


@pytest.mark.parametrize("digest", ["", "abc", "sha256:", "sha256:" + "G" * 64, "md5:" + "0" * 64, 3])
def test_a_digest_that_is_none(bundles, digest):
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        Planner.load(bundles["mlp"], digest=digest)


# -- the work of a graph


def model_of(nodes, **constants):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


def node(operator, inputs=("input",), outputs=("y",), **attributes):
    return helper.make_node(operator, list(inputs), list(outputs), **attributes)


def subgraph():
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    return helper.make_graph([node("Identity", outputs=["o"])], "b", [], [out])


@pytest.mark.parametrize("operator", sorted(DENIED))
def test_denied_operators(operator):
    with pytest.raises(BundleError, match=f"operator {operator}; no graph of a bundle may"):
        check_bounded(model_of([node(operator)]), [operator])
    assert operator not in OPERATORS


def test_operators_are_declared():
    model = model_of([node("Celu")])
    with pytest.raises(BundleError, match="Celu; expected one that metadata"):
        check_bounded(model)
    check_bounded(model, ["Celu"])


UNBOUNDED = {
    "constant": ([node("ConstantOfShape", ["s"])], {"s": [1_000_000_000]}),
    "input": ([node("Cast", outputs=["c"], to=7), node("ConstantOfShape", ["c"])], {}),
    "product": (
        [node("Shape", outputs=["s"]), node("Mul", ["s", "k"], ["t"]), node("ConstantOfShape", ["t"])],
        {"k": [9]},
    ),
    "expand": ([node("Expand", ["input", "s"])], {"s": [1_000_000, 1_000]}),
    "two shapes": (
        [node("Shape", outputs=["s"]), node("Concat", ["s", "s"], ["t"], axis=0), node("Expand", ["input", "t"])],
        {},
    ),
    "made twice": (
        [
            node("Shape", outputs=["s"]),
            *[node("Concat", ["s", "k"], ["s"], axis=0)] * 9,
            node("Expand", ["input", "s"]),
        ],
        {"k": [9]},
    ),
}


@pytest.mark.parametrize("what", UNBOUNDED)
def test_sizes_that_have_no_bound(what):
    nodes, constants = UNBOUNDED[what]
    started = time.process_time()
    with pytest.raises(BundleError, match="fills sizes that are computed"):
        check_bounded(model_of(nodes, **constants))
    assert time.process_time() - started < 0.2


def test_sizes_that_have_one():
    check_bounded(model_of([node("Shape", outputs=["s"]), node("Expand", ["input", "s"])]))
    side = [node("Shape", outputs=["s"], end=1), node("Concat", ["s", "k"], ["t"], axis=0)]
    check_bounded(model_of([*side, node("ConstantOfShape", ["t"])], k=[1, 64]))


def test_a_graph_inside_an_operator():
    holding = node("Identity")
    holding.attribute.append(helper.make_attribute("body", subgraph()))
    with pytest.raises(BundleError, match="Identity holds a graph"):
        check_bounded(model_of([holding]))


def test_too_many_nodes():
    """100,000 of them kept onnxruntime busy without an end in sight."""
    names = ["input", *(f"n{i}" for i in range(100_000))]
    model = model_of([node("Relu", [a], [b]) for a, b in itertools.pairwise(names)])
    started = time.process_time()
    with pytest.raises(BundleError, match=f"more than {MAX_NODES} nodes"):
        check_bounded(model)
    assert time.process_time() - started < 1.0


def test_a_loop_in_a_bundle_is_refused_before_it_runs(bundle):
    model = onnx.load(bundle / "model.onnx")
    model.graph.node.append(node("Loop", ["", ""], ["never"], body=subgraph()))
    refused(seal(bundle, model__onnx=model.SerializeToString()), r"model\.onnx: it uses the operator Loop")


def test_an_action_space_without_a_bound(bundle):
    space = json.loads((bundle / "action_space.json").read_text())
    space |= {name: list(range(1, 41)) for name in ("max_candidates_bins", "max_minutes_bins", "max_iterations_bins")}
    refused(seal(bundle, action_space__json=json.dumps(space).encode()), "at most 4096 combinations")
