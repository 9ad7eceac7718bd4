"""What the file system offers beyond Python's own functions: exchanges, locks, bounded opening, syncing a tree."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

PIPE_WAIT_S = 10.0
"""Seconds that a named pipe may stay without anybody at its other end."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISLNK, "a link"),
)


def kind_of(mode: int) -> str:
    """What a ``st_mode`` stands for, in words."""
    return next((name for test, name in _KINDS if test(mode)), "a regular file")


@cache
def _renameat2() -> Any:
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # another system, or a C library before glibc 2.28
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return function


def exchange(one: Path, other: Path) -> bool:
    """Let two existing paths change places in one step; False where the system cannot, and then nothing happened."""
    function = _renameat2()
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. A file system that cannot sync directories has nothing to be done."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def sync_tree(directory: Path) -> None:
    """Make every file and directory below ``directory``, and itself, durable."""
    for place, _, names in os.walk(directory, topdown=False):
        for name in names:
            handle = os.open(os.path.join(place, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_directory(Path(place))


def try_lock(handle: int) -> bool | None:
    """Take the lock of an open file: True taken, False somebody lives who has it, None where there are no locks.

    The lock goes when the last descriptor of this opening is closed, however the process ends.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def open_input(path: Path | str) -> BinaryIO:
    """Open a file to be read once: a regular one, or a pipe somebody writes to.

    Raises OSError, with the reason as its ``strerror``, for anything else: a device may never end, and a pipe whose
    writer does not come within :data:`PIPE_WAIT_S` would be waited for without end.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISFIFO(mode):
            waiting = select.poll()
            waiting.register(handle, select.POLLIN)
            if not waiting.poll(PIPE_WAIT_S * 1000):
                raise OSError(errno.ETIMEDOUT, f"a pipe that nobody wrote to for {PIPE_WAIT_S:g} s", str(path))
        elif not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, f"it is {kind_of(mode)}", str(path))
        os.set_blocking(handle, True)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def require_regular(path: Path) -> None:
    """Raise OSError for what exists and is no regular file, where a library opens it by its name."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {kind_of(mode)}", str(path))


@contextmanager
def opened_directory(path: Path) -> Iterator[int]:
    """A descriptor of a directory, which names the same directory whatever its path comes to mean meanwhile."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def is_at(handle: int, path: Path) -> bool:
    """Whether ``path`` still leads to what was opened as ``handle``."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False


def read_at(directory: int, name: str, limit: int) -> bytes | None:
    """At most ``limit`` bytes of the regular file ``name`` of an open directory; None for what is no regular file.

    A link is none, and neither is waited for a pipe's writer. OSError where nothing has that name.
    """
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as problem:
        if problem.errno in (errno.ELOOP, errno.ENXIO):  # a link; a socket
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
