"""Parts of an input that are known by their bytes give what reading the whole gives."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from planner_core import PlannerInputEncoder, jsonio, sample_inputs
from planner_core.bounds import MAX_KEPT_PART, WORST_GROWTH
from planner_core.contracts import PlannerInput, RunSummary, SharedRun
from planner_core.runtime import reading
from planner_core.runtime.reading import read_parts


def whole(document: bytes | str) -> tuple[PlannerInput, Any, bytes]:
    """The same by one plain decode of everything."""
    raw = jsonio.decode(document, "whole")
    x = jsonio.convert(raw, PlannerInput, "whole")
    return x, raw.pop("created_at"), jsonio.canonical(raw)


def by_parts(x: dict[str, Any]) -> PlannerInput:
    found = read_parts(msgspec.json.encode(x))
    assert found is not None
    return found[0]


def written(x: dict[str, Any]) -> list[bytes | str]:
    """One input as different kernels write it."""
    turned = dict(reversed(x.items()))
    return [
        msgspec.json.encode(x),
        json.dumps(x, indent=2),
        json.dumps(turned, ensure_ascii=False).encode(),
        json.dumps(x, sort_keys=True),
    ]


def test_parts_give_what_the_whole_gives() -> None:
    for x in sample_inputs(40, 3, log_figures=True):
        for document in written(x):
            for _ in range(3):  # met, kept, known
                assert read_parts(document) == whole(document)


def test_a_run_and_an_action_space_are_read_once() -> None:
    first, second = sample_inputs(2, 0, history_runs=2)
    second["history"]["last_n_similar_runs"][1] = first["history"]["last_n_similar_runs"][0]
    for x in (first, second):
        by_parts(x)  # what came once is not kept
    a, b = by_parts(first), by_parts(second)
    assert a.history.last_n_similar_runs[0] is b.history.last_n_similar_runs[1]
    assert a.action_space is b.action_space


def test_what_is_shared_cannot_be_changed() -> None:
    (run,) = [by_parts(sample_inputs(1, 0, history_runs=1)[0]) for _ in range(2)][-1].history.last_n_similar_runs
    assert type(run) is SharedRun
    with pytest.raises(AttributeError):
        run.started_ms = 0  # type: ignore[misc]  # what the test is about
    own = msgspec.convert(msgspec.to_builtins(run), RunSummary)
    assert run == own and own == run and hash(run) == hash(run)
    assert run != msgspec.structs.replace(own, started_ms=own.started_ms + 1)


def test_what_a_contract_leaves_open_is_kept_as_it_arrived() -> None:
    x = sample_inputs(1, 0, history_runs=1)[0]
    x["issue"]["note"] = {"b": 1.0, "a": "ä"}
    x["history"]["last_n_similar_runs"][0] |= {"started_ms": "1700000000000", "z": [1e3, None]}
    for document in written(x):
        assert read_parts(document) == whole(document)


def test_a_long_run_belongs_to_its_input_alone() -> None:
    x = sample_inputs(1, 0, history_runs=1)[0]
    x["history"]["last_n_similar_runs"][0]["note"] = "n" * MAX_KEPT_PART
    document = msgspec.json.encode(x)
    found = read_parts(document)
    assert found is not None and found == whole(document)
    assert type(found[0].history.last_n_similar_runs[0]) is RunSummary


def _unknown_key(x: dict[str, Any]) -> None:
    x["more"] = 1


def _unknown_history_key(x: dict[str, Any]) -> None:
    x["history"]["more"] = []


def _broken_run(x: dict[str, Any]) -> None:
    x["history"]["last_n_similar_runs"][0]["started_ms"] = -1


def _too_many_runs(x: dict[str, Any]) -> None:
    x["history"]["last_n_similar_runs"] *= 300


def _no_history(x: dict[str, Any]) -> None:
    del x["history"]


@pytest.mark.parametrize("change", [_unknown_key, _unknown_history_key, _broken_run, _too_many_runs, _no_history])
def test_anything_else_is_left_to_who_reads_the_whole(change: Any) -> None:
    x = sample_inputs(1, 0, history_runs=1)[0]
    change(x)
    assert read_parts(msgspec.json.encode(x)) is None


@pytest.mark.parametrize("document", [b"", b"\xff", b"[]", b'{"issue": "\xff", "issue": {}}', "{", '{"a": "\\ud800"}'])
def test_what_is_no_input_is_left_too(document: bytes | str) -> None:
    assert read_parts(document) is None


def test_a_shared_run_has_the_features_of_its_own() -> None:
    encoder = PlannerInputEncoder()
    for x in sample_inputs(40, 5):
        for _ in range(4):  # read anew, kept, known to the encoder, known to both
            assert encoder.positions(by_parts(x)) == encoder.positions(x)


def test_no_more_is_kept_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = reading._Kept(RunSummary, SharedRun, megabytes=1)
    texts = [msgspec.json.encode(run) for x in sample_inputs(60, 8) for run in x["history"]["last_n_similar_runs"]]
    for text in (*texts, *texts, *texts):
        kept.read([msgspec.Raw(text)])
        assert sum(map(len, kept._known)) * WORST_GROWTH <= 1 << 20
    assert 0 < len(kept._known) < len(texts)
    monkeypatch.setattr(reading, "MOST_MET", 10)
    for text in texts:
        kept.read([msgspec.Raw(text + b" ")])
        assert len(kept._met) <= 10
