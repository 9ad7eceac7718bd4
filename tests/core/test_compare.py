"""Comparing: on known outcomes and on logs, names, runs and bundles, and what the command prints."""

from __future__ import annotations

import json
import shutil
import sys

import msgspec
import numpy as np
import pytest

from planner_core.cli.app import main
from planner_core.data.dataset import load_dataset
from planner_core.errors import ConfigError, PlannerError
from planner_core.harness import compare_known
from planner_core.harness.compare import compare
from planner_core.harness.compare_rows import Row, best_first, holding
from planner_core.harness.judging import Datasets, evaluate_source
from planner_core.harness.sources import open_path, open_source
from planner_core.utility import weight_table
from planner_core.value import Figures, Range, ValueFigures, Verdict


@pytest.fixture(scope="module")
def logs(world, write_lines, tmp_path_factory):
    """Directory of the same runs without the outcomes of anything else."""
    lines = [json.loads(line) for line in (world / "dataset.jsonl").read_bytes().splitlines()]
    return write_lines(tmp_path_factory.mktemp("logs") / "d", lines)


@pytest.fixture(autouse=True)
def quick_model(monkeypatch):
    """An outcome model that expects the same of everything: what it learns is tested elsewhere, and takes seconds."""

    def predicted(learn, judge, encoder, seed=0):
        return {name: np.full((len(judge), 150), 0.5, np.float32) for name in ("passed", "minutes", "cost_usd")}

    for module in ("forward", "evaluation"):
        monkeypatch.setattr(f"planner_core.harness.{module}.predicted", predicted)


@pytest.fixture
def planner(monkeypatch, tmp_path, capsys):
    """Run ``planner`` in an empty directory; returns (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["planner", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


# -- where outcomes are known


@pytest.fixture(scope="module")
def known(world, registry, runs, bundles, tmp_path_factory):
    """A comparison of everything trained here; ``mlp`` has a run under the root already."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(runs["mlp"], root / "mlp" / "20260101T000000Z")
    words = ["mlp", str(runs["joint"]), str(bundles["mlp"])]
    return compare(Datasets(world), registry, words, root=root), words


def test_the_rows_there_are(known, runs, bundles):
    found, words = known
    rows = {row.name: row for row in found.rows}
    names = {"mlp", str(runs["joint"]), str(bundles["mlp"]), "heuristic", "as_run"}
    assert set(rows) == names | {"best constant", "2nd constant", "3rd constant"}
    assert (found.known, found.against) == ("all", "heuristic")
    assert [rows[word].kind for word in words] == ["policy", "run", "bundle"]
    assert rows["heuristic"].verdict is None and rows["heuristic"].value.difference.utility == Range(0.0, 0.0, 0.0)
    assert "20260101T000000Z" in rows["mlp"].notes[0]
    for row in found.rows:
        assert row.rows == 40 and row.problem is None
    gaps = [row.value.difference.utility.estimate for row in found.rows]
    assert gaps == sorted(gaps, reverse=True)


def test_the_figures_are_those_of_evaluate(known, world, registry, bundles):
    found, _ = known
    row = next(row for row in found.rows if row.name == str(bundles["mlp"]))
    document = evaluate_source(open_path(bundles["mlp"], registry), Datasets(world), registry).to_dict()
    assert row.value.utility.estimate == pytest.approx(document["mean_utility"])
    assert msgspec.to_builtins(row.value) == document["value"]
    assert row.verdict.answer == document["verdict"]["answer"] == document["verdicts"]["heuristic"]["answer"]
    assert row.latency_of == "bundle" and row.latency_ms > 0
    assert row.bundle_bytes == sum(path.stat().st_size for path in bundles["mlp"].iterdir())


def test_a_bundle_and_its_run_are_worth_the_same(known, bundles):
    found, _ = known
    rows = {row.name: row for row in found.rows}
    assert rows["mlp"].value.utility == rows[str(bundles["mlp"])].value.utility


def test_what_has_no_run_is_trained_and_a_failure_is_a_row(world, registry, tmp_path, monkeypatch):
    trained = []

    def fails(policy, data, path, settings, registry, **options):
        trained.append((policy, path.parent))
        raise PlannerError("no luck")

    monkeypatch.setattr(compare_known, "train", fails)
    found = compare(Datasets(world), registry, ["joint"], root=tmp_path / "runs")
    assert trained == [("joint", tmp_path / "runs" / "joint")]
    row = next(row for row in found.rows if row.name == "joint")
    assert row.problem == "no luck" and row is found.rows[-1] and row.verdict is None


# -- on logs


def test_logs(logs, registry, runs, bundles):
    words = ["heuristic", str(runs["mlp"])]
    found = compare(Datasets(logs), registry, words)
    rows = {row.name: row for row in found.rows}
    assert (found.known, found.against) == ("executed", "as_run")
    assert rows["heuristic"].rows == rows["as_run"].rows == 240
    executed = load_dataset(logs).everything.executed
    later = np.argsort(executed.started_ms, kind="stable")[160:]
    assert rows["as_run"].value.pass_rate.estimate == pytest.approx(executed.passed[later].mean())
    assert rows["as_run"].value.difference.utility.estimate == 0.0 and rows["as_run"].verdict is None
    # The run learnt from train and val of the world, another dataset than these logs: only what is later counts.
    assert rows[words[1]].rows == 40 and "another dataset" in rows[words[1]].notes[0]
    assert rows["heuristic"].coverage == pytest.approx(240 / 400)
    assert any("240 of 400 runs are judged" in note for note in found.notes)


