"""The hashes of a run directory's files, so that weights and figures are those that training wrote."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import msgspec

from planner_core import jsonio, system
from planner_core.errors import DataError
from planner_core.files import write_bytes

MANIFEST = "run_manifest.json"
CHECKPOINTS = ("checkpoint.pt", "checkpoint.earlier.pt")
"""What the torch loop keeps in the directory while it trains."""
SCHEMA = "swarm_planner.run_manifest.v1"

logger = logging.getLogger("planner")


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """``run_manifest.json``: the SHA-256 of every file by its relative path, and of this list itself."""

    schema_version: str
    files: dict[str, str]
    digest: str


def seal(run: Path) -> None:
    """Write the manifest of all files of a run; not of checkpoints and hidden files, which do not belong to it."""
    files = {}
    for place, folders, names in os.walk(run):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if not name.startswith(".") and name not in (*CHECKPOINTS, MANIFEST):
                files[path.relative_to(run).as_posix()] = _sha256(path)
    write_bytes(run / MANIFEST, jsonio.pretty(Manifest(SCHEMA, files, _digest(files))))


def verify(run: Path) -> None:
    """Raise :class:`DataError` that names the first file which is not what was written.

    A run of version 0.1 has no manifest: it is read, and a warning says that nothing vouches for it.
    """
    path = run / MANIFEST
    if not path.exists():
        logger.warning("%s has no %s: nothing says whether its files are those that training wrote", run, MANIFEST)
        return
    manifest = jsonio.read_file(path, Manifest)
    if manifest.schema_version != SCHEMA:
        raise DataError(str(path), path="$.schema_version", found=manifest.schema_version, expected=SCHEMA)
    if manifest.digest != _digest(manifest.files):
        raise DataError(str(path), path="$.digest", found=manifest.digest[:16], expected="the digest of its own list")
    for name, expected in manifest.files.items():
        file = run / name
        if not system.leads_inside(name):
            raise DataError(str(path), path="$.files", found=name, expected="files of the run directory")
        try:
            found = _sha256(file)
        except OSError as problem:
            raise DataError(str(file), expected=f"the file that training wrote ({problem.strerror})") from None
        if found != expected:
            raise DataError(
                str(file),
                found=f"SHA-256 {found[:16]}...",
                expected=f"{expected[:16]}..., as in {MANIFEST}; it was changed after training wrote it",
            )


def _digest(files: dict[str, str]) -> str:
    return hashlib.sha256(jsonio.canonical([SCHEMA, files])).hexdigest()


def _sha256(path: Path) -> str:
    system.require_regular(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
