"""What goes in (packed, piped, damaged, twice) and what comes back from several sources of one thing."""

from __future__ import annotations

import gzip
import json
import os
import threading

import pytest
from importplace import run_document

from planner_core import DataError, LogIssue, LogRun, LogSource

CSV = "issue,priority\nx,high\n"


def giving(*documents):
    """A source that claims everything and gives these documents."""
    return LogSource("acme", "", lambda sample: 1.0, lambda reading: iter(documents))


# ----------------------------------------------------------------------------------------------------- inputs


def test_packed_files_standard_input_and_pipes(place):
    place.read(place.file("t.csv.gz", CSV, packed=True), "-", stdin=b"issue,size\nx,L\ny,S\n")
    assert place.issues == {"x": {"id": "x", "dk_priority": "P1", "dk_size": "L"}, "y": {"id": "y", "dk_size": "S"}}
    pipe = place.path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(gzip.compress(CSV.encode())))
    writer.start()
    place.out = place.path / "again"
    assert place.read(pipe).issues == 1
    writer.join()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "t: found an empty file; expected logs or issues"),
        (b" \n\n", "t: found an empty file; expected logs or issues"),
        (gzip.compress(CSV.encode() * 9, mtime=0)[:-12], "t: found a damaged gzip file; expected a whole one"),
        ("\ufeffissue,size\n".encode("utf-16"), "t: found text in UTF-16 (byte order mark ff fe"),
    ],
)
def test_a_file_that_cannot_be_read(place, content, said):
    assert said in place.refused(place.file("t", content))


def test_what_is_not_there_or_there_twice(place):
    path = place.file("t.csv", CSV)
    assert "nope: found nothing of this name; expected a file, a folder, or -" in place.refused(place.path / "nope")
    assert "t.csv: found the same input twice" in place.refused(path, place.path / "." / "t.csv")


def test_what_is_in_the_way_stays(place):
    place.out.mkdir()
    (place.out / "mine").write_text("precious")
    assert "already exists and is not empty" in place.refused(place.file("t.csv", CSV))
    assert (place.out / "mine").read_text() == "precious"


def test_a_trial_writes_nothing_and_says_the_same(place):
    path = place.file("t.csv", CSV)
    trial = place.read(path, write=False)
    assert not place.out.exists() and not trial.written and trial.files == []
    made = place.read(path)
    assert made.files == ["issues.jsonl", "mapping.json"]  # no runs, no file of runs
    assert (made.sources, made.lacks, made.issues) == (trial.sources, trial.lacks, trial.issues)


def test_progress_goes_from_nothing_to_all(place):
    told = []
    content = "issue,result,started,took_s\n" + "".join(f"i{i},ok,{1_770_000_000 + i},5\n" for i in range(3000))
    place.table(content, progress=lambda *figures: told.append(figures))
    assert len(told) == 6000 // 500
    assert all(documents <= 6000 and done <= total == len(content) for documents, done, total in told)
    assert told[-1][1] > 0


# -------------------------------------------------------------------------------------------------- documents


def test_the_same_thing_twice_counts_once(place):
    run, issue = run_document("r"), {"id": "x", "tags": ["a"]}
    again = LogIssue(dict(issue), "b", 1), LogRun(dict(run), "b", 9)
    place.only(giving(LogIssue(issue, "a", 1), LogRun(run, "a", 2), *again))
    report = place.read(place.file("a", "-"))
    assert (report.repeated_issues, report.repeated_runs, report.issues, report.runs) == (1, 1, 1, 1)
    assert len(place.runs) == 1


def test_two_runs_of_one_id_are_an_error(place):
    other = run_document("r", runtime={"duration_ms": 2})
    place.only(giving(LogRun(run_document("r"), "a", 2), LogRun(other, "b", 9)))
    said = place.refused(place.file("a", "-"))
    assert said == (
        'b, line 9, at $.run_id: found another run of the id "r"; '
        "expected the same run as a, line 2, or a run_id of its own"
    )


def test_issues_of_several_sources_are_put_together_or_contradict_each_other(place):
    first, second = {"id": "x", "tags": ["a"], "dk_risk": None}, {"id": "x", "tags": ["b", "a"], "dk_risk": "high"}
    place.only(giving(LogIssue(first, "a", 1), LogIssue(second, "b", 1)))
    place.read(place.file("a", "-"))
    assert place.issues["x"] == {"id": "x", "tags": ["a", "b"], "dk_risk": "high"}
    place.only(giving(LogIssue(second, "a", 1), LogIssue({**second, "dk_risk": "low"}, "b", 3)))
    place.out = place.path / "again"
    said = place.refused(place.file("a", "-"))
    assert said == (
        'b, line 3, at $.dk_risk: found "low" of issue x; expected "high", as a, line 1 says of the same issue'
    )


