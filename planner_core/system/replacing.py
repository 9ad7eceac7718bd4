"""Putting files and directories into each other's places, durably."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from planner_core.system.opening import NO_LINK, NO_WAIT, PLAIN

OPEN_FILES_MOVE = sys.platform != "win32"
"""Whether a file that is open, and a directory that holds one, can be renamed and removed."""

MOVE_WAIT_S = 2.0
"""Seconds that a file may stay open in another program (a reader, a virus scanner) before a move of it fails."""
_MOVE_PAUSE_S = 0.02

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)


@cache
def _renameat2() -> Any:
    """Linux's own; None on another system, or with a C library before glibc 2.28."""
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, ImportError, OSError):
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
    import ctypes

    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def rename(source: Path, target: Path) -> None:
    """``os.rename``; where open files do not move, what is open elsewhere is waited for a while."""
    _patiently(lambda: os.rename(source, target))


def replace(source: Path, target: Path) -> None:
    """``os.replace``, with the same patience."""
    _patiently(lambda: os.replace(source, target))


def _patiently(move: Callable[[], None]) -> None:
    until = time.monotonic() + MOVE_WAIT_S
    while True:
        try:
            return move()
        except PermissionError:
            if OPEN_FILES_MOVE or time.monotonic() > until:
                raise
        time.sleep(_MOVE_PAUSE_S)


def take_place(made: Path, target: Path) -> None:
    """Rename a directory to where nothing is, or an empty directory; OSError (ENOTEMPTY, EEXIST, ENOTDIR) otherwise."""
    try:
        rename(made, target)
    except FileExistsError:
        if OPEN_FILES_MOVE:
            raise
        # Windows renames onto nothing that is there, be it empty.
        os.rmdir(target)
        rename(made, target)


def take_owner_and_mode(handle: int, found: os.stat_result) -> None:
    """Give an open file the owner and the mode of the one it replaces, where files have them."""
    if not hasattr(os, "fchown"):
        return
    mine = os.fstat(handle)
    if (mine.st_uid, mine.st_gid) != (found.st_uid, found.st_gid):
        with contextlib.suppress(OSError):  # only root may give files away
            os.fchown(handle, found.st_uid, found.st_gid)
    os.fchmod(handle, stat.S_IMODE(found.st_mode))


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable. Where directories cannot be synced there is nothing to be done."""
    if not hasattr(os, "O_DIRECTORY"):
        return
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
    # Windows syncs only what is open for writing.
    access = os.O_RDONLY if OPEN_FILES_MOVE else os.O_RDWR
    for place, _, names in os.walk(directory, topdown=False):
        for name in names:
            handle = os.open(os.path.join(place, name), access | NO_LINK | NO_WAIT | PLAIN)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_directory(Path(place))
