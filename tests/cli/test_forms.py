"""The short form and the long one are one command: the same options, the same help, the same results."""

from __future__ import annotations

import json
import re

import pytest
import typer

from planner_core.cli import app as module
from planner_core.cli.console import JsonFlag
from planner_core.cli.forms import COMMANDS
from planner_core.cli.groups import Group
from planner_core.cli.usage import USAGE_ERROR

ROOT = typer.main.get_command(module.app)


def options(command):
    """{names: what its help says of it} of every option but the policy's."""
    return {
        tuple(p.opts): (p.help, p.default, p.metavar, p.required, p.multiple)
        for p in command.params
        if p.param_type_name == "option" and p.name != "policy"
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_both_forms_have_the_same_options(name):
    short, long = ROOT.commands[name], ROOT.commands["run"].commands[name]
    assert options(short) == options(long) and "json" in {p.name for p in short.params}
    named = {p.name: p for p in long.params}
    assert named["policy"].opts == ["--policy", "-p"] and not named["policy"].required
    assert next(p for p in short.params if p.name == "policy").required


@pytest.mark.parametrize("name", COMMANDS)
def test_both_helps_say_the_same_with_an_example_in_their_own_form(planner, name):
    short, long = planner(name, "--help"), planner("run", name, "-h")
    assert short.code == long.code == 0
    text = {form: " ".join(re.findall(r"[^\s│]+", said.out)) for form, said in (("short", short), ("long", long))}
    assert f"Example: planner {name} mlp" in text["short"]
    assert f"Example: planner run --policy mlp {name}" in text["long"]
    docs = [ROOT.commands[name].help, ROOT.commands["run"].commands[name].help]
    assert docs[0] == docs[1].replace(f"planner run --policy mlp {name}", f"planner {name} mlp") != docs[1]


def test_the_short_forms_stand_apart_in_the_help(planner):
    text = planner("--help").out
    first, second = text.index("Commands"), text.index("One policy: planner train POLICY is planner run")
    assert first < second < text.index("│ train ")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "Example: planner train mlp" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("config", "mlp", "--set", "lr=0.5"),
        ("run", "--policy", "mlp", "config", "--set", "lr=0.5"),
        ("run", "-p", "mlp", "config", "--set", "lr=0.5"),
        ("run", "config", "--policy", "mlp", "--set", "lr=0.5"),
        ("run", "-p", "mlp", "config", "-p", "mlp", "--set", "lr=0.5"),
    ],
)
def test_every_place_of_the_policy_gives_the_same(planner, arguments):
    said = planner(*arguments)
    assert said.code == 0 and "lr: 0.5" in said.out
    assert said.out == planner("config", "mlp", "--set", "lr=0.5").out


def test_training_and_judging_give_the_same_in_both_forms(planner, world, tmp_path):
    small = ("--dataset", world, "--set", "epochs=1", "--set", "d_hidden=8", "--seed", "5", "--json")
    short = json.loads(planner("train", "mlp", "--out", "a", *small).out)
    long = json.loads(planner("run", "--policy", "mlp", "train", "--out", "b", *small).out)
    assert short["val"] == long["val"] and (short["run"], long["run"]) == ("a", "b")
    judged = [
        planner(*form, "--from", "a", "--dataset", world, "--json").out
        for form in (("evaluate", "mlp"), ("run", "--policy", "mlp", "evaluate"))
    ]
    assert judged[0] == judged[1] and json.loads(judged[0])["policy"] == "mlp"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "train"), ("say which policy: planner run --policy POLICY train, or planner train POLICY", "mlp")),
        (("train",), ("say which policy: planner train POLICY", "there are heuristic, joint, mlp, outcome")),
        (("run", "-p", "mlp", "config", "-p", "joint"), ("two policies, 'mlp' and 'joint'; name one",)),
    ],
)
def test_which_policy(planner, arguments, words):
    said = planner(*arguments)
    assert said.code == 2 and said.out == ""
    assert all(word in said.err for word in words), said.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "config", "mlp"),
        ("config", "--json", "mlp"),
        ("run", "--json", "--policy", "mlp", "config"),
        ("--json", "run", "--policy", "mlp", "config"),
        ("run", "--policy", "mlp", "config", "--json"),
    ],
)
def test_json_before_a_command_is_json_after_it(planner, arguments):
    assert json.loads(planner(*arguments).out)["d_hidden"] == 512


def test_json_of_every_group_and_of_plugins_groups(planner):
    contracts = json.loads(planner("data", "schema", "--json").out)
    for arguments in (
        ("--json", "data", "schema"),
        ("data", "--json", "schema"),
        ("--json", "data", "--json", "schema"),
    ):
        assert json.loads(planner(*arguments).out) == contracts
    assert json.loads(planner("plugin", "--json", "new", "abc").out)["policy"] == "abc"
    for arguments in (("--json", "bench", "train", "--examples", "x"), ("bench", "--json", "train", "--examples", "x")):
        said = planner(*arguments)
        assert said.code == 2 and json.loads(said.err)["error"]["place"]["command"] == "planner bench train"


def test_a_command_without_json_says_so_and_what_one_returns_is_no_exit_code():
    own = typer.Typer(cls=Group)

    @own.callback()
    def group(json: JsonFlag = False):
        """A group."""

    @own.command("mute")
    def mute():
        """A stranger's command."""
        return 5

    command = typer.main.get_command(own)
    with pytest.raises(USAGE_ERROR, match="own mute' has no option '--json'"):
        command.main(["--json", "mute"], prog_name="own", standalone_mode=False)
    assert command.main(["mute"], prog_name="own", standalone_mode=False) is None
