"""Another operating system, as far as a program can tell from within Python: run before anything of ours is imported.

``windows()`` takes away what Windows lacks and forbids what it forbids: directories cannot be opened, an open file is
neither moved nor removed, nor is a directory that holds one, and a rename takes no place that is taken. Its locks are
those of ``msvcrt``, kept in this process's name. ``macos()`` takes away what only Linux has.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import socket
import stat
import sys
import types
from importlib.abc import MetaPathFinder
from pathlib import Path

# Foreign modules look at the system when they are imported, and would look for its parts in vain afterwards.
FOREIGN = (
    *("asyncio", "concurrent.futures", "ctypes", "getpass", "multiprocessing", "numpy", "onnxruntime", "shutil"),
    *("subprocess", "tempfile", "typer", "typer.rich_utils", "click._compat", "rich.console", "rich.progress"),
    *("rich.table", "msgspec", "pluggy", "uvicorn", "starlette.applications", "httptools", "prometheus_client"),
    *("importlib.metadata", "select", "pdb", "uuid", "webbrowser", "zoneinfo", "logging.handlers"),
)
OS_LACKS = ("pread", "pwrite", "fchmod", "fchown", "getuid", "geteuid", "fork", "set_blocking", "sched_getaffinity")
FLAGS_LACKED = ("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY")


class Blocked(MetaPathFinder):
    """Modules that are not there."""

    def __init__(self, *names: str) -> None:
        self.names = names
        for name in names:
            sys.modules.pop(name, None)

    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _load_foreign() -> None:
    for name in FOREIGN:
        try:
            __import__(name)
        except ModuleNotFoundError:
            continue  # an extra that is not installed


def _without(module: types.ModuleType, *names: str) -> None:
    for name in names:
        if hasattr(module, name):
            delattr(module, name)


def _hide_proc() -> None:
    """No ``/proc`` for whoever reads a file through pathlib or ``open``."""
    plain = Path.read_text

    def read_text(self, *args, **kwargs):
        if str(self).startswith("/proc/"):
            raise FileNotFoundError(errno.ENOENT, "No such file", str(self))
        return plain(self, *args, **kwargs)

    Path.read_text = read_text


def macos() -> None:
    """Linux's own is gone: ``/proc``, ``renameat2``, affinity; ``ru_maxrss`` counts bytes."""
    import resource

    _load_foreign()
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    _without(os, "sched_getaffinity")
    _hide_proc()
    plain = resource.getrusage

    def in_bytes(who):
        return types.SimpleNamespace(ru_maxrss=plain(who).ru_maxrss * 1024)

    resource.getrusage = in_bytes


def _open_files() -> dict[str, int]:
    """{real path: number of descriptors} of what this process has open."""
    found: dict[str, int] = {}
    for entry in os.listdir("/proc/self/fd"):
        try:
            path = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:
            continue
        found[path] = found.get(path, 0) + 1
    return found


def _refuse_open(path: object) -> None:
    """A PermissionError for a file that is open, or a directory with one in it."""
    real = os.path.abspath(os.fsdecode(path))
    for other in _open_files():
        if other == real or other.startswith(real + os.sep):
            raise PermissionError(errno.EACCES, "The process cannot access the file, it is being used", real)


def windows() -> None:
    """What Windows lacks is gone, and what it forbids is refused."""
    import fcntl

    _load_foreign()
    sys.platform = "win32"
    platform.system = lambda: "Windows"
    _without(os, *OS_LACKS, *FLAGS_LACKED)
    tempfile = sys.modules["tempfile"]
    tempfile.TemporaryFile = tempfile.NamedTemporaryFile  # as on Windows, where nothing is removed while it is open
    _without(signal, "SIGHUP", "SIGKILL", "SIGALRM", "setitimer")
    pair, family = socket.socketpair, socket.AF_UNIX
    socket.socketpair = lambda *args: pair(*(args or (family,)))  # Linux pairs no others; asyncio wakes itself by one
    _without(socket, "AF_UNIX")
    socket.SO_EXCLUSIVEADDRUSE = socket.SO_KEEPALIVE  # an option that Linux takes too
    sys.modules["asyncio"].SelectorEventLoop.add_signal_handler = _no_signals
    sys.modules["asyncio"].SelectorEventLoop.remove_signal_handler = _no_signals
    select = sys.modules["select"]
    _without(select, "poll")
    sys.meta_path.insert(0, Blocked("fcntl", "resource", "pwd", "grp"))
    _hide_proc()
    _strict_files()
    sys.modules["msvcrt"] = _msvcrt(fcntl)


def _no_signals(loop, *arguments):
    raise NotImplementedError


def _strict_files() -> None:
    plain_open, plain_rename, plain_replace = os.open, os.rename, os.replace
    plain_unlink, plain_rmdir, plain_fsync = os.unlink, os.rmdir, os.fsync

    def open_(path, flags, mode=0o777, *, dir_fd=None):
        if dir_fd is not None:
            raise NotImplementedError("dir_fd unavailable on this platform")
        if not flags & os.O_CREAT and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", os.fsdecode(path))
        return plain_open(path, flags, mode)

    def rename(source, target, **kwargs):
        _refuse_open(source)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "Cannot create a file when that file already exists", str(target))
        plain_rename(source, target)

    def replace(source, target, **kwargs):
        _refuse_open(source)
        if os.path.lexists(target):
            _refuse_open(target)
            if os.path.isdir(target):
                raise PermissionError(errno.EACCES, "Access is denied", str(target))
        plain_replace(source, target)

    def unlink(path, *, dir_fd=None):
        _refuse_open(path)
        plain_unlink(path)

    def rmdir(path, *, dir_fd=None):
        _refuse_open(path)
        plain_rmdir(path)

    def fsync(handle):
        with open(f"/proc/self/fdinfo/{handle}", encoding="utf-8") as stream:  # only what is open for writing
            flags = int(stream.read().split("flags:")[1].split()[0], 8)
        if flags & 3 == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        plain_fsync(handle)

    os.open, os.rename, os.replace, os.unlink, os.remove, os.rmdir = open_, rename, replace, unlink, unlink, rmdir
    os.fsync = fsync
    # shutil chose its way of removing a tree when it was imported: by descriptors, which Windows has not.
    import shutil

    shutil._use_fd_functions = False
    for place in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        place.clear()


def _msvcrt(fcntl: types.ModuleType) -> types.ModuleType:
    """``locking`` of one byte at the position, by the open file and not by the process, as Windows has it."""
    module = types.ModuleType("msvcrt")
    module.LK_NBLCK, module.LK_UNLCK = 2, 0

    def locking(handle, mode, count):
        assert count == 1 and os.lseek(handle, 0, os.SEEK_CUR) > 1 << 30, "a byte that readers need"
        if mode == module.LK_UNLCK:
            fcntl.flock(handle, fcntl.LOCK_UN)
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(errno.EACCES, "Permission denied") from None

    module.locking = locking
    return module
