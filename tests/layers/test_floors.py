"""The import graph of the core: no circle, floors that go one way, and a runtime that needs no plugin system."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("floors", Path(__file__).with_name("floors.py"))
floors = importlib.util.module_from_spec(spec)
spec.loader.exec_module(floors)

GRAPH = floors.graph()


def reached(start):
    seen, waiting = set(), [name for name in GRAPH if name == start or name.startswith(start + ".")]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += GRAPH[name]
    return seen


def test_every_module_has_a_floor():
    assert {name.split(".")[1] for name in GRAPH} == set(floors.FLOOR_OF)


def test_the_graph_is_seen():
    """The walk finds imports of all forms, so that the tests below can fail."""
    assert "planner_core.decision" in GRAPH["planner_core.policy"]
    assert "planner_core.jsonio" in GRAPH["planner_core.runtime.intake"]  # from planner_core import jsonio
    assert "planner_core.harness.train" in GRAPH["planner_core.cli.run"]  # inside a function
    assert len(GRAPH) > 60 and sum(map(len, GRAPH.values())) > 300


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_imports_go_down(name):
    above = {other for other in GRAPH[name] if floors.floor(other) > floors.floor(name)}
    assert not above, f"{name} imports from a floor above it: {sorted(above)}"


def test_there_is_no_circle():
    state = {}

    def walk(name, path):
        if state.get(name) == "done":
            return
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        for other in sorted(GRAPH[name]):
            walk(other, [*path, name])
        state[name] = "done"

    for name in sorted(GRAPH):
        walk(name, [])


def test_the_runtime_reaches_no_plugin_system():
    found = {name.split(".")[1] for name in reached("planner_core.runtime")}
    assert {"rules", "encoder", "runtime"} <= found
    forbidden = {"policy", "training", "plugins", "data", "world", "value", "harness", "ablation", "cli", "torch"}
    assert not found & (forbidden | {"testing", "scaffold"})


def test_only_the_baseline_is_looked_up_by_name():
    """What the graph cannot see: modules imported by a computed name."""
    hidden = {
        name: found
        for name, path in floors.modules().items()
        if (found := re.findall(r"import_module\(.*?\)|sys\.modules\[.*?\]|__import__", path.read_text()))
        and floors.floor(name) <= floors.FLOOR_OF["plugins"]
    }
    assert hidden == {"planner_core.runtime.planner": ['sys.modules["planner_core"]']}


def test_the_architecture_page_names_the_floors():
    text = (floors.ROOT / "docs" / "architecture.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "`" in line]
    found = {cells[0]: tuple(re.findall(r"`([a-z_]+)`", cells[1])) for cells in map(_cells, rows)}
    listed = {label: tuple(names) for label, names in floors.FLOORS}
    assert {label: found.get(label) for label in listed} == listed


def _cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]
