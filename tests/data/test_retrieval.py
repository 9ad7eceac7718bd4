"""Similar runs: small cases by hand, and both forms against each other on random logs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner_core.contracts import ActionExecuted, Gate, Outcome, RunRuntime, RunSummary
from planner_core.data import retrieval_index, retrieval_scan
from planner_core.data.retrieval import (
    Query,
    QueryColumns,
    RunColumns,
    failure_signals,
    jaccard,
    pack_bits,
    recency_level,
    retrieve_all,
    similar_runs,
    to_columns,
)
from planner_core.data.retrieval_log import EligibleRuns

DAY = 86_400_000
NOW = 100 * DAY


def run(
    run_id: str,
    age: float,
    tags: tuple[str, ...] = (),
    codes: Iterable[str] = (),
    gates: Iterable[str] = (),
    **given: object,
) -> RunSummary:
    """A run that started ``age`` days before NOW."""
    values: dict[str, object] = {
        "run_id": run_id,
        "started_ms": NOW - round(age * DAY),
        "job_type": "code",
        "domain": "code",
        "action_executed": ActionExecuted(),
        "outcome": Outcome("failed" if codes else "success", list(codes), [Gate(name, False) for name in gates]),
        "runtime": RunRuntime(1000),
        "tags": list(tags),
        **given,
    }
    return RunSummary(**values)


def query(tags: tuple[str, ...] = (), **given: Any) -> Query:
    return Query(**{"at_ms": NOW, "job_type": "code", "tags": tags, **given})


def names(q: Query, runs: list[RunSummary], n: int = 8) -> list[str]:
    """Run ids by the reference form, which the columns must repeat."""
    found = [r.run_id for r in similar_runs(q, runs, n)]
    rows = retrieve_all(*to_columns([q], runs), n)[0]
    assert [runs[i].run_id for i in rows if i >= 0] == found
    return found


def test_jaccard_of_two_empty_sets_is_zero() -> None:
    assert jaccard(frozenset(), frozenset()) == 0.0
    assert jaccard(frozenset("ab"), frozenset("bc")) == 1 / 3


@pytest.mark.parametrize(("days", "level"), [(0.5, 0), (1, 1), (6.99, 1), (7, 2), (29.99, 2), (30, 3), (400, 3)])
def test_recency_levels(days: float, level: int) -> None:
    assert recency_level(round(days * DAY)) == level


def test_signals_are_fail_codes_and_gate_names() -> None:
    assert failure_signals(run("a", 1, codes=("E1",), gates=("test", "lint"))) == {"E1", "test", "lint"}


def test_tags_choose_and_time_orders() -> None:
    runs = [run("old-match", 20, ("a", "b")), run("new-other", 0.1, ("c",)), run("half", 2, ("a",))]
    # 0.6 + 0.1/3, then 0.3 + 0.05, then 0.1.
    assert names(query(("a", "b")), runs, 2) == ["half", "old-match"]
    assert names(query(("a", "b")), runs, 1) == ["old-match"]
    assert names(query(("a", "b")), runs) == ["new-other", "half", "old-match"]


def test_only_the_same_job_type_and_strictly_earlier() -> None:
    runs = [run("same-time", 0), run("later", -1), run("asset", 1, job_type="fab-asset"), run("fits", 1)]
    assert names(query(), runs) == ["fits"]


def test_nothing_earlier_is_no_history() -> None:
    assert names(query(), []) == []
    assert names(query(), [run("later", -1)]) == []
    assert retrieve_all(*to_columns([query()], [run("a", 1)]), 0).shape == (1, 0)


def test_ties_go_to_the_later_start_then_the_smaller_run_id() -> None:
    runs = [run("c", 2), run("b", 3), run("a", 3), run("d", 4)]
    assert names(query(), runs, 2) == ["c", "a"]


def test_failure_signals_of_the_issues_latest_earlier_run_count() -> None:
    runs = [
        run("own-first", 6, issue_id="i", codes=("E1",), gates=("lint",)),
        run("own-second", 5, issue_id="i", job_type="fab-asset", codes=("E2",), gates=("test",)),
        run("own-future", -1, issue_id="i", codes=("E1",), gates=("lint",)),
        run("like-first", 4, codes=("E1",), gates=("lint",)),
        run("like-second", 6.5, codes=("E2",), gates=("test",)),
    ]
    assert names(query(issue_id="i"), runs, 1) == ["like-second"]
    assert names(query(issue_id="first attempt"), runs, 1) == ["like-first"]
    assert names(query(), runs, 1) == ["like-first"]


def test_fab_world_shares_world_and_objective_where_both_name_one() -> None:
    def world(run_id: str, universe: str | None, objective: str | None) -> RunSummary:
        return run(run_id, 1, job_type="fab-world", universe_id=universe, objective_id=objective)

    named = (("a", "u", "o"), ("b", "u", None), ("c", None, None), ("d", "v", "o"), ("e", "u", "p"))
    runs = [world(*given) for given in named]
    fab: dict[str, Any] = {"job_type": "fab-world", "universe_id": "u"}
    assert names(query(objective_id="o", **fab), runs) == ["a", "b", "c"]
    assert names(query(**fab), runs) == ["a", "b", "c", "e"]
    code = [run("x", 1, universe_id="v"), run("y", 1, universe_id="u")]
    assert names(query(universe_id="u"), code) == ["x", "y"]


def test_packing_more_than_64_members() -> None:
    masks = pack_bits([[0, 63], [64, 130], []], 131)
    assert masks.shape == (3, 3)
    assert np.bitwise_count(masks).sum(axis=1).tolist() == [2, 2, 0]


AGES = (0, 1, 2, DAY // 2, DAY - 1, DAY, DAY + 1, 3 * DAY, 7 * DAY, 8 * DAY, 30 * DAY, 31 * DAY, 90 * DAY)
TIMES = st.sampled_from(AGES)
NAMES = st.sampled_from([None, "p", "q"])
LETTERS = st.lists(st.sampled_from("abcd"), max_size=3)


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[Query], list[RunSummary]]:
    job = st.sampled_from(["code", "code", "fab-world"])
    ids = draw(st.permutations(range(draw(st.integers(0, 24)))))
    runs = [
        run(
            f"r{i:02d}",
            draw(TIMES) / DAY,
            tuple(draw(LETTERS)),
            job_type=draw(job),
            codes=draw(st.lists(st.sampled_from(["E1", "E2"]), max_size=2)),
            gates=draw(st.lists(st.sampled_from(["test", "lint"]), max_size=2)),
            issue_id=draw(NAMES),
            universe_id=draw(NAMES),
            objective_id=draw(NAMES),
        )
        for i in ids
    ]
    queries = [
        Query(NOW - draw(TIMES), draw(job), draw(LETTERS), draw(NAMES), draw(NAMES), draw(NAMES))
        for _ in range(draw(st.integers(1, 6)))
    ]
    return queries, runs


@settings(max_examples=300, deadline=None)
@given(logs(), st.integers(0, 5), st.integers(1, 4), st.integers(0, 4), st.sampled_from([1, 3, 10**9]))
def test_all_forms_agree(
    log: tuple[list[Query], list[RunSummary]], n: int, block: int, max_tags: int, visit_cost: int
) -> None:
    """Whatever share of the log and of the questions is left to the scan."""
    queries, runs = log
    with pytest.MonkeyPatch.context() as patch:  # small blocks, so that early stopping is at work in small logs
        for name, size in (("_FIRST_BLOCK", block), ("_BLOCK", block + 1), ("_QUESTIONS_AT_ONCE", 3)):
            patch.setattr(retrieval_scan, name, size)
        for name, size in (("MAX_TAGS", max_tags), ("VISIT_COST", visit_cost), ("_QUESTIONS_AT_ONCE", 2)):
            patch.setattr(retrieval_index, name, size)
        rows = retrieve_all(*to_columns(queries, runs), n)
    for q, row in zip(queries, rows, strict=True):
        assert [runs[i].run_id for i in row if i >= 0] == [r.run_id for r in similar_runs(q, runs, n)]


def test_forms_agree_on_a_long_log_with_many_tags() -> None:
    rng = np.random.default_rng(7)
    vocabulary = [f"tag{i}" for i in range(100)]
    runs = [
        run(
            f"r{i}",
            float(rng.uniform(0, 60)),
            tuple(rng.choice(vocabulary[: 5 if i % 2 else 100], rng.integers(0, 4))),
            issue_id=f"i{rng.integers(300)}",
            codes=tuple(rng.choice(["E1", "E2", "E3"], rng.integers(0, 3))),
        )
        for i in range(900)
    ]
    queries = [Query(r.started_ms, "code", r.tags or (), r.issue_id) for r in runs]
    told: list[tuple[int, int]] = []
    rows = retrieve_all(*to_columns(queries, runs), 8, lambda done, total: told.append((done, total)))
    assert told[-1] == (900, 900)
    for i in range(0, 900, 9):
        assert [runs[j].run_id for j in rows[i] if j >= 0] == [r.run_id for r in similar_runs(queries[i], runs, 8)]


@pytest.mark.parametrize("visit_cost", [1, 500, 10**9])
@pytest.mark.parametrize(("vocabulary", "most"), [(6, 4), (12, 9), (400, 9)])
def test_forms_agree_where_some_have_too_many_tags_for_the_index(
    vocabulary: int, most: int, visit_cost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worlds and objectives, retries with signals, and tag sets on both sides of what the index takes."""
    monkeypatch.setattr(retrieval_index, "VISIT_COST", visit_cost)
    rng = np.random.default_rng(vocabulary + most)
    tags = [f"tag{i}" for i in range(vocabulary)]

    def some(names: list[str], size: int) -> tuple[str, ...]:
        return tuple(rng.choice(names, min(int(rng.integers(0, size + 1)), len(names)), replace=False))

    runs = [
        run(
            f"r{rng.integers(10**9)}-{i}",
            float(rng.integers(0, 50)),  # many runs start at the same time
            some(tags, most),
            job_type=str(rng.choice(["code", "fab-world"])),
            issue_id=f"i{rng.integers(80)}",
            codes=some(["E1", "E2", "E3"], 2),
            gates=some(["test", "lint", "build"], 3),
            universe_id=[None, "u", "v"][rng.integers(3)],
            objective_id=[None, "o", "p"][rng.integers(3)],
        )
        for i in range(250)
    ]
    queries = [Query(r.started_ms, r.job_type, r.tags or (), r.issue_id, r.universe_id, r.objective_id) for r in runs]
    rows = retrieve_all(*to_columns(queries, runs), 5)
    for i, q in enumerate(queries):
        assert [runs[j].run_id for j in rows[i] if j >= 0] == [r.run_id for r in similar_runs(q, runs, 5)]


