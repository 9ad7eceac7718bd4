"""The decision log: what is in it, whole lines whatever happens, and no decision that fails because of it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from rollout_support import Expects, chosen

from planner_core.data.decisions import DecisionReader
from planner_core.data.samples import sample_inputs
from planner_core.errors import DataError
from planner_core.runtime import decision_log
from planner_core.runtime.planner import Planner

DOCUMENTS = sample_inputs(40, seed=3)
UTILITIES = {("speculate_vote", 3, 45, 3): 1.0, ("serial_handoff", 1, 15, 1): 0.95}
WRITER = """
import json, sys
from planner_core.data.samples import sample_inputs
from planner_core.runtime.planner import Planner
path, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
documents = [json.dumps(x) for x in sample_inputs(20, seed=3)]
planner = Planner(None, mode="off", log=path, log_bytes=size)
print("ready", flush=True)
sys.stdin.readline()
for i in range(count):
    print(planner.plan(documents[i % 20]).decision_id, flush=True)
assert planner.stats()["unlogged"] == 0
"""


def writer(path, count, size=1 << 30):
    code = [sys.executable, "-c", WRITER, str(path), str(count), str(size)]
    started = subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline() == "ready\n"
    return started


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def names(path):
    reader = DecisionReader(path)
    return [decision.decision_id for decision in reader], reader.torn


# -- what is in it


def test_a_line_says_what_was_decided(tmp_path):
    planner = Planner(Expects(UTILITIES), share=0.5, explore=0.5, salt="s", log=tmp_path / "new" / "d.jsonl")
    plans = [planner.plan(x) for x in DOCUMENTS]
    lines = [json.loads(line) for line in (tmp_path / "new" / "d.jsonl").read_text().splitlines()]
    assert len(lines) == len(plans)
    for document, plan, line in zip(DOCUMENTS, plans, lines, strict=True):
        assert line["schema_version"] == "swarm_planner.decision.v1" and line["mode"] == "enforce"
        assert line["rollout"] == {"share": 0.5, "explore": 0.5, "salt": "s", "explore_within": 0.1}
        assert line["action"] == {name: plan.action[name] for name in ("swarm_id", "budgets")}
        for name in ("arm", "decision_id", "expected", "propensities", "propensity"):
            assert line[name] == getattr(plan, name)
        assert (line["time"], line["reason"]) == (plan.action["created_at"], plan.action["reason"])
        assert line["issue_id"] == document["issue"]["issue_id"] and line["job_type"] == document["job_type"]
        assert line["planner_input"] == document
        rest = {name: value for name, value in document.items() if name != "created_at"}
        digest = hashlib.sha256(msgspec.json.encode(rest, order="sorted")).hexdigest()
        assert line["input_hash"] == plan.action["input_hash"] == digest
    assert {line["arm"] for line in lines} == {"baseline", "model", "explore"}


def test_every_way_of_deciding_is_logged(tmp_path):
    seen = []
    planner = Planner(Expects(UTILITIES), share=0.5, log=str(tmp_path / "d.jsonl"), on_decision=seen.append)
    planner.decide(DOCUMENTS[0])
    planner.decide_batch(DOCUMENTS)
    list(planner.decide_many(DOCUMENTS, 7))
    planner.plan(json.dumps(DOCUMENTS[1]))
    logged = list(DecisionReader(tmp_path / "d.jsonl"))
    assert [d.bins for d in logged] == [chosen(a) for a in seen] and len(seen) == 82
    assert len({d.decision_id for d in logged}) == 82
    assert all(d.propensity == pytest.approx(0.5) or d.propensity == 1.0 for d in logged)


def test_what_was_given_as_text_is_logged_as_it_was(tmp_path):
    """Unknown keys, numbers as text and its own time are as they arrived."""
    document = {**DOCUMENTS[0], "extra": {"b": 1, "a": "ü"}, "created_at": "2026-01-01T00:00:00+02:00"}
    document["issue"] = {**document["issue"], "dk_attempts": "3"}
    Planner(None, mode="off", log=tmp_path / "d.jsonl").decide(json.dumps(document))
    assert json.loads((tmp_path / "d.jsonl").read_text())["planner_input"] == document


# -- whole lines


def test_many_threads_and_rotation(tmp_path):
    path = tmp_path / "d.jsonl"
    planner = Planner(None, mode="off", log=path, log_bytes=60_000)
    documents = [json.dumps(x).encode() for x in DOCUMENTS]
    handles = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda i: planner.plan(documents[i % 40]).decision_id, range(600)))
    found, torn = names(path)
    assert sorted(found) == sorted(told) and torn == 0 and planner.stats()["unlogged"] == 0
    parts = decision_log.set_aside(path)
    assert len(parts) > 2 and [int(p.suffix[1:]) for p in parts] == list(range(1, len(parts) + 1))
    assert min(p.stat().st_size for p in parts) > 60_000 - 20_000  # full, but for the line that did not fit
    assert len(os.listdir("/proc/self/fd")) <= handles + 8


def test_many_processes_and_rotation(tmp_path):
    path = tmp_path / "d.jsonl"
    running = [writer(path, 250, 100_000) for _ in range(4)]
    for process in running:
        go(process)
    told = [line for process in running for line in process.communicate(timeout=120)[0].split()]
    assert [process.returncode for process in running] == [0] * 4
    found, torn = names(path)
    assert sorted(found) == sorted(told) and len(told) == 1000 and torn == 0
    assert len(decision_log.set_aside(path)) > 2


def test_killed_under_load(tmp_path):
    """Whatever a process had told before it was killed is there; what it was writing costs no other line."""
    path = tmp_path / "d.jsonl"
    survivor, told = writer(path, 1500), []
    go(survivor)
    for _ in range(4):
        victim = writer(path, 1_000_000)
        go(victim)
        told += [victim.stdout.readline().strip() for _ in range(100)]
        victim.send_signal(signal.SIGKILL)
        rest = victim.stdout.read()  # and not communicate(), which forgets what readline() has read ahead
        assert victim.wait(timeout=60) == -signal.SIGKILL
        told += [line for line in rest.split("\n")[:-1] if line]
    told += survivor.communicate(timeout=120)[0].split()
    found, torn = names(path)
    assert survivor.returncode == 0 and set(told) <= set(found) and len(told) > 1800
    assert len(found) - len(set(told)) <= 4 and torn <= 4  # a last one each may be written and not told


def test_rotation_while_reading(tmp_path):
    """A reader sees what there was when it began, each decision once, while the log goes on and is set aside."""
    path = tmp_path / "d.jsonl"
    planner = Planner(None, mode="off", log=path, log_bytes=50_000)
    before = [planner.plan(DOCUMENTS[i % 40]).decision_id for i in range(30)]
    reading = iter(DecisionReader(path))
    seen = [next(reading).decision_id]
    parts = len(decision_log.set_aside(path))
    during = [planner.plan(DOCUMENTS[i % 40]).decision_id for i in range(60)]
    assert len(decision_log.set_aside(path)) > parts + 1
    seen += [decision.decision_id for decision in reading]
    assert seen[:30] == before and seen == [*before, *during][: len(seen)]
    assert names(path)[0] == [*before, *during]


def test_readers_and_writers_at_once(tmp_path):
    path = tmp_path / "d.jsonl"
    planner, told, stop = Planner(None, mode="off", log=path, log_bytes=80_000), [], threading.Event()

    def write():
        while not stop.is_set():
            told.append(planner.plan(DOCUMENTS[len(told) % 40]).decision_id)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(12):
            known = list(told)
            found, torn = names(path) if known else ([], 0)
            assert found[: len(known)] == known and torn <= 1
    finally:
        stop.set()
        thread.join(timeout=60)
    assert names(path) == (told, 0)


@pytest.mark.parametrize("rest", [b'{"schema_version":"swarm_pl', b"{"])
def test_a_torn_line_costs_only_itself(tmp_path, rest):
    path = tmp_path / "d.jsonl"
    first = Planner(None, mode="off", log=path).plan(DOCUMENTS[0]).decision_id
    with path.open("ab") as stream:
        stream.write(rest)
    assert names(path) == ([first], 1)  # as the last line
    second = Planner(None, mode="off", log=path).plan(DOCUMENTS[1]).decision_id
    assert names(path) == ([first, second], 1)  # and with another behind it


@pytest.mark.parametrize("locks", [True, False])
def test_a_forked_child_writes_too(tmp_path, monkeypatch, locks):
    """Also where both set the log aside at once, and where the file system has no locks."""
    if not locks:
        monkeypatch.setattr(decision_log.system, "try_lock", lambda handle: None)
    path = tmp_path / "d.jsonl"
    planner = Planner(None, mode="off", log=path, log_bytes=30_000)
    planner._log._upkeep.acquire()  # as if another thread were just rotating
    child = os.fork()
    if child == 0:
        for x in DOCUMENTS:
            planner.decide(x)
        os._exit(0 if planner.stats()["unlogged"] == 0 else 1)
    planner._log._upkeep.release()
    for x in DOCUMENTS:
        planner.decide(x)
    assert os.waitpid(child, 0)[1] == 0
    found, torn = names(path)
    assert planner.stats()["unlogged"] == 0
    assert len(set(found)) == len(found) == 80 and torn == 0 and len(decision_log.set_aside(path)) > 1


# -- nothing fails because of it


def blocked(tmp_path, kind):
    """A path that no log can be written to."""
    if kind == "a file in the way":
        (tmp_path / "file").write_text("mine")
        return tmp_path / "file" / "d.jsonl"
    path = tmp_path / "d.jsonl"
    if kind == "a directory":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/full")
    return path


@pytest.mark.parametrize("kind", ["a file in the way", "a directory", "a pipe", "a device"])
def test_a_path_that_cannot_be_written(tmp_path, kind, caplog):
    with caplog.at_level(logging.WARNING, "planner"):
        planner = Planner(None, mode="off", log=blocked(tmp_path, kind))
        usual = Planner(None, mode="off")
        for x in DOCUMENTS:
            assert chosen(planner.decide(x)) == chosen(usual.decide(x))
    assert planner.stats()["unlogged"] == len(DOCUMENTS) and usual.stats()["unlogged"] == 0
    assert caplog.text.count("decisions are not logged") == 1 and os.path.realpath(planner._log.path) in caplog.text


def test_it_is_logged_again_when_it_can_be(tmp_path, monkeypatch):
    path = blocked(tmp_path, "a directory")
    planner = Planner(None, mode="off", log=path)
    planner.decide(DOCUMENTS[0])
    path.rmdir()
    planner.decide(DOCUMENTS[0])
    assert not path.exists() and planner.stats()["unlogged"] == 2  # it is not tried at every decision
    monkeypatch.setattr(decision_log, "LOOK_S", 0.0)
    planner.decide(DOCUMENTS[0])
    assert len(names(path)[0]) == 1 and planner.stats()["unlogged"] == 2


@pytest.mark.parametrize("how", ["moved", "removed"])
def test_a_log_that_somebody_moved_is_begun_anew(tmp_path, monkeypatch, how):
    path = tmp_path / "d.jsonl"
    planner = Planner(None, mode="off", log=path)
    planner.decide(DOCUMENTS[0])
    path.rename(tmp_path / "kept") if how == "moved" else path.unlink()
    monkeypatch.setattr(decision_log, "LOOK_S", -1.0)
    planner.decide(DOCUMENTS[1])
    assert [d.issue_id for d in DecisionReader(path)] == [DOCUMENTS[1]["issue"]["issue_id"]]
    assert planner.stats()["unlogged"] == 0


def test_a_log_that_cannot_be_set_aside_grows(tmp_path, monkeypatch, caplog):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(decision_log.os, "rename", refused)
    planner = Planner(None, mode="off", log=tmp_path / "d.jsonl", log_bytes=20_000)
    told = [planner.plan(x).decision_id for x in DOCUMENTS]
    assert names(tmp_path / "d.jsonl") == (told, 0) and planner.stats()["unlogged"] == 0
    assert caplog.text.count("cannot be set aside, and grows") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["d.jsonl"]


def test_a_full_disk(tmp_path):
    """The file may not grow: a part of a line is written, then nothing; and when there is room again, whole lines."""
    code = """
