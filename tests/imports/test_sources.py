"""Sources of plugins: who reads what, in which order, and what becomes of one that does wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from importplace import run_document

from planner_core import DataError, LogIssue, LogRun, LogSource
from planner_core.data.sources import choosing
from planner_core.plugins.log_sources import LogSample


def marked(name, mark, claim=LogSource.SURE, read=None, **more):
    """A source whose files begin with ``mark``; its rows are 'issue seconds'."""

    def sniff(sample):
        return claim if sample.head.startswith(mark) else 0.0

    def rows(reading):
        for given in reading.inputs:
            for number, line in given.lines():
                if number > 1:
                    issue, seconds = line.decode().split()
                    yield LogIssue({"id": issue}, given.name, number)
                    runtime = {"duration_ms": int(seconds) * 1000}
                    yield LogRun(run_document(f"{name}-{issue}", issue, runtime=runtime), given.name, number)

    return LogSource(name, f"logs of {name}", sniff, read or rows, **more)


def reads(documents):
    """A ``read`` that yields what it is given."""
    return lambda reading: iter(documents)


def test_a_strangers_source_reads_its_files_and_the_built_in_ones_theirs(place):
    place.only(marked("acme", b"#acme"), and_built_in=True)
    acme = place.file("a.log", "#acme 1\nx 5\ny 6\n")
    table = place.file("t.csv", "issue,priority\nx,high\nz,low\n")
    report = place.read(acme, table)
    assert [(s.source, s.issues, s.runs) for s in report.sources] == [("acme", 2, 2), ("tables", 2, 0)]
    assert report.sources[0].distribution == "acme-logs 1.2"
    assert place.issues == {
        "x": {"id": "x", "dk_priority": "P1"},
        "y": {"id": "y"},
        "z": {"id": "z", "dk_priority": "P3"},
    }
    assert [run["run_id"] for run in place.runs] == ["acme-x", "acme-y"]


def test_it_is_found_through_the_hook(plugged, monkeypatch):
    plugged("planner_log_sources", marked("acme", b"#acme"), LogSource("bad name!", "", lambda s: 0, reads([])), 7)
    choosing.log_sources.cache_clear()
    assert [offer.name for offer in choosing.log_sources()] == ["acme"]
    choosing.log_sources.cache_clear()


def test_the_surest_reads_and_a_tie_is_a_question(place):
    path = place.file("a.log", "#acme 1\nx 5\n")
    place.only(marked("general", b"#", LogSource.GENERAL), marked("acme", b"#acme", LogSource.TYPICAL))
    assert place.read(path).sources[0].source == "acme"
    place.only(marked("one", b"#acme"), marked("two", b"#acme"))
    assert place.refused(path) == "a.log: may be of one and two; choose with --as NAME"
    place.out = place.path / "again"
    assert place.read(path, source="two").sources[0].source == "two"


def test_as_names_a_source_that_exists(place):
    path = place.file("a.log", "#acme 1\nx 5\n")
    place.only(marked("acme", b"#acme"))
    assert "is called 'acne' (did you mean 'acme'?); there are: acme" in place.refused(path, source="acne")


def test_what_nobody_knows_is_named(place):
    place.only(marked("acme", b"#acme"))
    said = place.refused(place.file("b.bin", b"\x7fELF\x01\x02"))
    assert said.startswith(
        "b.bin: found a file that begins with '\\x7fELF\\x01\\x02'; expected one of: acme (logs of acme)"
    )


def test_a_folder_as_a_whole_or_taken_apart(place):
    folder = LogSource(
        "trials",
        "",
        lambda sample: float("trial.json" in sample.files and sample.peek("trial.json") == b"{}"),
        lambda reading: iter(
            [LogIssue({"id": p.name[-6:-4]}, p.name) for i in reading.inputs for p in i.files("*.txt")]
        ),
    )
    place.only(folder, marked("acme", b"#acme"))
    place.file("logs/one/trial.json", "{}")
    place.file("logs/one/a/t1.txt", "")
    place.file("logs/one/.hidden/t9.txt", "")
    place.file("logs/two/a.log", "#acme 1\nx 5\n")
    place.file("logs/two/README", "what this is")
    place.file("logs/two/empty", "")
    report = place.read(place.path / "logs")
    assert sorted(place.issues) == ["t1", "x"]
    assert [name.removeprefix(str(place.path)) for name in report.not_understood] == [
        "/logs/two/README",
        "/logs/two/empty",
    ]
    place.file("none/README", "nothing")
    assert "a folder with nothing in it that a source knows" in place.refused(place.path / "none")


def test_sources_that_follow_links_are_read_last(place):
    def link(reading):
        reading.link("session", "s1", "x")
        reading.link("session", "s1", "y")
        reading.link("session", "s1", "x")
        yield LogIssue({"id": "x"}, "tracker", 1)

    def follow(reading):
        assert reading.issues_of("session", "s1") == ("x", "y")
        assert reading.issues_of("branch", "s1") == ()
        yield LogRun(run_document("r", reading.issues_of("session", "s1")[0]), "session", 1)

    place.only(
        marked("sessions", b"#s", read=follow, follows_links=True),
        marked("tracker", b"#t", read=link),
    )
    report = place.read(place.file("1.log", "#s"), place.file("2.log", "#t"))
    assert [source.source for source in report.sources] == ["tracker", "sessions"]


def test_options_and_mappings_reach_the_source_that_knows_them(place):
    seen = {}

    def read(reading):
        seen.update(options=reading.options, column=reading.mapping.column("status"))
        seen["meaning"] = reading.mapping.meaning("labels", "area:db=1")
        seen["other"] = reading.mapping.meaning("labels", "other")
        yield LogIssue({"id": "x"}, "f", 1)

    place.only(marked("acme", b"#acme", read=read, options={"prices": "a file"}))
    path = place.file("a.log", "#acme")
    place.read(path, maps=["status=state"], values=["labels:area:db=1=dk_risk"], options=["prices=p.json"])
    assert seen == {"options": {"prices": "p.json"}, "column": "state", "meaning": "dk_risk", "other": None}
    place.out = place.path / "again"
    said = place.refused(path, maps=["status=state", "statos=x"], values=["label:a=b"], options=["price=1"])
    assert said == "no source that was read knows: label:a=b, price=1, statos=x"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"maps": ["=x"]}, "--map =x: expected FIELD=COLUMN"),
        ({"values": ["a=b"]}, "--map-value a=b: expected COLUMN:VALUE=MEANING"),
        ({"options": ["a"]}, "--set a: expected NAME=VALUE"),
        ({"maps": ["no-such-file.json"]}, "no-such-file.json: expected a readable file (No such file or directory)"),
    ],
)
def test_options_that_cannot_be_read(place, options, said):
    place.only(marked("acme", b"#acme"))
    assert place.refused(place.file("a.log", "#acme\nx 1\n"), **options) == said


def test_a_source_that_fails_is_named(place):
    def broken(reading):
        yield LogIssue({"id": "x"}, "f", 1)
        raise KeyError("gone")

    path = place.file("a.log", "#acme")
    place.only(marked("acme", b"#acme", read=broken))
    assert place.refused(path) == "the log source 'acme' of acme-logs 1.2 failed in read: KeyError: 'gone'"
    place.only(marked("acme", b"#acme", read=reads([{"id": "x"}])))
    assert place.refused(path).endswith("failed in read: it gave a dict, expected a LogIssue or a LogRun")
    place.only(LogSource("acme", "", lambda sample: 1 / 0, reads([])))
    assert "the log source 'acme' of acme-logs 1.2 failed in sniff: ZeroDivisionError" in place.refused(path)
    place.only(marked("acme", b"#acme", read=lambda reading: iter(Path("/no/such/file").read_text())))
    assert place.refused(path) == "/no/such/file: expected a readable file (No such file or directory)"


def test_nothing_usable_is_an_error_with_its_reasons(place):
    def read(reading):
        reading.account.leave_out("deleted", 3)
        yield from ()

    place.only(marked("acme", b"#acme", read=read))
    said = place.refused(place.file("a.log", "#acme"))
    assert said == "a.log: found no issue and no run (left out: {'deleted': 3}); expected at least one"


def test_an_account_stays_small(place):
    def read(reading):
        for i in range(1000):
            reading.account.value("column", str(i), "meaning")
            reading.account.leave_out(f"reason {i}")
            reading.account.note(f"note {i}")
            reading.account.not_used(f"column {i}")
        yield LogIssue({"id": "x"}, "f", 1)

    place.only(marked("acme", b"#acme", read=read))
    (source,) = place.read(place.file("a.log", "#acme")).sources
    assert [len(part) for part in (source.values["column"], source.notes, source.unused)] == [200, 200, 200]
    assert source.left_out["others"] == 800


def test_a_sample_shows_the_first_bytes_only(place):
    seen: list[LogSample] = []

    def sniff(sample):
        seen.append(sample)
        return 1.0

    place.only(LogSource("acme", "", sniff, reads([LogIssue({"id": "x"}, "f", 1)])))
    place.read(place.file("big", b"a" * 200_000), place.file("small", gzip.compress(b"abc")))
    assert [(len(sample.head), sample.whole) for sample in seen] == [(65536, False), (3, True)]


def test_a_broken_document_is_an_error_at_its_place(place):
    wrong = run_document("r", outcome={"status": "perhaps", "fail_codes": [], "gates": []})
    place.only(marked("acme", b"#acme", read=reads([LogRun(wrong, "a.log", 7)])))
    path = place.file("a.log", "#acme")
    said = place.refused(path)
    assert said == 'a.log, line 7, at $.outcome.status: found "perhaps"; expected one of failed, success, timeout'
    place.only(marked("acme", b"#acme", read=reads([LogIssue({"id": "x", "dk_risk": "none"}, "a.log", 8)])))
    assert place.refused(path).startswith('a.log, line 8, at $.dk_risk: found "none"; expected one of')
    place.only(marked("acme", b"#acme", read=reads([LogRun(run_document("r", propensities={"a|1": 0.5}), "a.log")])))
    with pytest.raises(DataError, match=r"a\.log, at \$\.propensities\['a\|1'\]"):
        place.read(path)


@pytest.mark.parametrize(("name", "source"), [("github.json", "github"), ("beads.jsonl", "beads")])
def test_a_byte_order_mark_hides_no_source(place, name, source):
    content = (Path(__file__).parents[2] / "examples" / "logs" / name).read_bytes()
    report = place.read(place.file(name, b"\xef\xbb\xbf" + content), write=False)
    assert [told.source for told in report.sources] == [source]
