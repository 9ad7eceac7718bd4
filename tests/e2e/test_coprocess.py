"""``predict -`` as a co-process: a kernel writes one line, waits for its answer, and only then writes the next."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

PLANNER = Path(sys.executable).with_name("planner")
WAIT_S = 60.0


class Coprocess:
    """The command, asked line by line."""

    def __init__(self, workshop: Path, *args: str) -> None:
        command = [str(PLANNER), "run", "-p", "mlp", "predict", "--from", "bundles/mlp", *args, "-"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=workshop, env={**os.environ, "NO_COLOR": "1"}, **pipes)

    def ask(self, line: str) -> dict:
        """The answer to one line, while the other end still waits for more."""
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], WAIT_S)
        assert ready, "no answer while the pipe is open"
        return json.loads(self.process.stdout.readline())

    def end(self) -> tuple[int, bytes, str]:
        """(exit code, what else was said, what was complained of) once nothing more is asked."""
        rest, complaints = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, rest, complaints.decode()


@pytest.fixture(scope="module")
def inputs(workshop):
    lines = (workshop / "data/world/dataset.jsonl").read_text().splitlines()[:6]
    return [json.loads(line)["planner_input"] for line in lines]


def test_each_line_is_answered_before_the_next_is_written(workshop, planner, inputs):
    kernel = Coprocess(workshop)
    answers = [kernel.ask(json.dumps(x)) for x in inputs]
    assert kernel.end() == (0, b"", "")
    lines = "\n".join(map(json.dumps, inputs))
    at_once = planner("run", "-p", "mlp", "predict", "--from", "bundles/mlp", cwd=workshop, stdin=lines).stdout
    timeless = [{**answer, "created_at": ""} for answer in answers]
    assert timeless == [{**json.loads(line), "created_at": ""} for line in at_once.splitlines()]


def test_a_refused_line_is_answered_too(workshop, inputs):
    kernel = Coprocess(workshop, "--keep-going")
    assert "error" not in kernel.ask(json.dumps(inputs[0]))
    assert "job_type" in kernel.ask(json.dumps({**inputs[0], "job_type": 3}))["path"]
    assert "expected" in kernel.ask('{"a": nonsense}')
    assert "error" not in kernel.ask(json.dumps(inputs[1]))
    code, rest, complaints = kernel.end()
    assert (code, rest) == (1, b"") and "2 of the inputs were refused" in complaints


def test_without_keep_going_it_ends_at_the_first(workshop, inputs):
    kernel = Coprocess(workshop)
    assert "error" not in kernel.ask(json.dumps(inputs[0]))
    kernel.process.stdin.write(b'{"schema_version": 3}\n')
    kernel.process.stdin.flush()
    code, rest, complaints = kernel.end()
    assert (code, rest) == (1, b"") and "standard input, line 2" in complaints
