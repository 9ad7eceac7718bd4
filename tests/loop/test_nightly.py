"""The nightly job: what it calls, what becomes of the exit code of each step, and two nights on simulated logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from planner_core import Change, LiveWorld, default_action, read_bundle

ROOT = Path(__file__).resolve().parents[2]
NIGHTLY = ROOT / "examples" / "nightly"

# Stands for ``planner``: writes down what it was called with, fails where it is told to, makes what a step would make.
PLANNER = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> calls.txt
for word in "$@"; do
  [ "$word" != "$FAILS" ] || { echo "error: $word does not work" >&2; exit "$CODE"; }
done
case "$*" in
  export*) mkdir -p serving; echo "model.onnx: small"; echo "outcome: it is better than the rules" ;;
  watch*) echo "$WATCHED"; [ -z "$STALE" ] || exit 1 ;;
  promote*) printf '{"promoted": %s, "text": "Because."}' "$PROMOTED" ;;
esac
"""


@pytest.fixture
def night(tmp_path):
    """Run the script with a stand-in for ``planner``; returns (exit code, last line of output, standard error)."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    (bin_dir / "planner").write_text(PLANNER)
    (bin_dir / "planner").chmod(0o755)
    path = os.pathsep.join([str(bin_dir), str(Path(sys.executable).parent), os.environ["PATH"]])

    def run(**given):
        told = {"FAILS": "none", "CODE": "1", "WATCHED": "All is well.", "STALE": "", "PROMOTED": "false"}
        where = {"BUNDLE": "serving", "ISSUES": "issues.jsonl", "RUNS": "may.jsonl:june.jsonl", "WORK": "nights"}
        env = {**os.environ, "PATH": path, **told, **where, **given}
        done = subprocess.run(
            ["bash", NIGHTLY / "nightly.sh"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
        )
        return done.returncode, (done.stdout.splitlines() or [""])[-1], done.stderr

    run.place = tmp_path
    return run


def calls(night):
    return (night.place / "calls.txt").read_text().splitlines()


def test_a_first_night_exports(night):
    code, said, _ = night()
    assert code == 0 and said.endswith(" first: outcome: it is better than the rules")
    steps = [call.split()[0] for call in calls(night)]
    assert steps == ["data", "run", "compare", "export"]
    assert "--issues issues.jsonl --runs may.jsonl --runs june.jsonl" in calls(night)[0]
    assert (night.place / "nights" / "nights.txt").read_text().strip() == said


@pytest.mark.parametrize(("promoted", "said"), [("true", "promoted: Because."), ("false", "kept: Because.")])
def test_a_later_night_promotes_or_keeps_and_says_why(night, promoted, said):
    (night.place / "serving").mkdir()
    code, last, _ = night(PROMOTED=promoted, DECISIONS="decisions.jsonl", MARGIN="0.1", VALUE="--value usd=0.3")
    assert code == 0 and last.endswith(said)
    found = calls(night)
    assert [call.split()[0] for call in found] == ["data", "run", "watch", "compare", "promote"]
    assert "--decisions decisions.jsonl" in found[0] and "--decisions decisions.jsonl" in found[2]
    assert "--incumbent serving" in found[-1] and "--out serving --margin 0.1 --value usd=0.3" in found[-1]


def test_sources_are_imported_beside_the_logs(night):
    assert night(SOURCES="tracker:a b.csv", IMPORT="--as table")[0] == 0
    first, build = calls(night)[:2]
    assert first.startswith("data import tracker a b.csv --out") and first.endswith("--as table")
    assert build.count("--issues") == 2 and build.count("--runs") == 3


@pytest.mark.parametrize("step", ["import", "build", "train", "compare", "export", "promote"])
def test_a_step_that_fails_ends_the_night_with_its_code(night, step):
    serving = night.place / "serving"
    if step != "export":
        serving.mkdir()
    code, said, problems = night(FAILS=step, CODE="3", SOURCES="tracker")
    assert code == 3 and f"failed: {step} ended with 3, what serves is as it was" in said
    assert f"error: {step} does not work" in problems
    assert calls(night)[-1].split().count(step) == 1  # nothing after it
    assert said.split()[0] in (night.place / "nights" / "nights.txt").read_text()


def test_a_stale_model_is_said_and_is_no_failure(night):
    (night.place / "serving").mkdir()
    code, _, _ = night(STALE="1", WATCHED="The model is stale.", DECISIONS="d.jsonl")
    assert code == 0 and calls(night)[-1].startswith("promote")
    code, said, _ = night(FAILS="watch", CODE="1", DECISIONS="d.jsonl")  # an error, which prints nothing
    assert code == 1 and "failed: watch ended with 1" in said
    assert night(FAILS="watch", CODE="2", DECISIONS="d.jsonl")[0] == 2


def test_a_promotion_that_cannot_be_read_is_no_incumbent_that_was_kept(night):
    (night.place / "serving").mkdir()
    code, said, _ = night(PROMOTED="")
    assert code == 1 and "failed: what promote said cannot be read" in said and "kept" not in said


def test_one_night_at_a_time(night):
    import fcntl

    (night.place / "nights").mkdir()
    with (night.place / "nights" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, problems = night()
    assert code == 75 and "still at work" in problems and not (night.place / "calls.txt").exists()


def test_without_a_bundle_to_serve_nothing_happens(night):
    assert night(BUNDLE="")[0] != 0 and not (night.place / "calls.txt").exists()


def test_the_workflow_calls_the_script_with_what_it_knows():
    workflow = yaml.safe_load((NIGHTLY / "nightly.yml").read_text())
    steps = workflow["jobs"]["night"]["steps"]
    (step,) = (s for s in steps if "nightly.sh" in s.get("run", ""))
    script = (NIGHTLY / "nightly.sh").read_text()
    assert all(f'"${{{name}:' in script for name in step["env"])
    assert (ROOT / step["run"].split()[1]).is_file()
    assert workflow[True]["schedule"][0]["cron"].split()[2:] == ["*", "*", "*"]


def simulated(place, begin, end):
    """Issues and runs of a simulated log: the rules, and every third time another budget, with known probability."""
    world = LiveWorld(400, 5, changes=[Change(begin_ms=1_767_300_000_000, usd_per_candidate_minute=0.02)])
    rows, runs = [], []
    for issue in range(begin, end):
        row = world.row(issue)
        rows.append(row)
        action = default_action(world.job_type(issue), row["dk_risk"], row["dk_size"])
        other = action._replace(minutes=120 if action.minutes != 120 else 30)
        run = world.run(issue, 0, world.arrival_ms(issue), other if issue % 3 == 0 else action, f"run-{issue}")
        runs.append({**run.summary, "propensity": 1 / 3 if issue % 3 == 0 else 2 / 3})
    for name, lines in (("issues", rows), ("runs", runs)):
        (place / f"{name}-{begin}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return place / f"issues-{begin}.jsonl", place / f"runs-{begin}.jsonl"


@pytest.mark.slow
def test_two_nights_on_simulated_logs(tmp_path):
    """As a user runs it: the real commands, from logs to a bundle and to the decision about the next one."""
    first, second = simulated(tmp_path, 0, 250), simulated(tmp_path, 250, 400)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quick = "--set rounds=1 --set steps=10 --set residuals=false"
    served = tmp_path / "serving"

    def run(*logs):
        issues, runs = (":".join(str(pair[i]) for pair in logs) for i in (0, 1))
        given = {"BUNDLE": str(served), "WORK": str(tmp_path / "nights"), "ISSUES": issues, "RUNS": runs}
        env = {**os.environ, "PATH": path, **given, "TRAIN": quick}
        return subprocess.run(["bash", NIGHTLY / "nightly.sh"], env=env, capture_output=True, text=True, timeout=600)

    done = run(first)
    assert done.returncode == 0 and " first: " in done.stdout, done.stderr
    before = read_bundle(served).digest
    done = run(first, second)
    assert done.returncode == 0, done.stderr
    nights = (tmp_path / "nights" / "nights.txt").read_text().splitlines()
    assert len(nights) == 2 and (" kept: " in nights[1]) is (read_bundle(served).digest == before)
    assert "kept: The incumbent stays: " in nights[1] or "promoted: The candidate takes its place: " in nights[1]
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{no json\n")
    done = run((first[0], broken))
    assert done.returncode == 1 and "failed: build ended with 1" in done.stdout and "broken.jsonl" in done.stderr
