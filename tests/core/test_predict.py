"""Reading inputs and writing actions: JSON or JSONL in, JSONL out, a file only when it is whole."""

from __future__ import annotations

import io
import json
import os
import sys
import tracemalloc

import pytest
from rich.console import Console

from planner_core.cli import console
from planner_core.data.samples import sample_inputs
from planner_core.errors import DataError
from planner_core.harness.predict import _inputs, count_decisions, read_inputs, write_actions

DOCUMENTS = sample_inputs(3, seed=1)


def as_read(path):
    return [(line, json.loads(raw)) for _, line, raw in read_inputs(str(path))]


def test_lines(tmp_path):
    (tmp_path / "in.jsonl").write_text("\n".join(json.dumps(x) for x in DOCUMENTS))
    assert as_read(tmp_path / "in.jsonl") == [(1, DOCUMENTS[0]), (2, DOCUMENTS[1]), (3, DOCUMENTS[2])]


def test_blank_lines_keep_the_numbers(tmp_path):
    (tmp_path / "in.jsonl").write_text(f"\n{json.dumps(DOCUMENTS[0])}\n   \n{json.dumps(DOCUMENTS[1])}\n\n")
    assert as_read(tmp_path / "in.jsonl") == [(2, DOCUMENTS[0]), (4, DOCUMENTS[1])]


def test_one_document_over_many_lines(tmp_path):
    (tmp_path / "in.json").write_text(json.dumps(DOCUMENTS[0], indent=2))
    assert as_read(tmp_path / "in.json") == [(1, DOCUMENTS[0])]


def test_lines_of_a_dataset_are_their_inputs(tmp_path, world_lines):
    lines = world_lines(2)
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert as_read(tmp_path / "d.jsonl") == [(1, lines[0]["planner_input"]), (2, lines[1]["planner_input"])]


def test_standard_input(monkeypatch):
    raw = json.dumps(DOCUMENTS[0]).encode() + b"\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
    assert [(source, line) for source, line, _ in read_inputs("-")] == [("standard input", 1)]


@pytest.mark.parametrize(
    ("text", "line"),
    [("", None), ("\n \n", None), ("{", 1), (json.dumps(DOCUMENTS[0]) + "\n{\n", 2), ("[1]\n", 1), ("3", 1)],
)
def test_input_that_is_none(tmp_path, text, line):
    (tmp_path / "in.jsonl").write_text(text)
    with pytest.raises(DataError) as caught:
        list(read_inputs(str(tmp_path / "in.jsonl")))
    assert caught.value.line == line and caught.value.source == str(tmp_path / "in.jsonl")


def huge(path, *parts):
    """A file of ``parts`` and then a gigabyte of nothing, which takes no room on the disk."""
    path.write_bytes(b"".join(parts))
    with path.open("r+b") as stream:
        stream.truncate(1 << 30)
    return path


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ((), 1),  # binary, or a single line
        ((json.dumps(DOCUMENTS[0]).encode(), b"\n"), 2),
        ((b'{"issue":\n',), 1),  # begins as one document over many lines, and never ends
    ],
)
def test_a_document_that_does_not_end_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch, parts, line):
    monkeypatch.setattr("planner_core.harness.predict.MAX_DOCUMENT", 1 << 20)
    path = huge(tmp_path / "in.jsonl", *parts)
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as caught:
            list(read_inputs(str(path)))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.line == line and "1 MiB in one document" in caught.value.found


def test_a_first_line_that_is_wrong_does_not_make_it_read_the_rest(tmp_path):
    """A document over many lines begins with a line that is cut off, not with one that is malformed."""
    (tmp_path / "in.jsonl").write_text('{"a": nonsense}\n' + json.dumps(DOCUMENTS[0]) + "\n")
    with (tmp_path / "in.jsonl").open("rb") as stream:
        first = next(_inputs(stream, "in.jsonl", lambda *_: None))
        assert stream.tell() < len('{"a": nonsense}\n') + 10
    assert isinstance(first, DataError) and first.line == 1


@pytest.mark.parametrize("indent", [0, 1, 2, "\t"])
def test_a_document_over_many_lines_however_it_is_indented(tmp_path, indent):
    (tmp_path / "in.json").write_text(json.dumps(DOCUMENTS[1], indent=indent) + "\n\n")
    assert as_read(tmp_path / "in.json") == [(1, DOCUMENTS[1])]


