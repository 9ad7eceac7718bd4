"""What ``planner bench`` finds and says: results, verdicts, tables and picture; never how fast anything is."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest

from planner_bench import coldstart, latency, picture, report, stages, targets
from planner_bench.latency import BATCHES, bench_bundle, calls_of
from planner_bench.results import SCHEMA, BenchResult, read_results
from planner_bench.stages import N_INPUTS, STAGES, open_subject
from planner_core.errors import PlannerError
from planner_core.jsonio import pretty

RULES = ("rules after the model", "rules alone")


def document(*policies):
    return BenchResult(SCHEMA, "2026-01-01T00:00:00Z", 20, 0, {"python": "3.11", "load_1min": None}, list(policies))


# -- the result


def test_structure(result):
    assert (result.policy, result.bundle, result.fallbacks) == ("mlp", None, {})
    assert [table.name for table in result.tables] == [
        *("stages", "others", "history", *(f"batch {size}" for size in BATCHES), "threads")
    ]
    assert [m.stage for m in result.table("stages").measurements] == ["reference", *STAGES, stages.BARE_INDICES]
    others = [m.stage for m in result.table("others").measurements]
    assert others[:4] == ["reference", stages.BARE_DENSE, stages.BARE_INDICES, "torch module"]
    assert set(RULES) <= set(others[4:])
    assert {(m.stage, m.history_runs) for m in result.table("history").measurements} == {
        ("reference", 8),
        *((stage, runs) for stage in STAGES for runs in (0, 1, 8)),
    }
    assert {(m.stage, m.batch, m.threads) for m in result.table("threads").measurements} == {
        ("reference", 1, 1),
        *((stage, 1, threads) for stage in ("session", "JSON to action") for threads in (1, 2)),
        *((stages.BARE_DENSE, 64, threads) for threads in (1, 2)),
    }
    for size in BATCHES:
        assert {m.batch for m in result.table(f"batch {size}").measurements if m.stage != "reference"} == {size}


def test_figures_are_ordered(result, rules):
    for found in (result, rules):
        for table in found.tables:
            assert table["reference"].ratio == 1.0
            for m in table.measurements:
                assert 0 < m.p50 <= m.p90 <= m.p99 <= m.p999
                size = int(table.name.split()[1]) if table.name.startswith("batch") else 1
                assert m.ratio > 0 and m.calls == calls_of(size, 20)
        stages_ = found.table("stages")
        assert next(m for m in stages_.measurements if m.stage.startswith("bare")).to_session == 1.0
        whole = stages_["JSON to action"]
        assert [y for _, y in whole.curve] == sorted(y for _, y in whole.curve)
        assert dict(whole.curve)[50.0] == whole.p50


def test_without_the_policy_in_python(rules, bundles):
    assert rules.bundle == str(bundles["heuristic"])
    found = {m.stage for table in rules.tables for m in table.measurements}
    assert not found & {"torch module", "python policy"}


def test_a_policy_without_a_module(bundles, inputs):
    from planner_core.plugins.predictor import PolicyPredictor

    subject = open_subject(bundles["heuristic"], PolicyPredictor.untrained("heuristic").policy)
    (name, call) = next(iter(stages.python_stage(subject, inputs).items()))
    assert name == "python policy" and set(call(3)) == {"swarm", "candidates", "minutes", "iterations"}


def test_threads_are_those_of_the_session(bundles, inputs, monkeypatch):
    opened = []
    real = latency.open_subject
    monkeypatch.setattr(latency, "open_subject", lambda path, **o: opened.append(o["threads"]) or real(path, **o))
    sessions = []
    run = latency.open_session
    monkeypatch.setattr(latency, "open_session", lambda *a, **o: sessions.append(run(*a, **o)) or sessions[-1])
    latency._threads(open_subject(bundles["heuristic"]), inputs, 5, 0, lambda done, total: None)
    assert opened == [1, 2]
    assert [s.get_session_options().intra_op_num_threads for s in sessions] == [1, 2]


def test_large_batches_are_called_less_often():
    assert [calls_of(size, 5000) for size in BATCHES] == [500, 500, 156, 10]
    assert [calls_of(size, 100) for size in BATCHES] == [100, 25, 10, 10]


def test_files_and_memory(result, wide):
    sizes = {path.name: path.stat().st_size for path in wide[0].iterdir()}
    assert result.files == sizes and list(result.files.values()) == sorted(sizes.values(), reverse=True)
    if sys.platform == "linux":
        assert 20 < result.memory.base < result.memory.loaded <= result.memory.peak < 1024
    assert result.memory.decisions == N_INPUTS - 1


def test_a_start_is_the_sum_of_its_parts(bundles, inputs):
    found = coldstart.cold_start(bundles["heuristic"], inputs.raw[0], 1)
    assert tuple(found.parts) == coldstart.PARTS and min(found.parts.values()) > 0
    assert found.fastest == found.slowest == found.total == pytest.approx(sum(found.parts.values()))
    assert found.parts["numpy and onnxruntime"] > found.parts["first decision"]


def test_a_process_that_cannot_decide_is_reported(tmp_path, inputs):
    with pytest.raises(PlannerError, match=r"a fresh process cannot decide .*there is no bundle"):
        coldstart.memory(tmp_path / "nowhere", inputs.raw)


# -- verdicts


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, [True, True, True, True, True]),
        ({"p99": 1.5}, [True, True, False, True, False]),
        ({"p99": 1.5, "session": 0.4}, [True, True, False, True, True]),
        ({"p99": 1.5, "session": 0.4, "quiet": False}, [True, True, None, True, True]),
        ({"p99": 10.5}, [False, True, False, True, False]),
        ({"p99": 10.5, "quiet": False}, [False, True, None, True, False]),
        ({"encode": 0.2}, [True, True, True, False, True]),
        ({"encode": 1.2}, [True, False, True, False, True]),
    ],
)
def test_targets(changes, kept, table):
    found = targets.judge_targets(table(**changes))
    assert [t.kept for t in found] == kept
    assert targets.promises_kept(found) is (False not in kept[:2])
    words = [targets.sentence(t) for t in found]
    for target, text in zip(found, words, strict=True):
        verdict = {True: "kept", None: "not judged", False: "BROKEN" if target.kind == "promise" else "missed"}
        assert f": {verdict[target.kept]}" in text and f"({target.found:.3g}" in text


def test_a_table_without_the_bare_session_cannot_be_judged(table):
    made = table()
    with pytest.raises(ValueError, match="bare session"):
        targets.judge_targets(
            msgspec.structs.replace(
                made, measurements=[msgspec.structs.replace(m, to_session=None) for m in made.measurements]
            )
        )


@pytest.mark.parametrize(
    ("given", "tries", "p99"),
    [
        ([(20.0, False), (12.0, False), (8.0, False)], 3, 8.0),
        ([(20.0, False), (12.0, True), (8.0, True)], 2, 12.0),  # on a quiet machine a broken promise is one
        ([(20.0, False), (30.0, False), (25.0, False), (8.0, True)], 3, 20.0),
        ([(20.0, True)], 1, 20.0),
        ([(2.0, False)], 1, 2.0),
    ],
)
def test_a_broken_promise_on_a_noisy_machine_is_measured_again(bundles, monkeypatch, result, given, tries, p99, table):
    asked = [table(p99=value, quiet=quiet) for value, quiet in given]
    count = len(asked)
    monkeypatch.setattr(latency, "_stages", lambda *args: asked.pop(0))
    monkeypatch.setattr(latency, "_others", lambda *args: (result.table("others"), []))
    for name in ("_history", "_threads", "batch_table"):
        monkeypatch.setattr(latency, name, lambda *args, **options: result.table("history"))
    monkeypatch.setattr(latency, "cold_start", lambda *args: result.cold_start)
    monkeypatch.setattr(latency, "memory", lambda *args: result.memory)
    found = bench_bundle(bundles["heuristic"], repeats=20)
    assert count - len(asked) == tries
    assert found.table("stages")["JSON to action"].p99 == p99
    assert found.notes == (
        [f"the stages are the best of {tries} tries: a promise was broken, but the machine was noisy"] * (tries > 1)
    )


# -- what is said


def test_the_tables_hold_every_figure(result):
    shown = report.grids(document(result))
    assert [grid.title.split(": ")[1].split(";")[0].split(",")[0] for grid in shown] == [
        *("one decision", "by history runs in the input", "by batch", "by intra-op threads", "once a process")
    ]
    first = shown[0]
    assert [row[0] for row in first.rows[:6]] == ["reference", *STAGES]
    assert {"torch module", stages.BARE_DENSE, *RULES} < {row[0] for row in first.rows}
    assert len({row[0] for row in first.rows}) == len(first.rows)
    assert first.rows[0][1] == report.micro(result.table("stages")["reference"].p50)
    assert sum(note.startswith(("promise", "aim")) for note in first.notes) == 5
    assert all(len(row) == len(grid.columns) for grid in shown for row in grid.rows)
    for grid in shown[:4]:
        assert any("the machine was" in note for note in grid.notes)


def test_the_page_holds_every_table(result):
    page = report.markdown(document(result), picture="latency.png")
    for grid in report.grids(document(result)):
        assert f"## {grid.title}\n" in page
        for row in grid.rows:
            assert f"| {' | '.join(row)} |" in page
    assert "![latency by percentile](latency.png)" in page and "load_1min" not in page


def test_the_json_is_what_is_read_back(tmp_path, result, rules):
    written = document(result, rules)
    (tmp_path / "bench.json").write_bytes(pretty(report.document(written)))
    assert read_results(tmp_path) == written
    assert [entry["kept"] for entry in report.document(written)["policies"]] == [
        targets.promises_kept(found.targets) for found in (result, rules)
    ]


def test_the_picture_shows_every_stage(tmp_path, result, rules):
    pytest.importorskip("matplotlib")
    drawn = {}
    real = picture._panel

    def panel(axes, found, lines, looks):
        real(axes, found, lines, looks)
        drawn[found.policy] = axes

    try:
        picture._panel = panel
        picture.draw(document(result, rules), tmp_path / "x.png")
    finally:
        picture._panel = real
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    for found in (result, rules):
        axes = drawn[found.policy]
        labels = {line.get_label().rsplit("  ", 1)[0]: line for line in axes.get_lines()}
        assert {m.stage for name in ("stages", "others") for m in found.table(name).measurements} <= set(labels)
        m = found.table("stages")["JSON to action"]
        np.testing.assert_allclose(labels["JSON to action"].get_ydata(), [y for q, y in m.curve if q < 100])
        assert axes.get_yscale() == "log"
    looks = [drawn[name].get_lines()[1].get_color() for name in ("mlp", "heuristic")]
    assert looks[0] == looks[1]  # one colour a stage, whatever the panel
