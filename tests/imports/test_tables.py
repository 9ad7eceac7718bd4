"""Tables of every form: the same rows give the same issues and runs; what is wrong is named with its place."""

from __future__ import annotations

import datetime
import json

import pytest

from planner_core import MissingExtra

HEADER = ["issue", "started", "result", "took_s", "n_agents", "limit_min", "cost", "model", "labels"]
ROWS = [
    ["A-1", "2026-03-01T10:00:00Z", "ok", 750, 1, 90, 0.4, "opus", "db,api"],
    ["A-2", "2026-03-02T10:00:00Z", "timed out", 3600, 3, 60, 2.2, "sonnet", "ui"],
]
RUNS = [
    {
        "run_id": "A-1@1772359200000@opus",
        "issue_id": "A-1",
        "started_ms": 1_772_359_200_000,
        "job_type": "code",
        "domain": "code",
        "action_executed": {
            **{"swarm_id": "serial_handoff", "max_candidates": 1, "max_minutes": 90, "max_iterations": None}
        },
        "outcome": {"status": "success", "fail_codes": [], "gates": []},
        "runtime": {"duration_ms": 750_000},
        "cost_usd_est": 0.4,
        "tags": ["db", "api", "tool:opus"],
    },
    {
        "run_id": "A-2@1772445600000@sonnet",
        "issue_id": "A-2",
        "started_ms": 1_772_445_600_000,
        "job_type": "code",
        "domain": "code",
        "action_executed": {
            **{"swarm_id": "speculate_vote", "max_candidates": 3, "max_minutes": 60, "max_iterations": None}
        },
        "outcome": {"status": "timeout", "fail_codes": [], "gates": []},
        "runtime": {"duration_ms": 3_600_000},
        "cost_usd_est": 2.2,
        "tags": ["ui", "tool:sonnet"],
    },
]


def csv_text(delimiter=",", end="\n", header=HEADER, rows=ROWS):
    def cell(value):
        text = str(value)
        return f'"{text}"' if delimiter in text else text

    return "".join(delimiter.join(map(cell, row)) + end for row in (header, *rows))


def objects():
    return [dict(zip(HEADER, row, strict=True)) for row in ROWS]


