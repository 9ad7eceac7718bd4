"""Promotion: what is judged, by which rows, what is exported, and what stays as it was."""

from __future__ import annotations

import json
import shutil
import sys
from types import SimpleNamespace

import pytest

from planner_core import ConfigError, PlannerError, judge_promotion, load_registry, make_settings, read_bundle, train
from planner_core.cli.app import main
from planner_core.data.dataset import load_dataset
from planner_core.harness import promotion as module
from planner_core.value import Figures, KnownValue, Range, ValueFigures, Verdict


@pytest.fixture
def planner(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["planner", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, " ".join(captured.err.split())

    return call


@pytest.fixture
def served(bundles, tmp_path):
    """A copy of the bundle of the rules, which may be replaced."""
    return shutil.copytree(bundles["heuristic"], tmp_path / "bundles" / "served")


@pytest.fixture(scope="module")
def lines(world):
    """The lines of the world without the outcomes of anything but what was run."""
    return [json.loads(line) for line in (world / "dataset.jsonl").read_bytes().splitlines()]


def value(low, high, *, differing=0.5, refused=False, reasons=(), issues=90):
    gap = Range(None if low is None else (low + high) / 2, low, high)
    verdict = Verdict("cannot_tell", "it", "...", list(reasons), refused=refused)
    return KnownValue(
        "all", 100, issues, 1.0, ValueFigures(difference=Figures(utility=gap)), differing=differing, verdict=verdict
    )


ABOUT = {
    **{"policy": "mlp", "candidate": "run", "incumbent": "bundle", "margin": 0.02, "dataset": "d"},
    **{"dataset_hash": "h", "known": "all", "rows": 100, "utility": {}},
}


@pytest.mark.parametrize(
    ("found", "promoted", "said"),
    [
        (value(0.01, 0.2), True, "takes its place: +0.105 utility a run"),
        (value(-0.0199, 0.001), True, "its lower end lies above -0.02"),  # not better, but not worse either
        (value(-0.02, 0.3), False, "does not lie above -0.02"),
        (value(-0.3, -0.1), False, "does not lie above -0.02"),
        (value(0.1, 0.3, refused=True, reasons=["too few", "no support"]), False, "cannot tell: too few; no support"),
        (value(None, None), False, "there is no interval"),
        (value(None, None, differing=0.0), True, "it decides as the incumbent on all 100 runs"),
        (value(0.0, 0.0, differing=0.0, issues=19), False, "but they are of 19 issues, too few"),
    ],
)
def test_the_rule(found, promoted, said):
    evaluation = SimpleNamespace(values={"policy against bundle": found}, against="bundle")
    answer = module._judged(evaluation, dict(ABOUT), 0.02)
    assert answer.promoted is promoted and said in answer.text
    assert answer.text.startswith("The candidate takes its place" if promoted else "The incumbent stays")


def test_nothing_known_keeps_the_incumbent():
    answer = module._judged(SimpleNamespace(values={}, against="bundle"), dict(ABOUT), 0.02)
    assert not answer.promoted and "nothing is known of the outcomes" in answer.text and answer.verdict is None


@pytest.mark.parametrize("margin", [0.0, 5.0])
def test_known_outcomes_are_judged_on_the_test_split(margin, world, runs, bundles, registry):
    found = judge_promotion(runs["mlp"], bundles["joint"], registry, dataset=world, margin=margin)
    assert found.known == "all" and found.rows == 40 and found.policy == "mlp"
    assert found.difference.low < found.difference.estimate < found.difference.high
    assert found.promoted is (found.difference.low > -margin)
    assert found.promoted or margin == 0.0  # nothing here is worse by 5


def test_the_same_decisions_take_the_place(world, runs, bundles, registry):
    found = judge_promotion(runs["mlp"], bundles["mlp"], registry, dataset=world, margin=0.0)
    assert found.promoted and found.differing == 0.0


@pytest.fixture(scope="module")
def early_run(lines, write_lines, tmp_path_factory):
    """A run directory of ``outcome``, fitted briefly on the log of the first 180 runs and judged on the next 20."""
    place = tmp_path_factory.mktemp("early")
    splits = ["train"] * 160 + ["val"] * 20 + ["test"] * 20
    first = [{**line, "split": split} for line, split in zip(lines, splits, strict=False)]
    data = load_dataset(write_lines(place / "log", first))
    settings = make_settings(
        "outcome", load_registry().spec("outcome").config_type, {"rounds": 1, "steps": 10, "residuals": False}
    )
    train("outcome", data, place / "run", settings, load_registry())
    return place / "run"


def test_on_a_newer_log_only_runs_later_than_those_of_both_are_judged(
    lines, write_lines, tmp_path, registry, early_run, bundles, monkeypatch
):
    """The candidate has learnt from the first 180 runs, the incumbent (of the fixture's world) from the first 360."""
    newer, judged = write_lines(tmp_path / "newer", lines), []

    def evaluate(policy, decider, data, name, *rest, **options):
        judged.append(data.split(name).executed.started_ms.tolist())
        raise module.NothingLater("seen enough")

    monkeypatch.setattr("planner_core.harness.judging.evaluate", evaluate)
    for incumbent, learnt in (("heuristic", lines[179]), (bundles["mlp"], lines[359])):
        judge_promotion(early_run, incumbent, registry, dataset=newer)
        started = [line["started_ms"] for line in lines if line["started_ms"] > learnt["started_ms"]]
        assert judged[-1] == started and len(started) >= 30


def test_a_log_without_later_runs_keeps_the_incumbent(lines, write_lines, tmp_path, planner, runs, served, quick_train):
    newer = write_lines(tmp_path / "early", lines[:100])
    before = read_bundle(served).digest
    arguments = ("--candidate", runs["mlp"], "--incumbent", served, "--dataset", newer, "--out", served)
    code, out, _ = planner("promote", *arguments, "--json")
    document = json.loads(out)
    assert code == 0 and document["promoted"] is False and "no run is later" in document["text"]
    assert document["export"] is None and document["bundle"] == str(served)
    assert read_bundle(served).digest == before and [p.name for p in served.parent.iterdir()] == ["served"]


def test_a_log_that_cannot_tell_keeps_the_incumbent(lines, write_lines, tmp_path, planner, early_run, served):
    data = write_lines(tmp_path / "log", lines)
    arguments = ("--candidate", early_run, "--incumbent", served, "--dataset", data, "--out", tmp_path / "new")
    code, out, _ = planner("promote", *arguments)
    assert code == 0 and out.startswith("The incumbent stays: the log cannot tell: ")
    assert not (tmp_path / "new").exists()


def test_in_the_incumbents_place_what_was_there_is_kept(world, runs, served, planner):
    before = read_bundle(served)
    arguments = ("--candidate", runs["mlp"], "--incumbent", served, "--dataset", world, "--out", served)
    code, out, _ = planner("promote", *arguments, "--margin", "5", "--json")
    document = json.loads(out)
    assert code == 0 and document["promoted"] is True and document["bundle"] == str(served)
    now = read_bundle(served)
    assert now.digest == document["export"]["digest"].removeprefix("sha256:")
    assert now.digest != before.digest and now.metadata["policy"] == "mlp"
    kept = served.with_name(f"served.{before.digest[:12]}")
    assert document["kept"] == str(kept) and read_bundle(kept).digest == before.digest
    assert sorted(p.name for p in served.parent.iterdir()) == sorted([served.name, kept.name])
    code, out, _ = planner("promote", *arguments, "--margin", "5")  # the same again: it decides alike
    assert code == 0 and "it decides as the incumbent" in out and len(list(served.parent.iterdir())) == 3


def test_what_stands_where_the_old_bundle_is_to_be_kept_is_not_taken_for_it(world, runs, bundles, served, planner):
    before = read_bundle(served).digest
    kept = served.with_name(f"served.{before[:12]}")
    arguments = ("--candidate", runs["mlp"], "--incumbent", served, "--dataset", world, "--out", served, "--margin", 5)
    kept.mkdir()
    (kept / "mine.txt").write_text("work")
    code, _, said = planner("promote", *arguments)
    assert code == 1 and kept.name in said and read_bundle(served).digest == before
    assert (kept / "mine.txt").read_text() == "work"
    shutil.rmtree(kept)
    shutil.copytree(bundles["joint"], kept)
    code, _, said = planner("promote", *arguments)
    assert code == 1 and "found another bundle" in said and read_bundle(served).digest == before


def test_an_incumbent_that_changes_meanwhile_is_not_replaced(world, runs, bundles, served, planner, monkeypatch):
    judged = module.judge_promotion

    def slow(*arguments, **options):
        found = judged(*arguments, **options)
        shutil.rmtree(served)
        shutil.copytree(bundles["joint"], served)
        return found

    monkeypatch.setattr("planner_core.judge_promotion", slow, raising=False)
    arguments = ("--candidate", runs["mlp"], "--incumbent", served, "--dataset", world, "--out", served)
    code, _, said = planner("promote", *arguments, "--margin", "5")
    assert code == 1 and "replaced while the candidate was judged" in said
    assert read_bundle(served).digest == read_bundle(bundles["joint"]).digest


def test_other_weights_are_exported_too(world, planner, registry, runs, tmp_path):
    arguments = ("--candidate", runs["mlp"], "--incumbent", "heuristic", "--dataset", world, "--out", tmp_path / "b")
    code, out, _ = planner("promote", *arguments, "--margin", "50", "--value", "P0.pass=9", "--json")
    document = json.loads(out)
    assert code == 0 and document["promoted"] and document["utility"]["P0"]["pass"] == 9.0
    assert read_bundle(tmp_path / "b").calibration["utility"]["P0"]["pass"] == 9.0
    assert read_bundle(tmp_path / "b").metadata["verdict"]["answer"] in ("not_worse", "worse")
    assert document["kept"] is None


def test_what_is_neither_run_nor_bundle(world, runs, bundles, registry, tmp_path):
    with pytest.raises(PlannerError, match=r"expected the bundle that serves, or heuristic.*nothing there"):
        judge_promotion(runs["mlp"], tmp_path / "none", registry, dataset=world)
    with pytest.raises(PlannerError, match=r"--candidate .*expected a run directory"):
        judge_promotion(bundles["mlp"], "heuristic", registry, dataset=world)
    for margin in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="--margin"):
            judge_promotion(runs["mlp"], "heuristic", registry, dataset=world, margin=margin)


@pytest.mark.parametrize(("missing", "code"), [("--candidate", 2), ("--incumbent", 2)])
def test_wrong_usage(planner, missing, code):
    given = {"--candidate": "r", "--incumbent": "heuristic", "--dataset": "d", "--out": "o"}
    del given[missing]
    assert planner("promote", *[word for pair in given.items() for word in pair])[0] == code


def test_a_broken_incumbent_is_an_error(planner, world, runs, served):
    (served / "model.onnx").write_bytes(b"x")
    arguments = ("--candidate", runs["mlp"], "--incumbent", served, "--dataset", world, "--out", served)
    code, _, said = planner("promote", *arguments)
    assert code == 1 and "model.onnx" in said
