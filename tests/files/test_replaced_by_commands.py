"""What the commands may replace: bundles, datasets, caches; and what predict does to where it writes."""

from __future__ import annotations

import json
import os
import shutil
import stat

import pytest

from planner_core.data.dataset import load_dataset
from planner_core.errors import PlannerError
from planner_core.harness.predict import write_actions
from planner_core.rules import default_action
from planner_core.runtime.bundle import read_bundle
from planner_core.world.generate import synthesize
from planner_export.bundle import export_bundle


def everything_under(path):
    return {str(p.relative_to(path)): p.read_bytes() if p.is_file() else None for p in path.rglob("*")}


def test_export_keeps_a_directory_with_a_manifest_of_somebody_elses(tmp_path, registry):
    place = tmp_path / "s"
    (place / "src").mkdir(parents=True)
    (place / "manifest.json").write_text("{}")
    (place / "src" / "t.txt").write_text("work")
    before = everything_under(place)
    with pytest.raises(PlannerError, match="does not prove to be a bundle"):
        export_bundle("heuristic", registry, place)
    assert everything_under(place) == before


def test_export_replaces_a_bundle_and_no_more(tmp_path, registry, bundles):
    place = shutil.copytree(bundles["heuristic"], tmp_path / "b")
    (place / "golden.jsonl").write_bytes(b"damaged")  # a damaged bundle is still one of ours
    export_bundle("heuristic", registry, place)
    assert read_bundle(place)
    (place / "model.sig").write_text("a signature")  # goes with the content it was for
    export_bundle("heuristic", registry, place)
    assert not (place / "model.sig").exists()
    (place / "notes.txt").write_text("work")
    before = everything_under(place)
    with pytest.raises(PlannerError, match=r"holds notes\.txt"):
        export_bundle("heuristic", registry, place)
    assert everything_under(place) == before


def make_world(path):
    return synthesize(path, examples=30, seed=0, baseline=default_action, replace=True)


def test_a_world_gives_way_with_its_encoded_arrays(tmp_path):
    make_world(tmp_path / "w")
    load_dataset(tmp_path / "w")
    (cache,) = (tmp_path / "w" / ".encoded").iterdir()
    make_world(tmp_path / "w")
    assert not cache.exists()
    load_dataset(tmp_path / "w")
    (cache / "notes.txt").write_text("mine")
    with pytest.raises(PlannerError, match=r"notes\.txt"):
        make_world(tmp_path / "w")
    assert (cache / "notes.txt").read_text() == "mine"


def test_a_directory_with_a_meta_of_somebody_elses_is_no_world(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "meta.json").write_text(json.dumps({"schema_version": "other.v1"}))
    with pytest.raises(PlannerError, match="does not prove to be a dataset"):
        make_world(tmp_path / "w")


def test_a_file_of_somebody_elses_in_a_damaged_cache_is_kept(tmp_path, write_lines, world_lines, caplog):
    path = write_lines(tmp_path / "d", world_lines(5))
    load_dataset(path)
    (place,) = (path / ".encoded").iterdir()
    (place / "mine.txt").write_text("work")
    (place / "manifest.json").write_text("")
    assert len(load_dataset(path).everything) == 5
    assert "mine.txt" in caplog.text and "at every load" in caplog.text
    assert (place / "mine.txt").read_text() == "work"


def test_predict_keeps_mode_and_link(tmp_path):
    target, link = tmp_path / "actions.jsonl", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    write_actions([{"a": 1}], link)
    assert link.is_symlink() and target.read_text() == '{"a":1}\n'
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_predict_writes_through_a_device(tmp_path):
    device = tmp_path / "null"
    if os.geteuid() != 0:
        pytest.skip("only root makes devices")
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    write_actions([{"a": 1}], device)
    assert stat.S_ISCHR(device.stat().st_mode)


def test_predict_that_fails_keeps_the_old_file(tmp_path):
    target = tmp_path / "actions.jsonl"
    target.write_text("old")

    def actions():
        yield {"a": 1}
        raise PlannerError("line 2 is wrong")

    with pytest.raises(PlannerError):
        write_actions(actions(), target)
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["actions.jsonl"]
