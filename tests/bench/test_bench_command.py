"""``planner bench`` on the command line: options, files, comparison, exit codes."""

from __future__ import annotations

import json
import logging
import sys

import msgspec
import pytest

from planner_bench import latency, picture, targets
from planner_bench.results import SCHEMA, BenchResult, read_results
from planner_bench.stages import STAGES
from planner_core.cli.app import main
from planner_core.errors import MissingExtra, PlannerError
from planner_core.jsonio import pretty
from planner_core.plugins.collecting import handed

RULES = ("rules after the model", "rules alone")


def document(*policies):
    return BenchResult(SCHEMA, "2026-01-01T00:00:00Z", 20, 0, {"python": "3.11", "load_1min": None}, list(policies))


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
def measured(monkeypatch, result, rules, table):
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
    code, out, _ = planner("bench", "--bundle", bundles["mlp"], "--quick", "--full")
    assert code == 0
    for word in (*STAGES, *RULES, "p99.9", "mean", "mlp", "kept", "the machine was", "first decision", "model.onnx"):
        assert word in out
    assert max(map(len, out.splitlines())) < 400 and "…" not in out


def test_one_screen(planner, bundles, measured):
    """A row a bundle, within 80 columns; the tables are behind --full."""
    code, out, _ = planner("bench", "--bundle", bundles["mlp"], "--bundle", bundles["heuristic"], "--quick")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) < 24 and max(map(len, (line for line in lines if not line.startswith("  ")))) <= 80
    rows = {line.split()[0]: line.split() for line in lines if line.split()[:1] in (["mlp"], ["heuristic"])}
    assert set(rows) == {"mlp", "heuristic"} and rows["mlp"][6] == "kept"
    assert "--full" in out and "model.onnx" not in out


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
