"""What a user can do to the command line: one line that names the place, exit code 1, and no traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from planner_core.cli.boundary import foreign_errors_as_ours, interruptible
from planner_core.cli.console import _SafeConsole, printable
from planner_core.errors import Interrupted, PlannerError

PLANNER = Path(sys.executable).with_name("planner")


def call(*args, cwd, **options):
    return subprocess.run([PLANNER, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=60, **options)


def refused(done, *words):
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and done.stderr.count("error:") == 1
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), "out/x: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", b"out/\xff"), "Permission denied"),
        (OSError("odd"), "OSError: odd"),
        (RecursionError("too deep"), "nested too deeply"),
        (MemoryError(), "not enough memory"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"), "no valid Unicode"),
        (KeyError("x"), "KeyError: 'x' (a fault of the program"),
    ],
)
def test_foreign_errors_become_ours(problem, words):
    with pytest.raises(PlannerError) as found, foreign_errors_as_ours():
        raise problem
    assert words in str(found.value) and found.value.__cause__ is problem


@pytest.mark.parametrize("problem", [PlannerError("ours"), BrokenPipeError(), SystemExit(2), Interrupted(2, "SIGINT")])
def test_what_is_meant_passes(problem):
    with pytest.raises(type(problem)) as found, foreign_errors_as_ours():
        raise problem
    assert found.value is problem


@pytest.mark.parametrize(
    "command",
    [
        ("data", "synth", "--examples", "20"),
        ("data", "build", "--issues", "afile", "--runs", "afile"),
        ("run", "-p", "heuristic", "predict", "afile"),
        ("export", "-p", "heuristic"),
        ("plugin", "new", "abc"),
    ],
)
def test_out_below_a_file(tmp_path, command):
    (tmp_path / "afile").write_text("mine")
    refused(call(*command, "--out", "afile/x", cwd=tmp_path), "afile")
    assert os.listdir(tmp_path) == ["afile"] and (tmp_path / "afile").read_text() == "mine"


def test_out_in_proc(tmp_path):
    refused(call("plugin", "new", "abc", "--out", "/proc/x", cwd=tmp_path), "/proc/x")


def test_a_full_standard_output(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([PLANNER, "policies"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1 and "No space left" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("given", ["/dev/zero", "/", "pipe"])
def test_input_that_is_no_file(tmp_path, given, monkeypatch):
    from planner_core import jsonio, system
    from planner_core.errors import DataError
    from planner_core.harness.predict import read_inputs

    monkeypatch.setattr(system.opening, "PIPE_WAIT_S", 0.05)
    if given == "pipe":
        given = str(tmp_path / "pipe")
        os.mkfifo(given)
    began = time.monotonic()
    for read in (lambda: list(read_inputs(given)), lambda: jsonio.read_file(Path(given), dict)):
        with pytest.raises(DataError, match=given):
            read()
    assert time.monotonic() - began < 5


def test_a_pipe_that_is_written_to_is_read(tmp_path):
    from planner_core.system import open_input

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = subprocess.Popen(["sh", "-c", f"sleep 0.2; printf one > {pipe}"])
    with open_input(pipe) as stream:
        assert stream.read() == b"one"
    writer.wait()


def test_terminal_escapes_are_shown(capsys):
    nasty = "a\x1b[31m\x9b2J\x07\u202e\ud800\r\tb\n"
    assert printable(nasty) == "a\\x1b[31m\\x9b2J\\x07\\u202e\\ud800\\r\tb\n"
    console = _SafeConsole(highlight=False, force_terminal=True, width=200)
    from rich.table import Table
    from rich.text import Text

    table = Table("name")
    table.add_row("in a cell \x1b[2J")
    for shown in ("plain \x1b[2J", Text("text \x1b[2J"), table):
        console.print(shown, style="red")
    said = capsys.readouterr().out
    assert "\x1b[2J" not in said and said.count("\\x1b") == 3
    assert "\x1b[31m" in said  # our own colours still are


def test_an_id_with_escapes_in_an_error(tmp_path):
    refused(call("run", "-p", "heuristic", "predict", "a\x1b[31mb", cwd=tmp_path), "a\\x1b[31mb")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_an_orderly_end(number, code):
    # Whoever started this process may have had it ignore an interrupt, as a shell does in the background.
    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(Interrupted) as found, interruptible():
            os.kill(os.getpid(), number)
            time.sleep(1)
        assert found.value.exit_code == code
        assert signal.getsignal(number) == signal.default_int_handler
    finally:
        signal.signal(number, before)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_sigterm_in_a_training(tmp_path, world):
    command = [PLANNER, "run", "-p", "mlp", "train", "--dataset", world, "--out", "r", "--set", "epochs=5000"]
    small = ["--set", "patience=5000", "--set", "d_hidden=8"]
    process = subprocess.Popen([*command, *small], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tmp_path / "r.partial" / "checkpoint.pt").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.terminate()
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 143
    assert "planner run --policy mlp train --out r --resume" in " ".join(said.split()) and "Traceback" not in said
    assert os.listdir(tmp_path) == ["r.partial"]
