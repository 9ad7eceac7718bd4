"""Whatever is wrong with a file of a source is an error of its name, and nothing is written; the samples are sound."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest
from desk import SAMPLES, Desk
from sample_files import BESIDE, FILES

from planner_core import PlannerError


@pytest.fixture(params=sorted(FILES))
def victim(request: pytest.FixtureRequest, desk: Desk) -> Path:
    """A file of a sample, with the rest of the sample beside it."""
    relative = FILES[request.param]
    top = relative.split("/")[0]
    for name in {top, BESIDE.get(top, top)}:
        copy = shutil.copytree if (SAMPLES / name).is_dir() else shutil.copy
        copy(SAMPLES / name, desk.path / name)
    return desk.path / relative


def names(desk: Desk, victim: Path) -> list[str]:
    """What is imported: the trackers, and folders that a source claims as a whole."""
    tops = {path.name for path in desk.path.iterdir()}
    return sorted(tops)


def test_the_sample_is_sound(victim: Path, desk: Desk) -> None:
    found = desk.read(*names(desk, victim))
    assert found.issues and (found.runs or victim.name == "github.json")


@pytest.mark.parametrize("cut", [0.5, 0.97])
def test_a_truncated_file_is_refused_with_its_name(victim: Path, desk: Desk, cut: float) -> None:
    content = victim.read_bytes().rstrip()
    victim.write_bytes(content[: int(len(content) * cut)])
    problem = desk.refused(*names(desk, victim))
    assert problem.source == str(victim) and problem.expected
    if victim.suffix == ".jsonl":
        assert problem.line is not None


def test_an_empty_file_is_refused_or_named(victim: Path, desk: Desk) -> None:
    victim.write_bytes(b" \n\n")
    try:
        found = desk.read(*names(desk, victim))
    except PlannerError as problem:
        assert str(victim) in str(problem)
        assert not desk.out.exists()
    else:  # a file of a folder that is taken apart: nobody's, and said to be
        assert str(victim) in found.report.not_understood


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_refused(victim: Path, desk: Desk, encoding: str) -> None:
    text = victim.read_text()
    victim.write_bytes(text.replace("I", "\xc9").replace("e", "\xe9").encode(encoding))
    try:
        found = desk.read(*names(desk, victim))
    except PlannerError as problem:
        assert str(victim) in str(problem)
        assert not desk.out.exists()
    else:
        assert str(victim) in found.report.not_understood


def test_a_file_that_goes_on_as_something_else_is_refused(victim: Path, desk: Desk) -> None:
    with victim.open("a") as stream:
        stream.write("issue,status,minutes\n1,ok,5\n")
    problem = desk.refused(*names(desk, victim))
    assert problem.source == str(victim)


# The others are found by their names in a folder, where nobody packs them.
@pytest.mark.parametrize("victim", ["beads", "claude-code", "codex", "github"], indirect=True)
def test_the_same_file_packed_reads_the_same(victim: Path, desk: Desk) -> None:
    plain = desk.read(*names(desk, victim))
    packed = victim.with_name(victim.name + ".gz")
    packed.write_bytes(gzip.compress(victim.read_bytes()))
    victim.unlink()
    again = Desk(desk.path.parent / "again")
    shutil.copytree(desk.path, again.path, dirs_exist_ok=True)
    found = again.read(*names(again, victim))
    assert found.runs == plain.runs and found.issues == plain.issues


def test_a_file_of_rows_twice_is_taken_once(desk: Desk) -> None:
    for name in ("beads.jsonl", "again.jsonl"):
        shutil.copy(SAMPLES / "beads.jsonl", desk.path / name)
    found = desk.read()
    assert found.report.repeated_issues == len(found.issues) and found.report.repeated_runs == len(found.runs)


def test_rows_of_two_formats_in_one_file_are_refused(desk: Desk) -> None:
    rows = (SAMPLES / "beads.jsonl").read_text()
    session = (SAMPLES / FILES["claude-code"]).read_text()
    desk.put("mixed.jsonl", session + rows)
    with pytest.raises(PlannerError, match=r"mixed\.jsonl: may be of beads and claude-code; choose with --as"):
        desk.read("mixed.jsonl")
    problem = desk.refused("mixed.jsonl", source="claude-code")
    assert problem.line == len(session.splitlines()) + 1


def test_everything_at_once_is_read_by_its_own_source(desk: Desk) -> None:
    shutil.copytree(SAMPLES, desk.path / "all")
    found = desk.read("all")
    told = {source.source: (source.issues, source.runs) for source in found.report.sources}
    assert told.keys() == {"beads", "tables", "cyntra", "github", "harbor", "swebench", "claude-code", "codex"}
    assert all(issues or runs for issues, runs in told.values())
    assert [Path(name).name for name in found.report.not_understood] == ["prices.json"]
