"""Opening what may be anything, reading a part of it, and locks."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PIPE_WAIT_S = 10.0
"""Seconds that a named pipe may stay without anybody at its other end."""


def _flags(*names: str) -> int:
    """The flags of :func:`os.open` of these names, as far as the system has them."""
    found = 0
    for name in names:
        found |= getattr(os, name, 0)
    return found


PLAIN = _flags("O_CLOEXEC", "O_BINARY", "O_NOINHERIT")
"""Bytes as they are, and for no child process."""
NO_WAIT = _flags("O_NONBLOCK", "O_NOCTTY")
"""Neither waited for a pipe's other end, nor taken as a terminal."""
NO_LINK = _flags("O_NOFOLLOW")
"""Refuse a link; nothing where the system cannot say so to ``open``."""

DIRECTORY_LOCK = ".being-made"
"""The file in a directory that is locked in its stead where a directory itself cannot be opened."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a link"),
)
_NO_FILE = (errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EOPNOTSUPP)
"""What opening a link (EMLINK on BSD) or a socket (ENXIO on Linux) that is not to be followed gives."""

_LOCKED_BYTE = 0x7FFF_FFF0
"""Windows locks ranges of bytes, and nobody can read a locked one; this one lies beyond what the files hold."""
_APPEND_WAIT_S, _APPEND_PAUSE_S = 1.0, 0.001
_positions = threading.Lock()
"""Held where a part is read or locked by moving the position of a file that threads share."""


def kind_of(mode: int) -> str:
    """What a ``st_mode`` stands for, in words."""
    return next((name for test, name in _KINDS if test(mode)), "a regular file")


def path_of(descriptor: int) -> str | None:
    """The path that an open file has; None where the system does not tell, or it has none (a pipe)."""
    try:
        found = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None
    return found if os.path.isabs(found) else None


def make_blocking(handle: int) -> None:
    """Undo :data:`NO_WAIT` for reading and writing."""
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(handle, True)


def open_input(path: Path | str) -> BinaryIO:
    """Open a file to be read once: a regular one, or a pipe somebody writes to.

    Raises OSError, with the reason as its ``strerror``, for anything else: a device may never end, and a pipe whose
    writer does not come within :data:`PIPE_WAIT_S` would be waited for without end. Where the system cannot wait for a
    pipe with a limit, none is read.
    """
    handle = os.open(path, os.O_RDONLY | NO_WAIT | PLAIN)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISFIFO(mode) and hasattr(select, "poll"):
            waiting = select.poll()
            waiting.register(handle, select.POLLIN)
            if not waiting.poll(PIPE_WAIT_S * 1000):
                raise OSError(errno.ETIMEDOUT, f"a pipe that nobody wrote to for {PIPE_WAIT_S:g} s", str(path))
        elif not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"it is {kind_of(mode)}", str(path))
        make_blocking(handle)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def require_regular(path: Path) -> None:
    """Raise OSError for what exists and is no regular file, where a library opens it by its name."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {kind_of(mode)}", str(path))


