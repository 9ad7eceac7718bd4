"""The reference pages are what the docstrings say today, and cover every hook and every member."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path

import planner_core
from planner_core import policy
from planner_core.plugins import hookspecs, records

DOCS = Path(__file__).resolve().parents[2] / "docs"
MADE = runpy.run_path(str(DOCS / "make_reference.py"))


def test_pages_are_up_to_date():
    expected = MADE["pages"]()
    found = {path.name: path.read_text() for path in (DOCS / "reference").iterdir()}
    assert sorted(found) == sorted([*expected, *MADE["OTHERS"]])
    stale = [name for name, text in expected.items() if found[name] != text]
    assert not stale, f"{', '.join(stale)}: run 'make reference'"


def test_every_hook_has_a_page():
    hooks = [name for name in vars(hookspecs) if name.startswith("planner_")]
    assert len(hooks) >= 6 and {f"{name}.md" for name in hooks} <= set(MADE["pages"]())


def test_every_member_of_the_protocol_has_its_section():
    pages = MADE["pages"]()
    for described in (policy.BasePolicy, policy.TrainablePolicy, policy.PolicySpec, records.TrainingCallback):
        found = {n: v for n, v in vars(described).items() if not n.startswith("_")}
        members = [n for n, v in found.items() if inspect.isfunction(v) or isinstance(v, property)]
        assert members
        for member in members:
            assert f"## `{described.__name__}.{member}`" in pages[f"{described.__name__}.md"]


def test_every_page_describes_a_public_name():
    names = {name.removesuffix(".md") for name in MADE["pages"]()} - {"README"}
    assert {n for n in names if not n.startswith("planner_")} <= set(planner_core.__all__)


def test_a_changed_docstring_is_noticed(monkeypatch):
    before = MADE["pages"]()
    monkeypatch.setattr(policy.BasePolicy.predict, "__doc__", "Something else.")
    after = MADE["pages"]()
    assert [name for name in before if before[name] != after[name]] == ["BasePolicy.md"]
