"""The directory a training works in, ``<out>.partial``: one training at a time, taken up by ``--resume``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from planner_core import jsonio, system
from planner_core.claim import LOCK, claimed
from planner_core.errors import PlannerError
from planner_core.harness.run_dir import CONFIG, PROVENANCE, RunConfig, is_run, provenance, read_config, write_json
from planner_core.harness.run_files import CHECKPOINTS

PARTIAL = ".partial"
_BEGINNING = (PROVENANCE, CONFIG)
_ATTEMPTS = 10
_ANYWHERE = ("device",)
"""Keys that say where a training computes: it may be resumed elsewhere, and its results name every place."""


class WorkDirectory:
    """``path`` to work in, and whether an interrupted run of the same configuration and dataset had left it."""

    def __init__(self, out: Path, path: Path, resumed: bool, release: Callable[[], None]) -> None:
        self.out, self.path, self.resumed = out, path, resumed
        self._release = release

    def publish(self) -> None:
        """Make it the run directory ``out``, durably and in one step."""
        system.sync_tree(self.path)
        if not system.OPEN_FILES_MOVE:
            self._release()
        system.take_place(self.path, self.out)
        system.sync_directory(self.out.parent)
        for name in (*CHECKPOINTS, LOCK):
            (self.out / name).unlink(missing_ok=True)

    @property
    def has_checkpoint(self) -> bool:
        """Whether epochs that were trained are in there."""
        return any((self.path / name).exists() for name in CHECKPOINTS)

    def discard(self) -> None:
        """Remove what was made by this process; what an earlier one left, hours of training perhaps, stays."""
        if not self.resumed:
            if not system.OPEN_FILES_MOVE:
                self._release()
            shutil.rmtree(self.path)


@contextmanager
def work_directory(out: Path, document: RunConfig, source: dict[str, Any], resume: bool) -> Iterator[WorkDirectory]:
    """Yield the directory to train in, claimed while the block runs.

    Raises :class:`PlannerError` where ``out`` holds something, where another training is at work (with its owner's
    name), where an interrupted run is there and ``resume`` is not given, or where it is one of something else.
    """
    partial = out.with_name(out.name + PARTIAL)
    with ExitStack() as stack:
        for attempt in range(_ATTEMPTS):
            if out.exists() and not (out.is_dir() and not any(out.iterdir())):
                raise PlannerError(f"{out}: already exists and is not empty; choose another --out or remove it first")
            try:
                partial.mkdir(parents=True)
            except FileExistsError:
                _check_ours(partial)
            try:
                release = stack.enter_context(claimed(partial, "a training", shown=out))
                break
            except FileNotFoundError:  # whoever had it finished in this moment
                if attempt == _ATTEMPTS - 1:
                    raise
        resumed = is_run(partial)
        if resumed and not resume:
            raise PlannerError(f"{partial}: an interrupted run is there; go on with --resume, or remove it")
        if resumed:
            check_same(partial, document, source)
        else:  # new, or killed before it had begun
            write_json(partial, PROVENANCE, provenance(source))
            write_json(partial, CONFIG, document)
        yield WorkDirectory(out, partial, resumed, release)


def _check_ours(partial: Path) -> None:
    """Refuse a directory that no training of ours can have left."""
    if not partial.is_dir():
        raise PlannerError(f"{partial}: is in the way; choose another --out or remove it first")
    if is_run(partial):
        return
    scratch = tuple(f".{name}." for name in _BEGINNING)
    for entry in partial.iterdir():
        if entry.name not in (*_BEGINNING, LOCK) and not entry.name.startswith(scratch):
            raise PlannerError(
                f"{partial}: holds {entry.name}, and is no interrupted run; choose another --out or remove it first"
            )


def check_same(run: Path, document: RunConfig, source: dict[str, Any]) -> None:
    """Refuse to go on with a run of something else, by :class:`PlannerError`."""
    given = read_config(run)
    for what, found, wanted in (
        ("policy", given.policy, document.policy),
        ("seed", given.seed, document.seed),
        ("configuration", _of_the_model(given.values), _of_the_model(document.values)),
    ):
        if found != wanted:
            raise PlannerError(
                f"{run}: this run has another {what} ({_difference(found, wanted)}); it cannot be resumed"
            )
    used = jsonio.read_file(run / PROVENANCE, dict[str, Any])["dataset"]
    if used["hash"] != source["hash"]:
        raise PlannerError(
            f"{run}: this run was trained on another dataset (hash {used['hash'][:16]}...); it cannot be resumed"
        )
    if "utility" in used and used["utility"] != source.get("utility"):
        raise PlannerError(f"{run}: this run was trained with other utility weights; it cannot be resumed")


def _of_the_model(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in _ANYWHERE}


def _difference(found: Any, wanted: Any) -> str:
    if not isinstance(found, dict):
        return f"{found}, not {wanted}"
    return ", ".join(f"{k} {found.get(k)}, not {wanted.get(k)}" for k in wanted if found.get(k) != wanted.get(k))