def parquet_bytes(columns, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    from pyarrow import table

    parquet.write_table(table(columns), tmp_path / "made.parquet")
    return (tmp_path / "made.parquet").read_bytes()


FORMS = {
    "comma": csv_text(),
    "semicolon": csv_text(";"),
    "tab": csv_text("\t"),
    "bar": csv_text("|"),
    "carriage returns": csv_text(end="\r\n"),
    "byte order mark": "\ufeff" + csv_text(),
    "no last line end": csv_text().rstrip("\n"),
    "empty cells at the end": csv_text().replace("\n", ",\n").replace("labels,", "labels"),
    "json lines": "".join(json.dumps(row) + "\n" for row in objects()),
    "json": json.dumps(objects(), indent=2),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(place, form):
    report = place.table(FORMS[form], name="table")  # the ending of the name does not matter
    assert place.runs == RUNS
    assert place.issues == {
        "A-1": {"id": "A-1", "tags": ["db", "api"], "dk_tool_hint": "opus"},
        "A-2": {"id": "A-2", "tags": ["ui"], "dk_tool_hint": "sonnet"},
    }
    assert report.sources[0].left_out == {}


def test_parquet_says_the_same(place, tmp_path):
    columns = {name: [row[i] for row in ROWS] for i, name in enumerate(HEADER)}
    columns["started"] = [datetime.datetime.fromisoformat(text) for text in columns["started"]]
    columns["labels"] = [text.split(",") for text in columns["labels"]]
    columns["cost"] = [__import__("decimal").Decimal(str(cost)) for cost in columns["cost"]]
    made = parquet_bytes(columns, tmp_path)
    place.read(place.file("t", made))
    assert place.runs == RUNS
    place.out = place.path / "again"
    place.read(place.file("t.gz", made, packed=True))
    assert place.runs == RUNS


def test_parquet_needs_its_extra(place, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    path = place.file("t", b"PAR1 and so on")
    with pytest.raises(MissingExtra, match=r"needs the 'tables' extra"):
        place.read(path)


def test_a_damaged_parquet_file(place, tmp_path):
    made = parquet_bytes({"issue": ["x"], "size": ["L"]}, tmp_path)
    assert place.refused(place.file("t", made[:-20])).startswith(
        "t: found a damaged Parquet file; expected a whole one"
    )


def test_quoted_line_ends_and_quotation_marks(place):
    place.table('issue,labels,note\nx,"a\n",\n"y ""z""",b,"two\r\nlines"\n')
    assert place.issues == {"x": {"id": "x", "tags": ["a"]}, 'y "z"': {"id": 'y "z"', "tags": ["b"]}}


def test_nested_objects_are_columns_with_dots(place):
    row = {
        "run_id": "r",
        "issue_id": "x",
        "started_ms": 1_770_000_000_000,
        "action_executed": {"swarm_id": "best_of_n", "max_candidates": "2", "max_minutes": 30},
        "outcome": {"status": "success", "fail_codes": ["flaky"]},
        "runtime": {"duration_ms": 5},
        "propensities": {"speculate_vote|2|30|1": 0.5},
        "propensity": 0.5,
    }
    place.table(json.dumps(row) + "\n")
    (run,) = place.runs
    assert run["action_executed"] == {
        **{"swarm_id": "speculate_vote", "max_candidates": 2, "max_minutes": 30, "max_iterations": None}
    }
    assert (run["propensities"], run["propensity"]) == ({"speculate_vote|2|30|1": 0.5}, 0.5)
    assert run["runtime"] == {"duration_ms": 5}


BAD = {
    "no rows": ("issue,result\n", "t.csv: found no rows; expected at least one row"),
    "cut in the last row": (
        csv_text() + "A-3,2026-03-02T1",
        "t.csv, line 4: found 2 cells in the last line, which does not end: the file may be cut off; expected 9,",
    ),
    "too few cells": (csv_text() + "A-3,ok\n", "t.csv, line 4: found 2 cells; expected 9"),
    "too many cells": (csv_text() + ",".join("a" * 10) + "\n", "t.csv, line 4: found 10 cells; expected 9"),
    "a column twice": ("issue,size,issue\nx,L,y\n", "t.csv, line 1: found the column 'issue' twice"),
    "no header": ("1,2\n3,4\n", "t.csv, line 1: found numbers; expected a line with the names of the columns"),
    "a quotation mark that is not closed": (csv_text() + 'A-3,"2026', "t.csv, line 4: found unexpected end of data"),
    "a byte of another encoding": (
        (csv_text() + "A-ü,").encode("latin-1"),
        "t.csv, line 4: found the byte 0xfc at position 3 of the line; expected UTF-8",
    ),
    "JSON and something else": (
        FORMS["json lines"] + "A-3,2026\n",
        "t.csv, line 3: found A-3,2026; expected a JSON document",
    ),
    "cut JSON": (FORMS["json lines"][:-20], "t.csv, line 2: found {"),
    "a row that is no object": (FORMS["json lines"] + "[1]\n", "t.csv, line 3: found a list; expected an object"),
    "an array with something else": ('[{"a": 1}, 3]', "t.csv, at row 2: found a int; expected an object"),
    "a result that nobody knows": (
        csv_text() + "A-3,2026-03-02T10:00:00Z,meh,5,1,5,1,opus,\n",
        "t.csv, line 4, at column 'result': found 'meh'; expected a word known for outcome.status; "
        "say which with --map-value result:meh=X, X one of success, failed, timeout, skip",
    ),
    "a number that is none": (
        csv_text() + 'A-3,2026-03-02T10:00:00Z,ok,"1,5",1,5,1,opus,\n',
        "t.csv, line 4, at column 'took_s': found '1,5' here and '0.4' in column 'cost'; "
        "expected one decimal mark in a table: --set decimal=point or --set decimal=comma",
    ),
    "a negative cost": (
        csv_text() + "A-3,2026-03-02T10:00:00Z,ok,5,1,5,-1,opus,\n",
        "t.csv, line 4, at column 'cost': found '-1'; expected a number >= 0",
    ),
    "half an agent": (
        csv_text() + "A-3,2026-03-02T10:00:00Z,ok,5,1.5,5,1,opus,\n",
        "t.csv, line 4, at column 'n_agents': found '1.5'; expected a whole number",
    ),
    "a time that is none": (
        csv_text() + "A-3,yesterday,ok,5,1,5,1,opus,\n",
        "t.csv, line 4, at column 'started': found 'yesterday'; expected a time as 2026-11-24T14:30:00Z",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused_with_its_place(place, case):
    content, said = BAD[case]
    assert place.refused_table(content).startswith(said)


def test_a_bad_time_is_named_where_the_column_is(place):
    content = csv_text() + "A-3,yesterday,ok,5,1,5,1,opus,\n"
    said = place.refused_table(content, maps=["started_at=started"])
    assert said.startswith("t.csv, line 4, at column 'started': found 'yesterday'")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "issue;started;result;took_min\nx;2026-03-01 10:00;ok;12:5\ny;2026-03-01 11:00;ok;9:5\n",
            "t.csv, line 2, at column 'took_min': found '12:5'; expected a number, with a point for decimals",
        ),
        (
            "issue,started,result,took_min\nx,2026-03-01 10:00,ok,-5\n",
            "t.csv, line 2, at column 'took_min': found '-5'; expected a number >= 0",
        ),
        (
            "issue,started,result,took_min\nx,3/4/2026 10:00,ok,5\n",
            "t.csv, line 2, at column 'started': found '3/4/2026 10:00'; expected dates that tell day from month",
        ),
        (
            "issue,result,took_min,finished\nx,ok,5,2026-02-28\ny,ok,5,2026-02-30\n",
            "t.csv, line 3, at column 'finished': found '2026-02-30'; expected a time as",
        ),
        (
            "issue,started,result,elapsed\nx,2026-03-01 10:00,ok,soon\n",
            "t.csv, line 2, at column 'elapsed': found 'soon'; expected a duration as 1:02:03",
        ),
    ],
)
def test_a_column_whose_name_is_right_and_whose_cells_are_not_is_named_with_its_line(place, content, said):
    assert place.refused_table(content).startswith(said)


def test_a_column_of_a_known_name_that_is_not_read_says_why(place):
    content = "issue;started;result;took_s;cost\nx;2026-03-01 10:00;ok;12;1-20\n"
    (note,) = (note for note in place.table(content).sources[0].notes if "cost" in note)
    assert note.startswith("'cost' is not read as cost_usd_est: ")
    assert "t.csv, line 2, at column 'cost': found '1-20'; expected a number" in note


def test_what_is_left_out_is_counted_with_its_reason(place):
    more = [
        ["A-3", "", "ok", 5, 1, 5, 1, "opus", ""],
        ["A-4", "2026-03-02T10:00:00Z", "", 5, 1, 5, 1, "opus", ""],
        ["", "2026-03-02T10:00:00Z", "ok", 5, 1, 5, 1, "opus", ""],
        ["A-5", "2026-03-02T10:00:00Z", "ok", "n/a", 1, 5, 1, "opus", ""],
        ["A-6", "2026-03-02T10:00:00Z", "in progress", "", 1, 5, 1, "opus", ""],
    ]
    report = place.table(csv_text(rows=ROWS + more))
    assert report.sources[0].left_out == {
        **{"no start": 1, "no result": 1, "no issue": 1, "no duration": 1},
        "no end yet, or none that says anything": 1,
    }
    assert report.runs == 2


def test_a_table_that_is_none(place):
    assert "found a file that begins with 'just some text\\n'" in place.refused(place.file("t", "just some text\n"))
    said = place.refused(place.file("t", "just some text\n"), source="tables")
    assert said == "t: found no table; expected CSV, JSON Lines, a JSON array of objects or Parquet"


def test_a_folder_of_tables(place):
    place.file("f/a.csv", "issue,size\nx,L\n")
    place.file("f/b.jsonl", '{"issue": "y", "size": "S"}\n')
    place.file("f/notes.txt", "nothing")
    report = place.read(place.path / "f", source="tables")
    assert sorted(place.issues) == ["x", "y"] and report.sources[0].left_out == {"files that are no table": 1}


def test_much_is_read_in_little_memory(place):
    """The rows of a table are not held: what is kept of each is its hash, and its run id in the end."""
    import tracemalloc

    rows = 6_000
    header = "issue,started,result,took_s,note\n"
    content = header + "".join(f"i{i % 500},{1_770_000_000 + i},ok,5,{'x' * 2000}\n" for i in range(rows))
    path = place.file("t.csv", content)
    place.read(place.file("warm.csv", header + "x,1770000000,ok,5,\n"), write=False)
    tracemalloc.start()
    report = place.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.runs == rows
    assert len(content) > 10e6 and peak < 4e6 + 300 * rows
