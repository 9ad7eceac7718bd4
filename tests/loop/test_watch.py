"""``planner watch`` on logs as a kernel leaves them, with a bundle of the outcome policy."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from logs import DAY, HOUR, START, Logs

from planner_core import ConfigError, DataError, read_bundle
from planner_loop.watch import watch


@pytest.fixture(scope="module")
def identity(outcome_bundle):
    return read_bundle(outcome_bundle).digest[:16]


@pytest.fixture
def logs(tmp_path, identity):
    return Logs(tmp_path, identity)


@pytest.fixture
def look(tmp_path, outcome_bundle):
    def call(**options):
        return watch(tmp_path / "decisions.jsonl", tmp_path / "runs.jsonl", outcome_bundle, **options)

    return call


def test_a_model_that_does_what_it_says(logs, look):
    logs.write(300, seed=1)
    found = look(window_hours=24)
    assert not found.stale and found.reasons == [] and found.decisions == found.issues == 300
    assert found.predictions.passed.runs == 300
    assert sum(found.ab.issues.values()) + found.ab.waiting == 300 and found.ab.waiting > 0
    assert found.text.startswith("Nothing speaks against the model")
    assert json.loads(json.dumps(found.to_json()))["ab"]["utility"]["low"] is not None


def test_one_run_with_a_wrong_clock_lets_no_issue_enter_early(logs, look, tmp_path):
    logs.write(300, seed=1)
    right = look(window_hours=24)
    runs = tmp_path / "runs.jsonl"
    lines = runs.read_text().splitlines()
    lost = {**json.loads(lines[0]), "run_id": "lost", "started_ms": START + 80 * 365 * DAY}
    runs.write_text("\n".join([*lines, json.dumps(lost)]) + "\n")
    found = look(window_hours=24)
    # Those of five hours may enter, as after a decision whose run has not ended; without the bound all would.
    assert right.ab.waiting / 2 < found.ab.waiting <= right.ab.waiting


def test_one_that_is_worse_than_the_rules(logs, look):
    logs.write(600, seed=2, gain=-0.4)
    found = look(window_hours=24)
    assert found.stale and found.ab.answer == "worse" and "worse than the baseline" in found.text


def test_one_that_promises_too_much(logs, look):
    logs.write(300, seed=3, error=0.25)
    found = look()
    assert found.stale and any("off what was predicted" in reason for reason in found.reasons)
    assert not look(tolerance=0.5).stale


def test_too_little_is_said_and_is_not_stale(logs, look):
    logs.write(12, seed=4, gain=-0.9, error=0.9)
    found = look()
    assert not found.stale and any("too few to judge predictions" in note for note in found.notes)
    assert any("before 30 issues of each arm" in note for note in found.notes)


def test_fallbacks_beyond_what_is_allowed(logs, look):
    logs.write(120, seed=5, reason="inference_failed: out of memory")
    found = look()
    assert found.stale and "fell back, mostly: inference_failed" in found.text
    assert found.fallbacks.by_reason == {"inference_failed": found.fallbacks.decisions}
    assert not look(most_fallbacks=1.0).stale


@pytest.mark.parametrize("mode", ["off", "log"])
def test_where_the_model_does_not_decide_nothing_is_divided(logs, look, mode):
    logs.write(80, seed=6, mode=mode, arm="baseline")
    found = look(window_hours=24)
    assert found.ab.undivided == 80 and found.ab.issues == {"model": 0, "baseline": 0}
    assert any("there is no A/B to judge" in note for note in found.notes)


def test_decisions_of_another_bundle_are_not_judged(logs, look):
    logs.write(40, seed=7, model="another")
    logs.write(60, seed=8, first=20, begin=START + 40 * DAY)  # issues 20 to 39 were the other's
    found = look(window_hours=24)
    assert (found.decided, found.decisions, found.ab.earlier) == (100, 60, 20)
    assert any("40 decisions of other bundles" in note for note in found.notes)
    assert found.runs_left_out == {"follow a decision of another bundle": 40}


def test_decisions_without_a_bundle_are_that_of_the_one_before(logs, look):
    logs.write(40, seed=9)
    logs.write(10, seed=10, first=40, begin=START + 40 * DAY, model=None, reason="bundle_unusable: gone")
    assert look().decisions == 50


def test_none_of_the_decisions_is_the_bundles(logs, look):
    logs.write(40, seed=11, model="another")
    found = look()
    assert not found.stale and found.text == "There is no decision of this bundle to watch."
    assert "none of the 40 decisions" in found.notes[0]


def test_runs_join_by_name_else_by_time_and_other_plans_are_no_prediction(logs, look):
    logs.write(60, seed=12, named=False)
    assert look().predictions.passed.runs == 60
    logs.write(60, seed=13, first=60, other_plan=True)
    found = look()
    assert found.runs == 120 and found.predictions.passed.runs == 60
    assert found.runs_left_out["ran another plan than was decided"] == 60


def test_damaged_lines_are_counted_and_named(logs, look, tmp_path):
    logs.write(50, seed=14)
    path = tmp_path / "decisions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    bad = [b'{"schema_version": "swarm_planner.decision.v1", "arm": "left"}\n'] * 5
    path.write_bytes(b"".join([*lines[:10], *bad, lines[10][:90], b"\n", *lines[11:]]) + b'{"torn')
    found = look()
    assert found.decisions == 49 and found.damaged_lines == 7
    assert len(found.damaged) == 3 and "line 11" in found.damaged[0]
    assert any("7 damaged lines" in note for note in found.notes)


def test_an_input_that_is_none_and_a_line_that_is_nested_too_deeply_are_damage(logs, look, tmp_path, world_lines):
    inputs = [row["planner_input"] for row in world_lines(40)]
    inputs[3] = {"issue": {"dk_priority": "P1"}}
    logs.write(40, seed=11, inputs=inputs)
    with (tmp_path / "decisions.jsonl").open("a") as stream:
        stream.write("[" * 200_000 + "\n" + '{"a":' * 200_000 + "\n")
    found = look()
    assert (found.decided, found.damaged_lines) == (39, 3)
    assert "planner_input of decision" in found.damaged[0] and "line 41: found [[[" in found.damaged[1]


def test_a_run_whose_clock_is_behind_follows_the_decision_it_names(logs, look, tmp_path):
    logs.write(200, seed=12)
    expected = look(window_hours=24).ab
    runs = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    for run in runs:
        run["started_ms"] -= 90_000  # before the decision, as where a kernel's run begins with the asking
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    found = look(window_hours=24).ab
    assert found.without_run == 0 and found.utility == expected.utility


def test_a_file_that_is_no_decision_log(logs, look, tmp_path):
    logs.write(5, seed=15)
    (tmp_path / "decisions.jsonl").write_bytes((tmp_path / "runs.jsonl").read_bytes())
    with pytest.raises(DataError, match="no decision"):
        look()


def test_a_directory_of_logs_with_their_parts(logs, tmp_path, outcome_bundle):
    place = tmp_path / "logs"
    place.mkdir()
    logs.write(30, seed=16)
    (tmp_path / "decisions.jsonl").rename(place / "a.jsonl.000001")
    logs.write(30, seed=17, first=30)
    (tmp_path / "decisions.jsonl").rename(place / "a.jsonl")
    logs.write(20, seed=18, first=60)
    (place / "b.jsonl").write_bytes((tmp_path / "decisions.jsonl").read_bytes())
    (place / "b-copy.jsonl").write_bytes((tmp_path / "decisions.jsonl").read_bytes())
    (place / "notes.txt").write_text("none")
    found = watch(place, tmp_path / "runs.jsonl", outcome_bundle)
    assert found.decisions == 80 and found.predictions.passed.runs == 80
    with pytest.raises(DataError, match=r"\*\.jsonl"):
        empty = tmp_path / "empty"
        empty.mkdir()
        watch(empty, tmp_path / "runs.jsonl", outcome_bundle)


def test_inputs_are_held_against_those_of_the_training(logs, look, world):
    lines = (world / "dataset.jsonl").read_bytes().splitlines()
    given = [json.loads(lines[i])["planner_input"] for i in np.random.default_rng(0).permutation(len(lines))[:100]]
    logs.write(100, seed=19, inputs=given, every=2 * HOUR)
    same = look()
    assert same.inputs.enough and same.inputs.issues == 100 and same.inputs.shifted == []
    for x in given:
        x["issue"]["dk_size"], x["issue"]["dk_risk"] = "XL", "critical"
    logs.clear()
    logs.write(100, seed=19, inputs=given)
    assert look().inputs.shifted == [] and any("of 4.1 days are too few" in note for note in look().notes)
    logs.clear()
    logs.write(100, seed=19, inputs=given, every=2 * HOUR)
    moved = look()
    assert moved.stale and {"size", "risk"} <= set(moved.inputs.shifted)
    assert "not those it was trained on" in moved.text


def test_a_bundle_that_does_not_know_its_training_inputs(logs, tmp_path, bundles):
    logs.identity = read_bundle(bundles["heuristic"]).digest[:16]
    logs.write(40, seed=20)
    found = watch(tmp_path / "decisions.jsonl", tmp_path / "runs.jsonl", bundles["heuristic"])
    assert found.inputs is None and any("does not say what inputs it was trained on" in n for n in found.notes)


def test_what_outcomes_are_worth_is_the_bundles_unless_said(logs, look, outcome_bundle):
    logs.write(80, seed=21)
    usual, dear = look(window_hours=24), look(window_hours=24, value=["usd=9"])
    assert usual.utility == read_bundle(outcome_bundle).metadata["utility"]
    assert dear.utility["P2"]["cost"] == 9.0 and dear.ab.utility.estimate != usual.ab.utility.estimate


@pytest.mark.parametrize("options", [{"window_hours": 0}, {"tolerance": 2}, {"most_fallbacks": -1}, {"value": ["x=1"]}])
def test_options_that_are_none(logs, look, options):
    logs.write(3, seed=22)
    with pytest.raises(ConfigError):
        look(**options)


# -- the command


def command(place, bundle, *more, code=0, without=()):
    script = (
        "import sys\n"
        f"for name in {list(without)!r}: sys.modules[name] = None\n"
        "from planner_core.cli.app import main\n"
        f"sys.argv = ['planner', 'watch', '--decisions', 'decisions.jsonl', '--runs', 'runs.jsonl', "
        f"'--from', {str(bundle)!r}, *{list(map(str, more))!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_the_command_says_it_in_80_columns(logs, tmp_path, outcome_bundle):
    logs.write(300, seed=1)
    done = command(tmp_path, outcome_bundle, "--window-hours", "24")
    first, *rest = done.stdout.splitlines()
    assert first.startswith("Nothing speaks against the model")
    shown = [line for line in rest if not line.startswith(("note: ", "300 decisions"))]
    assert len(shown) == 15 and max(map(len, shown)) <= 80
    assert [
        word for word in ("predicted", "A/B", "fallbacks", "utility", "passes", "USD") if word not in done.stdout
    ] == []
    assert "…" not in done.stdout


def test_a_stale_model_is_exit_code_1_with_the_reasons(logs, tmp_path, outcome_bundle):
    logs.write(300, seed=3, error=0.25)
    done = command(tmp_path, outcome_bundle, code=1)
    assert done.stdout.startswith("The model is stale: passes came")
    document = json.loads(command(tmp_path, outcome_bundle, "--json", code=1).stdout)
    assert document["stale"] and document["reasons"] and document["limits"] == {"tolerance": 0.05, "fallbacks": 0.5}


def test_a_page_takes_the_place_of_no_log_that_is_read(logs, tmp_path, outcome_bundle):
    logs.write(5, seed=1)
    before = (tmp_path / "decisions.jsonl").read_bytes()
    done = command(tmp_path, outcome_bundle, "--out", str(tmp_path / "decisions.jsonl"), "--force", code=1)
    assert "is a log that is to be read" in done.stderr
    assert (tmp_path / "decisions.jsonl").read_bytes() == before


def test_no_torch_and_without_river_the_extra_is_named(logs, tmp_path, outcome_bundle):
    logs.write(40, seed=23)
    watched = f"watch(Path('decisions.jsonl'), Path('runs.jsonl'), Path({str(outcome_bundle)!r}))"
    script = (
        "import sys; from pathlib import Path; from planner_loop.watch import watch; "
        f"assert {watched}.decisions == 40; assert not {{'torch', 'onnx'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=120)
    done = command(tmp_path, outcome_bundle, code=1, without=["river"])
    assert "planner watch needs the 'watch' extra" in " ".join(done.stderr.split())