def is_at(handle: int, path: Path) -> bool:
    """Whether ``path`` still leads to what was opened as ``handle``."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


# ------------------------------------------------------------------------------------ directories


class Directory:
    """An open directory: the same one whatever its path comes to mean meanwhile.

    Where a directory cannot be opened it is known by its number alone, and a file of another one may be read through
    its path; :meth:`is_at` tells afterwards.
    """

    def __init__(self, path: Path, handle: int | None, found: os.stat_result) -> None:
        self.path, self._handle, self._found = path, handle, found

    def is_at(self, path: Path) -> bool:
        """Whether ``path`` still leads to it."""
        try:
            return os.path.samestat(self._found, path.stat())
        except OSError:
            return False

    def read(self, name: str, limit: int) -> bytes | None:
        """At most ``limit`` bytes of its regular file ``name``; None for what is no regular file.

        A link is none, and neither is waited for a pipe's writer. OSError where nothing has that name.
        """
        try:
            handle = self._open(name)
        except OSError as problem:
            if problem.errno in _NO_FILE:
                return None
            raise
        with os.fdopen(handle, "rb", buffering=0) as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            parts, left = [], limit
            while left and (part := stream.read(left)):
                parts.append(part)
                left -= len(part)
            return b"".join(parts)

    def _open(self, name: str) -> int:
        flags = os.O_RDONLY | NO_LINK | NO_WAIT | PLAIN
        if self._handle is not None:
            return os.open(name, flags, dir_fd=self._handle)
        path = self.path / name
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(errno.ELOOP, "it is no regular file", str(path))
        return os.open(path, flags)


@contextmanager
def opened_directory(path: Path) -> Iterator[Directory]:
    """A directory, held open while the block runs. OSError where there is none."""
    if not hasattr(os, "O_DIRECTORY"):
        found = path.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        yield Directory(path, None, found)
        return
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | PLAIN)
    try:
        yield Directory(path, handle, os.fstat(handle))
    finally:
        os.close(handle)


# ------------------------------------------------------------------------------------ parts


def read_part(handle: int, length: int, start: int) -> bytes:
    """At most ``length`` bytes of an open file from byte ``start``, whatever its position is."""
    if hasattr(os, "pread"):
        return os.pread(handle, length, start)
    with _positions:
        before = os.lseek(handle, 0, os.SEEK_CUR)
        try:
            os.lseek(handle, start, os.SEEK_SET)
            return os.read(handle, length)
        finally:
            os.lseek(handle, before, os.SEEK_SET)


def rewrite(handle: int, content: bytes) -> None:
    """Make ``content`` all that an open file holds."""
    os.ftruncate(handle, 0)
    if hasattr(os, "pwrite"):
        os.pwrite(handle, content, 0)
        return
    with _positions:
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, content)


def append(handle: int, line: bytes) -> int:
    """Write once to the end of a file that was opened for appending; returns the number of bytes that were written.

    No other process's line comes in between: the kernel sees to that, or, on Windows, a lock that is waited for a
    second at most (OSError, EBUSY).
    """
    if sys.platform != "win32":
        return os.write(handle, line)
    until = time.monotonic() + _APPEND_WAIT_S
    while True:
        with _positions:
            if _lock_byte(handle):
                try:
                    return os.write(handle, line)
                finally:
                    _unlock_byte(handle)
        if time.monotonic() > until:
            raise OSError(errno.EBUSY, "another program holds its lock")
        time.sleep(_APPEND_PAUSE_S)


# ------------------------------------------------------------------------------------ locks


def try_lock(handle: int) -> bool | None:
    """Take the lock of an open file: True taken, False somebody lives who has it, None where there are no locks.

    The lock goes when the last descriptor of this opening is closed, however the process ends.
    """
    if sys.platform == "win32":
        with _positions:
            return _lock_byte(handle)
    try:
        import fcntl
    except ModuleNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def open_to_lock(path: Path) -> tuple[int, int]:
    """A descriptor whose lock is that of a file or directory (no link), and the ``st_mode`` of what is there.

    Where a directory cannot be opened it is of the file :data:`DIRECTORY_LOCK` in it, which is made.
    """
    if not hasattr(os, "O_DIRECTORY"):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            return os.open(path / DIRECTORY_LOCK, os.O_RDWR | os.O_CREAT | PLAIN), mode
    handle = os.open(path, os.O_RDONLY | NO_LINK | NO_WAIT | PLAIN)
    return handle, os.fstat(handle).st_mode


def release(handle: int, path: Path) -> None:
    """Close what :func:`open_to_lock` opened; of a directory that could not be removed for it, remove what is left."""
    os.close(handle)
    if not hasattr(os, "O_DIRECTORY"):
        with contextlib.suppress(OSError):
            (path / DIRECTORY_LOCK).unlink()
            path.rmdir()


def _lock_byte(handle: int) -> bool:
    """Lock :data:`_LOCKED_BYTE`, or say that somebody has it."""
    if sys.platform != "win32":
        raise NotImplementedError("only Windows locks bytes")
    import msvcrt

    with _at_locked_byte(handle):
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True


def _unlock_byte(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        with _at_locked_byte(handle):
            msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)


@contextmanager
def _at_locked_byte(handle: int) -> Iterator[None]:
    """Locking is at the position of the file, which whoever writes to it needs back."""
    before = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
    try:
        yield
    finally:
        os.lseek(handle, before, os.SEEK_SET)
