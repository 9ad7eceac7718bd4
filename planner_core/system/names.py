"""Names that every file system can hold, whichever the program runs on: a run directory may be copied to another."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}


def reserved(name: str) -> str | None:
    """Why ``name`` cannot be that of a file or directory on Windows, in words; None where it can.

    A name is read without what follows its first dot, and without regard to case: ``Nul.json`` is the device ``NUL``.
    """
    if name.split(".")[0].strip().lower() in _DEVICES:
        return "it is the name of a device on Windows"
    if name.endswith((".", " ")):
        return "it ends with a dot or a space, which Windows leaves out"
    return None


def leads_inside(name: str) -> bool:
    """Whether a path that a file names stays below the directory it is looked up in, on every system.

    A path with a root, a drive letter or a ``..`` does not, be it written with slashes or with backslashes.
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return not (posix.root or windows.drive or windows.root or ".." in posix.parts or ".." in windows.parts)