def test_against_a_bundle_only_rows_that_neither_learnt_from_count(logs, registry, bundles):
    found = compare(Datasets(logs), registry, ["heuristic"], against=str(bundles["mlp"]))
    rows = {row.name: row for row in found.rows}
    assert {row.rows for row in found.rows if not row.problem} == {40}
    assert found.against == str(bundles["mlp"]) and rows[found.against].verdict is None
    forth, back = rows["heuristic"].value, rows["as_run"].value
    assert rows["as_run"].verdict is None and back.difference.utility.estimate is not None
    assert rows["heuristic"].verdict.against == str(bundles["mlp"])
    assert forth.utility.estimate - rows[found.against].value.utility.estimate == pytest.approx(
        forth.difference.utility.estimate
    )


def test_evaluate_of_another_dataset_judges_later_runs_and_says_so(logs, registry, bundles):
    found = evaluate_source(open_path(bundles["mlp"], registry), Datasets(logs), registry).to_dict()
    assert found["rows"] == 40 and found["split"] == "later" and found["against"] == "as_run"
    assert any("another dataset" in note for note in found["notes"])
    with pytest.raises(PlannerError, match="no run of the split 'train' is later"):
        evaluate_source(open_path(bundles["mlp"], registry), Datasets(logs), registry, split="train")


def test_evaluate_against_each_reference(logs, registry, bundles):
    rules = open_source("heuristic", registry, None, {})
    for against, name in (
        (None, "what was run"),
        ("heuristic", "the rules"),
        (str(bundles["mlp"]), str(bundles["mlp"])),
    ):
        found = evaluate_source(rules, Datasets(logs), registry, against=against).to_dict()
        assert found["verdict"]["against"] == name
    assert found["reference"]["name"] == str(bundles["mlp"]) and found["rows"] == 40


@pytest.mark.parametrize("use", ["checked", "assumed", "off"])
def test_how_replay_is_used_reaches_the_value(use, logs, registry):
    rules = open_source("heuristic", registry, None, {})
    found = evaluate_source(rules, Datasets(logs), registry, replay=use)
    state = found.values["policy against as_run"].replay
    assert found.replay == use and (state == "off: not asked for") == (use == "off")


def test_nothing_recorded_of_when_it_learnt(logs, registry, bundles):
    from dataclasses import replace

    from planner_core.harness.learnt import Learnt

    opened = replace(open_path(bundles["mlp"], registry), learnt=Learnt("00", None))
    with pytest.raises(PlannerError, match="does not say when runs started"):
        evaluate_source(opened, Datasets(logs), registry)


# -- rows


def row(name, utility=None, answer=None, p=None, problem=None):
    verdict = None if answer is None else Verdict(answer, "the rules", "...", p_value=p)
    value = ValueFigures(difference=Figures(utility=Range(utility)))
    return Row(name=name, kind="policy", value=value, verdict=verdict, problem=problem)


def test_order():
    rows = [row("d", problem="no"), row("c"), row("b", -1.0), row("a", 2.0)]
    assert [found.name for found in best_first(rows)] == ["a", "b", "c", "d"]


def test_holm_over_all_verdicts():
    """0.02 alone would hold; as the second of three it is held against 0.05 / 2."""
    rows = [row("a", answer="better", p=0.001), row("b", answer="worse", p=0.03), row("c", answer="cannot_tell", p=0.2)]
    assert [found.holds for found in holding(rows)] == [True, False, False]
    assert [found.holds for found in holding(rows[1:2])] == [True]


# -- the command


def test_the_table_fits_80_columns(planner, world, bundles, runs):
    code, out, err = planner("compare", "--dataset", world, bundles["mlp"], runs["joint"])
    assert code == 0, err
    table = out[: out.index("Means a run")].splitlines()[1:]
    assert max(map(len, table)) <= 80
    for word in ("heuristic", "best constant", "as run", "utility", "difference", "verdict", "MB"):
        assert any(word in line for line in table)
    assert "is better than the rules" in out or "It cannot be told" in out or "is worse than the rules" in out


def test_json_names(planner, world, bundles):
    code, out, _ = planner("compare", "--dataset", world, bundles["mlp"], "--value", "P0.pass=9", "--json")
    found = json.loads(out)
    assert code == 0 and found["utility"]["P0"]["pass"] == 9.0
    assert any("other utility weights than the dataset's" in note for note in found["notes"])
    mine = next(row for row in found["rows"] if row["kind"] == "bundle")
    assert set(mine["verdict"]) >= {"answer", "against", "text", "runs_needed"}
    assert set(mine["value"]) == {"pass_rate", "minutes", "cost_usd", "utility", "difference"}
    assert any("other utility weights than it is judged by" in note for note in mine["notes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mpl"], "did you mean 'mlp'"),
        (["nowhere/run"], "no such policy and no such path"),
        (["."], "neither a run directory nor a bundle"),
        (["heuristic", "--against", "as_rum"], "did you mean 'as_run'"),
        (["heuristic", "--against", "."], "neither a run directory nor a bundle"),
        (["heuristic", "--value", "pas=2"], "there is no 'pas'"),
    ],
)
def test_bad_words(planner, world, arguments, words):
    code, out, err = planner("compare", "--dataset", world, *arguments)
    wrong_usage = {"did you mean 'as_run'", "there is no 'pas'"}  # of an option; what a path holds is found out later
    assert code == (2 if words in wrong_usage else 1) and words in " ".join(err.split()) and not out


def test_a_replay_that_is_none(planner, world):
    code, _, err = planner("compare", "--dataset", world, "heuristic", "--replay", "perhaps")
    assert code == 2 and "checked, assumed, off" in err


def test_unknown_names_are_config_errors(registry, world):
    with pytest.raises(ConfigError):
        compare(Datasets(world), registry, ["nobody"])


def test_weights_of_the_dataset_are_the_default(known, dataset):
    found, _ = known
    table = weight_table(dataset.meta.utility)
    assert np.array_equal(weight_table(found.utility), table)
