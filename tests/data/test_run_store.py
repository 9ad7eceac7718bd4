"""Runs that lie in a file come back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from planner_core.action_space import Action
from planner_core.contracts import RunSummary
from planner_core.data.run_store import Run, RunStore, executed_run
from planner_core.data.run_tracker import replay
from planner_core.jsonio import convert
from tests.data.workplace import run as row


def made(name: str, *, propensities: bytes | None = None, **more: Any) -> Run:
    document = row(name, "x", **more)
    summary = convert(document, RunSummary, "test")
    history = msgspec.Raw(msgspec.json.encode(document))
    executed = executed_run(summary, 0.25, passed=True, evidence=False)
    label = Action("serial_handoff", 1, "NA", 2)
    return Run(summary, history, label, executed, None if propensities is None else msgspec.Raw(propensities))


def same(a: Run, b: Run) -> bool:
    """Whether two runs are alike to the byte of their JSON: a whole number is none with a point."""
    return msgspec.json.encode(a) == msgspec.json.encode(b) and type(b.label) is Action


FIRST = made("a", cost_usd_est=2, candidates=[{"passed": True, "duration_ms": 5}], propensities=b'{"s|1|30|1":0.5}')
SECOND = made("b", runtime={"duration_ms": (1 << 63) - 1}, tags=None)
THIRD = made("c", universe_id="\u00e9", outcome={"status": "failed", "fail_codes": ["t"], "gates": []})


def test_runs_come_back_as_they_were(tmp_path: Path) -> None:
    with RunStore(tmp_path) as store:
        for number, given in enumerate((FIRST, SECOND, THIRD)):
            assert store.add(given) == number
        assert len(store) == 3
        assert all(same(a, b) for a, b in zip((FIRST, SECOND, THIRD), store, strict=True))
        assert bytes(store.history(1)) == bytes(SECOND.history)


def test_a_run_is_replaced_and_runs_are_arranged(tmp_path: Path) -> None:
    with RunStore(tmp_path) as store:
        for given in (FIRST, SECOND, FIRST):
            store.add(given)
        store.replace(0, THIRD)
        assert same(store[0], THIRD) and same(store[1], SECOND)
        store.arrange(np.array([2, 0, 1]))
        assert [one.summary.run_id for one in store] == ["a", "c", "b"]


def test_nothing_is_left_of_a_store(tmp_path: Path) -> None:
    with RunStore(tmp_path) as store:
        store.add(FIRST)
    assert not list(tmp_path.iterdir())


def test_the_longest_run_ends_last() -> None:
    started = [0, 1_770_000_000_000]
    assert list(replay(started, [5, started[1] + (1 << 63) - 1]))[-1] == (True, 1)
