"""A model that reaches outside its own file or outside the standard is refused."""

from __future__ import annotations

import os

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_bytes import WEIGHTS, field, outside, varint
from sealed_bundles import refused, seal

from planner_core.errors import BundleError
from planner_core.runtime.bundle import MAX_FILE_BYTES
from planner_core.runtime.onnx_scan import check_self_contained
from planner_core.runtime.session import open_session


@pytest.fixture
def model(bundle):
    return onnx.load(bundle / "model.onnx")


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_external_data(bundle, model, location, monkeypatch):
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    (bundle / "weights.bin").write_bytes(tensor.raw_data)
    (bundle.parent / "weights.bin").write_bytes(tensor.raw_data)
    monkeypatch.chdir(bundle)  # where onnxruntime would look
    tensor.CopyFrom(outside(tensor, location))
    refused(seal(bundle, **{"model.onnx": model.SerializeToString()}), "weights in other files")


def test_external_data_said_by_half(bundle, model):
    """Either sign is enough: the place alone, or the flag alone."""
    for spoil in (lambda t: t.ClearField("data_location"), lambda t: t.ClearField("external_data")):
        changed = onnx.ModelProto.FromString(model.SerializeToString())
        tensor = outside(changed.graph.initializer[0])
        spoil(tensor)
        changed.graph.initializer[0].CopyFrom(tensor)
        refused(seal(bundle, **{"model.onnx": changed.SerializeToString()}), "weights in other files")


@pytest.mark.parametrize("domain", ["com.microsoft", "com.example", "ai.onnx.training"])
def test_operator_of_another_domain(bundle, model, domain):
    """``com.microsoft`` is one that onnxruntime brings and would run."""
    model.graph.node.append(helper.make_node("Gelu", ["input"], ["unused"], domain=domain))
    refused(seal(bundle, **{"model.onnx": model.SerializeToString()}), f"Gelu is of the domain '{domain}'")


def test_operator_set_of_another_domain(bundle, model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    refused(seal(bundle, **{"model.onnx": model.SerializeToString()}), "operator set is of the domain 'com.microsoft'")


@pytest.mark.parametrize("domain", ["", "ai.onnx", "com.example"])
def test_local_function(bundle, model, domain):
    body = [helper.make_node("Identity", ["x"], ["y"])]
    model.functions.append(helper.make_function(domain, "Mine", ["x"], ["y"], body, [helper.make_opsetid("", 18)]))
    refused(seal(bundle, **{"model.onnx": model.SerializeToString()}), "functions of its own")


def extra_output(model):
    model.graph.node.append(helper.make_node("Identity", ["confidence"], ["secret"]))
    model.graph.output.append(helper.make_tensor_value_info("secret", TensorProto.FLOAT, ["batch"]))


def extra_input(model):
    model.graph.input.append(helper.make_tensor_value_info("knob", TensorProto.FLOAT, ["batch"]))


def missing_output(model):
    del model.graph.output[0]


def renamed_output(model):
    model.graph.node.append(helper.make_node("Identity", ["action"], ["choice"]))
    outputs = [o for o in model.graph.output if o.name != "action"]
    del model.graph.output[:]
    choice = helper.make_tensor_value_info("choice", TensorProto.INT64, ["batch"])
    model.graph.output.extend([*outputs, choice])


def renamed_input(model):
    model.graph.node.insert(0, helper.make_node("Identity", ["features"], ["input"]))
    model.graph.input[0].name = "features"


def frozen_batch(model):
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (extra_output, "found outputs.*secret"),
        (extra_input, "found inputs.*knob"),
        (missing_output, "found outputs"),
        (renamed_output, "found outputs.*choice"),
        (renamed_input, "found inputs.*features"),
        (frozen_batch, r"found inputs.*\[1, 3779\]"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_other_inputs_or_outputs(bundle, model, change, words):
    change(model)
    refused(seal(bundle, **{"model.onnx": model.SerializeToString()}), words)


def test_pickle_in_place_of_a_model(bundle):
    """Nothing in a bundle is unpickled; were it, this would leave a trace."""
    trace = bundle.parent / "trace"
    payload = b"cos\nsystem\n(S'touch " + os.fsencode(trace) + b"'\ntR."
    refused(seal(bundle, **{"model.onnx": payload}), "not an ONNX model")
    assert not trace.exists()


def test_wide_tags_do_not_reach_files(bundle, model, tmp_path, monkeypatch):
    """The whole attack: hashes that fit, a plain interface, and weights from the directory the kernel runs in."""
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.bin").write_bytes(tensor.raw_data)
    entry = onnx.StringStringEntryProto(key="location", value="w.bin").SerializeToString()
    emptied = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims).SerializeToString()
    flag = bytes([14 << 3 | 0x80, 0x80, 0x80, 0x80, 0x10, TensorProto.EXTERNAL])
    smuggled = field(5, emptied + field(13, entry, wide=True) + flag)
    model.graph.initializer.remove(tensor)
    graph = model.graph.SerializeToString() + smuggled
    model.ClearField("graph")
    refused(seal(bundle, **{"model.onnx": model.SerializeToString() + field(7, graph)}))


def in_ort_format(path):
    """A model in onnxruntime's own format, which no scan of ONNX can judge, and which onnxruntime opens by its mark."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.log_severity_level = 3
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=WEIGHTS)],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return path.read_bytes()


def disguised(raw):
    """The same file, moved behind a gap so that its first bytes also read as fields nobody looks into."""
    root = 0x01020018  # 18 00, 02 01 "O", "R" "T" and 84 bytes from "M" on
    moved = bytearray(root.to_bytes(4, "little") + raw[4:8])
    moved += bytes(root - int.from_bytes(raw[:4], "little")) + raw[8:]
    place = 7 + ord("T")
    rest = varint(len(moved) - place - 5)
    moved[place : place + 5] = b"\x12" + rest  # one field up to the end
    return bytes(moved)


def test_other_format_of_onnxruntime(bundle, tmp_path):
    raw = in_ort_format(tmp_path / "m.ort")
    assert raw[4:8] == b"ORTM"
    refused(seal(bundle, **{"model.onnx": raw}), "not an ONNX model")


def test_other_format_of_onnxruntime_in_disguise(tmp_path):
    """It passes the scan; the session must insist on ONNX (session.load_model_format)."""
    raw = disguised(in_ort_format(tmp_path / "m.ort"))
    assert len(raw) < MAX_FILE_BYTES
    with pytest.raises(BundleError):
        check_self_contained(raw)
        open_session(raw)
