"""A directory gives way only if it proves to be ours, in one step, and nothing of anybody else's goes with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from planner_core import files, system
from planner_core.errors import PlannerError
from planner_core.files import DirectoryKind, new_directory, write_bytes


def everything_under(path):
    return {str(p.relative_to(path)): p.read_text() if p.is_file() else None for p in path.rglob("*")}


def listed(directory):
    names = json.loads((directory / "index.json").read_text())
    if not isinstance(names, list):
        raise ValueError("no list")
    return names


KIND = DirectoryKind("a thing", "index.json", listed)


def ours(out, *names):
    """Fill a directory of ``KIND`` with ``names``."""
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(f"old {name}")
    (out / "index.json").write_text(json.dumps(["index.json", *names]))
    return everything_under(out)


def replaced(out, name="x"):
    with new_directory(out, replace=KIND) as made:
        ours(made, name)


@pytest.fixture(params=["exchange", "two renames"])
def each_swap(request, monkeypatch):
    """With renameat2, and where there is none."""
    if request.param == "two renames":
        monkeypatch.setattr("planner_core.system.replacing._renameat2", lambda: None)
    elif system.replacing._renameat2() is None:
        pytest.skip("this system has no renameat2")
    return request.param


def test_replace_swaps_whole_directories(tmp_path, each_swap):
    out = tmp_path / "out"
    old = ours(out, "a", "sub/b", "sub/deeper/c")
    out.chmod(0o700)
    with new_directory(out, replace=KIND) as made:
        new = ours(made, "x")
        assert everything_under(out) == old
    assert everything_under(out) == new and os.listdir(tmp_path) == ["out"]
    assert out.stat().st_mode & 0o777 == 0o700


def test_the_exchange_is_one_step(tmp_path, monkeypatch):
    out, seen = tmp_path / "out", []
    ours(out, "a")
    exchange = system.exchange

    def watched(made, target):
        seen.append(sorted(os.listdir(target)))
        done = exchange(made, target)
        seen.append(sorted(os.listdir(target)))
        return done

    monkeypatch.setattr(system, "exchange", watched)
    replaced(out)
    assert seen == [["a", "index.json"], ["index.json", "x"]]


def link_in(out):
    (out / "a").unlink()
    (out / "a").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda out: (out / "notes.txt").write_text("mine"), "notes.txt"),
        (lambda out: (out / "src").mkdir(), "src"),
        (lambda out: (out / "sub" / "mine").write_text("mine"), "sub/mine"),
        (link_in, "holds a,"),
        (lambda out: (out / "index.json").unlink(), "prove"),
        (lambda out: (out / "index.json").write_text("{}"), "prove"),
    ],
)
def test_what_is_not_all_ours_is_kept(tmp_path, spoil, word):
    out = tmp_path / "out"
    ours(out, "a", "sub/b")
    spoil(out)
    before = everything_under(tmp_path)
    worked = False
    with pytest.raises(PlannerError, match=word), new_directory(out, replace=KIND):
        worked = True
    assert not worked
    assert everything_under(tmp_path) == before


def test_a_file_that_comes_in_during_the_work_is_kept(tmp_path, each_swap):
    out = tmp_path / "out"
    ours(out, "a")
    with pytest.raises(PlannerError, match="mine"), new_directory(out, replace=KIND) as made:
        ours(made, "x")
        (out / "mine").write_text("work")
        before = everything_under(out)
    assert everything_under(out) == before and os.listdir(tmp_path) == ["out"]


def test_a_file_that_comes_in_between_check_and_exchange_is_kept(tmp_path, each_swap, monkeypatch):
    out = tmp_path / "out"
    ours(out, "a")
    swap = files._exchange

    def late(made, target, holder):
        if (target / "a").exists():
            (target / "mine").write_text("work")
        swap(made, target, holder)

    monkeypatch.setattr(files, "_exchange", late)
    with pytest.raises(PlannerError, match="mine"):
        replaced(out)
    assert (out / "mine").read_text() == "work" and (out / "a").read_text() == "old a"
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_to_a_directory_is_followed(tmp_path):
    ours(tmp_path / "v1", "a")
    (tmp_path / "current").symlink_to("v1")
    replaced(tmp_path / "current")
    assert os.readlink(tmp_path / "current") == "v1"
    assert sorted(os.listdir(tmp_path / "v1")) == ["index.json", "x"]


def test_failure_inside_a_replacement_keeps_the_old(tmp_path):
    out = tmp_path / "out"
    old = ours(out, "a")
    with pytest.raises(ValueError, match="stop"), new_directory(out, replace=KIND) as made:
        (made / "x").write_text("half")
        raise ValueError("stop")
    assert everything_under(out) == old and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("call", [2, 3])
def test_failed_swap_keeps_the_old(tmp_path, call, monkeypatch):
    # without an exchange: after a try to rename, the old directory is moved aside, then the new one moves in
    monkeypatch.setattr("planner_core.system.replacing._renameat2", lambda: None)
    out, calls, rename = tmp_path / "out", [], os.rename
    old = ours(out, "a")

    def failing(*args):
        calls.append(args)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        rename(*args)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="No space"):
        replaced(out)
    assert everything_under(out) == old and os.listdir(tmp_path) == ["out"]


KILLED = """
import os, sys
from pathlib import Path
from planner_core.files import new_directory, new_file
with new_directory(Path(sys.argv[1])) as made, new_file(Path(sys.argv[1] + ".txt")) as stream:
    (made / "x").write_text("half")
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), 9)
"""


def test_what_killed_processes_left_is_cleaned(tmp_path):
    out = tmp_path / "out"
    subprocess.run([sys.executable, "-c", KILLED, out])
    assert len(os.listdir(tmp_path)) == 2
    (tmp_path / ".out.mine").mkdir()
    replaced(out)
    write_bytes(tmp_path / "out.txt", b"new")
    assert sorted(os.listdir(tmp_path)) == [".out.mine", "out", "out.txt"]


def test_what_a_living_process_makes_is_not_cleaned(tmp_path):
    out = tmp_path / "out"
    with new_directory(out, replace=KIND) as made:
        ours(made, "x")
        replaced(out, "y")
        assert sorted(os.listdir(made)) == ["index.json", "x"]
    assert sorted(os.listdir(out)) == ["index.json", "x"] and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("place", ["afile/x", "afile/x/y", "afile"])
def test_below_a_file_nothing_is_made(tmp_path, place):
    (tmp_path / "afile").write_text("mine")
    with pytest.raises((OSError, PlannerError), match="afile"), new_directory(tmp_path / place):
        pass
    if place != "afile":
        with pytest.raises(OSError, match="afile/x"):
            write_bytes(tmp_path / place, b"x")
    assert everything_under(tmp_path) == {"afile": "mine"}


def test_what_is_only_named_like_scratch_is_nobodys_to_clean(tmp_path):
    """A user's files whose names begin as those of a killed process do, and a scratch name with other content."""
    kept = [tmp_path / ".b.planner-notes.txt", tmp_path / ".b.planner-drafts" / "w.txt"]
    kept.append(tmp_path / ".b.planner-0123456789ab" / "mine.txt")
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("work")
    write_bytes(tmp_path / "b", b"new")
    assert [path.read_text() for path in kept] == ["work"] * 3
