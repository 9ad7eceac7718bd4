"""What the runs of the simulated world leave behind in a log: gates, fail codes, and each run as JSON.

A run has two documents, its summary (``run_summary.v1``), which is history, and what was executed, which is evidence.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from planner_core.action_space import NA, ActionSpace, action_dict, resolve
from planner_core.data.executed import Resolved
from planner_core.data.retrieval import QueryColumns, RunColumns
from planner_core.data.run_tracker import Finished, Tracked, expectation, tracked
from planner_core.encoder import DOMAINS, RISKS, SIZES, TOOLCHAINS
from planner_core.world.config import JOBS, OBJECTIVES, TAGS, UNIVERSES
from planner_core.world.events import Issues, Runs
from planner_core.world.logging_policy import LoggingPolicy, compact
from planner_core.world.outcomes import Ints

JOB_GATES: tuple[tuple[str, ...], ...] = (
    ("test", "typecheck", "lint", "build"),
    ("fab-realism", "godot", "godot-config"),
    ("fab-realism", "asset-only"),
)
FAIL_CODES = {
    "test": "TEST_FAILURE",
    "typecheck": "TYPE_ERROR",
    "lint": "LINT_ERROR",
    "build": "BUILD_FAILURE",
    "fab-realism": "REALISM_BELOW_THRESHOLD",
    "godot": "GODOT_IMPORT_FAILED",
    "godot-config": "GODOT_CONFIG_INVALID",
    "asset-only": "ASSET_INVALID",
}
OUT_OF_TIME, OUTVOTED = "BUDGET_EXHAUSTED", "VOTE_NOT_REACHED"

ROWS_AT_ONCE = 4096

_SIGNALS = {name: i for i, name in enumerate((*FAIL_CODES, "review", *FAIL_CODES.values(), OUT_OF_TIME, OUTVOTED))}


def run_name(i: int) -> str:
    """Id of a run."""
    return f"run-{i:07d}"


def issue_name(i: int) -> str:
    """Id of an issue."""
    return f"sim-{i:07d}"


def tag_names(tags: Ints) -> list[list[str]]:
    """Names of the tags of some issues, from :attr:`Issues.tags`."""
    return [[TAGS[tag] for tag in row if tag >= 0] for row in tags.tolist()]


class Ending(NamedTuple):
    """How a run ended: status, the gates it met, those of them that failed, fail codes."""

    status: str
    gates: tuple[str, ...]
    failed: set[str]
    codes: list[str]


def ending_of(job: int, runs: Runs, i: int, failing: float, further: Sequence[bool]) -> Ending:
    """How run ``i`` of a job type ended; ``failing`` in [0, 1) picks a gate that failed, ``further`` are others."""
    gates = JOB_GATES[job]
    if runs.passed[i]:
        return Ending("success", gates, set(), [])
    if runs.out_of_time[i]:
        return Ending("timeout", (), set(), [OUT_OF_TIME])
    if runs.outvoted[i]:
        return Ending("failed", (*gates, "review"), {"review"}, [OUTVOTED])
    failed = {name for name, too in zip(gates, further, strict=False) if too}
    failed.add(gates[int(failing * len(gates))])
    return Ending("failed", gates, failed, [FAIL_CODES[name] for name in gates if name in failed])


class RunLog:
    """The log of all runs. Summaries lie in a file and are mapped; they are needed again wherever they are history.

    ``signals`` uint64 [runs, 1]: failure signals as bit masks; ``status_shares``: how the runs ended.
    """

    def __init__(
        self,
        file: Path,
        rng: np.random.Generator,
        gate_fail_share: float,
        policy: LoggingPolicy,
        issues: Issues,
        runs: Runs,
        tell: Callable[[str, int, int], None],
    ) -> None:
        n = len(runs.issue)
        self._issues, self._runs, self._policy = issues, runs, policy
        self._propensities = cache(self._propensities_json)
        self._failing_gate = rng.random(n)
        self._further = rng.random((n, max(len(gates) for gates in JOB_GATES))) < gate_fail_share
        self.signals = np.zeros((n, 1), np.uint64)
        self._offsets = np.zeros(n + 1, np.int64)
        counts = {"success": 0, "failed": 0, "timeout": 0}
        end = 0
        with file.open("wb") as stream:
            for begin in range(0, n, ROWS_AT_ONCE):
                rows = range(begin, min(begin + ROWS_AT_ONCE, n))
                tags = tag_names(issues.tags[runs.issue[rows.start : rows.stop]])
                for i, tags_of_run in zip(rows, tags, strict=True):
                    ending = self._ending(i)
                    counts[ending.status] += 1
                    self.signals[i, 0] = sum(1 << _SIGNALS[name] for name in (*ending.gates, *ending.codes))
                    end += stream.write(_summary(issues, runs, i, tags_of_run, ending))
                    self._offsets[i + 1] = end
                tell("run logs", rows.stop, n)
        self.status_shares = {status: round(count / n, 4) for status, count in counts.items()}
        with file.open("rb") as stream:
            self._summaries = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Let go of the file; there are no summaries any more."""
        self._summaries.close()

    def summary(self, run: int) -> msgspec.Raw:
        """The ``run_summary.v1`` of a run as JSON."""
        return msgspec.Raw(self._summaries[self._offsets[run] : self._offsets[run + 1]])

    def executed(self, run: int) -> dict[str, Any]:
        """What was run and what came of it, as the ``executed`` of its example: the same run as the summary's."""
        runs, ending = self._runs, self._ending(run)
        job, usual, action = int(self._issues.job[runs.issue[run]]), int(runs.usual[run]), int(runs.action[run])
        candidates = zip(
            runs.candidate_passed[run].tolist(),
            runs.candidate_ms[run].tolist(),
            runs.candidate_cost_usd[run].tolist(),
            strict=True,
        )
        return {
            "action": list(EXECUTED[action].values()),
            "status": ending.status,
            "passed": bool(runs.passed[run]),
            "duration_ms": int(runs.duration_ms[run]),
            "cost_usd": float(runs.cost_usd[run]),
            "fail_codes": ending.codes,
            "propensity": compact(float(self._policy.probabilities(*np.array([[job], [usual], [action]]))[0])),
            "propensities": self._propensities(job, usual),
            "candidates": [
                {"passed": passed, "duration_ms": int(ms), "cost_usd": usd}
                for passed, ms, usd in candidates
                if not math.isnan(ms)
            ],
        }

    def _propensities_json(self, job: int, usual: int) -> msgspec.Raw:
        """Encoded once for all runs of a job type and usual action, of which there are a few dozen."""
        return msgspec.Raw(_ENCODER.encode(self._policy.document(job, usual)))

    def _ending(self, i: int) -> Ending:
        job = int(self._issues.job[self._runs.issue[i]])
        return ending_of(job, self._runs, i, float(self._failing_gate[i]), self._further[i].tolist())

    def finished(self, run: int) -> Finished:
        """A run as a tracker hears of it."""
        issues, runs, issue = self._issues, self._runs, int(self._runs.issue[run])
        about = tracked_of(issues, issue)
        job = int(issues.job[issue])
        expected = expectation(
            SIZES[issues.size[issue]],
            RISKS[issues.risk[issue]],
            int(runs.attempts[run]),
            JOBS[job],
            _RESOLVED[job][int(runs.action[run])],
        )
        return Finished(about, expected, bool(runs.passed[run]), float(runs.duration_ms[run]) / 60_000)

    def columns(self, issues: Issues, runs: Runs) -> tuple[QueryColumns, RunColumns]:
        """The log for retrieval; run i is also query i."""
        tags = np.zeros((len(issues.tags), 1), np.uint64)
        for column in issues.tags.T:
            there = column >= 0
            tags[there, 0] |= np.uint64(1) << column[there].astype(np.uint64)
        job, world, objective = issues.job[runs.issue], issues.world[runs.issue], issues.objective[runs.issue]
        log = RunColumns(
            start_ms=runs.at_ms,
            job_type=job,
            tags=tags[runs.issue],
            signals=self.signals,
            issue=runs.issue,
            world=world,
            objective=objective,
            id_rank=np.arange(len(job)),
        )
        return QueryColumns(runs.at_ms, job, log.tags, runs.issue, world, objective), log


