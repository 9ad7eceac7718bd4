"""Where a server listens: a port of the loopback or a Unix socket, or what somebody takes upon himself."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from planner_core import DataError, PlannerError

BACKLOG = 1024
_TAKEN = (errno.EADDRINUSE, errno.EACCES) if hasattr(socket, "SO_EXCLUSIVEADDRUSE") else (errno.EADDRINUSE,)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is reached from this machine alone, by all of its addresses. PlannerError where it has none."""
    return all(ipaddress.ip_address(str(address[0]).split("%")[0]).is_loopback for _, address in _addresses(host, 0))


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """(family, address) of a host; at least one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as problem:
        raise PlannerError(f"{host}: no address of this machine ({problem})") from None
    return [(family, address) for family, _, _, _, address in found]


@contextmanager
def listening_port(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens on the first address of ``host``, and its URL; port 0 is any free one."""
    family, address = _addresses(host, port)[0]
    # With its protocol: asyncio switches Nagle's algorithm off only for a socket that says it is TCP, and 40 ms are
    # lost with every answer otherwise.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        # On Windows SO_REUSEADDR lets two programs listen on one port; what others want of it comes by itself there.
        exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR if exclusive is None else exclusive, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as problem:
            # Windows calls a port that another program has for itself EACCES.
            why = "another program listens there" if problem.errno in _TAKEN else problem.strerror
            raise PlannerError(f"{host}, port {port}: cannot listen ({why}); --port 0 takes any free port") from None
        name = f"[{host}]" if ":" in host else host
        yield listener, f"http://{name}:{listener.getsockname()[1]}"


@contextmanager
def listening_path(path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A Unix socket at ``path`` for its owner alone, and its name; it is removed in the end.

    A socket there on which nobody listens any more, as a server that was killed leaves it, gives way; nothing else.
    PlannerError where the system has no Unix sockets, or does not let Python have them (Windows).
    """
    if not hasattr(socket, "AF_UNIX"):
        raise PlannerError(f"{path}: this system has no Unix sockets for Python; listen on a --port of the loopback")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        _make_way(path)
        before = os.umask(0o177)
        try:
            listener.bind(os.fspath(path))
            listener.listen(BACKLOG)
        except (OSError, ValueError) as problem:
            raise PlannerError(f"{path}: cannot listen ({getattr(problem, 'strerror', None) or problem})") from None
        finally:
            os.umask(before)
        ours = _identity(path)
        try:
            yield listener, f"unix:{path}"
        finally:
            if ours is not None and _identity(path) == ours:
                path.unlink()


def _make_way(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:  # nothing is there, or binding says what is wrong
        return
    found = "something that is no socket"
    if stat.S_ISSOCK(mode):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(os.fspath(path))
            except ConnectionRefusedError:
                path.unlink()
                return
            except OSError as problem:
                found = f"a socket ({problem.strerror or problem})"
            else:
                found = "a socket on which a program listens"
    raise DataError(str(path), found=found, expected="a path where nothing is")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
