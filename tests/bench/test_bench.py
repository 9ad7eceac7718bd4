"""The benchmark's arithmetic and its verdict; never how fast anything is."""

from __future__ import annotations

import gc
import json
import sys

import numpy as np
import pytest

from planner_bench import latency
from planner_bench.latency import bench_bundle
from planner_bench.timing import WARM_UP, interleave, summary
from planner_core.cli.app import main
from planner_core.errors import BundleError
from planner_core.harness.run_dir import load_run

STAGES = ("bare session", "features to action", "JSON to action")


def test_percentiles():
    """Linear interpolation between the order statistics of 1..100: position q (n - 1)."""
    found = summary(np.random.default_rng(0).permutation(np.arange(1.0, 101.0)))
    assert found == pytest.approx({"p50": 50.5, "p90": 90.1, "p99": 99.01, "mean": 50.5})


def test_contestants_take_turns():
    calls = []
    times = interleave({"a": lambda turn: calls.append(("a", turn)), "b": lambda turn: calls.append(("b", turn))}, 7)
    turns = [*range(WARM_UP), *range(7)]  # the warm-up goes the same way and is not timed
    assert calls == [(name, turn) for turn in turns for name in ("a", "b")]
    assert {name: values.shape for name, values in times.items()} == {"a": (7,), "b": (7,)}
    assert (times["a"] > 0).all()


def test_collector_is_off_while_timing_and_on_again():
    seen = []
    interleave({"a": lambda turn: seen.append(gc.isenabled())}, 3)
    assert seen[-3:] == [False] * 3 and gc.isenabled()

    def fails(turn):
        if not gc.isenabled():
            raise RuntimeError("in the timed part")

    with pytest.raises(RuntimeError):
        interleave({"a": fails}, 3)
    assert gc.isenabled()


@pytest.fixture(scope="module")
def result(bundles, runs, registry):
    return bench_bundle(bundles["mlp"], repeats=20, policy=load_run(runs["mlp"], registry).policy)


def test_structure(result, bundles):
    assert result["bundle"] == str(bundles["mlp"]) and result["policy"] == "mlp" and result["repeats"] == 20
    assert tuple(result["stages"]) == (*STAGES, "torch module")
    for figures in result["stages"].values():
        assert set(figures) == {"p50", "p90", "p99", "mean"}
        assert 0 < figures["p50"] <= figures["p90"] <= figures["p99"]
    assert result["model_bytes"] == (bundles["mlp"] / "model.onnx").stat().st_size
    assert result["promise_ms"] == 10.0
    assert result["kept"] is (result["stages"]["JSON to action"]["p99"] <= 10.0)
    stages = result["stages"]
    assert result["overhead_ratio_p50"] == stages["JSON to action"]["p50"] / stages["bare session"]["p50"]
    assert result["environment"]["intra_op_threads"] == 1 and result["environment"]["spinning"] is False
    json.dumps(result)


def test_policy_without_a_module(bundles, registry):
    from planner_core.runtime.planner import PolicyScorer

    found = bench_bundle(bundles["heuristic"], repeats=5, policy=PolicyScorer.untrained("heuristic").policy)
    assert tuple(found["stages"]) == (*STAGES, "python policy")
    assert tuple(bench_bundle(bundles["heuristic"], repeats=5)["stages"]) == STAGES


def test_broken_bundle_is_no_benchmark(tmp_path):
    """A fallback would be measured as a very fast policy."""
    with pytest.raises(BundleError):
        bench_bundle(tmp_path / "nowhere", repeats=5)


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


def promise(monkeypatch, milliseconds):
    monkeypatch.setattr(latency, "PROMISE_MS", milliseconds)


def test_json(planner, bundles, monkeypatch):
    promise(monkeypatch, 1e9)  # this machine may be as busy as it likes
    code, out, _ = planner(
        "bench", "--bundle", bundles["mlp"], "--bundle", bundles["joint"], "--repeats", 100, "--json"
    )
    found = json.loads(out)
    assert code == 0
    assert [(entry["policy"], entry["repeats"], entry["kept"]) for entry in found] == [
        ("mlp", 100, True),
        ("joint", 100, True),
    ]


def test_table(planner, bundles, monkeypatch):
    promise(monkeypatch, 1e9)
    code, out, _ = planner("bench", "--bundle", bundles["mlp"], "--repeats", 100)
    assert code == 0
    for word in (*STAGES, "p50", "p90", "p99", "mean", "mlp", "kept"):
        assert word in out


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_broken_promise_is_exit_code_1(planner, bundles, monkeypatch, flag):
    promise(monkeypatch, 1e-6)
    code, out, err = planner("bench", "--bundle", bundles["mlp"], "--repeats", 100, *flag)
    assert code == 1
    assert "p99 of JSON to action is" in err and "Traceback" not in err
    if flag:  # a machine still gets its figures
        assert json.loads(out)[0]["kept"] is False
    else:
        assert "BROKEN" in out


def test_untrained_policies_are_left_out_and_said(planner, monkeypatch):
    promise(monkeypatch, 1e9)
    code, out, err = planner("bench", "--repeats", 100, "--json")
    assert code == 0
    assert [entry["policy"] for entry in json.loads(out)] == ["heuristic"]
    assert "left out" in err and "'mlp' has no finished run" in err and "'joint' has no finished run" in err


def test_mistakes(planner, tmp_path):
    code, _, err = planner("bench", "--policy", "mlp")  # asked for by name, so its absence is an error
    assert code == 1 and "no finished run" in err
    code, _, err = planner("bench", "--policy", "mpl")
    assert code == 1 and "did you mean 'mlp'?" in err
    code, _, err = planner("bench", "--bundle", tmp_path / "nowhere")
    assert code == 1 and "nowhere" in err and "Traceback" not in err
    assert planner("bench", "--repeats", "5")[0] == 2
