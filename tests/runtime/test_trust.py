"""A bundle that is not exactly what was exported is refused, whatever its hashes say."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from sealed_bundles import DOCUMENT, EVERY_FILE, refused, seal

from planner_core.errors import BundleError
from planner_core.runtime.bundle import FILES, MANIFEST, manifest_bytes, read_bundle
from planner_core.runtime.planner import Planner


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
