"""What is written is whole or absent, whatever interrupts the writing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from planner_core.errors import PlannerError
from planner_core.files import new_directory, write_bytes


def everything_under(path):
    return {str(p.relative_to(path)): p.read_text() if p.is_file() else None for p in path.rglob("*")}


@pytest.fixture
def failing(monkeypatch):
    """Make the n-th call of an os function fail; the others go through."""

    def fail(name, call=1):
        original = getattr(os, name)
        count = 0

        def fake(*args, **kwargs):
            nonlocal count
            count += 1
            if count == call:
                raise OSError(28, "No space left on device")
            return original(*args, **kwargs)

        monkeypatch.setattr(os, name, fake)

    return fail


# ------------------------------------------------------------------------------------ write_bytes


def test_write_makes_the_file_and_its_parents(tmp_path):
    write_bytes(tmp_path / "a" / "b.json", b"\x00new")
    assert (tmp_path / "a" / "b.json").read_bytes() == b"\x00new"
    assert os.listdir(tmp_path / "a") == ["b.json"]


def test_write_replaces(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a much longer old content")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


def test_written_file_is_readable_by_others(tmp_path):
    # a temporary file is born 0600, which would lock a bundle's other readers out
    write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_old_content_stands_until_the_new_one_is_complete(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    seen = []
    replace = os.replace

    def spy(source, target):
        seen.append((path.read_bytes(), Path(source).read_bytes(), Path(source).parent))
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    write_bytes(path, b"new")
    assert seen == [(b"old", b"new", tmp_path)]  # beside its place: a rename across file systems is no rename


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, failing, step):
    (tmp_path / "x").write_bytes(b"old")
    failing(step)
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "x", b"new")
    assert everything_under(tmp_path) == {"x": "old"}


def test_failed_first_write_leaves_nothing(tmp_path, failing):
    failing("replace")
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "x", b"new")
    assert everything_under(tmp_path) == {}


# ------------------------------------------------------------------------------------ new_directory


def test_directory_appears_when_the_block_ends(tmp_path):
    out = tmp_path / "deep" / "out"
    with new_directory(out) as made:
        assert made.parent == out.parent
        assert list(made.iterdir()) == []
        (made / "sub").mkdir()
        (made / "sub" / "x").write_text("new")
        assert not out.exists()
    assert everything_under(tmp_path / "deep") == {"out": None, "out/sub": None, "out/sub/x": "new"}
    assert out.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt])
def test_failure_inside_leaves_nothing(tmp_path, problem):
    with pytest.raises(problem), new_directory(tmp_path / "out") as made:
        (made / "x").write_text("half")
        raise problem
    assert everything_under(tmp_path) == {}


def test_failed_rename_leaves_nothing(tmp_path, failing):
    failing("rename")
    with pytest.raises(PlannerError, match="No space"), new_directory(tmp_path / "out") as made:
        (made / "x").write_text("new")
    assert everything_under(tmp_path) == {}


def test_full_directory_is_refused_before_any_work(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "x").write_text("old")
    worked = False
    with pytest.raises(PlannerError, match="out: already exists"), new_directory(out):
        worked = True
    assert not worked
    assert everything_under(tmp_path) == {"out": None, "out/x": "old"}


def test_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "out").write_text("old")
    with pytest.raises(PlannerError, match="out"), new_directory(tmp_path / "out"):
        pass
    assert everything_under(tmp_path) == {"out": "old"}


@pytest.mark.parametrize("replace", [False, True])
def test_empty_directory_is_filled(tmp_path, replace):
    (tmp_path / "out").mkdir()
    with new_directory(tmp_path / "out", replace=replace) as made:
        (made / "x").write_text("new")
    assert everything_under(tmp_path) == {"out": None, "out/x": "new"}


def test_what_another_process_put_there_meanwhile_is_kept(tmp_path):
    out = tmp_path / "out"
    with pytest.raises((PlannerError, OSError)), new_directory(out) as made:
        (made / "x").write_text("new")
        out.mkdir()
        (out / "x").write_text("theirs")
    assert everything_under(tmp_path) == {"out": None, "out/x": "theirs"}


def test_replace_swaps_whole_directories(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    with new_directory(out, replace=True) as made:
        (made / "x").write_text("new")
        assert everything_under(out) == {"old": "old"}
    assert everything_under(tmp_path) == {"out": None, "out/x": "new"}


def test_failure_inside_a_replacement_keeps_the_old(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    with pytest.raises(ValueError, match="stop"), new_directory(out, replace=True) as made:
        (made / "x").write_text("half")
        raise ValueError("stop")
    assert everything_under(tmp_path) == {"out": None, "out/old": "old"}


@pytest.mark.parametrize("call", [1, 2])
def test_failed_swap_keeps_the_old(tmp_path, failing, call):
    # first the old directory is moved aside, then the new one moves in; either may fail
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    failing("rename", call)
    with pytest.raises(OSError, match="No space"), new_directory(out, replace=True) as made:
        (made / "x").write_text("new")
    assert everything_under(tmp_path) == {"out": None, "out/old": "old"}
