"""What is written, locked, decided and said on Windows and macOS, as far as Linux can pretend to be either.

A pretence shows that nothing of ours asks for what such a system lacks or forbids; it is no run on that system.
"""

from __future__ import annotations

import json
import re
import sys

import pytest

START = 1_770_000_000_000
SERIAL = {"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 30}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is made to look like another system")
both = pytest.mark.parametrize("system", ["windows", "macos"])

FILES = """
from pathlib import Path
from planner_core import write_bytes
from planner_core.files import clean
write_bytes(Path("a.json"), b"one\\n")
write_bytes(Path("a.json"), b"two\\r\\nas it is\\n")
assert Path("a.json").read_bytes() == b"two\\r\\nas it is\\n"
stale = Path(".a.json.planner-0123456789ab")
stale.write_bytes(b"left")
import os
os.utime(stale, (1, 1))
clean(Path("a.json"))
left = Path(".a.json.planner-0123456789ac")
left.mkdir(); (left / "new").mkdir(); (left / "new" / "half").write_bytes(b"")
write_bytes(Path("a.json"), b"three")
print(sorted(os.listdir(".")))
"""

REPLACED = """
import sys, os
from pathlib import Path
from planner_core.runtime.bundle import read_bundle, write_bundle, FILES
from planner_core import PlannerError, new_directory
source = Path(sys.argv[1])
content = {p.name: p.read_bytes() for p in source.iterdir() if p.name != "manifest.json"}
first = write_bundle(Path("b"), content)
assert read_bundle(Path("b")).digest == first.removeprefix("sha256:")
changed = {**content, "validation_report.json": content["validation_report.json"] + b"\\n"}
second = write_bundle(Path("b"), changed)
assert second != first and read_bundle(Path("b")).digest == second.removeprefix("sha256:")
Path("empty").mkdir()
write_bundle(Path("empty"), content)
(Path("b") / "mine.txt").write_bytes(b"work")
try:
    write_bundle(Path("b"), content)
except PlannerError as problem:
    print(problem)
assert (Path("b") / "mine.txt").read_bytes() == b"work"
try:
    with new_directory(Path("c")) as made:
        (made / "x").write_bytes(b"")
        raise KeyError
except KeyError:
    pass
print(sorted(os.listdir(".")))
"""

LOCKED = """
from pathlib import Path
from planner_core import PlannerError
from planner_core.claim import claimed
place = Path("run.partial"); place.mkdir()
with claimed(place, "a training"):
    try:
        with claimed(place, "a training"):
            raise SystemExit("two at once")
    except PlannerError as problem:
        print(problem)
with claimed(place, "a training") as release:
    release()
with claimed(place, "a training"):
    print("free again")
"""

DECIDED = """
import sys, json, threading
from pathlib import Path
from planner_core import Planner
given = Path(sys.argv[2]).read_bytes()
planner = Planner.load(sys.argv[1], log="log/decisions.jsonl")
answers = [planner.decide(given) for _ in range(3)]
threads = [threading.Thread(target=lambda: [planner.decide(given) for _ in range(20)]) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
lines = Path("log/decisions.jsonl").read_bytes().split(b"\\n")
assert lines.pop() == b"" and len(lines) == 83, len(lines)
assert all(json.loads(line)["model"] for line in lines)
print(answers[0].action["swarm_id"] if hasattr(answers[0], "action") else answers[0]["swarm_id"])
"""

MEMORY = """
from planner_core import peak_memory_mib, usable_cpus, processor_name
print(peak_memory_mib(), usable_cpus())
processor_name()
"""

TRAINED = """
from pathlib import Path
from planner_core import PlannerError
from planner_core.harness.run_dir import RESULTS, RUN_SCHEMA, RunConfig, write_json
from planner_core.harness.run_files import seal, verify
from planner_core.harness.work_dir import work_directory
document = RunConfig(RUN_SCHEMA, "mlp", 0, {"d_hidden": 8})
source = {"hash": "0" * 64, "directory": "data"}
out = Path("runs/heuristic/1")
try:
    with work_directory(out, document, source, False) as work:
        raise KeyError
except KeyError:
    pass
with work_directory(out, document, source, True) as work:
    assert work.resumed
    (work.path / "deep").mkdir()
    (work.path / "deep" / "weights.bin").write_bytes(b"w")
    write_json(work.path, RESULTS, {})
    seal(work.path)
    work.publish()
verify(out)
manifest = (out / "run_manifest.json").read_text("utf-8")
assert "deep/weights.bin" in manifest and "\\r" not in manifest
print(sorted(p.name for p in out.parent.iterdir()), sorted(p.name for p in out.iterdir()))
"""

