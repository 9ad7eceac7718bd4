"""``planner bench``: that it measures what it says, its verdicts, its files; never how fast anything is."""

from __future__ import annotations

import json
import logging
import sys

import msgspec
import numpy as np
import pytest

from planner_bench import coldstart, fallbacks, latency, picture, report, stages, targets
from planner_bench.latency import BATCHES, bench_bundle, calls_of
from planner_bench.results import SCHEMA, BenchResult, Place, make_table, read_results
from planner_bench.stages import N_INPUTS, STAGES, decision_stages, make_inputs, open_subject, plugin_stages
from planner_bench.timing import EMPTY_GRAPH, Noise, Timed, reference_call
from planner_core import BenchStage, PlannerAction, convert
from planner_core.cli.app import main
from planner_core.errors import BundleError, MissingExtra, PlannerError
from planner_core.harness.run_dir import load_run
from planner_core.jsonio import pretty
from planner_core.plugins.collecting import handed
from planner_core.runtime.reasons import BUNDLE_UNUSABLE, MODE_LOG

RULES = ("rules after the model", "rules alone")


@pytest.fixture(scope="module")
def wide(tmp_path_factory, dataset, quick_train, registry):
    """(bundle, run) of an ``mlp`` wide enough to be served by the index graph."""
    from planner_export.bundle import export_bundle

    root = tmp_path_factory.mktemp("wide")
    quick_train("mlp", dataset, root / "run", epochs=1, n_layers=1, d_hidden=512)
    export_bundle("mlp", registry, root / "mlp", run=root / "run")
    return root / "mlp", root / "run"


@pytest.fixture(scope="module")
def result(wide, registry):
    return bench_bundle(wide[0], repeats=20, policy=load_run(wide[1], registry).policy)


@pytest.fixture(scope="module")
def rules(bundles):
    """Of the smallest bundle, and without the policy in Python."""
    return bench_bundle(bundles["heuristic"], repeats=20)


@pytest.fixture(scope="module")
def subject(wide):
    return open_subject(wide[0])


@pytest.fixture(scope="module")
def inputs():
    return make_inputs(0)


def document(*policies):
    return BenchResult(SCHEMA, "2026-01-01T00:00:00Z", 20, 0, {"python": "3.11", "load_1min": None}, list(policies))


# -- the reference


