"""A directory that one process at a time may work in, and who that is."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from planner_core import jsonio, system
from planner_core.clock import now
from planner_core.errors import PlannerError

LOCK = ".lock"
_MAX_OWNER = 4096


class Owner(msgspec.Struct):
    """What a lock file says of the process that holds it."""

    pid: int
    host: str
    user: str
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}, since {self.since}"


@contextmanager
def claimed(directory: Path, what: str, *, shown: Path | None = None) -> Iterator[Callable[[], None]]:
    """Keep every other process out of an existing directory while the block runs.

    The lock is the kernel's, on the file :data:`LOCK` in the directory, so it ends with the process that holds it;
    where a file system has no locks, nobody is kept out. ``what`` is what is at work ("a training"). Raises
    :class:`PlannerError` with the owner's name where somebody has the directory, and FileNotFoundError where the
    directory went away meanwhile. The file stays where it is: it may have moved with its directory. What is yielded
    gives the directory back early, for where no directory moves that holds an open file.
    """
    path = directory / LOCK
    handle = os.open(path, os.O_RDWR | os.O_CREAT | system.NO_LINK | system.NO_WAIT | system.PLAIN, 0o644)
    with ExitStack() as closing:
        closing.callback(os.close, handle)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise PlannerError(f"{path}: is no lock file of ours")
        found = system.read_part(handle, _MAX_OWNER, 0)
        owner = _owner(found)
        if found and owner is None:
            raise PlannerError(f"{path}: is no lock file of ours")
        if system.try_lock(handle) is False:
            raise PlannerError(f"{shown or directory}: {what} is at work there ({owner or 'just begun'})")
        if not system.is_at(handle, path):
            raise FileNotFoundError(2, "it was finished or removed in this moment", str(directory))
        system.rewrite(handle, jsonio.canonical(_me()) + b"\n")
        yield closing.close


@contextmanager
def claimed_for(directory: Path, index: str, what: str) -> Iterator[None]:
    """:func:`claimed` of the work whose ``index`` file stands in ``directory``, which is made where there is none.

    ``what`` names the work ("ablation"). Raises :class:`PlannerError` where the directory holds something else.
    """
    ours = not directory.exists() or (directory / index).is_file()
    if not ours and (not directory.is_dir() or {path.name for path in directory.iterdir()} - {LOCK}):
        raise PlannerError(f"{directory}: is not empty and holds no {what} ({index}); choose another --out")
    directory.mkdir(parents=True, exist_ok=True)
    with claimed(directory, f"another {what}"):
        yield


def _owner(content: bytes) -> Owner | None:
    try:
        return msgspec.json.decode(content, type=Owner)
    except msgspec.MsgspecError:
        return None


def _me() -> Owner:
    return Owner(os.getpid(), socket.gethostname(), system.user_name(), now())
