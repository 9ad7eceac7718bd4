"""The arrays of :class:`planner_core.Executed` on disk, a row an example, written while a dataset is encoded.

Files: one ``executed_<field>.npy`` a field. Rows of examples that do not say what was run have swarm, action and status
-1, NaN for every quantity, and are no evidence.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from planner_core.action_space import SWARM_IDS
from planner_core.contracts import CandidateRun, DatasetExample, ExecutedRun
from planner_core.data.cache import Arrays
from planner_core.data.executed import (
    UNKNOWN,
    Distribution,
    nearest_class,
    propensity_of,
    read_propensities,
    resolved_run,
    swarm_of,
)
from planner_core.data.npy import Columns
from planner_core.encoder import STATUSES
from planner_core.errors import DataError
from planner_core.examples import Executed

CANDIDATES = 3
"""Candidates of one run whose own outcome is kept; where there are more, nothing is known of any."""

_PREFIX = "executed_"
_KINDS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "swarm": (np.int64, ()),
    "candidates": (np.float32, ()),
    "minutes": (np.float32, ()),
    "iterations": (np.float32, ()),
    "minutes_limited": (np.bool_, ()),
    "action": (np.int64, ()),
    "passed": (np.float32, ()),
    "status": (np.int8, ()),
    "duration_minutes": (np.float32, ()),
    "cost_usd": (np.float32, ()),
    "propensity": (np.float32, ()),
    "propensity_starts": (np.int64, ()),
    "propensity_actions": (np.int64, (4,)),
    "propensity_values": (np.float32, ()),
    "candidate_passed": (np.int8, (CANDIDATES,)),
    "candidate_minutes": (np.float32, (CANDIDATES,)),
    "candidate_cost_usd": (np.float32, (CANDIDATES,)),
    "issue": (np.int64, ()),
    "started_ms": (np.int64, ()),
    "evidence": (np.bool_, ()),
}
_NAN = float("nan")
_NOT_RUN: dict[str, Any] = {
    **dict.fromkeys(("swarm", "action", "status"), -1),
    **dict.fromkeys(("candidates", "minutes", "iterations", "passed", "duration_minutes", "cost_usd"), _NAN),
    **dict.fromkeys(("minutes_limited", "evidence"), False),
    "propensity": _NAN,
    "candidate_passed": (-1,) * CANDIDATES,
    "candidate_minutes": (_NAN,) * CANDIDATES,
    "candidate_cost_usd": (_NAN,) * CANDIDATES,
}


class ExecutedRows:
    """Writes what was run of each example; nothing is left on disk where no example says it."""

    def __init__(self, into: Path, path: Path, stack: ExitStack) -> None:
        self._files = [into / f"{_PREFIX}{name}.npy" for name in _KINDS]
        self._columns = Columns(into, {_PREFIX + name: kind for name, kind in _KINDS.items()}, stack)
        self._columns.append(executed_propensity_starts=0)
        self._path = str(path)
        self._issues: dict[str, int] = {}
        self._distributions: list[Distribution] = []
        self._end = 0
        self._any = False

    def add(self, example: DatasetExample, line: int) -> None:
        """One example; :class:`DataError` for propensities that cannot be read."""
        row, distribution = _NOT_RUN, UNKNOWN
        if example.executed is not None:
            self._any = True
            row, distribution = self._row(example.executed, example.planner_input.job_type, line)
        if example.started_ms > np.iinfo(np.int64).max:
            found, expected = str(example.started_ms), "Unix milliseconds"
            raise DataError(self._path, line=line, path="$.started_ms", found=found, expected=expected)
        issue = self._issues.setdefault(example.planner_input.issue.issue_id, len(self._issues))
        self._end += len(distribution)
        self._columns.append(**{_PREFIX + name: value for name, value in row.items()})
        self._columns.append(
            executed_issue=issue, executed_started_ms=example.started_ms, executed_propensity_starts=self._end
        )
        if len(distribution):
            self._distributions.append(distribution)

    def _row(self, run: ExecutedRun, job_type: str, line: int) -> tuple[dict[str, Any], Distribution]:
        name, candidates, minutes, iterations = run.action
        recorded = run.candidates or []
        swarm = swarm_of(name, candidates if candidates is not None else len(recorded) or None)
        resolved = resolved_run(swarm, candidates, minutes, iterations, job_type)
        distribution = read_propensities(run.propensities, job_type, self._path, line, "$.executed.propensities")
        propensity, distribution, _ = propensity_of(run.propensity, distribution, resolved)
        return {
            "swarm": SWARM_IDS.index(swarm),
            "candidates": resolved[1],
            "minutes": resolved[2],
            "iterations": resolved[3],
            "minutes_limited": minutes is not None,
            "action": nearest_class(resolved, job_type),
            "passed": float(run.passed),
            "status": STATUSES.index(run.status),
            "duration_minutes": run.duration_ms / 60_000,
            "cost_usd": _or_nan(run.cost_usd),
            "propensity": _or_nan(propensity),
            "evidence": run.evidence,
            **_candidates(recorded),
        }, distribution

    def flush(self) -> None:
        """Write what was added since."""
        self._columns.flush()
        if self._distributions:
            self._columns.write(
                executed_propensity_actions=np.concatenate([d.actions for d in self._distributions]),
                executed_propensity_values=np.concatenate([d.values for d in self._distributions]),
            )
            self._distributions.clear()

    def forget_if_empty(self) -> None:
        """Called when the files are closed: where nothing was run there are no arrays of it."""
        if not self._any:
            for file in self._files:
                file.unlink()


def executed_arrays(arrays: Arrays) -> Executed | None:
    """What was run, of a cache's arrays; None where nothing says it."""
    if f"{_PREFIX}swarm" not in arrays:
        return None
    return Executed(**{name: arrays[_PREFIX + name] for name in _KINDS})


def _candidates(recorded: list[CandidateRun]) -> dict[str, tuple[float, ...]]:
    if not recorded or len(recorded) > CANDIDATES:
        return {name: _NOT_RUN[name] for name in ("candidate_passed", "candidate_minutes", "candidate_cost_usd")}
    missing = CANDIDATES - len(recorded)
    minutes = (_NAN if c.duration_ms is None else c.duration_ms / 60_000 for c in recorded)
    return {
        "candidate_passed": (*(int(c.passed) for c in recorded), *(-1,) * missing),
        "candidate_minutes": (*minutes, *(_NAN,) * missing),
        "candidate_cost_usd": (*(_or_nan(c.cost_usd) for c in recorded), *(_NAN,) * missing),
    }


def _or_nan(value: float | None) -> float:
    return _NAN if value is None else value
