"""One planner, many threads: the same answers as one by one, also while its bundle is replaced."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from planner_core.data.samples import sample_inputs
from planner_core.errors import BundleError
from planner_core.runtime.planner import Planner

DOCUMENTS = sample_inputs(120, seed=21)
FORMS = [*DOCUMENTS, *(json.dumps(x).encode() for x in DOCUMENTS)]


def timeless(action):
    """An action without the time it was made."""
    return {key: value for key, value in action.items() if key != "created_at"}


def answers(planner):
    """The action of every document, one by one."""
    once = [timeless(planner.decide(x)) for x in DOCUMENTS]
    return [*once, *once]


@pytest.fixture
def eager_switching():
    """Threads change places a thousand times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(usual)


def decide_in_threads(planner, threads, decisions):
    """Rows whose answer differs from the serial one, in all threads together, and how many were decided."""
    expected = answers(planner)
    assert len({str(x) for x in expected}) > 50  # one answer for everything would show nothing
    start = threading.Barrier(threads)

    def work(seed):
        rows = np.random.default_rng(seed).integers(0, len(FORMS), decisions // threads)
        start.wait(timeout=60)
        return [int(row) for row in rows if timeless(planner.decide(FORMS[row])) != expected[row]], len(rows)

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(work, range(threads)))
    return [row for wrong, _ in results for row in wrong], sum(count for _, count in results)


@pytest.mark.parametrize("policy", ["mlp", "joint"])
def test_sixteen_threads_decide_as_one(bundles, eager_switching, policy):
    planner = Planner.load(bundles[policy], strict=True)
    assert decide_in_threads(planner, 16, 2_000) == ([], 2_000)


@pytest.mark.parametrize("options", [{"threshold": 0.3}, {"mode": "enforce_reductions"}], ids=lambda o: next(iter(o)))
def test_fallbacks_are_the_same_in_threads(bundles, eager_switching, options):
    planner = Planner.load(bundles["mlp"], strict=True, **options)
    assert {x["abstain_to_default"] for x in answers(planner)} == {True, False}
    assert decide_in_threads(planner, 16, 640) == ([], 640)


@pytest.mark.slow
def test_hundred_thousand_decisions(bundles):
    planner = Planner.load(bundles["mlp"], strict=True)
    assert decide_in_threads(planner, 16, 100_000) == ([], 100_000)


# -- replacing the bundle


class Traffic:
    """Threads that decide until told to stop and keep what was neither the old bundle's answer nor the new one's."""

    def __init__(self, planner, allowed, threads=8):
        self.planner, self.allowed = planner, allowed
        self.wrong, self.served = [], {}
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.pool = ThreadPoolExecutor(threads)
        self.threads = threads

    def __enter__(self):
        # The last two ask for a batch at a time, which has to come from one bundle as a whole.
        workers = [self._one_by_one] * (self.threads - 2) + [self._in_batches] * 2
        self.futures = [self.pool.submit(work, seed) for seed, work in enumerate(workers)]
        return self

    def __exit__(self, *problem):
        self.stop.set()
        self.pool.shutdown()
        for future in self.futures:
            future.result()

    def _count(self, checkpoint):
        with self.lock:
            self.served[checkpoint] = self.served.get(checkpoint, 0) + 1

    def _one_by_one(self, seed):
        rng = np.random.default_rng(seed)
        while not self.stop.is_set():
            row = int(rng.integers(len(FORMS)))
            action = timeless(self.planner.decide(FORMS[row]))
            if action not in [answer[row] for answer in self.allowed]:
                self.wrong.append(action)
            self._count(action["model"]["checkpoint_id"])

    def _in_batches(self, seed):
        rng = np.random.default_rng(seed)
        while not self.stop.is_set():
            rows = rng.integers(0, len(FORMS), 8)
            actions = self.planner.decide_batch([FORMS[row] for row in rows])
            # The last bits of a confidence depend on the batch, so only the choices are compared here.
            chosen = [(x["model"], x["swarm_id"], x["budgets"], x["reason"], x["input_hash"]) for x in actions]
            of_each = [
                [(a["model"], a["swarm_id"], a["budgets"], a["reason"], a["input_hash"]) for a in answer]
                for answer in self.allowed
            ]
            if chosen not in [[answer[row] for row in rows] for answer in of_each]:
                self.wrong.append(actions)
            self._count(actions[0]["model"]["checkpoint_id"])


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the other threads came to nothing"
        time.sleep(0.002)