def test_a_run_is_checked_as_a_build_would(place):
    far = run_document("r", started_ms=10**17)
    place.only(giving(LogRun(far, "a", 2)))
    assert "a, line 2, at $.started_ms: found 100000000000000000" in place.refused(place.file("a", "-"))
    forbidden = {"action": ["serial_handoff", 3, 30, "NA"], "outcome": {"status": "success", "duration_ms": 1}}
    place.only(giving(LogRun(run_document("r", counterfactuals=[forbidden]), "a", 2)))
    assert "a, line 2, at $.counterfactuals[0].action" in place.refused(place.file("a", "-"))


# ---------------------------------------------------------------------------------------------- what is missing


def lacks(place, *runs, issues=("x",)):
    given = [LogIssue({"id": issue}, "a") for issue in issues] + [LogRun(run, "a", i) for i, run in enumerate(runs)]
    place.only(giving(*given))
    found = place.read(place.file("a", "-"), write=False)
    return {lack.what: (lack.count, lack.of) for lack in found.lacks}


def test_what_a_log_lacks_is_counted(place):
    vote = {"swarm_id": "speculate_vote", "max_candidates": 2, "max_minutes": 30, "max_iterations": None}
    full = run_document(
        "full",
        action_executed=vote,
        cost_usd_est=1.0,
        propensities={"speculate_vote|2|30|1": 1.0},
        candidates=[{"passed": True}, {"passed": False}],
        tags=["tool:opus"],
    )
    failed = run_document("f", "y", outcome={"status": "failed", "fail_codes": [], "gates": []}, propensity=0.5)
    assert lacks(place, full, failed) == {
        "cost": (1, 2),
        "whole distribution": (1, 2),
        "tool": (1, 2),
        "issue": (1, 2),
    }
    bare = run_document("b", action_executed={"swarm_id": "speculate_vote"})
    found = lacks(place, bare, run_document("c", action_executed={}))
    assert found["minutes budget"] == (2, 2) and found["candidates"] == (1, 2)
    assert found["outcome of each candidate"] == (1, 1)
    assert found["other outcomes"] == (2, 2) and "other actions" not in found
    assert lacks(place, run_document("a"), run_document("b"))["other actions"] == (2, 2)


def test_the_next_step_is_the_one_there_is(place):
    assert lacks(place) == {"runs": (0, 0)}
    place.only(giving(LogRun(run_document("r"), "a", 1)))
    path = place.file("a", "-")
    assert place.read(path, write=False).next.startswith("planner data build --issues TRACKER.jsonl --runs ")
    place.only(giving(LogIssue({"id": "x"}, "a")))
    assert place.read(path, write=False).next is None


def test_a_source_reads_a_folder_and_a_file_as_promised(place):
    """The errors of an input are ours, whoever reads."""
    place.file("f/a.json", '{"a": [1]}')
    place.file("f/b.jsonl", '{"a": 1}\n\n{"a": 2}\n')
    place.file("f/bad.json", "{")
    seen = {}

    def read(reading):
        (folder,) = reading.inputs
        files = {given.path.name: given for given in folder.files()}
        seen["names"] = list(files)
        seen["json"] = files["a.json"].json()
        seen["lines"] = list(files["b.jsonl"].json_lines())
        for call in (folder.read, folder.json, folder.open, lambda: next(folder.lines())):
            with pytest.raises(DataError, match="found a folder; expected a file"):
                call()
        with pytest.raises(DataError, match=r"bad\.json"):
            files["bad.json"].json()
        with pytest.raises(DataError, match="more than 3 bytes"):
            files["a.json"].read(limit=3)
        yield LogIssue({"id": "x"}, "f")

    place.only(LogSource("acme", "", lambda sample: float(sample.is_folder), read))
    place.read(place.path / "f")
    assert seen == {
        "names": ["a.json", "b.jsonl", "bad.json"],
        "json": {"a": [1]},
        "lines": [(1, {"a": 1}), (3, {"a": 2})],
    }


def test_two_runs_of_one_id_in_an_array_are_named_with_their_rows(place):
    rows = [{"run": "r", "issue": i, "started": "2026-03-01 10:00", "result": "ok", "took_s": 5} for i in ("a", "b")]
    said = place.refused_table(json.dumps(rows), name="t.json")
    assert said.startswith("t.json, at row 2: found 'b' for issue_id of run r; expected 'a', as row 1 says")


def test_what_is_wrong_with_a_document_in_an_array_is_named_with_its_place(place):
    given = place.file("a", "-")
    place.only(giving(LogIssue({"id": "x", "dk_risk": "none"}, "a.json", path="$[3]")))
    assert place.refused(given).startswith("a.json, at $[3].dk_risk: ")
    first, other = (LogRun(run_document("r", tokens_in=i), "a", path=path) for i, path in enumerate(("$[0]", "row 2")))
    place.only(giving(first, other))
    assert place.refused(given) == (
        'a, at row 2, run_id: found another run of the id "r"; '
        "expected the same run as a, at $[0], or a run_id of its own"
    )
