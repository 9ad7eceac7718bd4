"""Comparing two results: on doctored ones, never by measuring."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from planner_bench.compare_results import Change, compare_results, document, grid
from planner_bench.results import (
    SCHEMA,
    BenchResult,
    ColdStart,
    Memory,
    Place,
    PolicyResult,
    make_table,
    read_results,
)
from planner_bench.timing import Timed
from planner_core.errors import DataError, PlannerError
from planner_core.jsonio import pretty

ENVIRONMENT = {"machine": "x86_64", "processor": "P", "cpus": 2, "system": "Linux", "python": "3.11"}


def policy(name="mlp", speed=1.0, **stages):
    """A policy whose stages take so many times the reference, on a machine of some speed."""
    times = {Place("reference"): np.full(100, 0.01 / speed)}
    times |= {Place(stage.replace("_", " ")): np.full(100, 0.01 * much / speed) for stage, much in stages.items()}
    start = ColdStart(3, {"interpreter": 20.0}, 200.0, 190.0, 220.0)
    tables = [make_table("stages", Timed(times, 0.0))]
    return PolicyResult(name, "1", None, 5000.0, {}, tables, start, Memory(40, 80, 90, 9), {"a": 10}, [], [])


def result(*policies, environment=None, **changes):
    fields = {"created_at": "2026-01-01T00:00:00Z", "repeats": 100, "seed": 0, **changes}
    return BenchResult(SCHEMA, environment={**ENVIRONMENT, **(environment or {})}, policies=list(policies), **fields)


def test_what_became_slower_is_found_whatever_the_machine():
    old = result(policy(encode=10.0, session=20.0, decision=5.0, JSON=40.0))
    new = result(policy(speed=0.3, encode=10.5, session=26.0, decision=3.0, JSON=51.0))  # a slower machine
    found = compare_results(old, new)
    assert [(c.place.stage, pytest.approx(c.change)) for c in found.slower] == [("session", 1.3), ("JSON", 1.275)]
    assert [(c.place.stage, pytest.approx(c.change)) for c in found.faster] == [("decision", 0.6)]
    assert found.same == 1
    assert not compare_results(old, new, 1.31).slower
    shown = grid(found, "old.json")
    assert [row[:2] for row in shown.rows] == [["mlp", "session"], ["mlp", "JSON"], ["mlp", "decision"]]
    assert shown.rows[0][2:] == ["20.00", "26.00", "1.30 x SLOWER"] and shown.rows[2][-1] == "0.60 x faster"
    assert [row["change"] for row in document(found)["slower"]] == pytest.approx([1.3, 1.275])


def test_what_was_not_measured_in_both_is_said():
    old = result(policy(encode=1.0, session=2.0), policy("joint", encode=1.0))
    new = result(policy(encode=1.0, decision=2.0), policy("heuristic", encode=1.0))
    found = compare_results(old, new)
    assert found.missing == ["mlp, session", "joint"]
    assert found.added == ["mlp, decision", "heuristic"]
    notes = grid(found, "old.json").notes
    assert "no longer measured: mlp, session; joint" in notes and "new: mlp, decision; heuristic" in notes


def test_conditions_tell_places_apart():
    """Batch 8 of a stage is not compared with batch 64 of it."""
    old, new = policy(), policy()
    tables = []
    for much in (10.0, 30.0):
        times = {Place("reference"): np.full(10, 1.0), Place("s", batch=8): np.full(10, 20.0)}
        times[Place("s", batch=64)] = np.full(10, much)
        tables.append(make_table("threads", Timed(times, 0.0)))
    old, new = (msgspec.structs.replace(p, tables=[t]) for p, t in zip((old, new), tables, strict=True))
    found = compare_results(result(old), result(new))
    assert [c.place for c in found.slower] == [Place("s", batch=64)] and found.same == 1
    assert grid(found, "x").rows[0][1] == "s, batch 64, 1 threads"


def test_cautions():
    noisy = policy(encode=1.0)
    loud = msgspec.structs.replace(noisy.tables[0].noise, quiet=False)
    noisy = msgspec.structs.replace(noisy, tables=[msgspec.structs.replace(noisy.tables[0], noise=loud)])
    old = result(policy(encode=1.0), environment={"onnxruntime": "1.20"}, seed=1)
    new = result(noisy, environment={"onnxruntime": "1.21", "processor": "Q"}, repeats=500)
    notes = compare_results(old, new).notes
    assert "another onnxruntime: 1.20 before, 1.21 now" in notes
    assert "another processor: P before, Q now" in notes
    assert "the new result was measured on a noisy machine (mlp stages)" in notes
    assert "100 repeats before, 500 now" in notes
    assert "other inputs: seed 1 before, 0 now" in notes
    assert compare_results(new, new).notes == [n for n in compare_results(new, new).notes if "noisy" in n]


def test_start_memory_and_files_are_said_and_no_failure():
    old = policy(encode=1.0)
    new = msgspec.structs.replace(
        old, cold_start=ColdStart(3, {}, 400.0, 1.0, 1.0), memory=Memory(40, 80, 200, 9), files={"a": 100}
    )
    found = compare_results(result(old), result(new))
    assert not found.slower
    assert "mlp, start to the first decision: 200 ms before, 400 now" in found.notes
    assert "mlp, peak memory: 90 MiB before, 200 now" in found.notes
    assert any(note.startswith("mlp, files:") for note in found.notes)
    unknown = msgspec.structs.replace(old, memory=Memory(None, None, None, 9))
    assert not any("memory" in note for note in compare_results(result(old), result(unknown)).notes)


def test_nothing_in_common():
    with pytest.raises(PlannerError, match="the old result is of mlp, the new one of joint"):
        compare_results(result(policy(encode=1.0)), result(policy("joint", encode=1.0)))


def test_a_change_names_itself():
    table = policy(encode=2.0).tables[0]
    assert Change("mlp", "stages", Place("encode"), table["encode"], table["encode"]).change == 1.0
    with pytest.raises(KeyError):
        table["session"]


def test_results_are_read_back(tmp_path):
    written = result(policy(encode=2.0), policy("joint", JSON=3.0))
    (tmp_path / "bench.json").write_bytes(pretty(written))
    assert read_results(tmp_path / "bench.json") == written == read_results(tmp_path)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"{", "a JSON document"),
        (b"[]", "expected"),
        (b'{"schema_version": "swarm_planner.bundle.v1"}', r"at \$.schema_version: found .*bench\.v1"),
        (b'{"schema_version": "swarm_planner.bench.v1"}', "created_at"),
        (None, "readable file"),
    ],
)
def test_a_file_that_is_no_result_is_located(tmp_path, content, match):
    path = tmp_path / "old.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        read_results(path)
    assert str(path) in str(caught.value)


def test_a_result_of_nothing_is_refused(tmp_path):
    (tmp_path / "old.json").write_bytes(pretty(result()))
    with pytest.raises(DataError, match=r"\$\.policies"):
        read_results(tmp_path / "old.json")
