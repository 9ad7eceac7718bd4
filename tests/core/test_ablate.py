"""Ablations: what is planned, what may be resumed, what is trained once, and what the numbers say."""

from __future__ import annotations

import json
import math
import struct
from typing import Annotated

import msgspec
import pytest

from planner_core import ConfigError, PlannerError, PolicySpec
from planner_core.ablation import design as ablate
from planner_core.ablation import run as ablate_run
from planner_core.ablation.design import (
    Cell,
    CellResult,
    cell_name,
    cells,
    choose_factors,
    make_design,
    parse_seeds,
    points,
    record_design,
    taken_up,
)
from planner_core.ablation.report import picture, spread, summarise, write_report
from planner_core.ablation.run import encode_for, joblib_runner, run_cell, run_cells
from planner_core.claim import claimed_for
from planner_core.plugins.registry import Entry, Registry

TINY = {"d_hidden": 16, "n_layers": 1, "epochs": 1, "lr": 0.01}


class OddConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No dropout, no smoothing, and no more than two layers."""

    d_hidden: int = 512
    n_layers: Annotated[int, msgspec.Meta(le=2)] = 2


@pytest.fixture
def odd(registry):
    """The registry with a policy ``odd`` in it."""
    spec = PolicySpec("odd", "", OddConfig, lambda: None, trainable=True)
    return Registry([*registry.entries, Entry("odd", "elsewhere", "1", spec=spec)])


def plan_of(world, registry, only=None, values=TINY, seeds=(0, 1), policy="mlp"):
    return make_design(policy, world, values, registry, choose_factors(only), seeds)


def names(plan, registry, out):
    return [cell.name for cell in cells(plan, out, registry)]


# -- words of the command line


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [0, 1, 2]), ("1", [0]), ("0,4,7", [0, 4, 7]), ("7,", [7]), (" 2, 2 ,1", [2, 1])]
)
def test_seeds_are_a_count_or_a_list(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "", "x", "1,x", "-1", "1,,2", ",", "1.5"])
def test_other_seeds_are_refused(text):
    with pytest.raises(ConfigError, match="expected how many"):
        parse_seeds(text)


def test_factors_go_by_name_or_key_in_the_order_of_the_table():
    assert [f.key for f in choose_factors(["dropout", "history_slots", "history"])] == ["history_slots", "dropout"]
    assert [f.name for f in choose_factors(None)] == ["history", "layers", "width", "dropout", "smoothing", "heads"]
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        choose_factors(["widht"])


def test_an_unknown_backend_and_a_scheduler_too_many_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'loky'"):
        ablate_run.check_backend("lokky")
    with pytest.raises(ConfigError, match="takes no --scheduler"):
        ablate_run.check_backend("threading", "tcp://here:1")


def test_a_missing_module_names_its_extra():
    with pytest.raises(PlannerError, match=r"'cluster' extra \(nowhere_to_be_found is not installed\)"):
        ablate_run.require("the dask backend", "cluster", "nowhere_to_be_found.inside")


# -- the plan


def test_the_default_plan_is_the_table_of_the_specification(world, registry, tmp_path):
    plan = plan_of(world, registry, values={})
    assert plan.factors == {
        "history_slots": [0, 1, 4, 8, 16],
        "n_layers": [1, 2, 3, 4],
        "d_hidden": [128, 256, 512, 1024],
        "dropout": [0.0, 0.1, 0.2, 0.3],
        "label_smoothing": [0.0, 0.05, 0.1, 0.2],
        "policy": ["mlp", "joint"],
    }
    (note,) = plan.notes
    assert "8 similar runs" in note
    assert "16 slots" in note


def test_a_cell_differs_from_the_base_in_its_factor_alone(world, registry, tmp_path):
    plan = plan_of(world, registry, values={})
    for cell in cells(plan, tmp_path, registry):
        changed = {key: value for key, value in cell.values.items() if value != plan.base[key]}
        stem, _, seed = cell.name.rpartition("-seed")
        assert int(seed) == cell.seed
        if stem == "base":
            assert (cell.policy, changed) == ("mlp", {})
        elif stem == "policy-joint":
            assert (cell.policy, changed) == ("joint", {})
        else:
            ((key, value),) = changed.items()
            assert stem == f"{key}-{value}"


def test_the_base_is_trained_once_a_seed(world, registry, tmp_path):
    plan = plan_of(world, registry, ["width", "dropout", "heads"], {"d_hidden": 256, "dropout": 0.1})
    assert sum(p.is_base for p in points(plan, registry)) == 3
    found = names(plan, registry, tmp_path)
    assert len(found) == len(set(found)) == 2 * (1 + 3 + 3 + 1)
    assert found[: len(found) // 2] == [name for name in found if name.endswith("seed0")]


def test_a_base_outside_the_table_stands_in_its_place(world, registry):
    plan = plan_of(world, registry, ["width", "layers"], {"d_hidden": 300})
    assert plan.factors["d_hidden"] == [128, 256, 300, 512, 1024]
    assert [p.value for p in points(plan, registry) if p.is_base and p.key == "d_hidden"] == [300]


def test_what_a_policy_does_not_have_is_left_out_and_said(world, odd):
    plan = plan_of(world, odd, values={}, policy="odd")
    assert set(plan.factors) == {"history_slots", "n_layers", "d_hidden", "policy"}
    assert plan.factors["n_layers"] == [1, 2]
    assert plan.factors["policy"] == ["mlp", "joint", "odd"]
    said = "\n".join(plan.notes)
    for part in ("dropout: left out", "smoothing: left out", "layers 3: left out", "layers 4: left out"):
        assert part in said


def test_a_compared_policy_that_lacks_a_key_or_has_other_defaults_is_said(world, odd):
    class OtherConfig(OddConfig, frozen=True, forbid_unknown_fields=True):
        n_layers: int = 5

    spec = PolicySpec("joint", "", OtherConfig, lambda: None, trainable=True)
    changed = Registry(
        [entry for entry in odd.entries if entry.name != "joint"] + [Entry("joint", "x", "1", spec=spec)]
    )
    plan = plan_of(world, changed, ["heads"], {})
    said = "\n".join(plan.notes)
    assert "does not have the keys epochs, " in said
    assert "n_layers=3 (its default 5)" in said


def test_smoothing_is_no_factor_where_the_objective_does_not_read_it(world, registry):
    plan = plan_of(world, registry, ["smoothing", "dropout"], {"objective": "utility"})
    assert set(plan.factors) == {"dropout"}
    assert plan.notes == ["smoothing: left out, objective=utility does not read label_smoothing"]


def test_nothing_to_ablate_is_an_error(world, registry, odd):
    with pytest.raises(PlannerError, match="does not learn"):
        plan_of(world, registry, policy="heuristic")
    with pytest.raises(PlannerError, match=r"nothing is left(.|\n)*has no key 'dropout'"):
        plan_of(world, odd, ["dropout"], {}, policy="odd")


# -- the directory


def test_another_base_dataset_or_policy_is_refused_with_the_difference(world, registry, tmp_path):
    plan = plan_of(world, registry)
    record_design(tmp_path, plan)
    before = (tmp_path / "plan.json").read_bytes()
    for other, message in (
        (plan_of(world, registry, values={**TINY, "lr": 0.5}), "lr 0.01, not 0.5"),
        (plan_of(world, registry, policy="joint"), "policy mlp, not joint"),
        (msgspec.structs.replace(plan, dataset_hash="0" * 64), f"not {world}"),
    ):
        with pytest.raises(PlannerError, match=message):
            record_design(tmp_path, other)
    assert (tmp_path / "plan.json").read_bytes() == before


def test_more_factors_and_seeds_extend_the_plan(world, registry, tmp_path):
    record_design(tmp_path, plan_of(world, registry, ["dropout"], seeds=[5]))
    plan = record_design(tmp_path, plan_of(world, registry, ["history"], seeds=[0]))
    assert list(plan.factors) == ["history_slots", "dropout"]
    assert plan.seeds == [0, 5]
    assert ablate.read_design(tmp_path) == plan


def test_resuming_completes_what_was_not_said(world, registry, tmp_path):
    recorded = record_design(tmp_path, plan_of(world, registry, ["dropout"], seeds=[5]))
    values, factors, seeds, dataset = taken_up(recorded, {}, None, None, None)
    assert record_design(tmp_path, make_design("mlp", dataset, values, registry, factors, seeds)) == recorded
    values, factors, seeds, _ = taken_up(recorded, {"lr": 0.5}, choose_factors(["width"]), [1], None)
    assert (values["lr"], values["d_hidden"], seeds, [f.name for f in factors]) == (0.5, 16, [1], ["width"])


def claimed(out):
    return claimed_for(out, ablate.PLAN, "ablation")


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(PlannerError, match="holds no ablation"), claimed(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_ablations_cannot_share_a_directory(tmp_path):
    with claimed(tmp_path / "a"):
        with pytest.raises(PlannerError, match="another ablation is at work"), claimed(tmp_path / "a"):
            pass
        with claimed(tmp_path / "b"):
            pass
    with claimed(tmp_path / "a"):
        pass


# -- running


@pytest.fixture
def ablation(world, registry, tmp_path):
    """``run()`` -> outcomes by cell of a small ablation in this process; only what is not finished is trained."""
    plan = plan_of(world, registry, ["dropout"], seeds=[0])

    def run():
        record_design(tmp_path, plan)
        todo = [cell for cell in cells(plan, tmp_path, registry) if not cell.finished]
        outcomes = []
        if todo:
            encode_for(todo, registry)
            with joblib_runner("sequential", None, 1) as runner:
                run_cells(todo, runner, outcomes.append)
        return {outcome.cell: outcome for outcome in outcomes}

    run.plan, run.out = plan, tmp_path
    return run


def test_finished_cells_are_not_trained_again_and_lost_ones_are(ablation, registry):
    first = ablation()
    assert set(first) == {"base-seed0", "dropout-0.0-seed0", "dropout-0.2-seed0", "dropout-0.3-seed0"}
    assert all(outcome.error is None for outcome in first.values())
    stamps = {name: (ablation.out / name / "results.json").stat().st_mtime_ns for name in first}
    assert ablation() == {}
    (ablation.out / "dropout-0.2-seed0" / "results.json").rename(ablation.out / "dropout-0.2-seed0.gone")
    (ablation.out / "dropout-0.2-seed0").rename(ablation.out / "aside")
    assert set(ablation()) == {"dropout-0.2-seed0"}
    again = {name: (ablation.out / name / "results.json").stat().st_mtime_ns for name in first}
    assert {name for name in first if again[name] != stamps[name]} == {"dropout-0.2-seed0"}

    def metrics(path):
        return json.loads(path.read_text())["test"]

    assert metrics(ablation.out / "dropout-0.2-seed0" / "results.json") == metrics(
        ablation.out / "dropout-0.2-seed0.gone"
    )


def test_a_cell_is_what_training_alone_gives(ablation, registry, dataset, quick_train, tmp_path):
    ablation()
    alone = quick_train("mlp", dataset, tmp_path / "alone", seed=0, **TINY, dropout=0.3)
    cell = json.loads((ablation.out / "dropout-0.3-seed0" / "results.json").read_text())
    assert cell["test"] == json.loads(json.dumps(alone["test"]))


def test_one_failed_cell_leaves_the_others(ablation, registry):
    blocked = ablation.out / "dropout-0.2-seed0"
    record_design(ablation.out, ablation.plan)
    blocked.mkdir()
    (blocked / "something").write_text("in the way")
    outcomes = ablation()
    failed = {name: outcome.error for name, outcome in outcomes.items() if outcome.error}
    assert list(failed) == ["dropout-0.2-seed0"]
    assert "not empty" in failed["dropout-0.2-seed0"]
    summary = summarise(
        ablation.plan, ablation.out, cells(ablation.plan, ablation.out, registry), outcomes.values(), registry
    )
    assert summary["cells"] == {"planned": 4, "finished": 3, "failed": 1}
    assert summary["failures"] == [{"cell": "dropout-0.2-seed0", "error": failed["dropout-0.2-seed0"]}]
    assert [entry["n"] for entry in summary["factors"]["dropout"]["values"]] == [1, 1, 0, 1]
    write_report(summary, ablation.out)  # a value without a run is still a picture


def cell_in(tmp_path, **changes):
    given = {"name": "c", "policy": "mlp", "values": {}, "seed": 0, "dataset": "none", "dataset_hash": "", "out": ""}
    return Cell(**{**given, "out": str(tmp_path), **changes})


def test_an_unexpected_exception_is_an_outcome_with_its_trace(tmp_path, monkeypatch):
    def explode(cell):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(ablate_run, "_train_cell", explode)
    outcome = run_cell(cell_in(tmp_path))
    assert outcome.error == "ZeroDivisionError: oh"
    assert "explode" in outcome.trace


def test_a_cell_that_another_process_finished_is_no_failure(tmp_path, monkeypatch):
    def beaten(cell):
        cell.path.mkdir()
        (cell.path / "results.json").write_text("{}")
        raise OSError("somebody was faster")

    monkeypatch.setattr(ablate_run, "_train_cell", beaten)
    assert run_cell(cell_in(tmp_path)) == CellResult("c")


def test_a_dataset_that_changed_since_is_refused(world, tmp_path):
    outcome = run_cell(cell_in(tmp_path, dataset=str(world), dataset_hash="0" * 64, values=TINY))
    assert "has changed since" in outcome.error
    assert outcome.trace is None


def test_a_backend_that_breaks_is_an_error_that_says_how_to_go_on(tmp_path):
    def broken(todo):
        yield CellResult("a", "failed")
        raise ConnectionResetError("the scheduler went away")

    seen = []
    with pytest.raises(PlannerError, match=r"goes on where it stopped.*scheduler went away"):
        run_cells([cell_in(tmp_path, name=name) for name in "ab"], broken, seen.append)
    assert seen == [CellResult("a", "failed")]


def test_results_on_another_machines_disk_are_a_failure(tmp_path):
    seen = []
    run_cells([cell_in(tmp_path)], lambda todo: iter([CellResult("c")]), seen.append)
    assert "file system shared" in seen[0].error


# -- the summary


def test_spread_is_the_sample_standard_deviation():
    found = spread([1.0, 2.0, 4.0])
    assert found["mean"] == pytest.approx(7 / 3)
    assert found["std"] == pytest.approx(math.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 2))
    assert spread([3.0]) == {"n": 1, "mean": 3.0, "std": None}
    assert spread([]) == {"n": 0, "mean": None, "std": None}


@pytest.fixture
def invented(world, registry, tmp_path):
    """A summary of made-up results: exact match is 0.1 x the seed, plus 1 for two layers; no gap_closed for seed 1."""
    plan = plan_of(world, registry, ["layers"], seeds=[0, 1, 2])

    def make(**documents):
        planned = cells(plan, tmp_path, registry)
        for cell in planned:
            match = 0.1 * cell.seed + (cell.values["n_layers"] == 2)
            test = {"exact_match_accuracy": match, "ece": 0.5, "mean_utility": -match}
            test["gap_closed"] = None if cell.seed == 1 else match
            results = {"training": {"fit_seconds": 2.0 + cell.seed}, "test": test, **documents}
            cell.path.mkdir(exist_ok=True)
            (cell.path / "results.json").write_text(json.dumps(results))
        return plan, planned

    return make


def test_the_summary_holds_means_over_seeds(invented, registry, tmp_path):
    plan, planned = invented()
    summary = summarise(plan, tmp_path, planned, [], registry)
    entries = {entry["value"]: entry for entry in summary["factors"]["n_layers"]["values"]}
    assert list(entries) == [1, 2, 3, 4]
    assert [entry["base"] for entry in entries.values()] == [True, False, False, False]
    two = entries[2]
    assert (two["n"], two["seeds"]) == (3, [0, 1, 2])
    assert two["cells"] == [cell_name(p, seed) for p in points(plan, registry) if p.value == 2 for seed in range(3)]
    assert two["test"]["exact_match_accuracy"]["mean"] == pytest.approx(1.1)
    assert two["test"]["exact_match_accuracy"]["std"] == pytest.approx(0.1)
    assert two["test"]["gap_closed"]["n"] == 2
    assert two["test"]["gap_closed"]["std"] == pytest.approx(math.sqrt(0.02))
    assert two["fit_seconds"] == {"n": 3, "mean": 3.0, "std": 1.0}
    assert "val" not in two


def test_cells_without_readable_results_are_named(invented, registry, tmp_path):
    plan, planned = invented()
    (tmp_path / "base-seed1" / "results.json").write_text("{")
    (tmp_path / "n_layers-2-seed0" / "results.json").unlink()
    summary = summarise(plan, tmp_path, planned, [], registry)
    assert [failure["cell"] for failure in summary["failures"]] == ["base-seed1"]
    assert summary["missing"] == ["n_layers-2-seed0"]
    assert summary["factors"]["n_layers"]["values"][0]["seeds"] == [0, 2]


def png_size(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def test_a_picture_has_a_panel_more_where_outcomes_are_known(invented, registry, tmp_path):
    plan, planned = invented()
    wide, height = png_size(picture("n_layers", summarise(plan, tmp_path, planned, [], registry)))
    plan, planned = invented(test={"exact_match_accuracy": 0.5, "ece": 0.1})
    narrow, same = png_size(picture("n_layers", summarise(plan, tmp_path, planned, [], registry)))
    assert height == same
    assert narrow < 0.7 * wide


def test_the_report_is_written_whole_and_says_what_is_in_it(invented, registry, tmp_path):
    plan, planned = invented()
    summary = summarise(plan, tmp_path, planned, [CellResult("x", "broke", "Traceback")], registry)
    write_report(summary, tmp_path)
    read = json.loads((tmp_path / "summary.json").read_text())
    assert read["plan"]["base"]["n_layers"] == 1
    assert read["failures"] == [{"cell": "x", "error": "broke", "traceback": "Traceback"}]
    assert {path.name for path in tmp_path.glob("*.png")} == {read["factors"]["n_layers"]["picture"]}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
