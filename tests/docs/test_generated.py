"""The pages of commands, errors and files are what the source says today, and tell of everything there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import msgspec
import pytest

from planner_core import EncoderConfig, PolicyContext, weight_table
from planner_core.data.documents import CONTRACTS
from planner_core.harness.evaluation import baseline_decider, evaluate
from planner_core.runtime.reasons import REASONS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", ["commands", "errors", "files"])
def test_a_page_is_up_to_date(script, name):
    page = script(f"make_{name}").page()
    assert (REFERENCE / f"{name}.md").read_text() == page, "run 'make reference'"


def test_every_command_has_a_section_and_every_option_a_row(script):
    text = (REFERENCE / "commands.md").read_text()
    sections = dict(re.findall(r"^## `(planner[^`]*)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    found = 0
    for path, command in leaves("planner", script("make_commands").command_line()):
        found += 1
        for parameter in command.params:
            for name in parameter.opts if parameter.name != "help" else ():
                shown = name if name.startswith("-") else (parameter.metavar or name.upper()).strip("[]")
                assert f"`{shown.replace('|', chr(92) + '|')}" in sections[path], (path, name)
        assert "```sh\nplanner " in sections[path], f"{path} shows no example"
    assert found > 20


def leaves(path, command):
    inner = getattr(command, "commands", {})
    if not inner:
        yield path, command
    for name, own in inner.items():
        yield from leaves(f"{path} {name}", own)


def test_every_error_class_and_every_reason_is_there():
    text = (REFERENCE / "errors.md").read_text()
    classes = set()
    for path in (ROOT / "planner_core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in BASES for b in node.bases):
                classes.add(node.name)
    assert len(classes) > 12
    assert {name for name in classes | set(REASONS) if f"| `{name}`" not in text} == set()


BASES = {"PlannerError", "BaseException"}


def test_every_key_of_every_contract_is_there():
    text = (REFERENCE / "files.md").read_text()
    for contract in CONTRACTS:
        assert f"## Contract `{contract.name}`" in text
        for field in msgspec.structs.fields(contract.struct):
            assert f"| `{field.encode_name}` |" in text, (contract.name, field.encode_name)


@pytest.mark.parametrize("against", ["heuristic", "as_run"])
def test_every_key_of_an_evaluation_is_told(script, dataset, registry, against):
    context = PolicyContext(EncoderConfig())
    rules = baseline_decider(registry, context, weight_table())
    found = evaluate("heuristic", rules, dataset, "test", registry, context, against=against, sensitivity=True)
    told = script("file_notes").EVALUATION
    assert sorted(set(found.to_dict()) - set(told)) == []
