"""A bundle that is not exactly what was exported is refused, and so is a model that reaches outside itself."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from planner_core.data.samples import sample_inputs
from planner_core.errors import BundleError
from planner_core.runtime.bundle import FILES, MANIFEST, MAX_FILE_BYTES, manifest_bytes, read_bundle
from planner_core.runtime.onnx_scan import check_self_contained
from planner_core.runtime.planner import Planner
from planner_core.runtime.session import open_session

EVERY_FILE = (*FILES, MANIFEST)
DOCUMENT = sample_inputs(1, seed=1)[0]


@pytest.fixture
def bundle(bundles, tmp_path):
    """A copy of a bundle that a test may spoil."""
    return shutil.copytree(bundles["mlp"], tmp_path / "bundle")


def seal(path, **content):
    """Write files into a bundle, and the manifest that fits them: the attacker can hash as well."""
    for name, data in content.items():
        (path / name).write_bytes(data)
    files = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in FILES}
    (path / MANIFEST).write_bytes(manifest_bytes(files))
    return path


def refused(path, words=None):
    """Refused when asked to be strict; otherwise every decision falls back and says why."""
    with pytest.raises(BundleError, match=words):
        Planner.load(path, strict=True)
    action = Planner.load(path).decide(DOCUMENT)
    assert action["abstain_to_default"] is True and action["reason"].startswith("bundle_unusable: ")
    assert "model" not in action


def test_the_copy_is_accepted(bundle):
    """Else the refusals below would show nothing."""
    seal(bundle)
    assert Planner.load(bundle, strict=True).decide(DOCUMENT)["abstain_to_default"] is False


# -- one byte


def flip(path, times, seed):
    """Change one byte, try to read, change it back. Each file is as likely as any other, however small it is."""
    rng = np.random.default_rng(seed)
    hit = set()
    for _ in range(times):
        name = EVERY_FILE[rng.integers(len(EVERY_FILE))]
        with (path / name).open("r+b") as stream:
            place = int(rng.integers(os.fstat(stream.fileno()).st_size))
            stream.seek(place)
            old = stream.read(1)[0]
            new = old ^ int(rng.integers(1, 256))
            stream.seek(place)
            stream.write(bytes([new]))
            stream.flush()
            try:
                read_bundle(path)
            except BundleError:
                hit.add(name)
            else:
                pytest.fail(f"{name}, byte {place}: {old:#x} -> {new:#x} was accepted")
            stream.seek(place)
            stream.write(bytes([old]))
    assert hit == set(EVERY_FILE)
    assert read_bundle(path)  # whole again


@pytest.mark.parametrize("policy", ["mlp", "heuristic"])
def test_fifty_flipped_bytes(bundles, tmp_path, policy):
    flip(shutil.copytree(bundles[policy], tmp_path / "bundle"), 50, seed=11)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mlp", "joint", "heuristic"])
def test_thousand_flipped_bytes(bundles, tmp_path, policy):
    flip(shutil.copytree(bundles[policy], tmp_path / "bundle"), 1000, seed=12)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_one_byte_more_or_less(bundle, name):
    content = (bundle / name).read_bytes()
    for altered in (content + b"\n", content[:-1], b"", b" " + content):
        (bundle / name).write_bytes(altered)
        with pytest.raises(BundleError, match=name):
            read_bundle(bundle)


def test_two_files_swapped(bundle):
    """Both are whole, and neither is where it belongs."""
    config, encoder = ((bundle / name).read_bytes() for name in ("config.json", "encoder.json"))
    (bundle / "config.json").write_bytes(encoder)
    (bundle / "encoder.json").write_bytes(config)
    refused(bundle, "config|encoder")


# -- the manifest


def listed(bundle):
    return json.loads((bundle / MANIFEST).read_text())["files"]


@pytest.mark.parametrize("added", ["../outside", "/etc/hostname", "sub/../model.onnx", "./model.onnx", "", "a\x00b"])
def test_names_that_leave_the_bundle(bundle, added):
    """Refused by name, before anything is opened; whether the file exists plays no part."""
    (bundle.parent / "outside").write_text("x")
    digest = hashlib.sha256(b"x").hexdigest()
    files = listed(bundle)
    (bundle / MANIFEST).write_bytes(manifest_bytes({**files, added: digest}))
    refused(bundle, "list of files")
    del files["golden.jsonl"]  # in the place of another, so that the count fits
    (bundle / MANIFEST).write_bytes(manifest_bytes({**files, added: digest}))
    refused(bundle, "list of files")


@pytest.mark.parametrize("name", FILES)
def test_manifest_without_a_file(bundle, name):
    files = listed(bundle)
    del files[name]
    (bundle / MANIFEST).write_bytes(manifest_bytes(files))
    refused(bundle, name)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b"\xff\xfe", b'{"files": {}}', b"[" * 100_000, b'{"schema_version": 1}'],
    ids=["empty", "list", "null", "object", "no text", "no schema", "deep", "number"],
)
def test_manifest_that_is_none(bundle, content):
    (bundle / MANIFEST).write_bytes(content)
    refused(bundle, MANIFEST)


def test_manifest_in_another_spelling(bundle):
    """Equal JSON in other bytes was not written by an export."""
    document = json.loads((bundle / MANIFEST).read_text())
    for text in (json.dumps(document), json.dumps(document, indent=2, sort_keys=True), json.dumps(document, indent=4)):
        (bundle / MANIFEST).write_text(text)
        refused(bundle, "manifest was altered")


def test_manifest_with_a_key_twice(bundle):
    raw = (bundle / MANIFEST).read_text()
    (bundle / MANIFEST).write_text(raw.replace('  "files": {', '  "files": {},\n  "files": {', 1))
    refused(bundle, MANIFEST)


# -- files that are none


@pytest.mark.parametrize("name", EVERY_FILE)
def test_linked_file(bundle, name):
    outside = bundle.parent / "outside"
    (bundle / name).rename(outside)  # the very same bytes
    (bundle / name).symlink_to(outside)
    refused(bundle, f"{name}.*plain file")


@pytest.mark.parametrize("name", [MANIFEST, "model.onnx", "golden.jsonl"])
def test_directory_and_pipe_in_place_of_a_file(bundle, name):
    (bundle / name).unlink()
    (bundle / name).mkdir()
    refused(bundle, f"{name}.*plain file")
    (bundle / name).rmdir()
    os.mkfifo(bundle / name)  # to open one would wait forever
    refused(bundle, f"{name}.*plain file")


def test_linked_directory_is_a_bundle(bundle):
    """How deployments switch: only the files inside may not be links."""
    link = bundle.parent / "current"
    link.symlink_to(bundle)
    assert read_bundle(link).digest == read_bundle(bundle).digest


def test_file_in_place_of_a_bundle(tmp_path):
    (tmp_path / "b").write_text("x")
    refused(tmp_path / "b", "no bundle")


def test_oversized_file(bundle, monkeypatch):
    """A limit of one byte less than the largest file is broken by that file alone."""
    sizes = {name: (bundle / name).stat().st_size for name in EVERY_FILE}
    largest = max(sizes, key=sizes.get)
    monkeypatch.setattr("planner_core.runtime.bundle.MAX_FILE_BYTES", sizes[largest])
    assert read_bundle(bundle)
    monkeypatch.setattr("planner_core.runtime.bundle.MAX_FILE_BYTES", sizes[largest] - 1)
    refused(bundle, f"{largest}: larger than {sizes[largest] - 1} bytes")


# -- hashes that fit, content that does not


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("encoder.json", {"history_slots": -1}),
        ("encoder.json", {"history_slots": 8, "surprise": 1}),
        ("encoder.json", {"history_slots": "eight"}),
        ("encoder.json", {"history_slots": 4}),
        ("action_space.json", {}),
        ("action_space.json", []),
        ("action_space.json", {"swarm_ids": 3, "max_candidates_bins": 3, "max_minutes_bins": 3}),
        ("calibration.json", None),
        ("metadata.json", "mlp"),
        ("calibration.json", {"temperatures": {}, "threshold": 2.0}),
        ("calibration.json", {"temperatures": {}, "threshold": "high"}),
        ("metadata.json", {"policy": "mlp"}),
    ],
)
def test_document_of_another_shape(bundle, name, content):
    refused(seal(bundle, **{name: json.dumps(content).encode()}))


@pytest.mark.parametrize(
    "changes",
    [
        {"max_minutes_bins": ["soon", "NA"]},
        {"max_minutes_bins": [[15], "NA"]},
        {"swarm_ids": [["a"], ["b"]]},
        {"max_minutes_bins": [15, 30, 45, 60, 120, 240, "NA"]},
        {"swarm_ids": []},
    ],
    ids=["words", "lists", "swarms", "longer", "nothing"],
)
def test_action_space_of_another_shape(bundle, changes):
    space = json.loads((bundle / "action_space.json").read_text()) | changes
    refused(seal(bundle, **{"action_space.json": json.dumps(space).encode()}))


# -- the model: nothing outside the file, nothing outside the standard


@pytest.fixture
def model(bundle):
    return onnx.load(bundle / "model.onnx")


def outside(tensor, location="weights.bin"):
    """The same tensor with its values in another file."""
    tensor = TensorProto.FromString(tensor.SerializeToString())
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


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


# -- the scan by itself


def branch(tensor):
    """A graph without inputs that gives a constant back."""
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    return helper.make_graph([helper.make_node("Identity", ["w"], ["out"])], "branch", [], [out], [tensor])


def with_if(then, other):
    node = helper.make_node("If", ["cond"], ["y"], then_branch=then, else_branch=other)
    inputs = [helper.make_tensor_value_info("cond", TensorProto.BOOL, [])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])]
    graph = helper.make_graph([node], "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


WEIGHTS = numpy_helper.from_array(np.array([1, 2], np.float32), "w")
SMALL = with_if(branch(WEIGHTS), branch(WEIGHTS)).SerializeToString()


def constant(**value):
    """A model of one Constant."""
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], **value)],
        "g",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def sparse(values, indices):
    out = onnx.SparseTensorProto(values=values, indices=indices)
    out.dims.append(4)
    return out


INDICES = numpy_helper.from_array(np.array([0, 2], np.int64), "i")


def in_initializer(tensor):
    model = constant(value=WEIGHTS)
    model.graph.initializer.append(tensor)
    return model


def in_sparse_initializer(tensor, indices=INDICES):
    model = constant(value=WEIGHTS)
    model.graph.sparse_initializer.append(sparse(tensor, indices))
    return model


def in_tensors(tensor):
    model = constant(value=WEIGHTS)
    model.graph.node[0].attribute.append(helper.make_attribute("many", [WEIGHTS, tensor]))
    return model


def in_graphs(tensor):
    model = constant(value=WEIGHTS)
    model.graph.node[0].attribute.append(helper.make_attribute("many", [branch(WEIGHTS), branch(tensor)]))
    return model


def nested_twice(tensor):
    inner = helper.make_node("If", ["cond"], ["out"], then_branch=branch(WEIGHTS), else_branch=branch(tensor))
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [2])
    return with_if(branch(WEIGHTS), helper.make_graph([inner], "outer", [], [out]))


HOLDERS = {
    "initializer": in_initializer,
    "attribute": lambda t: constant(value=t),
    "attribute list": in_tensors,
    "sparse attribute": lambda t: constant(sparse_value=sparse(t, INDICES)),
    "sparse values": in_sparse_initializer,
    "sparse indices": lambda t: in_sparse_initializer(WEIGHTS, t),
    "then branch": lambda t: with_if(branch(t), branch(WEIGHTS)),
    "else branch": lambda t: with_if(branch(WEIGHTS), branch(t)),
    "graph list": in_graphs,
    "nested twice": nested_twice,
}


@pytest.mark.parametrize("place", HOLDERS)
def test_every_place_that_holds_a_tensor(place):
    check_self_contained(HOLDERS[place](WEIGHTS).SerializeToString())
    with pytest.raises(BundleError, match="weights in other files"):
        check_self_contained(HOLDERS[place](outside(WEIGHTS)).SerializeToString())


def test_operator_of_another_domain_in_a_branch():
    graph = branch(WEIGHTS)
    graph.node.append(helper.make_node("Gelu", ["w"], ["unused"], domain="com.microsoft"))
    with pytest.raises(BundleError, match=r"Gelu is of the domain 'com\.microsoft'"):
        check_self_contained(with_if(branch(WEIGHTS), graph).SerializeToString())


def test_graphs_nested_without_end():
    """No recursion error for a caller who catches only what is documented."""
    graph = b""
    for _ in range(2000):
        graph = field(1, field(5, field(6, graph)))  # a node's attribute's graph
    with pytest.raises(BundleError, match="nested too deeply"):
        check_self_contained(field(7, graph))


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number, payload, wide=False):
    """One field with a length; ``wide`` spells its tag in five bytes, of which the last adds bits beyond the 32nd.

    Readers of the format drop those, onnxruntime's among them.
    """
    tag = number << 3 | 2
    spelt = bytes([tag & 0x7F | 0x80, tag >> 7 & 0x7F | 0x80, 0x80, 0x80, 0x10]) if wide else varint(tag)
    return spelt + varint(len(payload)) + payload


def by_hand(wide):
    """{what: model bytes}, each with the one forbidden thing in a field whose tag is spelt ``wide``."""
    entry = onnx.StringStringEntryProto(key="location", value="w.bin").SerializeToString()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2]).SerializeToString()
    node = onnx.NodeProto(op_type="Gelu", input=["w"], output=["y"]).SerializeToString()
    return {
        "external data": field(7, field(5, tensor + field(13, entry, wide))),
        "operator's domain": field(7, field(1, node + field(7, b"com.microsoft", wide))),
        "operator set": field(8, field(1, b"com.microsoft", wide)),
        "function": field(25, b"", wide),
    }


@pytest.mark.parametrize("what", by_hand(False))
def test_fields_by_hand(what):
    """The bytes of the next test, spelt as usual, are refused."""
    with pytest.raises(BundleError):
        check_self_contained(by_hand(False)[what])


@pytest.mark.parametrize("what", by_hand(True))
def test_tags_spelt_in_more_bits_than_they_have(what):
    with pytest.raises(BundleError):
        check_self_contained(by_hand(True)[what])


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


def scan(raw):
    """None or BundleError; whatever else comes out fails the test."""
    try:
        assert check_self_contained(raw) is None
    except BundleError as problem:
        assert str(problem).startswith("model.onnx: ")


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_scan_of_any_bytes(raw):
    scan(raw)


EDITS = st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.binary(max_size=3)), min_size=1, max_size=4)


@settings(max_examples=300)
@given(EDITS, st.integers(0, len(SMALL)))
def test_scan_of_a_spoilt_model(edits, length):
    raw = bytearray(SMALL)
    for place, piece in edits:
        raw[place : place + 1] = piece
    scan(bytes(raw))
    scan(bytes(raw[:length]))


NUMBERS = st.sampled_from([1, 2, 4, 5, 6, 7, 8, 10, 11, 13, 14, 15, 22, 23, 25, 2**29 - 1, 2**40])
PAYLOADS = st.recursive(
    st.binary(max_size=6) | st.sampled_from([b"com.example", b"ai.onnx", b"\xff"]),
    lambda inner: st.lists(st.tuples(NUMBERS, inner), max_size=4).map(
        lambda items: b"".join(field(number, payload) for number, payload in items)
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(PAYLOADS)
def test_scan_of_messages_in_messages(raw):
    """Fields with the right numbers in the wrong places, which random bytes hardly ever are."""
    scan(field(7, raw))
    scan(raw)


@pytest.mark.slow
def test_scan_of_many_random_edits(bundles):
    """The same on a whole exported model: bytes changed near its structure, lengths and tags included."""
    model = onnx.load(bundles["mlp"] / "model.onnx")
    for tensor in model.graph.initializer:
        tensor.raw_data = tensor.raw_data[:8]
    raw, rng = model.SerializeToString(), np.random.default_rng(5)
    for _ in range(20_000):
        spoilt = bytearray(raw)
        for place in rng.integers(0, len(raw), rng.integers(1, 4)):
            spoilt[place] = int(rng.integers(256))
        scan(bytes(spoilt[: rng.integers(1, len(raw) + 1)] if rng.random() < 0.2 else spoilt))
