"""A user's mistake: a message that names the place, exit code 1, no traceback, nothing written."""

from __future__ import annotations

import json
import shutil

import pytest

from planner_core.data.writer import dataset_hash, meta_hash


@pytest.fixture
def broken(workshop, tmp_path):
    """``broken(edit)``: a copy of the world whose line 3 went through ``edit``, with a hash that fits."""

    def make(edit):
        copy = tmp_path / "D"
        shutil.copytree(workshop / "data/world", copy, ignore=shutil.ignore_patterns(".encoded"))
        file = copy / "dataset.jsonl"
        lines = file.read_text().splitlines()
        lines[2] = edit(lines[2])
        file.write_text("\n".join(lines) + "\n")
        meta = json.loads((copy / "meta.json").read_text())
        meta["dataset_hash"] = dataset_hash(copy)
        (copy / "meta.json").write_text(json.dumps({**meta, "meta_hash": meta_hash(meta)}))
        return copy

    return make


def edited(change):
    def edit(line):
        example = json.loads(line)
        change(example)
        return json.dumps(example)

    return edit


def set_risk(example):
    example["planner_input"]["issue"]["dk_risk"] = "severe"


def outside_label(example):
    example["label_action"]["budgets"]["max_minutes_bin"] = 20


def outside_request(example):
    example["planner_input"]["action_space"]["max_minutes_bins"] = [15]
    example["label_action"]["budgets"]["max_minutes_bin"] = 30


def forbidden_label(example):
    example["label_action"]["swarm_id"] = "serial_handoff"
    example["label_action"]["budgets"]["max_candidates_bin"] = 3


def drop_split(example):
    del example["split"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda line: line[:50], ("line 3", "a JSON document")),
        (edited(set_risk), ("line 3", "$.planner_input.issue.dk_risk", '"severe"', "low, medium")),
        (edited(outside_label), ("line 3", "$.label_action.budgets.max_minutes_bin", "20", "one of 15, 30")),
        (edited(outside_request), ("line 3", "$.label_action", "its own action space")),
        (edited(forbidden_label), ("line 3", "$.label_action", "serial_handoff, 3", "validity rules")),
        (edited(drop_split), ("line 3", "no such key", "`split`")),
    ],
)
def test_bad_dataset_line(planner, broken, tmp_path, edit, words):
    directory = broken(edit)
    for command in (("data", "validate", directory), ("run", "-p", "mlp", "train", "--dataset", directory)):
        done = planner(*command, cwd=tmp_path, code=1)
        text = " ".join(done.stderr.split())
        for word in ("dataset.jsonl", *words):
            assert word in text, (word, text)
        assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"D"}
    assert not (directory / ".encoded").exists()


def test_empty_files(planner, tmp_path):
    (tmp_path / "issues.jsonl").write_text("")
    (tmp_path / "runs.jsonl").write_text("")
    files = ("--issues", "issues.jsonl", "--runs", "runs.jsonl")
    done = planner("data", "build", *files, "--out", "D", cwd=tmp_path, code=1)
    assert "an empty file" in done.stderr
    assert not (tmp_path / "D").exists()
    planner("run", "-p", "heuristic", "predict", "issues.jsonl", cwd=tmp_path, code=1)


def test_missing_split_says_so(planner, workshop, tmp_path):
    copy = tmp_path / "D"
    shutil.copytree(workshop / "data/world", copy, ignore=shutil.ignore_patterns(".encoded"))
    file = copy / "dataset.jsonl"
    file.write_text(file.read_text().replace('"split":"test"', '"split":"val"'))
    meta = json.loads((copy / "meta.json").read_text())
    counts = meta["split_counts"]
    meta["split_counts"] = {"train": counts["train"], "val": counts["val"] + counts["test"]}
    meta["dataset_hash"] = dataset_hash(copy)
    (copy / "meta.json").write_text(json.dumps({**meta, "meta_hash": meta_hash(meta)}))
    done = planner("run", "-p", "heuristic", "evaluate", "--dataset", copy, cwd=tmp_path, code=1)
    assert "the split 'test' is empty" in " ".join(done.stderr.split())


def test_unknown_key_suggests(planner, workshop):
    done = planner("run", "-p", "mlp", "train", "--set", "d_hiden=8", "--set", "lr=fast", cwd=workshop, code=1)
    assert "d_hiden: no such key (did you mean 'd_hidden'?)" in done.stderr
    assert "lr: found" in done.stderr
    assert len(list((workshop / "runs/mlp").iterdir())) == 1


def test_unknown_policy_suggests(planner, tmp_path):
    done = planner("run", "--policy", "mpl", "train", cwd=tmp_path, code=1)
    assert "did you mean 'mlp'?" in done.stderr
    assert not any(tmp_path.iterdir())


def test_altered_bundle(planner, workshop, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(workshop / "bundles/mlp", copy)
    model = bytearray((copy / "model.onnx").read_bytes())
    model[1000] ^= 1
    (copy / "model.onnx").write_bytes(model)
    line = (workshop / "data/world/dataset.jsonl").read_text().splitlines()[0]
    command = ("run", "-p", "mlp", "predict", "--from", copy, "--out", "actions.jsonl")
    done = planner(*command, cwd=tmp_path, stdin=line, code=1)
    assert "model.onnx: found SHA-256" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"bundle"}


def test_later_bundle(planner, workshop, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(workshop / "bundles/mlp", copy)
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace("bundle.v1", "bundle.v2"))
    line = (workshop / "data/world/dataset.jsonl").read_text().splitlines()[0]
    done = planner("run", "-p", "mlp", "predict", "--from", copy, cwd=tmp_path, stdin=line, code=1)
    assert "swarm_planner.bundle.v2" in done.stderr
    assert "swarm_planner.bundle.v1" in done.stderr


def test_bad_prediction_input_names_its_line(planner, workshop, tmp_path):
    lines = (workshop / "data/world/dataset.jsonl").read_text().splitlines()[:2]
    text = "\n".join([*lines, lines[0].replace('"dk_priority":"P', '"dk_priority":"X')])
    done = planner(
        *("run", "-p", "mlp", "predict", "--from", workshop / "bundles/mlp", "--out", "a.jsonl"),
        cwd=tmp_path,
        stdin=text,
        code=1,
    )
    assert "standard input, line 3, at $.issue.dk_priority" in " ".join(done.stderr.split())
    assert not any(tmp_path.iterdir())
