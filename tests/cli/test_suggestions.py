"""What was probably meant, at every level, and errors as JSON."""

from __future__ import annotations

import json

import pytest


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("evalute", "planner evaluate"),
        ("run evalute", "planner run evaluate"),
        ("run --policy mlp evalute", "planner run --policy mlp evaluate"),
        ("policys", "planner policies"),
        ("synth", "planner data synth"),
        ("sinth", "planner data synth"),
        ("data train", "planner train"),
        ("run policies", "planner policies"),
        ("run validate x", "planner data validate"),
        ("plugin nwe x", "planner plugin new"),
        ("bench pears", "planner bench peers"),
        ("mlp train", "planner train mlp"),
        ("mlp", "planner train mlp' or 'planner evaluate mlp"),
        ("run mlp evaluate", "planner run --policy mlp evaluate"),
        ("policies --jsn", "--json"),
        ("evaluate mlp --spilt val", "--split"),
        ("run -p mlp train --datset x", "--dataset"),
        ("--dataset x train mlp", "planner train --dataset"),
        ("--policy mlp train", "planner run --policy' or 'planner export --policy"),
        ("--policy mlp export", "planner export --policy"),
        ("run --resume train", "planner run train --resume"),
        ("data --seed 3 synth", "planner data synth --seed"),
        ("policies --version", "planner --version"),
        ("data synth --worl x", "--world"),
    ],
)
def test_did_you_mean(planner, monkeypatch, typed, meant):
    said = planner(*typed.split())
    assert said.code == 2 and said.out == ""
    assert f"(did you mean '{meant}'?)" in said.err, said.err
    assert f"planner {typed.split()[0]}" in said.err or "Usage: planner [OPTIONS]" in said.err
    assert "Traceback" not in said.err


def test_nothing_is_suggested_where_nothing_is_near(planner):
    said = planner("qqqqqq")
    assert said.code == 2 and "'planner' has no command 'qqqqqq'" in said.err and "did you mean" not in said.err
    said = planner("policies", "--qqqqqq", "--json")
    assert said.code == 2 and "suggestions" not in json.loads(said.err)["error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("evaluate mlp --value pas=2", "there is no 'pas' (did you mean 'pass'?)"),
        ("train mlp --value pass", "expected KEY=NUMBER"),
        ("compare --value P9.pass=2", "there is no priority 'P9'"),
        ("plan --issues x --from y --value hours=1", "did you mean 'hour'?"),
        ("report --out x.html --value pas=2", "did you mean 'pass'?"),
        ("evaluate mlp --against as_rum", "did you mean 'as_run'?"),
        ("compare --against heuristics", "did you mean 'heuristic'?"),
        ("evaluate mlp --split tset", "choose train, val, test"),
        ("predict mlp --ids --counts", "give one of them"),
    ],
)
def test_a_wrong_word_is_wrong_usage_and_is_said_before_any_work(planner, tmp_path, arguments, words):
    said = planner(*arguments.split())
    assert said.code == 2 and said.out == "" and words in said.err, said.err
    assert list(tmp_path.iterdir()) == []


def test_an_option_that_is_missing_comes_with_an_example(planner):
    said = planner("plan")
    assert said.code == 2
    assert "Usage: planner plan [OPTIONS]" in said.err and "Missing option '--issues'" in said.err
    assert "Example: planner plan --issues issues.jsonl" in said.err and "Help: planner plan --help" in said.err


def error(said):
    """The error of a failed command under ``--json``; nothing else is on either stream."""
    assert said.out == "" and said.err.count("\n") == 1
    document = json.loads(said.err)
    assert document.keys() == {"error"} and {"kind", "message", "place", "exit_code"} <= document["error"].keys()
    assert document["error"]["exit_code"] == said.code
    return document["error"]


def test_wrong_usage_as_json(planner):
    found = error(planner("evalute", "--json"))
    assert (found["kind"], found["exit_code"]) == ("UsageError", 2)
    assert found["message"] == "'planner' has no command 'evalute'" and found["suggestions"] == ["planner evaluate"]
    assert found["place"] == {"command": "planner"}
    found = error(planner("--json", "evaluate", "mlp", "--split", "x"))
    assert found["place"] == {"command": "planner evaluate", "parameter": "--split"}
    assert found["usage"].startswith("planner evaluate [OPTIONS]") and found["example"].startswith(
        "planner evaluate mlp"
    )
    found = error(planner("data", "synth", "--examples", "3", "--json"))
    assert found["place"] == {"command": "planner data synth", "parameter": "--examples"}
    found = error(planner("train", "--json"))
    assert found["place"] == {"command": "planner train", "parameter": "POLICY"}
    assert error(planner("plan", "--json"))["place"]["parameter"] == "--issues"


def test_bad_data_as_json(planner, tmp_path, write_lines):
    write_lines(tmp_path / "data", [{"run_id": 3}])
    found = error(planner("data", "validate", "data", "--json"))
    assert (found["kind"], found["exit_code"]) == ("DataError", 1)
    assert found["place"]["line"] == 1 and found["place"]["source"].endswith("dataset.jsonl")
    assert found["expected"] in found["message"]
    found = error(planner("--json", "train", "mpl"))
    assert found["kind"] == "RegistryError" and found["place"] is None and "did you mean 'mlp'" in found["message"]


def test_an_error_of_the_system_as_json(planner, tmp_path):
    (tmp_path / "afile").write_text("mine")
    found = error(planner("plugin", "new", "abc", "--out", "afile/x", "--json"))
    assert found["kind"] == "NotADirectoryError" and "afile" in found["place"]["source"]


def test_json_after_two_dashes_is_an_argument(planner):
    said = planner("policies", "--", "--json")
    assert said.code == 2 and said.err.startswith("Usage: ")


def test_an_error_without_json_is_one_line(planner):
    assert planner("train", "mpl").err == (
        "error: no policy is called 'mpl' (did you mean 'mlp'?); registered: heuristic, joint, mlp, outcome\n"
    )


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("help", "planner help [OPTIONS] [TOPIC]"),
        ("log", "planner log [OPTIONS] [PATH]"),
        ("compare", "planner compare [OPTIONS] [POLICY|RUN|BUNDLE]"),
        ("predict", "[FILE|-]"),
    ],
)
def test_what_may_be_left_out_stands_in_one_pair_of_brackets(planner, command, usage):
    said = planner(command, "--help").out
    assert usage in said and "[[" not in said


@pytest.mark.parametrize(("typed", "form"), [("export mlp", "export --policy POLICY"), ("train", "train POLICY")])
def test_a_policy_is_asked_for_in_the_form_that_the_command_takes(planner, typed, form):
    said = planner(*typed.split())
    assert said.code == 2 and f"say which policy: planner {form}; there are heuristic" in said.err
