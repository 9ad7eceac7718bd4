"""``planner tune``: the trials of a study, going on with it, and what of the data it looks at."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from rich.console import Console

from planner_core import (
    DataError,
    OneOf,
    PlannerError,
    RealRange,
    Trial,
    TrialResult,
    TrialRuns,
    TrialValue,
    make_settings,
    read_config_file,
    read_file,
)
from planner_core.ablation import trials as trial_module
from planner_core.errors import MissingExtra
from planner_core.harness.evaluation import as_run
from planner_core.plugins.registry import Registry
from planner_tune import show, study
from planner_tune.command import tune
from planner_tune.documents import BEST, JOURNAL, STUDY
from planner_tune.study import default_out, run_study

TINY = {"d_hidden": 16, "n_layers": 1, "epochs": 2, "batch_size": 64, "weight_decay": 0.01, "utility_temperature": 0.1}


@pytest.fixture
def runs(world, registry):
    """``runs(seed=..., values=...)``: ``mlp`` on the small world; lr, dropout and smoothing are left to try."""

    def make(values=None, dataset=None, reg=None, policy="mlp", **options):
        return TrialRuns(policy, reg or registry, dataset or world, values={**TINY, **(values or {})}, **options)

    return make


def figures(result):
    return [(row.number, row.state, row.utility, row.low, row.high, row.values) for row in result.trials]


@pytest.fixture(scope="module")
def whole(world, registry, tmp_path_factory):
    """A study of four trials, run at once."""
    out = tmp_path_factory.mktemp("study") / "s"
    return run_study(TrialRuns("mlp", registry, world, values=TINY), out, trials=4), out


def test_the_default_configuration_comes_first_and_the_best_is_the_best(whole):
    result, _ = whole
    assert result.trials[0].values == {"dropout": 0.1, "label_smoothing": 0.1, "lr": 0.001}
    assert [row.number for row in result.trials] == [0, 1, 2, 3]
    assert max(row.utility for row in result.trials) == result.trials[result.best].utility
    assert result.best != 0 and result.finished == result.asked == 4
    tried = [tuple(row.values.values()) for row in result.trials]
    assert len(set(tried)) == 4


def test_the_best_configuration_is_one_that_config_takes(whole, registry):
    result, out = whole
    given = read_config_file(out / BEST)
    assert given == {**TINY, **result.trials[result.best].values}
    recorded = json.loads((out / "trials" / f"{result.best:04d}" / "config.json").read_text())["values"]
    assert make_settings("mlp", registry.spec("mlp").config_type, given).to_dict() == recorded


def test_trials_know_nothing_of_the_test_split_and_the_best_is_judged_there_beside_the_default(whole):
    result, out = whole
    for path in sorted((out / "trials").iterdir()):
        found = json.loads((path / "results.json").read_text())
        assert "val" in found and "test" not in found
    assert result.test.number == result.best and result.test.looks == 1 and result.test.rows == 40
    gap = result.test.difference
    assert gap["low"] <= gap["estimate"] <= gap["high"]
    assert result.test.utility["estimate"] - result.test.default_utility == pytest.approx(gap["estimate"])
    assert result.test.verdict["against"] == "its default configuration"


def test_the_value_is_the_utility_of_the_evaluation_where_all_outcomes_are_known(whole):
    result, out = whole
    for row in result.trials:
        found = json.loads((out / "trials" / f"{row.number:04d}" / "results.json").read_text())["val"]
        assert row.utility == pytest.approx(found["mean_utility"]) and row.supported == 1.0


def test_a_study_goes_on_and_ends_as_if_it_had_not_been_interrupted(whole, runs, tmp_path, monkeypatch):
    out = tmp_path / "s"
    first = run_study(runs(), out, trials=4, minutes=0.0)
    assert first.finished == 1 and first.test is None and first.best == 0
    assert "no configuration did better" in first.notes[0]

    def cut(self, begun):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study, "_round", lambda *given: cut(*given[:2]))
        with pytest.raises(KeyboardInterrupt) as caught:
            run_study(runs(), out, trials=4)
    assert "the same command goes on" in caught.value.__notes__[0]
    with (out / JOURNAL).open("ab") as stream:  # and killed while it wrote
        stream.write(b'{"op_code":5,"wor')
    (out / f"{JOURNAL}.lock").symlink_to(out / JOURNAL)
    again = run_study(runs(), out, trials=4)
    assert figures(again) == figures(whole[0])
    assert again.test == whole[0].test


def test_a_finished_study_trains_nothing_and_says_the_same(whole, runs, monkeypatch):
    result, out = whole
    monkeypatch.setattr(trial_module.running, "run_cells", lambda *given: pytest.fail("it trains"))
    assert msgspec.structs.replace(run_study(runs(), out, trials=4), config="") == msgspec.structs.replace(
        result, config=""
    )


def test_another_look_at_the_test_split_is_counted(whole, runs, tmp_path, monkeypatch):
    import shutil

    out = tmp_path / "s"
    shutil.copytree(whole[1], out)
    monkeypatch.setattr(TrialRuns, "value_of", lambda self, run: TrialValue(9.0, None, None, 1.0))
    found = run_study(runs(), out, trials=5)
    assert found.best == 4 and found.test.looks == 2
    assert "has looked at the test split 2 times" in found.notes[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": {"d_hidden": 32}}, "d_hidden 16, not 32"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"policy": "joint"}, "policy mlp, not joint"),
        ({"values": {"lr": 0.001}}, "search space of lr"),
        ({"utility": np.ones((4, 3))}, "worth at P0"),
    ],
)
def test_another_study_is_refused_and_nothing_is_touched(whole, runs, change, said):
    _, out = whole
    before = {path: path.read_bytes() for path in (out / STUDY, out / JOURNAL)}
    with pytest.raises(PlannerError, match="the study there is another one") as caught:
        run_study(runs(**change), out, trials=4)
    assert said in str(caught.value)
    assert before == {path: path.read_bytes() for path in before}
    assert default_out(runs(**change)) != default_out(runs())


def test_a_directory_of_something_else_is_left_alone(runs, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(PlannerError, match=r"holds no study \(study.json\)"):
        run_study(runs(), tmp_path, trials=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", [b"hello\n", b"[1]\n", b'{"op_code": 99}\n', b'{"op_code":0,"worker_id":"x"}\n'])
def test_a_journal_that_is_none_is_named(whole, runs, tmp_path, content):
    (tmp_path / STUDY).write_bytes((whole[1] / STUDY).read_bytes())
    (tmp_path / JOURNAL).write_bytes(content)
    with pytest.raises(DataError, match="expected the journal of an Optuna study"):
        run_study(runs(), tmp_path, trials=1)
    assert (tmp_path / JOURNAL).read_bytes() == content


def fake(runs, monkeypatch, outcome):
    """Let ``outcome(name, changes)`` stand for training; returns the names trained, in order."""
    trained = []

    class Running:
        def __enter__(self):
            return self.run

        def __exit__(self, *given):
            return None

        def run(self, trials):
            trained.append([trial.name for trial in trials])
            return [outcome(trial) for trial in trials]

    monkeypatch.setattr(runs, "running", lambda out: Running())
    return trained


def worth(trial: Trial) -> TrialResult:
    return TrialResult(trial.name, TrialValue(float(trial.changes["dropout"]), None, None, 1.0))


def test_workers_get_rounds_after_the_default(runs, tmp_path, monkeypatch):
    some = runs(workers=3)
    trained = fake(some, monkeypatch, worth)
    monkeypatch.setattr(some, "on_test", lambda *given: SimpleNamespace(to_dict=lambda: {"rows": 1, "known": "all"}))
    run_study(some, tmp_path / "s", trials=6)
    assert trained == [["0000"], ["0001", "0002", "0003"], ["0004", "0005"]]


def test_a_trial_that_fails_is_kept_and_does_not_stop_the_others(runs, tmp_path, monkeypatch):
    some = runs()

    def diverges(trial):
        return TrialResult(trial.name, error="diverged") if trial.name > "0000" else worth(trial)

    fake(some, monkeypatch, diverges)
    found = run_study(some, tmp_path / "s", trials=3)
    assert [row.state for row in found.trials] == ["done", "failed", "failed"]
    assert found.best == 0 and found.trials[1].error == "diverged" and found.test is None


def test_a_default_that_fails_ends_the_study_and_is_tried_again(runs, tmp_path, monkeypatch):
    some = runs()
    with monkeypatch.context() as patch:
        fake(some, patch, lambda trial: TrialResult(trial.name, error="no disk"))
        with pytest.raises(PlannerError, match="default configuration cannot be trained: no disk"):
            run_study(some, tmp_path / "s", trials=3)
    fake(some, monkeypatch, worth)
    assert run_study(some, tmp_path / "s", trials=1).trials[0].state == "done"


def test_the_same_values_are_trained_once(world, registry, tmp_path, monkeypatch):
    spec = replace(registry.spec("mlp"), search_space={"class_weighting": OneOf(("none", "sqrt"))})
    entry = replace(registry.get("mlp"), spec=spec)
    some = TrialRuns("mlp", Registry([entry]), world, values=TINY)
    trained = fake(some, monkeypatch, lambda trial: TrialResult(trial.name, TrialValue(1.0, None, None, 1.0)))
    found = run_study(some, tmp_path / "s", trials=6)
    assert sum(map(len, trained)) == 2 and len(found.trials) == 6 and found.best == 0
    assert [row.same_as is not None for row in found.trials].count(True) == 4


def test_a_configuration_that_the_policy_refuses_is_a_failed_trial(runs, tmp_path):
    some = runs()
    with some.running(tmp_path) as run:
        (found,) = run([Trial("0001", {"d_hidden": 2, "n_layers": 4})])
    assert found.value is None and "cannot be halved" in found.error


# -- what a configuration is worth


def test_a_log_is_valued_by_its_estimate_and_not_by_outcomes_that_nobody_saw(runs, world, tmp_path, monkeypatch):
    some = runs({"evidence": "executed", "objective": "label"})
    assert some.valid.known == "executed" and some.dataset.split("val").known == "all"
    monkeypatch.setattr(trial_module, "predicted", lambda *given: None)
    with some.running(tmp_path) as run:
        (found,) = run([Trial("0000", {})])
    val = json.loads((tmp_path / "0000" / "results.json").read_text())["val"]
    assert found.value.utility != pytest.approx(val["mean_utility"])
    assert 0.0 < found.value.supported <= 1.0
    ran = as_run(some.valid, some.utility).mean_utility
    # Where the log supports nothing, the difference to what was run counts as 0.
    monkeypatch.setattr(trial_module, "decide_split", lambda decider, rows: ([SimpleNamespace()],))
    monkeypatch.setattr(
        trial_module,
        "estimate_value",
        lambda *given, **options: SimpleNamespace(
            value=SimpleNamespace(difference=SimpleNamespace(utility=SimpleNamespace(estimate=None))),
            partial=None,
            support=0.0,
            as_run=SimpleNamespace(utility=SimpleNamespace(estimate=ran)),
        ),
    )
    nothing = some._estimated(np.zeros(len(some.valid), np.int64))
    assert nothing == TrialValue(pytest.approx(ran), None, None, 0.0)


def test_a_decision_whose_outcome_nobody_knows_counts_as_the_mean_of_the_known(runs):
    some = runs()
    known = some.valid.outcomes
    rows, first = np.arange(len(some.valid)), some.dataset.action_space.joint_masks[some.valid.job_type].argmax(axis=1)
    full = some._known(first).utility
    holes = {name: getattr(known, name).copy() for name in ("passed", "minutes", "cost_usd")}
    for values in holes.values():
        values[rows[1:], first[1:]] = np.nan  # known of the first row only
        values[0, np.arange(values.shape[1]) != first[0]] = np.nan
    other = runs()
    other.__dict__["valid"] = replace(some.valid, outcomes=replace(known, **holes))
    found = other._known(first)
    assert found.supported == pytest.approx(1 / len(rows))
    assert found.utility == pytest.approx(float(np.mean(other._usual))) and found.utility != pytest.approx(full)


def test_what_cannot_be_tuned_is_said_first(runs, registry, world):
    with pytest.raises(PlannerError, match="does not learn"):
        TrialRuns("heuristic", registry, world)
    bare = Registry([replace(registry.get("mlp"), spec=replace(registry.spec("mlp"), search_space={}))])
    with pytest.raises(PlannerError, match="declares no search space"):
        TrialRuns("mlp", bare, world)
    narrow = replace(registry.spec("mlp"), search_space={"lr": RealRange(1e-4, 1e-2, log=True)})
    with pytest.raises(PlannerError, match="nothing is left to try"):
        TrialRuns("mlp", Registry([replace(registry.get("mlp"), spec=narrow)]), world, values={"lr": 0.5})


# -- the command


def test_without_optuna_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "optuna"] + ["planner_tune.study"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delitem(sys.modules, "planner_tune.journal", raising=False)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"'tune' extra \(optuna is not installed\)"):
        tune("mlp")


def test_the_command_prints_a_document_that_the_file_repeats(whole, world, capsys):
    _, out = whole
    words = [f"{key}={value}" for key, value in TINY.items()]
    tune("mlp", dataset=world, trials=4, out_dir=out, assignments=words, workers=1, json=True, seed=0)
    printed = json.loads(capsys.readouterr().out)
    assert printed == read_file(out / "result.json", dict)
    assert printed["schema_version"] == "swarm_planner.study_result.v1" and printed["known"] == "all"


def test_the_table_holds_at_80_columns(whole, capsys):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(show._table(whole[0]))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80 and sum("dropout=" in line for line in lines) == 4
    show.show(whole[0])
    assert "test rows:" in capsys.readouterr().out


@pytest.mark.slow
def test_processes_find_the_same_as_one_worker(runs, world, registry, tmp_path):
    alone = run_study(runs(), tmp_path / "a", trials=2)
    beside = run_study(runs(workers=2, backend="loky"), tmp_path / "b", trials=2)
    assert figures(alone) == figures(beside)
