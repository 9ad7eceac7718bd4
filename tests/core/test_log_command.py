"""``planner log``: the newest decisions, readable, on any terminal."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from planner_core.cli.app import app
from planner_core.data.samples import sample_inputs
from planner_core.runtime.planner import Planner

DOCUMENTS = sample_inputs(30, seed=3)


@pytest.fixture
def log(tmp_path, monkeypatch):
    """A log of 30 decisions in several parts, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    planner = Planner(None, mode="off", log="decisions.jsonl", log_bytes=40_000)
    for document in DOCUMENTS:
        planner.decide(document)
    return tmp_path / "decisions.jsonl"


def told(*args, code=0):
    done = CliRunner().invoke(app, ["log", *map(str, args)])
    assert done.exit_code == code, done.output
    return done.output


def test_the_newest_of_the_usual_log(log):
    lines = told().splitlines()
    assert len(lines) == 21 and all(len(line) <= 80 for line in lines)
    assert [line.split()[2] for line in lines[1:]] == [x["issue"]["issue_id"] for x in DOCUMENTS[-20:]]
    assert all("mode_off" in line and " 1.000 " in line for line in lines[1:])


def test_as_many_as_asked_and_as_json(log):
    document = json.loads(told(log, "--last", 25, "--json"))
    assert document["torn"] == 0
    assert [d["issue_id"] for d in document["decisions"]] == [x["issue"]["issue_id"] for x in DOCUMENTS[-25:]]
    whole = [json.loads(line) for line in log.read_text().splitlines()]
    shown = document["decisions"][-1]
    assert shown["propensities"] == whole[-1]["propensities"] and "planner_input" not in shown
    assert len(json.loads(told("--last", 99, "--json"))["decisions"]) == 30


def test_long_and_hostile_names_keep_the_width(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    document = {**DOCUMENTS[0], "issue": {**DOCUMENTS[0]["issue"], "issue_id": "\x1b[31m" + "long" * 40}}
    document["action_space"] = {**document["action_space"], "swarm_ids": ["a swarm of a very long name", "[bold]b"]}
    Planner(None, mode="off", log=tmp_path / "d.jsonl").decide(document)
    lines = told(tmp_path / "d.jsonl").splitlines()
    assert all(len(line) <= 80 for line in lines) and "\x1b" not in "".join(lines)


def test_torn_lines_are_said(log):
    with log.open("ab") as stream:
        stream.write(b'{"schema_version":"swarm_pl')
    assert "1 torn lines were left out" in told("--last", 1)
    assert json.loads(told("--last", 1, "--json"))["torn"] == 1


def test_an_empty_log(tmp_path):
    (tmp_path / "d.jsonl").write_text("")
    assert "no decision yet" in told(tmp_path / "d.jsonl")


def test_mistakes(log, tmp_path):
    told("--last", 0, code=2)
    for path in ("none.jsonl", "."):
        done = CliRunner().invoke(app, ["log", path])
        assert done.exit_code == 1 and "expected a readable decision log" in str(done.exception)
