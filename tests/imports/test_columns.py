"""What columns and values are taken for: by their names, by what is in them, and by what the user says."""

from __future__ import annotations

import json

import pytest

from planner_core import ConfigError
from planner_tables.cells import Unfit, is_empty, listed, number, probability, seconds
from planner_tables.times import time_form, zone_of

MS = 1_772_359_200_000  # 2026-03-01T10:00:00Z


def row(**cells):
    return json.dumps({"issue": "x", "started": MS, "result": "ok", "took_s": 5, **cells}) + "\n"


def fields(report):
    return report.sources[0].fields


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("Ticket ID", "issue_id"),
        ("taskId", "issue_id"),
        ("instance_id", "issue_id"),
        ("issue_id", "issue_id"),
    ],
)
def test_names_of_the_issue(place, name, field):
    assert fields(place.table(f"{name},size\nx,L\n"))[field] == name


@pytest.mark.parametrize(
    ("name", "value", "ms"),
    [
        ("duration_ms", 90_000, 90_000),
        ("Duration (min)", 1.5, 90_000),
        ("elapsedSeconds", "90", 90_000),
        ("wall_time_h", 0.025, 90_000),
        ("runtime.duration_ms", 90_000, 90_000),
        ("seconds_elapsed", 90, 90_000),
        ("duration", "1:30", 90_000),
        ("elapsed", "1m 30s", 90_000),
        ("finished_at", "2026-03-01T10:01:30Z", 90_000),
    ],
)
def test_names_and_units_of_a_duration(place, name, value, ms):
    document = {"issue": "x", "started": MS, "result": "ok", name: value}
    if name == "finished_at":
        document["started"] = "2026-03-01T10:00:00Z"
    place.table(json.dumps(document) + "\n")
    assert place.runs[0]["runtime"]["duration_ms"] == ms


def test_a_duration_without_a_unit_is_a_question(place):
    said = place.refused_table("issue,started,result,duration,cost\nx,1772359200,ok,90,1\n")
    assert said == (
        "t.csv: found the columns issue, started, result, duration, cost; expected one that tells how long a run took "
        "(a duration, with its unit): --map runtime.duration_s=COLUMN (or runtime.duration_min, runtime.duration_ms, "
        "ended_at)"
    )
    content = "issue,started,result,duration,cost\nx,1772359200,ok,90,1\n"
    place.table(content, maps=["runtime.duration_min=duration"])
    assert place.runs[0]["runtime"]["duration_ms"] == 90 * 60_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("ended,result,took_s\n1772359200,ok,5\n", "one that tells the issue: --map issue_id=COLUMN"),
        ("issue,result,took_s\nx,ok,5\n", "one that tells when a run began: --map started_at=COLUMN"),
    ],
)
def test_what_a_run_must_have_is_asked_for(place, content, said):
    assert said in place.refused_table(content)


@pytest.mark.parametrize("name", ["Minutes allowed", "allowed_min", "timeout_minutes"])
def test_names_of_a_limit(place, name):
    place.table(row(**{name: 90}))
    assert place.runs[0]["action_executed"]["max_minutes"] == 90


def test_limits_in_any_unit_are_whole_minutes(place):
    content = "".join(row(issue=f"i{i}", timeout_s=limit) for i, limit in enumerate((5400, 90, 0, None)))
    report = place.table(content)
    assert [run["action_executed"]["max_minutes"] for run in place.runs] == [90, 2, None, None]
    assert report.sources[0].guessed["limits rounded up to whole minutes"] == 1
    assert report.sources[0].guessed["a limit of 0 minutes is none"] == 1


def test_words_are_known_in_their_usual_forms_and_printed(place):
    content = "".join(
        row(issue=f"i{i}", result=result, priority=priority, severity_level=1, risk=risk, size=size)
        for i, (result, priority, risk, size) in enumerate(
            [("PASSED", 0, "Low", "xs"), ("Time Out", 4, "severe", "huge"), (False, 2, "medium", "Small")]
        )
    )
    report = place.table(content)
    assert [run["outcome"]["status"] for run in place.runs] == ["success", "timeout", "failed"]
    found = [(i["dk_priority"], i["dk_risk"], i["dk_size"]) for i in place.issues.values()]
    assert found == [("P0", "low", "XS"), ("P3", "critical", "XL"), ("P2", "medium", "S")]
    assert report.sources[0].values["result"] == {
        **{"PASSED": ("success", 1), "Time Out": ("timeout", 1), "false": ("failed", 1)}
    }
    assert report.sources[0].unused == ["severity_level"]


