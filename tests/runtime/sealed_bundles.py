"""Bundles whose hashes fit whatever was put into them, and what it means that one is refused."""

from __future__ import annotations

import hashlib

import pytest

from planner_core.data.samples import sample_inputs
from planner_core.errors import BundleError
from planner_core.runtime.bundle import FILES, MANIFEST, manifest_bytes
from planner_core.runtime.planner import Planner

EVERY_FILE = (*FILES, MANIFEST)
DOCUMENT = sample_inputs(1, seed=1)[0]


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