def test_the_reference_is_the_graph_it_says():
    """The bytes that are shipped, built anew: one Identity, opset 17."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(name, kind, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", values[:1], values[1:])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="swarm-planner"
    )
    onnx.checker.check_model(model)
    assert model.SerializeToString(deterministic=True) == EMPTY_GRAPH


def test_the_reference_runs():
    (found,) = reference_call()(0)
    np.testing.assert_array_equal(found, np.zeros(1, np.float32))


# -- the stages


def test_the_stages_lead_from_json_to_the_action(subject, inputs):
    """Each stage, called by itself, gives what the planner makes of the same input in one go."""
    calls = decision_stages(subject, inputs)
    assert tuple(calls) == STAGES
    for turn in (0, 7, N_INPUTS + 3):
        whole = calls["JSON to action"](turn)
        convert(whole, PlannerAction, "decision")
        last = calls["decision"](turn)
        assert {**last, "created_at": 0} == {**whole, "created_at": 0}
        probs = calls["session"](turn)
        np.testing.assert_array_equal(probs, subject.predictor.run(calls["encode"](turn)))
        assert calls["decode and validate"](turn).digest == whole["input_hash"]


def test_bare_sessions_run_the_same_rows(subject, inputs):
    calls = stages.bare_sessions(subject, inputs)
    assert set(calls) == {stages.BARE_DENSE, stages.BARE_INDICES}
    assert subject.bare == stages.BARE_INDICES
    session = decision_stages(subject, inputs)["session"]
    for turn in (0, 11):
        for call in calls.values():
            np.testing.assert_allclose(call(turn)[0], session(turn), atol=1e-6)


def test_the_inputs_have_the_history_they_say():
    for runs in (0, 1, 8):
        made = make_inputs(3, runs, 5)
        assert [len(x.history.last_n_similar_runs) for x in made.structs] == [runs] * 5
    assert make_inputs(3, 8, 5).raw == make_inputs(3, 8, 5).raw != make_inputs(4, 8, 5).raw


def test_a_bundle_that_does_not_decide_is_not_measured(subject, inputs, monkeypatch):
    """A fallback would be measured as a very fast policy."""
    monkeypatch.setattr(type(subject.predictor), "action_probs", lambda self, inputs: np.full((len(inputs), 3), 0.5))
    with pytest.raises(PlannerError, match="it does not decide"):
        stages.check_decisions(subject, inputs)


def test_inputs_that_fall_back_are_counted(subject, inputs):
    from planner_core import Planner

    shy = Planner.load(subject.path, threshold=1.0, strict=True)
    counted = stages.check_decisions(stages.Subject(subject.path, subject.bundle, shy), inputs)
    assert counted == {"low_confidence": N_INPUTS}
    assert stages.check_decisions(subject, inputs) == {}


def test_a_broken_bundle_is_no_benchmark(tmp_path):
    with pytest.raises(BundleError):
        bench_bundle(tmp_path / "nowhere", repeats=20)


# -- the stages of plugins


def test_ours_come_through_the_hook():
    found = [stage for _, stage in handed("planner_bench_stages") if stage.name in RULES]
    assert found == list(fallbacks.STAGES)


def test_the_rules_decide_where_they_are_measured(subject, inputs):
    calls, notes = plugin_stages(subject, inputs, ())
    assert set(RULES) <= set(calls) and notes == []
    for name, reason in zip(RULES, (MODE_LOG, BUNDLE_UNUSABLE), strict=True):
        action = calls[name](5)
        assert action["abstain_to_default"] and action["reason"].startswith(reason)


def test_a_stage_of_a_plugin_gets_the_inputs_in_every_form(plugged, subject, inputs):
    got = []
    plugged("planner_bench_stages", BenchStage("mine", "", lambda setup: got.append(setup) or (lambda turn: None)))
    calls, _ = plugin_stages(subject, inputs, ())
    assert list(calls) == ["mine"]
    (setup,) = got
    assert setup.planner is subject.planner and setup.bundle == subject.path and setup.raw == inputs.raw
    np.testing.assert_array_equal(setup.features, subject.predictor.encoder.encode_batch(inputs.structs))
    assert setup.job_type.shape == (N_INPUTS,)


def test_a_stage_that_fails_is_left_out_and_said(plugged, subject, inputs):
    def fails_later(setup):
        return lambda turn: 1 / (turn - 3)

    def fails_now(setup):
        raise RuntimeError("no accelerator")

    nothing = BenchStage("c", "", lambda setup: None)
    fine, taken = (BenchStage(name, "", lambda setup: lambda turn: turn) for name in ("d", "encode"))
    given = (BenchStage("a", "", fails_later), BenchStage("b", "", fails_now), nothing, fine, taken, "stage")
    plugged("planner_bench_stages", *given)
    calls, notes = plugin_stages(subject, inputs, {"encode"})
    assert list(calls) == ["d"]
    said = "of acme-planner 1.2 is left out:"
    assert notes == [
        f"the stage 'watch' {said} registered a str, not a BenchStage",
        f"the stage 'encode' {said} shadows the built-in 'encode' of swarm-planner; rename it",
        f"the stage 'a' {said} ZeroDivisionError: division by zero",
        f"the stage 'b' {said} RuntimeError: no accelerator",
    ]
    plugged("planner_bench_stages", fine, ("other-planner 0.1", fine))
    calls, notes = plugin_stages(subject, inputs, {"encode"})
    assert calls == {} and len(notes) == 2
    claimed = "claimed by acme-planner 1.2 and other-planner 0.1; uninstall one"
    assert notes[1] == f"the stage 'd' of other-planner 0.1 is left out: {claimed}"


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


def table(p99=0.5, encode=0.05, session=0.2, quiet=True):
    """A table of made-up times, most of them half of ``p99``."""
    whole = np.full(1000, p99 / 2)
    whole[-50:] = p99
    times = {Place("reference"): np.full(1000, 0.01), Place("encode"): np.full(1000, encode)}
    times |= {Place("JSON to action"): whole, Place(stages.BARE_DENSE): np.full(1000, session)}
    made = make_table("stages", Timed(times, 0.0), bare=stages.BARE_DENSE)
    return msgspec.structs.replace(made, noise=Noise(1.0, 1.0, 0.0, quiet))


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
def test_targets(changes, kept):
    found = targets.judge_targets(table(**changes))
    assert [t.kept for t in found] == kept
    assert targets.promises_kept(found) is (False not in kept[:2])
    words = [targets.sentence(t) for t in found]
    for target, text in zip(found, words, strict=True):
        verdict = {True: "kept", None: "not judged", False: "BROKEN" if target.kind == "promise" else "missed"}
        assert f": {verdict[target.kept]}" in text and f"({target.found:.3g}" in text


def test_a_table_without_the_bare_session_cannot_be_judged():
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
def test_a_broken_promise_on_a_noisy_machine_is_measured_again(bundles, monkeypatch, result, given, tries, p99):
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


# -- the command


@pytest.fixture
def planner(monkeypatch, tmp_path, capsys):
    """Run ``planner`` in an empty directory; returns (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["planner", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def measured(monkeypatch, result, rules):
    """Bundles are not measured; each gives a result from here. What was asked for is kept in the list."""
    asked = []

    def given(path, **options):
        asked.append({"path": path, **options})
        return msgspec.structs.replace(
            result if "mlp" in str(path) else rules, bundle=str(path), targets=targets.judge_targets(table())
        )

    monkeypatch.setattr(latency, "bench_bundle", given)
    return asked


def broken(monkeypatch, milliseconds=10.5):
    monkeypatch.setattr(targets, "PROMISE_P99_MS", milliseconds)


def test_the_real_thing(planner, bundles, monkeypatch):
    """Once, unabridged, as continuous integration calls it."""
    broken(monkeypatch, 1e9)  # this machine may be as busy as it likes
    code, out, err = planner("bench", "--bundle", bundles["heuristic"], "--repeats", 100, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["schema_version"] == SCHEMA and found["repeats"] == 100
    assert [(entry["policy"], entry["kept"]) for entry in found["policies"]] == [("heuristic", True)]
    assert found["environment"]["intra_op_threads"] == 1 and found["environment"]["spinning"] is False


def test_the_table(planner, bundles, measured):
    code, out, _ = planner("bench", "--bundle", bundles["mlp"], "--quick")
    assert code == 0
    for word in (*STAGES, *RULES, "p99.9", "mean", "mlp", "kept", "the machine was", "first decision", "model.onnx"):
        assert word in out
    assert max(map(len, out.splitlines())) < 400 and "…" not in out


@pytest.mark.parametrize(
    ("options", "repeats"),
    [([], 5000), (["--quick"], 500), (["--repeats", 700], 700), (["--quick", "--repeats", 200], 200)],
)
def test_how_often(planner, bundles, measured, options, repeats):
    assert planner("bench", "--bundle", bundles["mlp"], "--seed", 4, *options)[0] == 0
    assert (measured[0]["repeats"], measured[0]["seed"]) == (repeats, 4)


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_a_broken_promise_is_exit_code_1(planner, bundles, measured, monkeypatch, flag):
    broken(monkeypatch, 0.1)
    code, out, err = planner("bench", "--bundle", bundles["mlp"], *flag)
    assert code == 1
    assert "mlp: p99 of JSON to action is 0.50 ms, over 0.1 ms" in " ".join(err.split()) and "Traceback" not in err
    if flag:  # a machine still gets its figures
        assert json.loads(out)["policies"][0]["kept"] is False
    else:
        assert "BROKEN" in out


def test_out_holds_everything_even_of_a_broken_promise(planner, bundles, measured, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    broken(monkeypatch, 0.1)
    code, _, _ = planner("bench", "--bundle", bundles["mlp"], "--bundle", bundles["heuristic"], "--out", "made")
    assert code == 1
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["bench.json", "bench.md", "latency.png"]
    assert [p.policy for p in read_results(tmp_path / "made").policies] == ["mlp", "heuristic"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_out_is_refused_before_measuring(planner, bundles, measured, monkeypatch, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").write_text("")
    code, _, err = planner("bench", "--bundle", bundles["mlp"], "--out", "made")
    assert code == 1 and "not empty" in err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = planner("bench", "--bundle", bundles["mlp"], "--out", "other")
    assert code == 1 and "'train' extra (matplotlib is not installed)" in " ".join(err.split())
    assert not measured and not (tmp_path / "other").exists()
    with pytest.raises(MissingExtra):
        picture.require_matplotlib()


def test_a_failure_while_measuring_leaves_nothing(planner, bundles, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")

    def fails(path, **options):
        raise PlannerError("no luck")

    monkeypatch.setattr(latency, "bench_bundle", fails)
    code, _, err = planner("bench", "--bundle", bundles["mlp"], "--out", "made")
    assert code == 1 and "no luck" in err and list(tmp_path.iterdir()) == []


def doctored(result, path, **faster):
    """An earlier result in which stages were so many times as fast."""
    policies = []
    for found in result.policies:
        tables = [
            msgspec.structs.replace(
                t,
                measurements=[
                    msgspec.structs.replace(m, ratio=m.ratio / faster.get(m.stage.split()[0], 1.0))
                    for m in t.measurements
                ],
            )
            for t in found.tables
        ]
        policies.append(msgspec.structs.replace(found, tables=tables))
    path.write_bytes(pretty(msgspec.structs.replace(result, policies=policies)))


def test_compare_with_a_doctored_result(planner, bundles, measured, result, tmp_path):
    doctored(document(result), tmp_path / "old.json", encode=1.5, decision=0.5)
    command = ("bench", "--bundle", bundles["mlp"], "--compare", "old.json")
    code, out, err = planner(*command)
    assert code == 1
    assert "slower than before: mlp, encode 1.50 x" in " ".join(err.split())
    assert "1.50 x SLOWER" in out and "0.50 x faster" in out and "unchanged within 1.25 x" in out
    code, out, _ = planner(*command, "--tolerance", "1.6", "--json")
    assert code == 0
    comparison = json.loads(out)["comparison"]
    assert comparison["slower"] == [] and {row["stage"] for row in comparison["faster"]} == {"decision"}
    code, out, _ = planner(*command, "--tolerance", "3")
    assert code == 0 and "SLOWER" not in out


def test_a_result_compared_with_itself_is_unchanged(planner, bundles, measured, result, tmp_path):
    doctored(document(result), tmp_path / "old.json")
    code, out, _ = planner("bench", "--bundle", bundles["mlp"], "--compare", "old.json", "--json")
    comparison = json.loads(out)["comparison"]
    assert code == 0 and comparison["slower"] == comparison["faster"] == []
    assert comparison["unchanged"] > 40 and comparison["missing"] == comparison["added"] == []


def test_compare_refuses_what_is_no_result_before_measuring(planner, bundles, measured, tmp_path):
    (tmp_path / "old.json").write_text('{"schema_version": "other"}')
    code, _, err = planner("bench", "--bundle", bundles["mlp"], "--compare", "old.json")
    assert code == 1 and "old.json, at $.schema_version" in " ".join(err.split()) and "Traceback" not in err
    assert not measured


def test_untrained_policies_are_left_out_and_said(planner, measured):
    code, out, err = planner("bench", "--json")
    assert code == 0
    found = {entry["policy"] for entry in json.loads(out)["policies"]}
    assert "heuristic" in found and not found & {"mlp", "joint"}
    assert "left out" in err and "'mlp' has no finished run" in err and "'joint' has no finished run" in err
    assert all(entry["policy"] is not None for entry in measured)  # exported to be measured, and with its Python


def test_mistakes(planner, tmp_path):
    code, _, err = planner("bench", "--policy", "mlp")  # asked for by name, so its absence is an error
    assert code == 1 and "no finished run" in err
    code, _, err = planner("bench", "--policy", "mpl")
    assert code == 1 and "did you mean 'mlp'?" in err
    code, _, err = planner("bench", "--bundle", tmp_path / "nowhere")
    assert code == 1 and "nowhere" in err and "Traceback" not in err
    assert planner("bench", "--repeats", "5")[0] == 2
    code, _, err = planner("bench", "--tolerance", "2")
    assert code == 2 and "--compare" in err
    assert planner("bench", "--compare", "x", "--tolerance", "0.5")[0] == 2


def test_plugins_are_loaded_without_a_word(caplog):
    with caplog.at_level(logging.WARNING, "planner"):
        handed("planner_bench_stages")
    assert not [record for record in caplog.records if "bench" in record.getMessage()]
