"""``planner runs``: what is listed of run directories, good and bad."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from planner_core.cli.app import main
from planner_core.harness.run_list import list_runs, runs_on
from planner_core.utility import weight_table


@pytest.fixture
def root(runs, tmp_path):
    for policy, path in runs.items():
        shutil.copytree(path, tmp_path / "runs" / policy / "20260101T000000Z")
    return tmp_path / "runs"


def by_path(root):
    return {run.path.removeprefix(f"{root}/"): run for run in list_runs(root)}


def test_what_is_listed(root, runs, dataset):
    found = by_path(root)
    assert set(found) == {"mlp/20260101T000000Z", "joint/20260101T000000Z"}
    for name, run in found.items():
        results = json.loads((root / name / "results.json").read_text())
        assert run.problem is None and run.policy == name.split("/")[0] and run.seed == 3
        assert run.dataset_hash == dataset.meta.dataset_hash and run.dataset == str(dataset.directory)
        assert run.utility == pytest.approx(results["test"]["mean_utility"])
        assert run.low < run.utility < run.high
        assert (run.answer, run.against) == (results["test"]["verdict"]["answer"], "heuristic")
        assert run.started_at == json.loads((root / name / "provenance.json").read_text())["started_at"]


def test_the_newest_first(root):
    for name, when in (("mlp", "2026-02-01T00:00:00Z"), ("joint", "2026-01-01T00:00:00Z")):
        path = root / name / "20260101T000000Z" / "provenance.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "started_at": when}))
    assert [run.policy for run in list_runs(root)] == ["mlp", "joint"]


def test_bad_directories_say_what_is_wrong(root):
    mlp = root / "mlp"
    for name in ("a", "b", "c", "d.partial", "e", "f"):
        shutil.copytree(mlp / "20260101T000000Z", mlp / name)
    (mlp / "a" / "config.json").unlink()
    (mlp / "b" / "provenance.json").write_text("{")
    (mlp / "c" / "results.json").unlink()
    (mlp / "e" / "results.json").write_text('{"test": {"mean_utility": "much"}}')
    (mlp / "f" / "config.json").write_text('{"schema_version": "other", "policy": "mlp", "seed": 0, "values": {}}')
    (mlp / ".hidden").mkdir()
    found = by_path(root)
    words = {
        "mlp/a": "config.json or provenance.json is missing",
        "mlp/b": "provenance.json",
        "mlp/c": "results.json is missing",
        "mlp/d.partial": "--resume",
        "mlp/e": "$.test.mean_utility",
        "mlp/f": "$.schema_version",
    }
    assert {name: run.problem for name, run in found.items() if run.problem}.keys() == words.keys()
    for name, text in words.items():
        assert text in found[name].problem


def test_runs_of_a_dataset_and_of_weights(root, dataset):
    table, run = weight_table(dataset.meta.utility), root / "mlp" / "20260101T000000Z"
    assert list(runs_on(dataset.meta.dataset_hash, "mlp", table, root)) == [run]
    assert list(runs_on("00", "mlp", table, root)) == []
    assert list(runs_on(dataset.meta.dataset_hash, "mlp", table + 1.0, root)) == []
    assert list(runs_on(dataset.meta.dataset_hash, "mlp", table, root / "nowhere")) == []


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["planner", "runs", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    return capsys.readouterr().out


def test_the_command(root, monkeypatch, capsys, tmp_path):
    (root / "mlp" / "odd").mkdir()
    text = call(monkeypatch, capsys, "--root", root)
    assert "verdict" in text and "is no run directory" in " ".join(text.split())
    assert max(map(len, text.splitlines()[:12])) <= 80
    found = json.loads(call(monkeypatch, capsys, "--root", root, "--json"))
    assert len(found) == 3 and {run["policy"] for run in found} == {"mlp", "joint", None}
    monkeypatch.chdir(tmp_path)
    shutil.move(root, tmp_path / "elsewhere")
    assert "no run directory under runs" in call(monkeypatch, capsys)
