"""Answers come in order and as soon as they are known; a line that is refused costs its own answer alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from planner_core.data.samples import sample_inputs
from planner_core.errors import DataError, PlannerError
from planner_core.harness.predict import batch_of, error_record, read_inputs
from planner_core.runtime.planner import Planner

LINES = [json.dumps(x).encode() + b"\n" for x in sample_inputs(70, seed=3)]


@pytest.fixture
def predict(bundles):
    """Run ``predict`` as a process on standard input."""
    main = "from planner_core.cli.app import main; main()"
    command = [sys.executable, "-c", main, "run", "--policy", "mlp", "predict", "--from", str(bundles["mlp"])]

    def start(*more):
        pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
        return subprocess.Popen([*command, *more], **pipes)

    return start


def test_a_process_that_waits_for_an_answer_before_it_asks_again(predict):
    with predict("-") as process:
        for line in LINES[:3]:
            process.stdin.write(line)
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())  # would wait for ever were answers held back
            assert answer["schema_version"] == "cyntra.planner_action.v1"
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_a_bad_line_costs_no_answer_before_it(predict):
    with predict("-") as process:
        out, err = process.communicate(b"".join(LINES[:5]) + b'{"issue": 3}\n' + LINES[5], timeout=60)
    assert len(out.splitlines()) == 5 and process.returncode == 1
    assert b"standard input, line 6" in err


BAD = [b"[1]\n", b'{"issue"\n', b'{"issue": "\xff"}\n', b"[" * 5000 + b"\n", LINES[0].replace(b'"job_type"', b'"job"')]


def test_keep_going_writes_an_error_in_the_lines_place(predict):
    lines = [LINES[0], BAD[0], LINES[1], *BAD[1:], LINES[2]]
    with predict("--keep-going", "-") as process:
        out, err = process.communicate(b"".join(lines), timeout=60)
    rows = [json.loads(line) for line in out.splitlines()]
    assert ["error" in row for row in rows] == [line in BAD for line in lines]
    assert [row["line"] for row in rows if "error" in row] == [2, 4, 5, 6, 7]
    assert all({"source", "expected"} <= row.keys() for row in rows if "error" in row)
    assert process.returncode == 1 and b"5 of the inputs were refused" in err


def test_keep_going_without_an_error_is_a_success(predict, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(b"".join(LINES[:2]))
    with predict("--keep-going", str(tmp_path / "in.jsonl")) as process:
        out, _ = process.communicate(timeout=60)
    assert len(out.splitlines()) == 2 and process.returncode == 0


def test_counts_leave_out_what_was_refused(predict, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(LINES[0] + BAD[0] + LINES[1])
    with predict("--keep-going", "--counts", "--json", str(tmp_path / "in.jsonl")) as process:
        out, _ = process.communicate(timeout=60)
    assert json.loads(out)["decisions"] == 2 and process.returncode == 1


@pytest.mark.parametrize("place", [0, 1, 63, 64, 69])
def test_answers_before_a_refused_input_are_given(bundles, place):
    planner = Planner.load(bundles["heuristic"], strict=True)
    documents = [*LINES[:place], b"{}", *LINES[place:]]
    answers = []
    with pytest.raises(DataError):
        answers.extend(planner.decide_many(documents))
    # ``extend`` keeps what came before the exception.
    assert len(answers) == place
    whole = list(planner.decide_many(documents, on_error=error_record))
    assert [i for i, row in enumerate(whole) if "error" in row] == [place] and len(whole) == 71
    hashes = [json.loads(json.dumps(row))["input_hash"] for i, row in enumerate(whole) if i != place]
    assert hashes == [row["input_hash"] for row in planner.decide_batch(LINES)]


def test_a_request_that_leaves_nothing_is_refused_in_its_place(bundles, make_input):
    nothing = make_input()
    nothing["action_space"] |= {"swarm_ids": []}
    planner = Planner.load(bundles["heuristic"], strict=True)
    rows = list(planner.decide_many([nothing, LINES[0]], on_error=error_record))
    assert "leave no action" in rows[0]["error"] and "swarm_id" in rows[1]


def test_an_error_record_names_the_place():
    problem = DataError("in.jsonl", line=3, path="$.issue", found="3", expected="an object")
    assert error_record(problem) == {
        "error": "in.jsonl, line 3, at $.issue: found 3; expected an object",
        **{"source": "in.jsonl", "line": 3, "path": "$.issue", "found": "3", "expected": "an object"},
    }
    assert error_record(PlannerError("no")) == {"error": "no"}


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_of_nothing(bundles, batch):
    with pytest.raises(ValueError, match="at least 1"):
        list(Planner(None, unusable="none").decide_many(LINES, batch))


def test_what_is_answered_line_by_line(tmp_path, monkeypatch):
    (tmp_path / "in.jsonl").write_bytes(LINES[0])
    os.mkfifo(tmp_path / "pipe")
    assert batch_of(str(tmp_path / "in.jsonl")) == 64 and batch_of(str(tmp_path / "pipe")) == 1
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert batch_of("-") == 1
    with (tmp_path / "in.jsonl").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert batch_of("-") == 64


def test_a_line_too_long_is_skipped_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("planner_core.harness.predict.MAX_DOCUMENT", 10_000)
    (tmp_path / "in.jsonl").write_bytes(LINES[0] + b" " * 3_000_000 + b"\n" + LINES[1])
    rows = list(read_inputs(str(tmp_path / "in.jsonl"), keep_going=True))
    assert [isinstance(row, DataError) for row in rows] == [False, True, False]
    assert rows[1].line == 2 and rows[2][1] == 3
