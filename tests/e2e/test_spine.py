"""From a run log to a decision, by the installed command."""

from __future__ import annotations

import json
import re


def test_policies_lists_the_built_ins(planner, tmp_path):
    rows = json.loads(planner("policies", "--json", cwd=tmp_path).stdout)
    assert {(r["name"], r["distribution"], r["status"]) for r in rows} >= {
        (name, "swarm-planner", "ok") for name in ("heuristic", "mlp", "joint")
    }
    assert {r["name"]: r["trainable"] for r in rows}["heuristic"] is False


def test_run_directory_is_complete(workshop):
    (run,) = (workshop / "runs" / "mlp").iterdir()
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.json",
        "provenance.json",
        "history.json",
        "inputs.json",
        "best_model.pt",
        "calibration.json",
        "results.json",
        "run_manifest.json",
    }
    config = json.loads((run / "config.json").read_text())
    assert config["values"]["d_hidden"] == 32
    assert config["values"]["history_slots"] == 8
    results = json.loads((run / "results.json").read_text())
    assert set(results["val"]) >= {"exact_match_accuracy", "ece", "ece_before", "mean_utility", "heuristic", "floor"}
    assert "--set" in json.loads((run / "provenance.json").read_text())["command"]


def test_evaluate_run_and_bundle_agree(planner, workshop):
    by_run = json.loads(planner("run", "-p", "mlp", "evaluate", "--json", cwd=workshop).stdout)
    by_bundle = json.loads(
        planner("run", "-p", "mlp", "evaluate", "--from", "bundles/mlp", "--json", cwd=workshop).stdout
    )
    for name in ("exact_match_accuracy", "mean_utility", "unique_actions"):
        assert by_run[name] == by_bundle[name]
    for name in ("ece", "ece_before", "joint_ece", "joint_ece_before"):
        assert abs(by_run[name] - by_bundle[name]) < 1e-4


def test_heuristic_needs_no_run(planner, workshop):
    found = json.loads(planner("run", "-p", "heuristic", "evaluate", "--json", cwd=workshop).stdout)
    assert found["exact_match_accuracy"] == found["heuristic"]["exact_match_accuracy"]
    assert found["gap_closed"] == 0.0


def test_predict_streams_json_and_jsonl(planner, workshop):
    lines = (workshop / "data/world/dataset.jsonl").read_text().splitlines()[:5]
    inputs = [json.loads(line)["planner_input"] for line in lines]
    command = ("run", "-p", "mlp", "predict", "--from", "bundles/mlp")
    by_dataset = planner(*command, cwd=workshop, stdin="\n".join(lines)).stdout.splitlines()
    by_input = planner(*command, "-", cwd=workshop, stdin="\n".join(map(json.dumps, inputs))).stdout.splitlines()
    pretty = planner(*command, cwd=workshop, stdin=json.dumps(inputs[0], indent=2)).stdout.splitlines()

    def choice(line):
        action = json.loads(line)
        return action["swarm_id"], action["budgets"], action["input_hash"]

    assert len(by_dataset) == 5
    assert [choice(a) for a in by_dataset] == [choice(a) for a in by_input]
    assert choice(pretty[0]) == choice(by_input[0])


def test_threshold_falls_back_and_says_so(planner, workshop):
    line = (workshop / "data/world/dataset.jsonl").read_text().splitlines()[0]
    done = planner(
        "run", "-p", "mlp", "predict", "--from", "bundles/mlp", "--threshold", "1.0", cwd=workshop, stdin=line
    )
    action = json.loads(done.stdout)
    assert action["abstain_to_default"] is True
    assert action["reason"].startswith("low_confidence:")


def test_missing_bundle_falls_back_only_when_asked(planner, workshop):
    line = (workshop / "data/world/dataset.jsonl").read_text().splitlines()[0]
    planner("run", "-p", "mlp", "predict", "--from", "bundles/none", cwd=workshop, stdin=line, code=1)
    done = planner("run", "-p", "mlp", "predict", "--from", "bundles/none", "--fallback", cwd=workshop, stdin=line)
    assert json.loads(done.stdout)["reason"].startswith("bundle_unusable:")


def test_bench_prints_every_stage(planner, workshop):
    done = planner("bench", "--bundle", "bundles/mlp", "--repeats", "100", "--json", cwd=workshop)
    (result,) = json.loads(done.stdout)["policies"]
    stages = {m["stage"]: m for table in result["tables"] if table["name"] == "stages" for m in table["measurements"]}
    assert {"reference", "decode and validate", "encode", "session", "decision", "JSON to action"} <= set(stages)
    assert all(m["p50"] <= m["p90"] <= m["p99"] <= m["p99.9"] for m in stages.values())


def test_every_command_has_help_with_an_example(planner, tmp_path):
    commands = [
        ("policies",),
        *(("data", name) for name in ("synth", "build", "validate", "info")),
        *(("run", "--policy", "mlp", name) for name in ("train", "evaluate", "predict", "ablate", "config")),
        ("export",),
        ("bench",),
        ("bench", "train"),
        ("bench", "peers"),
        ("check",),
        ("plugin", "new"),
    ]
    for command in commands:
        text = planner(*command, "--help", cwd=tmp_path).stdout
        assert re.search(r"Example: planner ", text), command
        assert "--json" in text, command


def test_wrong_usage_is_exit_code_2(planner, tmp_path):
    planner("data", "synth", cwd=tmp_path, code=2)
    planner("run", "-p", "mlp", "evaluate", "--split", "night", cwd=tmp_path, code=2)
