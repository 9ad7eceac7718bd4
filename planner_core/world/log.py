"""What the runs of the simulated world leave behind in a log: gates, fail codes, and each run's summary as JSON."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import NA, ActionSpace, action_dict
from planner_core.data.retrieval import QueryColumns, RunColumns
from planner_core.encoder import DOMAINS
from planner_core.world.events import JOBS, OBJECTIVES, TAGS, UNIVERSES, Ints, Issues, Runs

JOB_GATES = (
    ("test", "typecheck", "lint", "build"),
    ("fab-realism", "godot", "godot-config"),
    ("fab-realism", "asset-only"),
)
GATE_FAIL_SHARE = 0.25  # of a further gate, once one has failed
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


class RunLog:
    """The log of all runs. Summaries lie in a file and are mapped; they are needed again wherever they are history.

    ``signals`` uint64 [runs, 1]: failure signals as bit masks; ``status_shares``: how the runs ended.
    """

    def __init__(
        self,
        file: Path,
        rng: np.random.Generator,
        issues: Issues,
        runs: Runs,
        tell: Callable[[str, int, int], None],
    ) -> None:
        n = len(runs.issue)
        failing_gate = rng.random(n)
        further = rng.random((n, max(len(gates) for gates in JOB_GATES))) < GATE_FAIL_SHARE
        self.signals = np.zeros((n, 1), np.uint64)
        self._offsets = np.zeros(n + 1, np.int64)
        counts = {"success": 0, "failed": 0, "timeout": 0}
        end = 0
        with file.open("wb") as stream:
            for begin in range(0, n, ROWS_AT_ONCE):
                rows = range(begin, min(begin + ROWS_AT_ONCE, n))
                tags = tag_names(issues.tags[runs.issue[rows.start : rows.stop]])
                for i, tags_of_run in zip(rows, tags, strict=True):
                    status, gates, failed, codes = _ending(issues, runs, i, failing_gate[i], further[i])
                    counts[status] += 1
                    bits = sum(1 << _SIGNALS[name] for name in (*gates, *codes))
                    self.signals[i, 0] = bits
                    end += stream.write(_summary(issues, runs, i, tags_of_run, status, gates, failed, codes))
                    self._offsets[i + 1] = end
                tell("run logs", rows.stop, n)
        self.status_shares = {status: round(count / n, 4) for status, count in counts.items()}
        with file.open("rb") as stream:
            self._summaries = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def summary(self, run: int) -> msgspec.Raw:
        """The ``run_summary.v1`` of a run as JSON."""
        return msgspec.Raw(self._summaries[self._offsets[run] : self._offsets[run + 1]])

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


def _ending(
    issues: Issues, runs: Runs, i: int, failing_gate: float, further: NDArray[np.bool_]
) -> tuple[str, tuple[str, ...], set[str], list[str]]:
    """How a run ended: status, the gates it met, those of them that failed, fail codes."""
    gates: tuple[str, ...] = JOB_GATES[issues.job[runs.issue[i]]]
    if runs.passed[i]:
        return "success", gates, set(), []
    if runs.out_of_time[i]:
        return "timeout", (), set(), [OUT_OF_TIME]
    if runs.outvoted[i]:
        return "failed", (*gates, "review"), {"review"}, [OUTVOTED]
    failed = {name for name, too in zip(gates, further, strict=False) if too}
    failed.add(gates[int(failing_gate * len(gates))])
    return "failed", gates, failed, [FAIL_CODES[name] for name in gates if name in failed]


_ENCODER = msgspec.json.Encoder()


def _executed() -> list[dict[str, object]]:
    """The ``action_executed`` of each joint action."""
    out = []
    for action in ActionSpace().actions:
        document = action_dict(action)
        limits = {name.removesuffix("_bin"): None if v == NA else v for name, v in document["budgets"].items()}
        out.append({"swarm_id": document["swarm_id"], **limits})
    return out


_EXECUTED = _executed()


def _summary(
    issues: Issues,
    runs: Runs,
    i: int,
    tags: list[str],
    status: str,
    gates: tuple[str, ...],
    failed: set[str],
    codes: list[str],
) -> bytes:
    issue = int(runs.issue[i])
    job, world, objective = issues.job[issue], issues.world[issue], issues.objective[issue]
    document = {
        "run_id": run_name(i),
        "started_ms": int(runs.at_ms[i]),
        "job_type": JOBS[job],
        "domain": DOMAINS[job],
        "action_executed": _EXECUTED[runs.action[i]],
        "outcome": {
            "status": status,
            "fail_codes": codes,
            "gates": [{"name": name, "passed": name not in failed} for name in gates],
        },
        "runtime": {"duration_ms": int(runs.duration_ms[i])},
        "cost_usd_est": float(runs.cost_usd[i]),
        "tags": tags,
        "issue_id": issue_name(issue),
        "propensity": float(runs.propensity[i]),
    }
    if world >= 0:
        document["universe_id"] = UNIVERSES[world]
    if objective >= 0:
        document["objective_id"] = OBJECTIVES[objective]
    return _ENCODER.encode(document)
