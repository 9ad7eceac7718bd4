"""Encoded arrays on disk, mapped into memory: kept beside the dataset, or for this process alone.

A cache is a directory of ``.npy`` files and a ``manifest.json`` with the length and the CRC-32 of each. Both are
checked whenever it is opened, since the hash of the data says nothing about them: what is damaged is encoded again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio, system
from planner_core.data.npy import BUFFER
from planner_core.errors import DataError, PlannerError
from planner_core.files import DirectoryKind, new_directory

Arrays = dict[str, NDArray[Any]]
MANIFEST_FILE = "manifest.json"

logger = logging.getLogger("planner")


class _Entry(msgspec.Struct):
    """What a file must be."""

    size: int
    crc32: int


def cached_arrays(place: Path, write: Callable[[Path], None]) -> Arrays:
    """The arrays of the cache directory ``place``; where there is none, or a damaged one, ``write`` fills it.

    ``write`` gets an empty directory for its ``.npy`` files; if it raises, nothing is left behind. Where ``place``
    cannot be made, because the dataset is read-only or something that is no cache is there, the arrays are those of
    :func:`passing_arrays`.
    """
    cache = _Cache()
    if place.is_dir():
        try:
            return _mapped(place)
        except (OSError, ValueError, DataError) as problem:
            logger.warning("%s is damaged (%s); the dataset is encoded again", place, problem)
        try:
            cache.kind.check(place)
        except PlannerError as problem:
            logger.warning("%s; until then the dataset is encoded at every load", problem)
            return passing_arrays(write)
    there = place.parent.exists()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(place.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        logger.warning("%s cannot be written; the dataset is encoded at every load", place.parent)
        return passing_arrays(write)
    try:
        with new_directory(place, replace=cache.kind) as made:
            cache.fill(made, write)
    except OSError as problem:
        raise PlannerError(f"{place}: cannot be written ({problem.strerror or problem})") from None
    finally:
        if not there:
            with contextlib.suppress(OSError):
                place.parent.rmdir()  # where nothing came into it
    return _mapped(place)


def passing_arrays(write: Callable[[Path], None]) -> Arrays:
    """Arrays that ``write`` makes, in the system's temporary directory; they last as long as somebody holds them."""
    try:
        with tempfile.TemporaryDirectory(prefix="planner-") as name:
            write(Path(name))
            if not system.OPEN_FILES_MOVE:
                return {path.stem: np.load(path) for path in sorted(Path(name).glob("*.npy"))}
            return _map_all(Path(name))  # a mapping outlives the name of its file
    except OSError as problem:
        raise PlannerError(f"{tempfile.gettempdir()}: cannot be written ({problem.strerror or problem})") from None


class _Cache:
    """A cache in the making, and what it may take the place of.

    That is one with the files of its manifest. Where the manifest is what was damaged, the names are those of the new
    cache, known when it takes its place; until then any array may be one of them.
    """

    def __init__(self) -> None:
        self._written: set[str] = set()
        self.kind = DirectoryKind("an encoded dataset", MANIFEST_FILE, self._members)

    def fill(self, directory: Path, write: Callable[[Path], None]) -> None:
        """Let ``write`` make the arrays, and write their manifest."""
        write(directory)
        manifest = {path.name: _Entry(path.stat().st_size, _crc32(path)) for path in sorted(directory.glob("*.npy"))}
        (directory / MANIFEST_FILE).write_bytes(jsonio.canonical(manifest))
        self._written = set(manifest)

    def _members(self, directory: Path) -> set[str]:
        try:
            listed = set(_manifest(directory))
        except DataError:
            listed = self._written or {path.name for path in directory.glob("*.npy")}
        return {*listed, *self._written, MANIFEST_FILE}


def cache_files(directory: Path) -> set[str]:
    """Names of the files of a whole cache, as its manifest lists them. Raises DataError for any other directory."""
    return {*_manifest(directory), MANIFEST_FILE}


def _manifest(directory: Path) -> dict[str, _Entry]:
    return jsonio.read_file(directory / MANIFEST_FILE, dict[str, _Entry])


def _mapped(place: Path) -> Arrays:
    """The arrays of a whole cache; DataError, ValueError or OSError for any other."""
    manifest = _manifest(place)
    if {path.name for path in place.glob("*.npy")} != set(manifest):
        raise ValueError(f"its files are not those of {MANIFEST_FILE}")
    for name, entry in manifest.items():
        path = place / name
        if path.stat().st_size != entry.size:
            raise ValueError(f"{name} has {path.stat().st_size} bytes, not {entry.size}")
        if _crc32(path) != entry.crc32:
            raise ValueError(f"the content of {name} has changed")
    return _map_all(place)


def _map_all(place: Path) -> Arrays:
    return {path.stem: np.load(path, mmap_mode="r") for path in sorted(place.glob("*.npy"))}


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while chunk := stream.read(BUFFER):
            value = zlib.crc32(chunk, value)
    return value