def test_a_question_looks_at_few_runs_however_long_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs scored for one question, of a rare tag set, in a log and in one of eight times its length."""

    monkeypatch.setattr(retrieval_index, "VISIT_COST", 1)

    def looked_at(count: int) -> int:
        rng = np.random.default_rng(0)
        tags = pack_bits([rng.choice(12, rng.integers(1, 4), replace=False) for _ in range(count)], 12)
        start = np.arange(count) * 60_000
        none = np.full(count, -1)
        signals = pack_bits([[int(i)] for i in rng.integers(0, 3, count)], 3)
        log = RunColumns(start, none, tags, signals, np.arange(count) // 2, none, none, np.arange(count))
        rare = pack_bits([[9, 10, 11]], 12)
        late = np.array([start[-1] + 1])
        asked = QueryColumns(late, none[:1], rare, np.array([count // 2 - 1]), none[:1], none[:1])
        seen = 0
        real = retrieval_index.SubsetIndex._score

        def counting(self: Any, questions: Any, asking: Any, visit: Any, places: Any) -> Any:
            nonlocal seen
            seen += int((places < len(self.log)).sum())
            return real(self, questions, asking, visit, places)

        monkeypatch.setattr(retrieval_index.SubsetIndex, "_score", counting)
        monkeypatch.setattr(retrieval_scan, "similarity", None)  # a scan would fail
        assert (retrieve_all(asked, log, 8) >= 0).all()
        monkeypatch.setattr(retrieval_index.SubsetIndex, "_score", real)
        return seen

    short, long = looked_at(4_000), looked_at(32_000)
    assert 8 <= long <= 2 * short < 1_000


def test_an_index_that_would_cost_too_much_takes_fewer_tags() -> None:
    """Every set of six tags has 64 subsets; then those runs are scanned, and the answer stays the same."""
    rng = np.random.default_rng(1)
    runs = [run(f"r{i}", float(i), tuple(rng.choice([*"abcdefgh"], 6, replace=False))) for i in range(60)]
    assert names(query(("a", "b", "c", "d", "e", "f")), runs) and names(query(("a",)), runs)
    _, columns = to_columns([], runs)
    log = EligibleRuns(np.arange(60), columns.start_ms, columns.tags, columns.signals)
    index = retrieval_index.SubsetIndex(log)
    assert index.max_tags < 6 and len(index.left_out) == 60
