"""The promotion gate: what is refused, what passes with a sentence, and what is written down of it."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

from planner_core import Gate, PlannerError, promotion_gate, refuse, weight_table
from planner_core.cli.app import main
from planner_core.harness import gate as module
from planner_core.harness.run_files import seal


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a run that may be changed."""
    return shutil.copytree(runs["mlp"], tmp_path / "runs" / "mlp" / "20260101T000000Z")


def rewritten(run, change):
    """Change ``results.json`` and seal the run again."""
    path = run / "results.json"
    results = json.loads(path.read_text())
    change(results)
    path.write_text(json.dumps(results))
    seal(run)
    return run


def answers(heuristic, constant):
    def change(results):
        for name, answer in (("heuristic", heuristic), ("best_constant", constant)):
            results["test"]["verdicts"][name] |= {"answer": answer, "text": f"It is {answer} than {name}."}

    return change


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


@pytest.mark.parametrize(
    ("heuristic", "constant", "answer"),
    [
        ("better", "better", "not_worse"),
        ("cannot_tell", "cannot_tell", "not_worse"),
        ("worse", "better", "worse"),
        ("better", "worse", "worse"),
    ],
)
def test_what_training_wrote_is_used(run, registry, heuristic, constant, answer, monkeypatch):
    monkeypatch.setattr(module, "evaluate_source", None)  # nothing is judged again
    found = promotion_gate("mlp", rewritten(run, answers(heuristic, constant)), registry)
    assert found.answer == answer and set(found.verdicts) == {"heuristic", "best_constant"}
    assert found.known == "all" and found.rows == 40 and found.text
    if answer == "worse":
        assert "It is worse than" in found.text


def test_training_wrote_the_verdicts_of_the_test_split(runs, registry):
    results = json.loads((runs["mlp"] / "results.json").read_text())
    found = promotion_gate("mlp", runs["mlp"], registry)
    for name, verdict in found.verdicts.items():
        gap = results["test"]["values"][f"policy against {name}"]["value"]["difference"]["utility"]
        expected = "better" if gap["low"] > 0 else "worse" if gap["high"] < 0 else "cannot_tell"
        assert verdict.answer == expected


def test_other_weights_are_judged_anew(run, registry, dataset):
    """With passes worth nothing, minutes and USD alone decide."""
    rewritten(run, answers("worse", "worse"))
    table = weight_table(dataset.meta.utility)
    assert promotion_gate("mlp", run, registry, utility=table).answer == "worse"  # the same ones are not
    found = promotion_gate("mlp", run, registry, utility=table * np.array([0.0, 1.0, 1.0]))
    assert all("It is worse" not in verdict.text for verdict in found.verdicts.values())


def test_a_run_without_verdicts_is_judged_now(run, registry):
    """As runs of earlier versions are."""
    expected = promotion_gate("mlp", run, registry)

    def without(results):
        del results["test"]["verdicts"]

    assert promotion_gate("mlp", rewritten(run, without), registry) == expected


def test_a_dataset_that_is_gone(run, registry, tmp_path):
    def moved(results):
        results["dataset"]["directory"] = str(tmp_path / "gone")
        answers("worse", "worse")(results)

    found = promotion_gate("mlp", rewritten(run, moved), registry)
    assert found.answer == "no_dataset" and "gone" in found.text and not found.verdicts


def test_another_dataset_at_its_place(run, registry):
    def changed(results):
        results["dataset"]["hash"] = "00" * 32

    found = promotion_gate("mlp", rewritten(run, changed), registry)
    assert found.answer == "no_dataset" and "is another dataset now" in found.text


def test_no_test_split(run, registry):
    found = promotion_gate("mlp", rewritten(run, lambda results: results.pop("test")), registry)
    assert found.answer == "unknown" and "cannot be told" in found.text


def test_refuse():
    bad = Gate(answer="worse", text="It is worse.")
    with pytest.raises(PlannerError, match=r"not exported: It is worse\. With --force"):
        refuse(bad, force=False)
    assert refuse(bad, force=True).forced
    for answer in ("untrained", "no_dataset", "unknown", "not_worse"):
        assert not refuse(Gate(answer=answer, text="."), force=True).forced


def test_a_worse_run_is_refused_and_leaves_nothing(planner, run, tmp_path):
    rewritten(run, answers("worse", "better"))
    code, out, err = planner("export", "-p", "mlp", "--out", "made")
    assert code == 1 and "not exported: It is worse than heuristic." in err and "--force" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
    code, out, _ = planner("export", "-p", "mlp", "--out", "made", "--force", "--json")
    report = json.loads(out)
    assert code == 0 and report["verdict"]["answer"] == "worse" and report["verdict"]["forced"] is True
    metadata = json.loads((tmp_path / "made" / "metadata.json").read_text())
    assert metadata["verdict"]["forced"] is True and "dataset" not in metadata["verdict"]
    assert metadata["verdict"]["verdicts"]["heuristic"]["text"] == "It is worse than heuristic."


def test_an_existing_bundle_survives_a_refusal(planner, run, bundles, tmp_path):
    shutil.copytree(bundles["mlp"], tmp_path / "made")
    before = (tmp_path / "made" / "manifest.json").read_bytes()
    rewritten(run, answers("worse", "worse"))
    assert planner("export", "-p", "mlp", "--out", "made")[0] == 1
    assert (tmp_path / "made" / "manifest.json").read_bytes() == before


def test_what_cannot_be_told_and_the_untrained_pass_with_a_sentence(planner, run, tmp_path):
    rewritten(run, answers("cannot_tell", "better"))
    code, out, _ = planner("export", "-p", "mlp", "--value", "P0.pass=4.5")
    assert code == 0 and "mlp:" in " ".join(out.split())
    metadata = json.loads((tmp_path / "bundles" / "mlp" / "metadata.json").read_text())
    assert metadata["utility"]["P0"]["pass"] == 4.5 and metadata["learnt_until_ms"] > 0
    code, out, _ = planner("export", "-p", "heuristic")
    assert code == 0 and "heuristic is not trained: there is no verdict to ask for" in " ".join(out.split())
    metadata = json.loads((tmp_path / "bundles" / "heuristic" / "metadata.json").read_text())
    assert metadata["verdict"]["answer"] == "untrained"
