"""The import benchmark's arithmetic and its verdict; never how fast anything is."""

from __future__ import annotations

import json

import pytest

from planner_bench import imports
from planner_bench.imports import REFERENCE, SUBJECTS, main, measure_imports
from planner_core.errors import PlannerError


@pytest.fixture
def scripted(monkeypatch):
    """Times from a list instead of processes; {subject: seconds of each round, the warm-up first}."""
    asked = []

    def install(times):
        queues = {name: iter(values) for name, values in times.items()}

        def seconds(name, code):
            asked.append(name)
            return next(queues[name])

        monkeypatch.setattr(imports, "_seconds", seconds)
        return asked

    return install


def steady(runtime):
    return {name: [9.0, *([runtime] * 3 if name == "runtime" else [0.1] * 3)] for name in SUBJECTS}


def test_processes_are_real():
    """Once, for every subject: what is timed can be run, and takes some time."""
    result = measure_imports(1)
    assert set(result["subjects"]) == {REFERENCE, "planner_core", "runtime", "planner --help"}
    for figures in result["subjects"].values():
        assert 0.0 < figures["min"] == figures["median"] == figures["max"] < 60.0
    assert result["subjects"][REFERENCE]["ratio"] == 1.0
    assert json.loads(json.dumps(result)) == result


def test_medians_and_ratios(scripted):
    """The ratio is that of a round, not that of two medians: 4/1, 4/2, 9/3 -> 3, where 4 / 2 would be 2."""
    other = [0.0, 1.0, 1.0, 1.0]
    asked = scripted(
        {
            REFERENCE: [50.0, 1.0, 2.0, 3.0],
            "planner_core": other,
            "runtime": [0.0, 4.0, 4.0, 9.0],
            "planner --help": other,
        }
    )
    result = measure_imports(3)
    assert result["subjects"]["runtime"] == {"median": 4.0, "min": 4.0, "max": 9.0, "ratio": 3.0}
    assert result["subjects"][REFERENCE] == {"median": 2.0, "min": 1.0, "max": 3.0, "ratio": 1.0}
    assert asked == list(SUBJECTS) * 4  # in turns, the warm-up too


@pytest.mark.parametrize(("runtime", "kept"), [(0.49, True), (0.51, False)])
def test_verdict(scripted, capsys, runtime, kept):
    scripted(steady(runtime))
    assert main(["--repeats", "3", "--json"]) == (0 if kept else 1)
    assert json.loads(capsys.readouterr().out)["kept"] is kept
    scripted(steady(runtime))
    assert main(["--repeats", "3"]) == (0 if kept else 1)
    assert ("kept" if kept else "MISSED") in capsys.readouterr().out


def test_subject_that_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(imports.SUBJECTS, "runtime", "import no_such_module")
    with pytest.raises(PlannerError, match=r"runtime cannot be timed: .*no_such_module"):
        measure_imports(1)


@pytest.mark.parametrize("repeats", [0, -1])
def test_no_repeats(repeats):
    with pytest.raises(ValueError, match="repeats"):
        measure_imports(repeats)
    with pytest.raises(SystemExit) as stopped:
        main(["--repeats", str(repeats)])
    assert stopped.value.code == 2
