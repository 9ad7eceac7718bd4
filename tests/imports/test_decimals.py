"""The decimal mark of a table: shown by one cell for all, or said, and never guessed."""

from __future__ import annotations

import json
import shutil

import pytest

from planner_core import ConfigError
from planner_tables.cells import Unfit, mark_of, number

HEAD = "issue;started;result;took_s;cost;tokens_in\n"


def table(*rows):
    return HEAD + "".join(f"x{i};2026-03-0{i + 1} 10:00;ok;{row}\n" for i, row in enumerate(rows))


def figures(place, content, *said):
    """(milliseconds, USD, tokens) of every run of a table, imported anew."""
    shutil.rmtree(place.out, ignore_errors=True)
    place.table(content, options=said)
    return [(run["runtime"]["duration_ms"], run["cost_usd_est"], run.get("tokens_in")) for run in place.runs]


def test_one_cell_with_a_comma_makes_points_thousands_throughout(place):
    assert figures(place, table("720.000;1,5;1.234", "90;0,125;2.000.000")) == [
        (720_000_000, 1.5, 1234),
        (90_000, 0.125, 2_000_000),
    ]


def test_one_cell_with_a_point_makes_commas_thousands(place):
    assert figures(place, table("720.000;1.5;1,234", "90;0.125;2,000,000")) == [
        (720_000, 1.5, 1234),
        (90_000, 0.125, 2_000_000),
    ]


def test_what_nothing_shows_is_refused_until_it_is_said(place):
    content = table("720.000;2;5", "90;1;7")
    assert place.refused_table(content).startswith(
        "t.csv, line 2, at column 'took_s': found '720.000'; expected a number that says which mark is decimal: "
        "--set decimal=point or --set decimal=comma"
    )
    assert figures(place, content, "decimal=comma")[0][0] == 720_000_000
    assert figures(place, content, "decimal=point")[0][0] == 720_000
    with pytest.raises(ConfigError, match="expected point or comma"):
        figures(place, content, "decimal=dot")


def test_a_cell_behind_those_looked_at_is_refused_as_well(place, monkeypatch):
    monkeypatch.setattr("planner_tables.survey.SAMPLED_ROWS", 1)
    said = place.refused_table(table("90;2;5", "720.000;1;7"))
    assert said.startswith("t.csv, line 3, at column 'took_s': found '720.000'; expected a number that says")


def test_two_marks_in_one_table_are_refused(place):
    said = place.refused_table(table("720;1,5;5", "90;1.25;7"))
    assert "column 'cost': found '1,5' here and '1.25' in column 'cost'; expected one decimal mark" in said


def test_text_with_commas_says_nothing_of_numbers(place):
    head = HEAD.replace("tokens_in", "title")
    assert figures(place, head + "x;2026-03-01 10:00;ok;90;1.5;1,5 and more\n") == [(90_000, 1.5, None)]


def test_cells_between_commas_and_json_have_points(place):
    assert figures(place, table("720.000;2;5").replace(";", ",")) == [(720_000, 2.0, 5)]
    row = {"issue": "x", "started": "2026-03-01 10:00", "result": "ok", "took_s": "720.000", "cost": 1.5}
    assert figures(place, json.dumps([row])) == [(720_000, 1.5, None)]


@pytest.mark.parametrize(
    ("cell", "mark"),
    [
        *(("1,5", ","), ("1.5", "."), ("1.234,56", ","), ("1,234.56", "."), ("0,125", ","), ("0.125", ".")),
        *(("1.234.567", ","), ("1,234,567", "."), ("1.234", "either"), ("1,234", "either"), ("$720.000", "either")),
        *(("720", None), ("1e3", None), ("1:30", None), (1.5, None), ("2026-03-01", None), ("1.2.3", None)),
        *(("1234,567", ","), ("1234.567", "."), ("25,5 %", ",")),
    ],
)
def test_what_a_cell_shows(cell, mark):
    assert mark_of(cell) == mark


@pytest.mark.parametrize("cell", ["1.5", "1,5,5", "1.23,4", "a,5"])
def test_what_does_not_fit_a_table_with_commas_is_refused(cell):
    with pytest.raises(Unfit):
        number(cell, ",")