import resource
from pathlib import Path
from planner_core.data.decisions import DecisionReader
from planner_core.data.samples import sample_inputs
from planner_core.runtime.planner import Planner
planner = Planner(None, mode="off", log="d.jsonl")
documents = sample_inputs(20, seed=3)
for x in documents[:3]: planner.decide(x)
room = Path("d.jsonl").stat().st_size + 500
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
for x in documents[3:8]: planner.decide(x)
assert planner.stats()["unlogged"] == 5, planner.stats()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for x in documents[8:]: planner.decide(x)
reader = DecisionReader(Path("d.jsonl"))
assert [d.issue_id for d in reader] == [x["issue"]["issue_id"] for x in documents[:3] + documents[8:]]
assert reader.torn == 1 and planner.stats()["unlogged"] == 5
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.count("decisions are not logged") == 1, done.stderr


def test_a_message_that_is_no_text_costs_its_line_only(tmp_path, monkeypatch):
    """Its log records are kept here: such text is more than a report of this test could carry to another process."""
    records = []
    logger, keeper = logging.getLogger("planner"), logging.Handler()
    keeper.emit = records.append
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [keeper])

    class Odd:
        def action_probs(self, inputs):
            raise RuntimeError("\ud800")

    planner = Planner(Odd(), log=tmp_path / "d.jsonl")
    assert planner.decide(DOCUMENTS[0])["reason"].startswith("inference_failed")
    told = [record.getMessage() for record in records]
    assert planner.stats()["unlogged"] == 1 and sum("decisions are not logged" in line for line in told) == 1
    assert names(tmp_path / "d.jsonl") == ([], 0)