def test_a_swarm_nobody_knows_is_read_by_its_agents_and_said(place):
    content = row(issue="a", swarm="tournament", agents=3) + row(issue="b", swarm="best_of_n", agents=2)
    content += row(issue="c", swarm="tournament", agents=1)
    report = place.table(content)
    assert [r["action_executed"]["swarm_id"] for r in place.runs] == ["speculate_vote"] * 2 + ["serial_handoff"]
    assert report.sources[0].values["swarm"] == {"tournament": ("by_agents", 2), "best_of_n": ("speculate_vote", 1)}
    place.out = place.path / "again"
    place.table(content, values=["swarm:tournament=serial_handoff"])
    assert [r["action_executed"]["swarm_id"] for r in place.runs][::2] == ["serial_handoff", "serial_handoff"]


def test_a_user_names_columns_and_meanings_and_a_mapping_comes_back(place):
    content = "what,begin,end_result,t\nx,1772359200,fine,5\ny,1772359300,meh,6\n"
    maps = ["issue_id=what", "outcome.status=end_result", "runtime.duration_s=t"]
    values = ["end_result:fine=success", "end_result:meh=skip"]
    place.table(content, maps=maps, values=values)
    first, mapping = place.runs, place.out / "mapping.json"
    assert [run["issue_id"] for run in first] == ["x"]
    place.out = place.path / "again"
    place.read(place.path / "t.csv", maps=[str(mapping)])
    assert place.runs == first
    assert (place.out / "mapping.json").read_bytes() == mapping.read_bytes()
    place.out = place.path / "typed"  # what is typed counts more
    place.read(place.path / "t.csv", maps=[str(mapping)], values=["end_result:meh=failed"])
    assert [run["outcome"]["status"] for run in place.runs] == ["success", "failed"]


def test_a_swarm_read_by_its_agents_is_so_again_from_the_saved_mapping(place):
    content = row(issue="a", swarm="tournament", agents=3)
    place.table(content)
    mapping, first = place.out / "mapping.json", place.runs
    place.out = place.path / "again"
    place.table(content, maps=[str(mapping)])
    assert place.runs == first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"maps": ["tool=modle"]}, "t.csv: found no column 'modle'; expected one of the columns"),
        ({"maps": ["tol=model"]}, "no source that was read knows: tol=model"),
        # A word that is not in the table is a typing mistake, or belongs into a mapping file.
        ({"values": ["result:okay=success"]}, "no source that was read knows: result:okay=success"),
        ({"values": ["result:ok=good"]}, "expected --map-value result:ok= one of success, failed, timeout, skip"),
        ({"options": ["timezone=Mars/Base"]}, "--set timezone=Mars/Base: expected a name as Europe/Berlin, or +02:00"),
    ],
)
def test_a_mapping_that_does_not_fit(place, options, said):
    assert said in place.refused_table(row(model="opus"), **options)


def test_a_field_may_be_said_to_be_in_no_column(place):
    report = place.table(row(model="opus", labels="a"), maps=["tool=", "tags="])
    assert "tags" not in place.runs[0] and report.sources[0].unused == ["model", "labels"]


def test_issues_without_runs(place):
    report = place.table(
        "key,Status,Created,Priority,Type\nP-1,Open,2026-03-01,Highest,Bug\nP-2,Done,2026-03-02,Low,\n"
    )
    assert (report.issues, report.runs, report.next) == (2, 0, None)
    assert place.issues["P-1"] == {"id": "P-1", "dk_priority": "P0", "tags": ["type:Bug"]}
    assert any("read as issues" in note for note in report.sources[0].notes)


def test_what_rows_say_of_an_issue_is_put_together(place):
    content = row(started=MS, run_id=1, size="L", labels="a", model="opus")
    content += row(started=MS + 2000, run_id=3, size="S", labels="a;b", model="sonnet")
    content += row(started=MS + 1000, run_id=2, size="M", priority="P0", model="opus")
    report = place.table(content)
    assert place.issues["x"] == {"id": "x", "dk_size": "S", "dk_priority": "P0", "tags": ["a", "b"]}
    assert report.sources[0].guessed["dk_size of an issue differs between its rows: the latest counts"] == 2
    assert [run["tags"][-1] for run in place.runs] == ["tool:opus", "tool:sonnet", "tool:opus"]
    assert any("1 issues were tried with several tools" in note for note in report.sources[0].notes)


