"""Checks of ``save`` and ``load``: the same bits back, no pickle, and a word about damaged files."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planner_core.errors import CheckFailed, PlannerError
from planner_core.plugins.records import CheckSetup, PolicyCheck
from planner_core.policy import TrainablePolicy
from planner_core.testing.support import learning, make_learner, mixed_batch, require, same_bits

PICKLES = tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5))
"""How a pickle begins."""

_watching: list[str] | None = None
_hooked = False


def saved(setup: CheckSetup) -> Path:
    """The trained policy's files in a new directory of the check."""
    place = setup.directory / "saved"
    place.mkdir()
    policy: Any = setup.trained()
    policy.save(place)
    return place


def save_load(setup: CheckSetup) -> None:
    """Saved, moved, and loaded into a fresh policy, it gives the same bits."""
    learning(setup)
    place = saved(setup)
    require(any(place.iterdir()), "save writes nothing into its directory")
    moved = setup.directory / "moved"
    place.rename(moved)
    batch = mixed_batch(setup)
    wanted = setup.trained().predict(batch)
    loaded = make_learner(setup)
    loaded.load(moved)
    require(same_bits(wanted, loaded.predict(batch)), "a policy that was saved and loaded gives other scores")
    require(same_bits(wanted, setup.trained().predict(batch)), "saving changes the policy's scores")


def no_pickle(setup: CheckSetup) -> None:
    """Nothing that ``save`` wrote has to be unpickled, and ``load`` unpickles nothing."""
    learning(setup)
    place = saved(setup)
    policy = make_learner(setup)
    found = unpickled(lambda: policy.load(place))
    require(not found, f"load unpickles {', '.join(found[:3])}, which runs whatever a file says")
    for path in sorted(place.rglob("*")):
        if path.is_file() and not zipfile.is_zipfile(path):
            # Archives are judged by what load does: a torch file holds a pickle that weights_only=True does not run.
            with path.open("rb") as stream:
                require(stream.read(2) not in PICKLES, f"{path.name} is a pickle; write arrays, JSON or tensors")


def unpickled(call: Callable[[], object]) -> list[str]:
    """The classes and functions that any unpickler of the process looked up during ``call``, as ``module.name``."""
    global _watching, _hooked
    if not _hooked:
        sys.addaudithook(_listen)  # cannot be taken back, so there is one, and it is deaf most of the time
        _hooked = True
    _watching = []
    try:
        call()
        return list(dict.fromkeys(_watching))
    finally:
        _watching = None


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching is not None and event == "pickle.find_class":
        _watching.append(".".join(map(str, arguments)))


def load_damaged(setup: CheckSetup) -> None:
    """A directory without the policy's files, or with half of one, is refused by a message, not a traceback.

    Half of a file that ``load`` does not read, a report for people say, changes nothing and may pass.
    """
    learning(setup)
    empty = setup.directory / "empty"
    empty.mkdir()
    require(_refuses(make_learner(setup), empty, "no files"), "load takes a directory without its files")
    place, batch = saved(setup), mixed_batch(setup)
    wanted = setup.trained().predict(batch)
    for path in sorted(p for p in place.rglob("*") if p.is_file() and p.stat().st_size):
        damaged = setup.directory / "damaged"
        shutil.copytree(place, damaged)
        half = damaged / path.relative_to(place)
        half.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        policy, what = make_learner(setup), f"half of {path.name}"
        sound = _refuses(policy, damaged, what) or same_bits(wanted, policy.predict(batch))
        require(sound, f"{what}: load takes it without a word, and the policy gives other scores")
        shutil.rmtree(damaged)


def _refuses(policy: TrainablePolicy, place: Path, what: str) -> bool:
    """Whether ``load`` refuses a directory by a message; :class:`CheckFailed` where it does by a traceback."""
    try:
        policy.load(place)
    except PlannerError:
        return True
    except Exception as problem:
        text = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise CheckFailed(f"{what}: load raises {text}; raise a planner_core.DataError that names the file") from None
    return False


CHECKS = (
    PolicyCheck("save-load", "What is judged, exported and deployed is what was loaded.", save_load),
    PolicyCheck("no-pickle", "A run directory from somebody else must not run code.", no_pickle),
    PolicyCheck("load-damaged", "Disks fill up; a half-written run must not be trusted.", load_damaged),
)