def test_a_deadline_passes_through_the_log(tmp_path):
    planner = Planner(None, mode="off", log=tmp_path / "d.jsonl")

    def late(*_):
        raise TimeoutError("late")

    planner._log._append = late
    with pytest.raises(TimeoutError, match="late"):
        planner.decide(DOCUMENTS[0])


@pytest.mark.parametrize(("option", "value"), [("log", 3), ("log", b"x"), ("log_bytes", 0), ("log_bytes", "1")])
def test_options_that_are_none(tmp_path, option, value):
    with pytest.raises((TypeError, ValueError), match=option):
        Planner(None, **{"log": tmp_path / "d.jsonl", option: value})


# -- reading


def test_the_newest_are_read_without_the_rest(tmp_path):
    path = tmp_path / "d.jsonl"
    planner = Planner(None, mode="off", log=path, log_bytes=30_000)
    told = [planner.plan(DOCUMENTS[i % 40]).decision_id for i in range(50)]
    for count in (1, 2, 7, 30, 50, 99):
        assert [d.decision_id for d in DecisionReader(path).last(count)] == told[-count:]
    decision_log.set_aside(path)[0].write_text("spoilt\n")
    assert [d.decision_id for d in DecisionReader(path).last(5)] == told[-5:]


def test_a_log_that_was_just_set_aside_is_read_without_a_new_one(tmp_path):
    path = tmp_path / "d.jsonl"
    told = Planner(None, mode="off", log=path).plan(DOCUMENTS[0]).decision_id
    path.rename(tmp_path / "d.jsonl.000001")
    assert names(path) == ([told], 0)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"arm": "both"}, r"\$\.arm: found \"?both"),
        ({"propensity": 1.5}, r"\$\.propensity: found 1.5"),
        ({"schema_version": "v2"}, r"\$\.schema_version"),
        ({"action": {"swarm_id": "x"}}, r"\$\.action: found no such key; expected the key `budgets`"),
    ],
)
def test_a_line_that_is_no_decision(tmp_path, change, place):
    path = tmp_path / "d.jsonl"
    Planner(None, mode="off", log=path).decide(DOCUMENTS[0])
    with path.open("a") as stream:
        stream.write(json.dumps({**json.loads(path.read_text()), **change}) + "\n")
    with pytest.raises(DataError, match=r"d\.jsonl, line 2, at " + place):
        names(path)


@pytest.mark.parametrize("content", [b"no json\n", b"\xff\n", b"[1]\n"])
def test_what_is_no_log(tmp_path, content):
    (tmp_path / "d.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"d\.jsonl, line 1"):
        names(tmp_path / "d.jsonl")


@pytest.mark.parametrize("path", ["none.jsonl", "no/such/directory.jsonl", "."])
def test_a_log_that_is_not_there(tmp_path, path):
    with pytest.raises(DataError, match="expected a readable decision log"):
        names(tmp_path / path)


def test_it_costs_no_waiting_for_the_disk(tmp_path, monkeypatch):
    """Nothing is synced: a decision must not wait for a disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("a decision waits for the disk"))
    Planner(None, mode="off", log=tmp_path / "d.jsonl").decide(DOCUMENTS[0])
    assert len(names(tmp_path / "d.jsonl")[0]) == 1
