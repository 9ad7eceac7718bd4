"""The files of a study: what it is a study of, and what came of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import msgspec

from planner_core import (
    DataError,
    PlannerError,
    TrialRuns,
    canonical,
    pretty,
    read_file,
    space_document,
    weights_document,
    write_bytes,
)

STUDY, JOURNAL, RESULT, BEST, TRIALS = "study.json", "journal.log", "result.json", "best.yaml", "trials"
"""What stands in the directory of a study; a trial is a run directory under ``trials/``."""

STUDY_SCHEMA = "swarm_planner.study.v1"
RESULT_SCHEMA = "swarm_planner.study_result.v1"


class Identity(msgspec.Struct, frozen=True):
    """``study.json``: what makes two commands the same study.

    ``given`` are the keys that the user set, ``base`` the whole configuration around which is tried, ``space`` what may
    be tried, ``utility`` what outcomes are worth.
    """

    schema_version: str
    policy: str
    dataset_hash: str
    seed: int
    given: dict[str, Any]
    base: dict[str, Any]
    space: dict[str, dict[str, Any]]
    utility: dict[str, dict[str, float]]

    @property
    def short(self) -> str:
        """A name for its directory: the same study has the same."""
        return hashlib.sha256(canonical(self)).hexdigest()[:12]


class TrialRow(msgspec.Struct, frozen=True, kw_only=True):
    """One trial. ``values`` are what was tried, ``run`` its run directory.

    ``utility`` on the validation split with its 95 % interval ``low`` to ``high``; ``supported`` the share of rows that
    tell of it. ``same_as`` is an earlier trial of the same values, whose figures these are.
    """

    number: int
    state: Literal["done", "failed"]
    values: dict[str, Any]
    run: str
    utility: float | None = None
    low: float | None = None
    high: float | None = None
    supported: float | None = None
    same_as: int | None = None
    error: str | None = None


class TestRow(msgspec.Struct, frozen=True, kw_only=True):
    """The best configuration on the test split beside the default one: utility of both, their difference, a verdict.

    ``looks`` counts the configurations that this study has judged on the test split: what was chosen after a look is
    less surely better than the interval says.
    """

    number: int
    rows: int
    known: str
    utility: dict[str, float | None]
    default_utility: float | None
    difference: dict[str, float | None]
    verdict: dict[str, Any]
    looks: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """``result.json`` and ``--json``. ``asked`` trials, ``finished`` of which are; ``test`` once all are."""

    schema_version: str
    policy: str
    dataset: str
    dataset_hash: str
    known: str
    rows: int
    seed: int
    out: str
    asked: int
    finished: int
    trials: list[TrialRow]
    best: int
    config: str
    test: TestRow | None = None
    notes: list[str] = []


def identity_of(runs: TrialRuns) -> Identity:
    """The study that ``runs`` are for."""
    plain = msgspec.json.decode(canonical({"given": runs.given, "base": runs.base}))
    space = msgspec.json.decode(canonical(space_document(runs.space)))
    return Identity(
        STUDY_SCHEMA,
        runs.policy,
        runs.dataset.meta.dataset_hash,
        runs.seed,
        plain["given"],
        plain["base"],
        space,
        weights_document(runs.utility),
    )


def settle_identity(out: Path, wanted: Identity) -> None:
    """Write ``study.json``, or check that the one in ``out`` is of the same study.

    Raises :class:`PlannerError` that says what is different where it is not.
    """
    place = out / STUDY
    if not place.exists():
        write_bytes(place, pretty(wanted))
        return
    found = read_file(place, Identity)
    if found.schema_version != STUDY_SCHEMA:
        raise DataError(str(place), path="$.schema_version", found=found.schema_version, expected=STUDY_SCHEMA)
    if found == wanted:
        return
    problems = []
    for name in ("policy", "seed", "dataset_hash"):
        one, other = getattr(found, name), getattr(wanted, name)
        if one != other:
            problems.append(f"{name.replace('_', ' ')} {one}, not {other}")
    for name, called in (("base", ""), ("space", "search space of "), ("utility", "worth at ")):
        one, other = getattr(found, name), getattr(wanted, name)
        if name != "utility" and found.policy != wanted.policy:
            continue  # other keys altogether
        problems += [
            f"{called}{key} {one.get(key, 'none')}, not {other.get(key, 'none')}"
            for key in dict.fromkeys((*one, *other))
            if one.get(key) != other.get(key)
        ]
    if not problems:
        problems.append(f"keys set {', '.join(found.given) or 'none'}, not {', '.join(wanted.given) or 'none'}")
    raise PlannerError(
        f"{out}: the study there is another one and cannot go on with this; choose another --out\n"
        + "\n".join(f"  {problem}" for problem in problems)
    )
