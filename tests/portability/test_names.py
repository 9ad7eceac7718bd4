"""Names and paths that mean something else on another system."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest

from planner_core import DataError, PolicySpec, jsonio, system
from planner_core.harness import run_files
from planner_core.plugins import registry
from planner_heuristic import HeuristicConfig


@pytest.mark.parametrize("name", ["con", "NUL", "aux.json", "Com1", "lpt9.tar.gz", "con ", "a.", "a "])
def test_what_windows_cannot_hold(name):
    assert system.reserved(name)


@pytest.mark.parametrize("name", ["mlp", "console", "nul2", "com10", "a.con", "com"])
def test_what_it_can(name):
    assert system.reserved(name) is None


@pytest.mark.parametrize("name", ["best_model.pt", "deep/weights.bin", "a..b", "x/.y"])
def test_paths_that_lead_inside(name):
    assert system.leads_inside(name)


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "C:\\x", "c:x", "..\\x", "a\\..\\x", "\\\\host\\share\\x", "\\x"]
)
def test_paths_that_lead_elsewhere(name, tmp_path):
    """On one system or the other; a manifest that names one is refused before anything is opened."""
    assert not system.leads_inside(name)
    files = {name: "0" * 64}
    digest = hashlib.sha256(jsonio.canonical([run_files.SCHEMA, files])).hexdigest()
    manifest = run_files.Manifest(run_files.SCHEMA, files, digest)
    (tmp_path / run_files.MANIFEST).write_bytes(jsonio.pretty(manifest))
    with pytest.raises(DataError, match=r"\$\.files: found .*; expected files of the run directory"):
        run_files.verify(tmp_path)


@pytest.mark.parametrize(("name", "usable"), [("NUL", False), ("mlp.", False), ("console", True)])
def test_a_policy_named_like_a_device_is_not_used(name, usable):
    """Its runs would be in a directory of that name."""
    spec = PolicySpec(name=name, summary="x", config_type=HeuristicConfig, load=lambda: None)
    said = registry._problem(spec, SimpleNamespace(distribution="acme"))
    assert (said is None) is usable
    assert usable or said.startswith(f"its name is {name!r}: it ")