def test_job_types_and_propensities(place):
    content = row(propensity="25%", run_id="a") + row(job_type="fab-world", run_id="b")
    place.table(content, options=["job_type=fab-asset"])
    assert [(run["job_type"], run["domain"]) for run in place.runs] == [
        ("fab-asset", "fab_asset"),
        ("fab-world", "fab_world"),
    ]
    assert [run.get("propensity") for run in place.runs] == [0.25, None]


# ------------------------------------------------------------------------------------------------------- cells


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("2026-03-01T10:00:00Z", MS),
        ("2026-03-01T11:00:00+01:00", MS),
        ("2026-03-01 10:00:00.000 UTC", MS),
        ("2026-03-01 12:00 +0200", MS),
        ("2026/03/01 10:00", MS),
        ("1.3.2026 10:00", MS),
        ("2026-03-01 10:00 AM", MS),
        ("13.3.2026 9:05:00 p.m.", MS + 12 * 86_400_000 + 39_900_000),
        ("2026-03-01 12:00 am", MS - 10 * 3600_000),
        ("1.3.2026 9:00", MS - 3600_000),
        ("Sun, 01 Mar 2026 10:00:00 GMT", MS),
        (1_772_359_200, MS),
        ("1772359200", MS),
        (1_772_359_200.0, MS),
        (MS, MS),
        (MS * 1000, MS),
        (MS * 1_000_000, MS),
        ("2026-03-01", MS - 10 * 3600_000),
    ],
)
def test_times_in_their_forms(written, ms):
    assert time_form([written], zone_of(None)).read_ms(written) == ms


def test_day_and_month_are_told_apart_or_asked_for():
    day_first = time_form(["13/3/2026 10:00", "1/3/2026 10:00"], zone_of(None))
    assert day_first.read_ms("1/3/2026 10:00") == MS
    assert time_form(["3/13/2026 10:00"], zone_of(None)).read_ms("3/1/2026 10:00") == MS
    with pytest.raises(Unfit, match="tell day from month"):
        time_form(["3/4/2026"], zone_of(None))
    with pytest.raises(Unfit):
        day_first.read_ms("3/13/2026 10:00")


@pytest.mark.parametrize("cell", ["soon", 17, "17", 10**20, -5, True, "2026-13-01", [1]])
def test_what_is_no_time(cell):
    with pytest.raises(Unfit):
        time_form([cell], zone_of(None)).read_ms(cell)


def test_times_without_a_zone():
    form = time_form(["2026-03-01 11:00"], zone_of("Europe/Berlin"))
    assert (form.zoned, form.read_ms("2026-03-01 11:00")) == (False, MS)
    assert zone_of("-02:30").utcoffset(None).total_seconds() == -9000
    with pytest.raises(ConfigError):
        zone_of("+99:00")


def test_numbers_lists_and_nothing():
    assert [number(cell) for cell in ("1,234.5", "$2", "1e3", 4, "1_000")] == [1234.5, 2, 1000, 4, 1000]
    assert listed("a, b;c|a|") == ["a", "b", "c"] and listed('["a", 1]') == ["a", "1"] and listed(["a", None]) == ["a"]
    assert (seconds("1:02:03"), seconds("02:03.5"), seconds("1h 2m 3s"), seconds("90 min")) == (3723, 123.5, 3723, 5400)
    assert (probability("25 %"), probability(1)) == (0.25, 1.0)
    assert all(is_empty(cell) for cell in (None, "", " ", "N/A", "null", float("nan"), "-"))
    assert not any(is_empty(cell) for cell in (0, "0", False, "none of it", []))
    for read, cell in ((number, "1,5"), (number, "-1"), (number, "inf"), (number, True), (probability, 1.5)):
        with pytest.raises(Unfit):
            read(cell)
    for read, cell in ((seconds, "90"), (seconds, 90), (seconds, "5 parsecs"), (listed, "[1"), (listed, [{}])):
        with pytest.raises(Unfit):
            read(cell)
