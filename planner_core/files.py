"""Writing whole or not at all: everything is made beside its place and renamed into it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from planner_core.errors import PlannerError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def new_directory(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty directory beside ``path`` that becomes ``path`` when the block ends without an error.

    With ``replace`` an existing directory gives way in the same moment; without it an existing, non-empty
    ``path`` is a :class:`PlannerError` before any work is done.
    """
    if path.exists() and not replace and not (path.is_dir() and not any(path.iterdir())):
        raise PlannerError(f"{path}: already exists and is not empty; choose another --out or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield made
        made.chmod(0o755)
        _swap(made, path, replace)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _swap(made: Path, path: Path, replace: bool) -> None:
    if not (replace and path.exists()):
        try:
            os.rename(made, path)  # takes the place of an empty directory, refuses any other
        except OSError as problem:
            raise PlannerError(f"{path}: cannot be written ({problem.strerror})") from None
        return
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    old = aside / path.name
    try:
        os.rename(path, old)
        try:
            os.rename(made, path)
        except BaseException:
            os.rename(old, path)
            raise
    except BaseException:
        if not old.exists():
            aside.rmdir()
        raise
    shutil.rmtree(aside, ignore_errors=True)
