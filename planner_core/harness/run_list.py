"""The run directories under a root: what each learnt from and is worth, and what is wrong with those that are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.errors import PlannerError
from planner_core.harness.run_dir import PROVENANCE, RESULTS, RUNS, is_run, read_config
from planner_core.harness.work_dir import PARTIAL
from planner_core.utility import weight_table

MOST_RUNS = 10_000
"""Run directories that are looked at, the newest of each policy."""


class ListedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run directory; ``problem`` says what is wrong with one that cannot be read, and then the rest may be null.

    ``utility`` is the mean on the test split, known or estimated from the log, ``low`` and ``high`` its 95 % interval
    where there is one; ``answer`` the verdict against ``against``.
    """

    path: str
    policy: str | None = None
    started_at: str | None = None
    dataset: str | None = None
    dataset_hash: str | None = None
    known: str | None = None
    seed: int | None = None
    utility: float | None = None
    low: float | None = None
    high: float | None = None
    answer: str | None = None
    against: str | None = None
    problem: str | None = None


class _Dataset(msgspec.Struct):
    hash: str
    directory: str | None = None
    utility: dict[str, dict[str, float]] | None = None


class _Provenance(msgspec.Struct):
    dataset: _Dataset
    started_at: str | None = None


class _Verdict(msgspec.Struct):
    answer: str


class _Split(msgspec.Struct):
    mean_utility: float | None = None
    value: dict[str, Any] | None = None
    verdict: _Verdict | None = None
    against: str | None = None


class _Results(msgspec.Struct):
    known: str | None = None
    test: _Split | None = None
    val: _Split | None = None


def list_runs(root: Path = RUNS) -> list[ListedRun]:
    """Every directory that is a run or should be one, the newest first; empty where there is no root."""
    found = [_listed(path) for path in _places(root)]
    return sorted(found, key=lambda run: (run.started_at or "", run.path), reverse=True)


def runs_on(dataset_hash: str, policy: str, utility: NDArray[np.float64], root: Path = RUNS) -> Iterator[Path]:
    """The finished runs of a policy that were trained on a dataset with these utility weights, the newest first."""
    for run in list_runs(root):
        if run.problem is None and run.policy == policy and run.dataset_hash == dataset_hash:
            used = jsonio.read_file(Path(run.path) / PROVENANCE, _Provenance).dataset.utility
            if used is None or np.array_equal(weight_table(used), utility):
                yield Path(run.path)


def _places(root: Path) -> Iterator[Path]:
    """``root/<policy>/<run>``, and no deeper."""
    if not root.is_dir():
        return
    left = MOST_RUNS
    for policy in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if is_run(policy):  # somebody's --out runs/mine
            yield policy
            continue
        for run in sorted((p for p in policy.iterdir() if p.is_dir() and not p.name.startswith(".")), reverse=True):
            if not left:
                return
            left -= 1
            yield run


def _listed(path: Path) -> ListedRun:
    try:
        if not is_run(path):
            return ListedRun(path=str(path), problem="is no run directory: config.json or provenance.json is missing")
        config = read_config(path)
        provenance = jsonio.read_file(path / PROVENANCE, _Provenance)
        if path.name.endswith(PARTIAL):
            problem = "interrupted; go on with --resume"
        elif not (path / RESULTS).is_file():
            problem = f"{RESULTS} is missing"
        else:
            problem = None
        results = _Results() if problem else jsonio.read_file(path / RESULTS, _Results)
    except PlannerError as wrong:
        return ListedRun(path=str(path), problem=str(wrong).removeprefix(f"{path}/"))
    split = results.test or results.val or _Split()
    utility = ((split.value or {}).get("utility") or {}) if isinstance(split.value, dict) else {}
    estimate = utility.get("estimate")
    return ListedRun(
        path=str(path),
        policy=config.policy,
        started_at=provenance.started_at,
        dataset=provenance.dataset.directory,
        dataset_hash=provenance.dataset.hash,
        known=results.known,
        seed=config.seed,
        utility=split.mean_utility if estimate is None else estimate,
        low=utility.get("low"),
        high=utility.get("high"),
        answer=None if split.verdict is None else split.verdict.answer,
        against=split.against,
        problem=problem,
    )