_ENCODER = msgspec.json.Encoder()


def _executed() -> list[dict[str, object]]:
    """The ``action_executed`` of each joint action."""
    out = []
    for action in ActionSpace().actions:
        document = action_dict(action)
        limits = {name.removesuffix("_bin"): None if v == NA else v for name, v in document["budgets"].items()}
        out.append({"swarm_id": document["swarm_id"], **limits})
    return out


EXECUTED = _executed()
_RESOLVED: list[list[Resolved]] = [[resolve(action, job) for action in ActionSpace().actions] for job in JOBS]


def tracked_of(issues: Issues, issue: int) -> Tracked:
    """What of an issue a tracker follows."""
    tool = int(issues.tool[issue])
    tags = [TAGS[tag] for tag in issues.tags[issue].tolist() if tag >= 0]
    return tracked(tags, TOOLCHAINS[tool] if tool >= 0 else None)


def _summary(
    issues: Issues,
    runs: Runs,
    i: int,
    tags: list[str],
    ending: Ending,
) -> bytes:
    issue = int(runs.issue[i])
    job, world, objective = issues.job[issue], issues.world[issue], issues.objective[issue]
    document = {
        "run_id": run_name(i),
        "started_ms": int(runs.at_ms[i]),
        "job_type": JOBS[job],
        "domain": DOMAINS[job],
        "action_executed": EXECUTED[runs.action[i]],
        "outcome": {
            "status": ending.status,
            "fail_codes": ending.codes,
            "gates": [{"name": name, "passed": name not in ending.failed} for name in ending.gates],
        },
        "runtime": {"duration_ms": int(runs.duration_ms[i])},
        "cost_usd_est": float(runs.cost_usd[i]),
        "tags": tags,
        "issue_id": issue_name(issue),
    }
    if world >= 0:
        document["universe_id"] = UNIVERSES[world]
    if objective >= 0:
        document["objective_id"] = OBJECTIVES[objective]
    return _ENCODER.encode(document)