def test_progress_counts_inputs_and_bytes(tmp_path):
    text = "".join(json.dumps(x) + "\n\n" for x in DOCUMENTS * 50)
    (tmp_path / "in.jsonl").write_text(text)
    calls = []
    list(read_inputs(str(tmp_path / "in.jsonl"), lambda *call: calls.append(call)))
    size = len(text.encode())
    assert [call[0] for call in calls] == [64, 128, 150]
    assert all(call[2] == size for call in calls)
    assert calls[0][1] < calls[1][1] < calls[2][1] == size


def test_progress_on_a_pipe_does_not_know_the_end(monkeypatch):
    read, write = os.pipe()
    os.write(write, json.dumps(DOCUMENTS[0]).encode())
    os.close(write)
    calls = []
    with os.fdopen(read) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        list(read_inputs("-", lambda *call: calls.append(call)))
    assert calls == [(1, len(json.dumps(DOCUMENTS[0]).encode()), None)]


def shown(monkeypatch, terminal, after, quiet=False):
    """What :func:`byte_progress` draws for two reports, the second of them after the time a bar waits."""
    drawn = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=drawn, force_terminal=terminal, width=120))
    monkeypatch.setattr(console, "PROGRESS_AFTER_S", after)
    with console.byte_progress(quiet) as report:
        report(64, 500, 1000)
        report(128, 1000, 1000)
    return drawn.getvalue()


def test_the_bar_is_drawn_on_a_terminal_after_a_while(monkeypatch):
    assert "128 inputs" in shown(monkeypatch, True, 0.0)
    assert "inputs" not in shown(monkeypatch, True, 3600.0)
    assert shown(monkeypatch, False, 0.0) == ""
    assert shown(monkeypatch, True, 0.0, quiet=True) == ""


def test_file_that_is_missing(tmp_path):
    with pytest.raises(DataError, match="readable file"):
        list(read_inputs(str(tmp_path / "none.jsonl")))


def test_inputs_are_read_as_they_are_asked_for(tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps(DOCUMENTS[0]) + "\n{\n")
    stream = read_inputs(str(tmp_path / "in.jsonl"))
    assert next(stream)[1] == 1  # the broken second line is not met yet
    with pytest.raises(DataError):
        next(stream)


def test_actions_are_written_whole_or_not_at_all(tmp_path):
    out = tmp_path / "new" / "out.jsonl"
    write_actions([{"a": 1}, {"b": "ü"}], out)
    assert [json.loads(line) for line in out.read_text().splitlines()] == [{"a": 1}, {"b": "ü"}]

    def broken():
        yield {"a": 2}
        raise DataError("in.jsonl", expected="better")

    with pytest.raises(DataError):
        write_actions(broken(), out)
    assert json.loads(out.read_text().splitlines()[0]) == {"a": 1}
    assert [p.name for p in out.parent.iterdir()] == ["out.jsonl"]


def test_actions_on_standard_output(capfdbinary):
    write_actions([{"a": 1}, {"b": 2}], None)
    assert capfdbinary.readouterr().out == b'{"a":1}\n{"b":2}\n'


def test_counts():
    def action(swarm, minutes, abstain=False):
        budgets = {"max_candidates_bin": 1, "max_minutes_bin": minutes, "max_iterations_bin": "NA"}
        return {"swarm_id": swarm, "budgets": budgets, "abstain_to_default": abstain}

    serial = action("serial_handoff", 30)
    rules = action("serial_handoff", 30, True) | {"reason": "over_cap: 45 minutes"}
    counts = count_decisions([serial, action("speculate_vote", 60), serial, rules, {"error": "refused"}], "mlp")
    assert counts["decisions"] == 4
    assert counts["decided_by"] == [
        {"policy": "mlp", "reason": None, "count": 3},
        {"policy": "heuristic", "reason": "over_cap", "count": 1},
    ]
    found = counts["actions"]
    assert [row["count"] for row in found] == [2, 1, 1]
    assert found[0] == {
        "swarm_id": "serial_handoff",
        "max_candidates_bin": 1,
        "max_minutes_bin": 30,
        "max_iterations_bin": "NA",
        "abstain_to_default": False,
        "count": 2,
    }
