"""``planner help``: every page of the documentation in the terminal, and what there is to read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planner_core.cli import help as pages_of
from planner_core.cli.app import app
from planner_core.errors import PlannerError

DOCS = Path(__file__).resolve().parents[2] / "docs"


def ask(*arguments):
    return CliRunner().invoke(app, ["help", *arguments], env={"COLUMNS": "100", "NO_COLOR": "1"})


def test_every_page_is_a_topic():
    done = ask("--json")
    assert done.exit_code == 0
    listed = {row["topic"]: row["title"] for row in json.loads(done.stdout)["topics"]}
    written = [*DOCS.glob("*.md"), *(path for path in (DOCS / "reference").glob("*.md") if path.stem != "README")]
    assert sorted(listed) == sorted(path.stem for path in written)
    assert listed["value"] == "Value from logs: does it save me money?" and all(listed.values())


@pytest.mark.parametrize("topic", ["value", "glossary", "BasePolicy"])
def test_prose_holds_at_eighty_columns(topic):
    done = ask(topic)
    assert done.exit_code == 0
    code = {
        line
        for block in (DOCS / f"{topic}.md", DOCS / "reference" / f"{topic}.md")
        if block.exists()
        for line in block.read_text().splitlines()
    }
    long = [line for line in done.stdout.splitlines() if len(line) > pages_of.WIDTH and line not in code]
    assert not long


def test_code_can_be_copied_as_it_stands():
    text = (DOCS / "value.md").read_text()
    block = text.split("```python\n", 1)[1].split("```", 1)[0]
    assert block in ask("value").stdout


def test_the_list_names_pages_and_what_they_are_about():
    said = ask().stdout
    assert "Your own logs" in said and "BasePolicy" in said


def test_a_page_as_json_is_its_markdown():
    done = ask("rollout", "--json")
    assert json.loads(done.stdout) == {"topic": "rollout", "text": (DOCS / "rollout.md").read_text()}


@pytest.mark.parametrize(("word", "hint"), [("vlue", "did you mean 'value'?"), ("run", "planner run --help")])
def test_an_unknown_topic_is_wrong_usage(word, hint):
    done = ask(word)
    assert done.exit_code == 2
    assert hint in done.stderr.replace("│\n│ ", "").replace("\n", " ")


def test_links_become_what_can_be_typed():
    pages = {"value": DOCS / "value.md"}
    text = "[worth](value.md#compare), [a file](../x/y.py), [out](https://e.org), ![p](p.png)`[code](value.md)`"
    assert pages_of.for_terminal(text, pages) == (
        "worth (`planner help value`), a file, out (https://e.org), `[code](value.md)`"
    )


def test_a_wheel_reads_its_own_pages(tmp_path, monkeypatch):
    (tmp_path / "own.md").write_text("# `own` page\n")
    monkeypatch.setattr(pages_of, "_PACKED", tmp_path)
    assert list(pages_of.topics()) == ["own"] and pages_of.title("# `own` page\n") == "own page"


def test_an_installation_without_pages_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pages_of, "_PACKED", tmp_path / "none")
    monkeypatch.setattr(pages_of, "_CHECKOUT", tmp_path / "neither")
    with pytest.raises(PlannerError, match="has no pages"):
        pages_of.topics()
