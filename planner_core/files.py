"""Writing whole or not at all, and the one rule of what may be replaced.

Everything is made beside its place, synced and renamed into it. A directory gives way only if it proves to be ours: its
index is of our schema, lists its files, and no other is there (:class:`DirectoryKind`). Of a directory that gave way
only what its index lists is removed, name by name, so that nothing of anybody else's can be.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from planner_core import system
from planner_core.errors import PlannerError
from planner_core.system import PIPE_WAIT_S

_MARK = ".planner-"
"""In the name of everything that is being made, after a dot and the name of what it is to become."""
_NEW, _OLD, _READY = "new", "old", "ready"
_SUFFIX_BYTES = 6
_ATTEMPTS = 10
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_MOVING_S = 60.0
_MAX_NAME = 200  # bytes of a name that are repeated in a temporary one; file systems allow 255


@dataclass(frozen=True)
class DirectoryKind:
    """What proves a directory to be ours.

    ``name`` says what it is ("a bundle"). ``index`` is the name of the file that proves it. ``members`` gives the
    relative paths of the files a directory of this kind holds, read from its index; it raises PlannerError, ValueError
    or OSError for a directory that is of another kind.
    """

    name: str
    index: str
    members: Callable[[Path], Collection[str]]

    def check(self, directory: Path, shown: Path | None = None) -> set[str]:
        """The files of ``directory``, all of them ours. Raises :class:`PlannerError` that names what is not."""
        shown = shown or directory
        try:
            listed = set(self.members(directory))
        except (PlannerError, ValueError, OSError):
            raise _kept(shown, f"it does not prove to be {self.name} of ours") from None
        folders = {parent.as_posix() for name in listed for parent in Path(name).parents}
        for place, directories, files in os.walk(directory):
            inside = Path(place).relative_to(directory)
            for name in (*directories, *files):
                found = (inside / name).as_posix()
                mode = os.lstat(directory / found).st_mode
                if not (found in folders if stat.S_ISDIR(mode) else found in listed and stat.S_ISREG(mode)):
                    raise _kept(shown, f"it holds {found}, which is not of {self.name}")
        return listed


def _kept(path: Path, reason: str) -> PlannerError:
    return PlannerError(f"{path}: is not empty, and {reason}; choose another --out or remove it first")


# ------------------------------------------------------------------------------------ files


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as :func:`new_file` does."""
    with new_file(path) as stream:
        stream.write(content)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes ``path`` when the block ends without an error: the old content or the new.

    A link is followed, an existing file keeps its mode and owner, and a new one gets those of the umask. What is no
    regular file (a device, a pipe, this process's own standard output) is written through. Raises OSError, with the
    path in it.
    """
    with _placed(path):
        found = _status(path)
        if found is not None and (not stat.S_ISREG(found.st_mode) or _is_standard_stream(found)):
            with _open_through(path, found.st_mode) as stream:
                yield stream
            return
        target = Path(os.path.realpath(path))
        with _parents(target.parent):
            clean(target)
            name, handle = _scratch_file(target)
            try:
                with os.fdopen(handle, "wb") as stream:
                    yield stream
                    stream.flush()
                    if found is not None:
                        system.take_owner_and_mode(handle, found)
                    os.fsync(handle)
                    if system.OPEN_FILES_MOVE:
                        system.replace(name, target)  # while its lock tells cleaners to stay away
                if not system.OPEN_FILES_MOVE:
                    system.replace(name, target)
            except BaseException:
                name.unlink(missing_ok=True)
                raise
            system.sync_directory(target.parent)


def _status(path: Path) -> os.stat_result | None:
    """Of what a path leads to; None where that does not exist yet."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _is_standard_stream(found: os.stat_result) -> bool:
    """Whether standard output or error goes there: a file that is replaced would no longer be it."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), found):
                return True
    return False


@contextmanager
def _open_through(path: Path, mode: int) -> Iterator[BinaryIO]:
    until = time.monotonic() + PIPE_WAIT_S
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | system.NO_WAIT | system.PLAIN)
            break
        except OSError as problem:
            if problem.errno != errno.ENXIO or not stat.S_ISFIFO(mode) or time.monotonic() > until:
                raise
            time.sleep(0.02)  # a pipe that nobody reads yet
    system.make_blocking(handle)
    with os.fdopen(handle, "wb") as stream:
        yield stream


# ------------------------------------------------------------------------------------ directories


@contextmanager
def new_directory(path: Path, *, replace: DirectoryKind | None = None) -> Iterator[Path]:
    """Yield an empty directory that becomes ``path`` when the block ends without an error; a link is followed.

    An existing directory that is not empty gives way, in the same moment, only if ``replace`` is given and it proves to
    be of that kind, before the work and again when its place is taken. Otherwise :class:`PlannerError`, before any work
    is done. What a killed process left is cleaned, either way. Raises OSError, with the path in it, where it cannot be
    written.
    """
    with _placed(path):
        target = Path(os.path.realpath(path))
        if target.parent.is_dir():
            clean(target, replace)  # first: also where the place is taken, what lies beside it has no other to clean it
        _check_place(target, path, replace)
        with _parents(target.parent):
            with _scratch_directory(target, replace) as holder:
                made = holder / _NEW
                made.mkdir()
                yield made
                if target.is_dir():
                    made.chmod(stat.S_IMODE(target.stat().st_mode))
                system.sync_tree(made)
                _swap(holder, target, path, replace)
            system.sync_directory(target.parent)


def _check_place(target: Path, shown: Path, replace: DirectoryKind | None) -> None:
    found = _status(target)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise PlannerError(
            f"{shown}: already exists and is {system.kind_of(found.st_mode)}; choose another --out or remove it first"
        )
    if any(target.iterdir()):
        if replace is None:
            raise PlannerError(f"{shown}: already exists and is not empty; choose another --out or remove it first")
        _check_still(target, shown, replace)


def _check_still(target: Path, shown: Path, kind: DirectoryKind) -> None:
    """Check a directory that another process may be replacing: what is said holds for one and the same directory."""
    for attempt in range(_ATTEMPTS):
        with system.opened_directory(target) as opened:  # held open, so that no other gets its number
            try:
                kind.check(target, shown)
                return
            except (PlannerError, OSError):
                if attempt == _ATTEMPTS - 1 or opened.is_at(target):
                    raise


def _swap(holder: Path, target: Path, shown: Path, replace: DirectoryKind | None) -> None:
    """Put ``holder/new`` in the place of ``target``; afterwards ``holder/new`` is what was there, emptied, or gone."""
    made = holder / _NEW
    while True:
        try:
            system.take_place(made, target)
            return
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise PlannerError(f"{shown}: cannot be written ({problem.strerror})") from None
        _check_place(target, shown, replace)  # whoever came first may be another process that makes the same
        if replace is None:
            continue  # emptied in this very moment
        (holder / _READY).touch()  # from here on, what is in the holder may be the old one
        try:
            _exchange(made, target, holder)
            break
        except FileNotFoundError:
            continue  # taken away in this very moment
    try:
        listed = replace.check(made, shown)
    except PlannerError:
        _exchange(made, target, holder)  # somebody put a file there between the check and the exchange
        raise
    _remove_listed(made, listed, replace.index)


def _exchange(made: Path, target: Path, holder: Path) -> None:
    if system.exchange(made, target):
        return
    # Without an exchange there is a moment in which nothing is there; readers wait for it to pass.
    old = holder / _OLD
    system.rename(target, old)
    try:
        system.rename(made, target)
    except BaseException:
        system.rename(old, target)
        raise
    system.rename(old, made)


def _remove_listed(directory: Path, listed: Collection[str], index: str) -> None:
    """Remove the files of ours and the folders they leave empty; what else may have come in meanwhile stays.

    The index goes last: as long as a file is there, it is known whose it is, even if this is where the process ends.
    """
    for name in sorted(listed, key=lambda name: (name == index, name)):
        (directory / name).unlink(missing_ok=True)
    _remove_empty(directory)


def _remove_empty(directory: Path) -> None:
    """Remove a directory and those in it, as far as they hold no file."""
    for place, _, _ in os.walk(directory, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(place)


# ------------------------------------------------------------------------------------ what is being made


def _temporary(target: Path) -> Path:
    return target.with_name(_prefix(target) + secrets.token_hex(_SUFFIX_BYTES))


def _prefix(target: Path) -> str:
    name = os.fsencode(target.name)[:_MAX_NAME]
    return f".{os.fsdecode(name)}{_MARK}"


def _scratch_file(target: Path) -> tuple[Path, int]:
    """A new, locked file beside ``target`` and its descriptor; the lock says that somebody is at work."""
    while True:
        name = _temporary(target)
        # Created with its final mode and not by mkstemp, so that the umask and default ACLs have their say.
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.PLAIN, 0o666)
        if system.try_lock(handle) is not False and name.exists():
            return name, handle
        os.close(handle)  # somebody who cleans up was faster


@contextmanager
def _scratch_directory(target: Path, kind: DirectoryKind | None) -> Iterator[Path]:
    """A new, locked directory beside ``target``, removed in the end."""
    while True:
        holder = _temporary(target)
        holder.mkdir(0o700)
        handle, _ = system.open_to_lock(holder)
        if system.try_lock(handle) is not False and holder.exists():
            break
        os.close(handle)  # somebody who cleans up was faster
    try:
        yield holder
    finally:
        _remove_scratch(holder, target, kind)
        system.release(handle, holder)


def clean(target: Path, kind: DirectoryKind | None = None) -> None:
    """Remove what killed processes left of making ``target``; what a living one is making stays."""
    ours = re.compile(re.escape(_prefix(target)) + rf"[0-9a-f]{{{2 * _SUFFIX_BYTES}}}")
    with os.scandir(target.parent) as entries:
        left = [Path(entry.path) for entry in entries if ours.fullmatch(entry.name) and not entry.is_symlink()]
    for path in left:
        with contextlib.suppress(OSError):  # another one is cleaning, or it is not ours to clean
            _clean_one(path, target, kind)


def _clean_one(path: Path, target: Path, kind: DirectoryKind | None) -> None:
    handle, mode = system.open_to_lock(path)
    try:
        if not system.try_lock(handle):
            return
        if stat.S_ISDIR(mode):
            _remove_scratch(path, target, kind)
        elif stat.S_ISREG(mode) and system.OPEN_FILES_MOVE:
            path.unlink()
    finally:
        system.release(handle, path)
    # Where an open file cannot be moved, one that is about to be has no lock for a moment.
    if stat.S_ISREG(mode) and not system.OPEN_FILES_MOVE and time.time() - path.stat().st_mtime > _MOVING_S:
        path.unlink()


def _remove_scratch(holder: Path, target: Path, kind: DirectoryKind | None) -> None:
    """Remove a scratch directory. From the exchange on it may hold the old directory, which need not be all ours."""
    if {entry.name for entry in holder.iterdir()} - {_NEW, _OLD, _READY, system.DIRECTORY_LOCK}:
        return  # named like ours by chance
    if (holder / _READY).exists():
        if (holder / _OLD).exists() and not target.exists():
            system.rename(holder / _OLD, target)  # killed between two renames: the old one is put back
        for name in (_NEW, _OLD):
            if kind is not None and (holder / name).is_dir():
                with contextlib.suppress(PlannerError, ValueError, OSError):
                    _remove_listed(holder / name, kind.members(holder / name), kind.index)
            _remove_empty(holder / name)
        if (holder / _NEW).exists() or (holder / _OLD).exists():
            return
    shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def _parents(directory: Path) -> Iterator[None]:
    """Make a directory and those above it; of these, none that stayed empty is left if the block raises."""
    made: list[Path] = []
    for place in reversed((directory, *directory.parents)):
        if not place.exists():
            with contextlib.suppress(FileExistsError):  # somebody else has just made it
                place.mkdir()
                made.append(place)
    try:
        yield
    except BaseException:
        for place in reversed(made):
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


@contextmanager
def _placed(path: Path) -> Iterator[None]:
    """Name ``path`` in an OSError of a full disk, which has no name of its own, or of the scratch beside ``path``."""
    try:
        yield
    except OSError as problem:
        nameless = problem.filename is None and problem.errno in _NO_ROOM
        if nameless or _MARK in os.fsdecode(problem.filename or ""):
            problem.filename, problem.filename2 = str(path), None
        raise
