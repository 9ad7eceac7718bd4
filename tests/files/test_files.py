"""What is written is whole or absent, whatever interrupts the writing."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from planner_core.errors import PlannerError
from planner_core.files import DirectoryKind, new_directory, write_bytes


def listed(directory):
    names = json.loads((directory / "index.json").read_text())
    if not isinstance(names, list):
        raise ValueError("no list")
    return names


KIND = DirectoryKind("a thing", "index.json", listed)


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


def test_written_file_has_the_mode_of_the_umask(tmp_path):
    for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            write_bytes(tmp_path / oct(mask), b"new")
            with new_directory(tmp_path / f"d{mask}") as made:
                (made / "x").write_text("x")
        finally:
            os.umask(before)
        assert (tmp_path / oct(mask)).stat().st_mode & 0o777 == mode
        assert (tmp_path / f"d{mask}").stat().st_mode & 0o777 == 0o777 & ~mask


def test_replaced_file_keeps_its_mode_and_owner(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    before = path.stat()
    write_bytes(path, b"new")
    after = path.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/file")
    for content in (b"first", b"second"):  # a link to nothing yet, and to a file
        write_bytes(link, content)
        assert os.readlink(link) == "there/file"
        assert (tmp_path / "there" / "file").read_bytes() == content
    assert everything_under(tmp_path / "there") == {"file": "second"}


def test_a_device_is_written_through(tmp_path):
    before = os.stat("/dev/null")
    write_bytes(Path("/dev/null"), b"gone")
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    write_bytes(link, b"gone")
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode) and after.st_rdev == before.st_rdev and after.st_mode == before.st_mode
    assert os.readlink(link) == "/dev/null"
    with pytest.raises(OSError, match="/dev/full"):
        write_bytes(Path("/dev/full"), b"x")


def test_a_pipe_is_written_through(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    write_bytes(pipe, b"through")
    assert reader.communicate(timeout=10)[0] == b"through"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    monkeypatch.setattr("planner_core.files.PIPE_WAIT_S", 0.05)
    with pytest.raises(OSError, match="pipe"):  # nobody reads: an end, and no waiting for ever
        write_bytes(pipe, b"through")


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


@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace"])
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
        assert made.parent.parent == out.parent  # a rename across file systems is no rename
        assert list(made.iterdir()) == []
        (made / "sub").mkdir()
        (made / "sub" / "x").write_text("new")
        assert not out.exists()
    assert everything_under(tmp_path / "deep") == {"out": None, "out/sub": None, "out/sub/x": "new"}


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


@pytest.mark.parametrize("replace", [None, KIND])
def test_empty_directory_is_filled(tmp_path, replace):
    (tmp_path / "out").mkdir(mode=0o750)
    with new_directory(tmp_path / "out", replace=replace) as made:
        (made / "x").write_text("new")
    assert everything_under(tmp_path) == {"out": None, "out/x": "new"}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750


def test_what_another_process_put_there_meanwhile_is_kept(tmp_path):
    out = tmp_path / "out"
    with pytest.raises((PlannerError, OSError)), new_directory(out) as made:
        (made / "x").write_text("new")
        out.mkdir()
        (out / "x").write_text("theirs")
    assert everything_under(tmp_path) == {"out": None, "out/x": "theirs"}