SERVED = """
import asyncio, os, signal, socket
from pathlib import Path
from planner_core import PlannerError
from planner_serve import listen
from planner_serve.server import Server
with listen.listening_port("127.0.0.1", 0) as (listener, where):
    shared = listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
try:
    with listen.listening_path(Path("s")):
        print("unix")
except PlannerError as problem:
    print(problem)
async def ended():
    server = Server.__new__(Server)
    server.should_exit = server.force_exit = False
    with server.capture_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)
    return server.should_exit
print(shared, asyncio.run(ended()))
"""

COMMAND = """
import sys
from planner_core.cli.app import main
sys.argv = ["planner", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


@both
def test_files_are_written_whole(elsewhere, system):
    """A killed process's scratch goes, the content is byte for byte, and nothing else is left."""
    assert elsewhere(system, FILES).strip() == "['a.json']"


@both
def test_a_bundle_gives_way_to_another(elsewhere, system, bundles):
    said = elsewhere(system, REPLACED, bundles["heuristic"])
    assert "holds mine.txt, which is not of a bundle" in said
    assert said.strip().endswith("['b', 'empty']")


@both
def test_one_training_at_a_time(elsewhere, system):
    said = elsewhere(system, LOCKED)
    assert re.search(r"a training is at work there \(process \d+ of \S+", said) and said.strip().endswith("free again")


@both
def test_a_bundle_decides_and_logs(elsewhere, system, bundles, make_input, tmp_path):
    given = tmp_path / "given.json"
    given.write_text(json.dumps(make_input()), "utf-8", newline="\r\n")
    assert elsewhere(system, DECIDED, bundles["mlp"], given).strip() in ("serial_handoff", "speculate_vote")


def test_memory_is_in_mib_everywhere(elsewhere):
    """KiB on Linux, bytes on macOS: a process of ours takes tens of MiB on either."""
    peak, cpus = elsewhere("macos", MEMORY).split()
    assert 20 < float(peak) < 100_000 and int(cpus) >= 1


@both
@pytest.mark.parametrize("arguments", [["--help"], ["policies"], ["policies", "--json"]], ids=" ".join)
def test_the_command_line_answers(elsewhere, system, arguments):
    said = elsewhere(system, COMMAND, *arguments)
    assert "heuristic" in said or "Usage" in said


@both
def test_a_training_is_resumed_and_becomes_a_run(elsewhere, system):
    """The directory is locked while it is worked in, moves to its place, and its manifest has slashes everywhere."""
    said = elsewhere(system, TRAINED)
    assert said.startswith("['1'] ") and ".lock" not in said


def test_serving_on_windows(elsewhere):
    """No port is shared, a Unix socket is refused by a word of ours, and a signal still ends the server."""
    said = elsewhere("windows", SERVED).splitlines()
    assert said[0] == "s: this system has no Unix sockets for Python; listen on a --port of the loopback"
    assert said[1] == "0 True"


def test_serving_on_macos(elsewhere):
    assert elsewhere("macos", SERVED).split() == ["unix", "1", "True"]


@both
def test_logs_with_crlf_become_the_same_dataset(elsewhere, system, make_run, tmp_path):
    """A dataset is named by its content, whatever ends the lines of what it was built from."""
    rows = ({"run_id": f"r{i}", "issue_id": "xy"[i % 2], "started_ms": START + i * 60_000} for i in range(12))
    runs = [make_run(action=SERIAL, **row) for row in rows]
    hashes = set()
    for name, end in (("unix", "\n"), ("dos", "\r\n")):
        place = tmp_path / name
        place.mkdir()
        (place / "issues.jsonl").write_bytes("".join(f'{{"id": "{x}"}}{end}' for x in "xy").encode())
        (place / "runs.jsonl").write_bytes("".join(json.dumps(row) + end for row in runs).encode())
        inputs = ("--issues", place / "issues.jsonl", "--runs", place / "runs.jsonl")
        elsewhere(system, COMMAND, "data", "build", *inputs, "--out", place / "data")
        hashes.add(json.loads((place / "data" / "meta.json").read_text("utf-8"))["dataset_hash"])
        assert b"\r" not in (place / "data" / "meta.json").read_bytes()
    assert len(hashes) == 1


@both
def test_a_world_is_made(elsewhere, system, tmp_path):
    elsewhere(system, COMMAND, "data", "synth", "--out", "world", "--examples", "30", "--seed", "1")
    assert (tmp_path / "world" / "meta.json").is_file()
