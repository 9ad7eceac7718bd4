"""The runtime is never silent about a fallback: low confidence, an unusable bundle, an inference that fails."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
from fallback_checks import SPACE, Fixed, choice, fell_back

from planner_core.data.samples import sample_inputs
from planner_core.errors import BundleError
from planner_core.runtime.bundle import FILES, manifest_bytes, read_bundle
from planner_core.runtime.planner import Planner


@pytest.fixture
def broken(bundles, tmp_path):
    """A copy of a bundle that a test may spoil."""
    return shutil.copytree(bundles["mlp"], tmp_path / "bundle")


def test_no_overlap(planner, make_input):
    document = make_input()
    document["action_space"]["max_minutes_bins"] = [20, 50]  # neither is a bin of the model
    action = planner.decide(document)
    assert fell_back(action, document, "no_overlap")
    assert choice(action) == ("serial_handoff", 1, 20, "NA")  # XS wants 15


def test_low_confidence(bundles):
    planner = Planner.load(bundles["mlp"], threshold=1.0)
    for document in sample_inputs(5, seed=4):
        action = planner.decide(document)
        assert fell_back(action, document, "low_confidence")
        assert action["confidence"] < 1.0  # what the model thought is still told


def test_confidence_at_the_threshold_is_enough(make_input):
    probs = np.zeros(150, np.float32)
    probs[SPACE.index[("serial_handoff", 1, 30, "NA")]] = 0.75
    probs[SPACE.index[("serial_handoff", 1, 60, "NA")]] = 0.25
    assert Planner(Fixed(probs), threshold=0.75).decide(make_input())["abstain_to_default"] is False
    assert Planner(Fixed(probs), threshold=0.76).decide(make_input())["abstain_to_default"] is True


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_threshold_that_is_no_probability(bundles, threshold):
    with pytest.raises(ValueError, match="threshold"):
        Planner.load(bundles["mlp"], threshold=threshold)


def test_missing_bundle(tmp_path, caplog):
    document = sample_inputs(1)[0]
    planner = Planner.load(tmp_path / "nowhere")
    assert "nowhere" in caplog.text  # said once when it is loaded, not only in every action
    action = planner.decide(document)
    assert fell_back(action, document, "bundle_unusable")
    assert "nowhere" in action["reason"] and "model" not in action
    with pytest.raises(BundleError, match="nowhere"):
        Planner.load(tmp_path / "nowhere", strict=True)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_changed_byte(broken, name, place):
    content = bytearray((broken / name).read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[place]] ^= 1
    (broken / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        Planner.load(broken, strict=True)
    document = sample_inputs(1)[0]
    assert fell_back(Planner.load(broken).decide(document), document, "bundle_unusable")


@pytest.mark.parametrize(("old", "new"), [(b"\n", b"\r"), (b" ", b"\t"), (b'"digest": "', b'"digest": "0')])
def test_manifest_that_still_reads_but_was_changed(broken, old, new):
    """White space and the manifest's own digest: JSON that says the same, and bytes that are not those written."""
    content = (broken / "manifest.json").read_bytes()
    assert old in content
    (broken / "manifest.json").write_bytes(content.replace(old, new, 1))
    with pytest.raises(BundleError, match=r"manifest\.json: the manifest was altered"):
        read_bundle(broken)


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_missing_file(broken, name):
    (broken / name).unlink()
    with pytest.raises(BundleError, match=name):
        read_bundle(broken)


def rewrite_manifest(path, **changes):
    """A manifest that fits itself, with the given keys changed."""
    files = json.loads((path / "manifest.json").read_text())["files"]
    (path / "manifest.json").write_bytes(manifest_bytes({**files, **changes}))


def test_manifest_of_other_files(broken):
    (broken / "extra.txt").write_text("x")
    rewrite_manifest(broken, **{"extra.txt": hashlib.sha256(b"x").hexdigest()})
    with pytest.raises(BundleError, match=r"extra\.txt"):
        read_bundle(broken)


def test_manifest_with_a_path_out_of_the_bundle(broken):
    (broken.parent / "outside").write_text("x")
    rewrite_manifest(broken, **{"../outside": hashlib.sha256(b"x").hexdigest()})
    with pytest.raises(BundleError, match="outside"):
        read_bundle(broken)


def test_file_that_is_not_of_the_bundle_is_not_read(broken):
    """An editor's backup beside the files changes nothing: only what the manifest names is loaded."""
    (broken / "model.onnx~").write_bytes(b"rubbish")
    assert Planner.load(broken, strict=True).decide(sample_inputs(1)[0])["abstain_to_default"] is False


def test_later_schema(broken):
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["schema_version"] = "swarm_planner.bundle.v2"
    (broken / "manifest.json").write_text(json.dumps(manifest, indent=2))
    with pytest.raises(BundleError, match=r"bundle\.v2.*this version reads 'swarm_planner\.bundle\.v1'"):
        Planner.load(broken, strict=True)
    document = sample_inputs(1)[0]
    assert fell_back(Planner.load(broken).decide(document), document, "bundle_unusable")


def test_model_of_another_interface(broken, bundles):
    """Every hash fits, and still the graph is not the one the encoder of this bundle feeds."""
    encoder = json.dumps({"history_slots": 1, "tag_buckets": 1024, "fail_code_buckets": 256}).encode()
    (broken / "encoder.json").write_bytes(encoder)
    rewrite_manifest(broken, **{"encoder.json": hashlib.sha256(encoder).hexdigest()})
    with pytest.raises(BundleError, match=r"swarm_planner\.encoder"):
        Planner.load(broken, strict=True)


def test_model_that_is_no_model(broken):
    (broken / "model.onnx").write_bytes(b"rubbish")
    rewrite_manifest(broken, **{"model.onnx": hashlib.sha256(b"rubbish").hexdigest()})
    with pytest.raises(BundleError, match="not an ONNX model"):
        Planner.load(broken, strict=True)


@pytest.mark.parametrize(
    "answer",
    [RuntimeError("the session died"), np.full(150, np.nan, np.float32), np.full(150, np.inf, np.float32)],
    ids=["raises", "nan", "infinite"],
)
def test_inference_that_fails(answer):
    document = sample_inputs(1)[0]
    planner = Planner(Fixed(answer))
    assert fell_back(planner.decide(document), document, "inference_failed")
    assert fell_back(next(planner.decide_many([document])), document, "inference_failed")


def test_inference_that_answers_in_another_shape():
    document = sample_inputs(1)[0]
    planner = Planner(Fixed(np.zeros(3, np.float32)))
    assert fell_back(planner.decide(document), document, "inference_failed")


@pytest.mark.parametrize("value", [5.0, -1.0])
def test_inference_that_answers_no_probabilities(value):
    document = sample_inputs(1)[0]
    planner = Planner(Fixed(np.full(150, value, np.float32)))
    assert fell_back(planner.decide(document), document, "inference_failed")


def test_decide_many_falls_back_for_each(tmp_path):
    documents = sample_inputs(5, seed=7)
    actions = Planner.load(tmp_path / "nowhere").decide_many(documents, batch=2)
    for action, document in zip(actions, documents, strict=True):
        assert fell_back(action, document, "bundle_unusable")