def test_reload_under_traffic(bundles, eager_switching):
    """Sixteen swaps between two bundles that answer differently; each answer is wholly of the one or of the other."""
    names = ("mlp", "joint")
    loaded = [Planner.load(bundles[name], strict=True) for name in names]
    old, new = (answers(planner) for planner in loaded)
    assert sum(a["budgets"] != b["budgets"] for a, b in zip(old, new, strict=True)) > 40
    ids = [planner.model["checkpoint_id"] for planner in loaded]
    assert ids[0] != ids[1]
    planner = Planner.load(bundles["mlp"], strict=True)
    with Traffic(planner, (old, new)) as traffic:
        for turn in range(1, 17):
            seen = dict(traffic.served)
            planner.reload(bundles[names[turn % 2]])
            now = ids[turn % 2]
            assert planner.model["checkpoint_id"] == now
            wait_for(lambda now=now, seen=seen: traffic.served.get(now, 0) > seen.get(now, 0) + 4)
    assert traffic.wrong == []
    assert set(traffic.served) == set(ids)
    assert answers(planner) == old


@pytest.mark.parametrize("spoil", ["missing", "altered", "foreign model"])
def test_broken_bundle_leaves_the_old_one_serving(bundles, tmp_path, caplog, eager_switching, spoil):
    broken = tmp_path / "next"
    if spoil != "missing":
        shutil.copytree(bundles["joint"], broken)
        name = "model.onnx" if spoil == "foreign model" else "calibration.json"
        (broken / name).write_bytes(b"{}")
    planner = Planner.load(bundles["mlp"], strict=True)
    old, identity = answers(planner), planner.model
    with Traffic(planner, (old,)) as traffic:
        for _ in range(4):
            with pytest.raises(BundleError, match="next"):
                planner.reload(broken)
            assert planner.model == identity
            seen = sum(traffic.served.values())
            wait_for(lambda seen=seen: sum(traffic.served.values()) > seen)
    assert traffic.wrong == [] and set(traffic.served) == {identity["checkpoint_id"]}
    assert "the bundle in use stays" in caplog.text


def test_reload_after_a_missing_bundle(bundles, tmp_path):
    """A kernel that started too early begins to use the model without a restart."""
    planner = Planner.load(tmp_path / "later")
    assert planner.decide(DOCUMENTS[0])["reason"].startswith("bundle_unusable: ")
    shutil.copytree(bundles["mlp"], tmp_path / "later")
    planner.reload(tmp_path / "later")
    assert answers(planner) == answers(Planner.load(bundles["mlp"], strict=True))


def test_reload_keeps_the_options_of_load(bundles):
    planner = Planner.load(bundles["mlp"], strict=True, threshold=0.25, mode="log")
    planner.reload(bundles["joint"])
    assert (planner.threshold, planner.mode) == (0.25, "log")
    expected = Planner.load(bundles["joint"], strict=True, threshold=0.25, mode="log")
    assert answers(planner) == answers(expected)


def test_many_threads_reload_at_once(bundles):
    """The last swap wins, whichever it was; the planner is one of the two, whole."""
    expected = [answers(Planner.load(bundles[name], strict=True)) for name in ("mlp", "joint")]
    planner = Planner.load(bundles["mlp"], strict=True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda turn: planner.reload(bundles[("mlp", "joint")[turn % 2]]), range(8)))
    assert answers(planner) in expected
