"""A small dispatcher: for every issue it asks the planner how to run it, runs it, and writes down what happened.

    python examples/kernel/kernel.py --issues issues.jsonl --bundle bundles/mlp --out work/log --mode log

It shows where the planner goes into a kernel of your own: :func:`planner_input`, ``planner.plan``, the manifest and the
run log. What runs the agents is an :class:`Executor`; the one used here is a simulation.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from simulation import Simulation

from planner_core import (
    DEFAULT_UNIVERSE,
    INPUT_SCHEMA,
    ActionSpace,
    DataError,
    Plan,
    PlannedIssue,
    Planner,
    PlannerError,
    Query,
    RunSummary,
    convert,
    read,
    read_issues,
    rfc3339,
    similar_runs,
)

MODES = ("log", "enforce_reductions", "enforce")
DOMAINS = {"code": "code", "fab-world": "fab_world", "fab-asset": "fab_asset"}
SIMILAR_RUNS = 8
EVIDENCE = ("propensity", "propensities", "candidates")  # of a run summary: a planner learns from it, none may see it


class Executor(Protocol):
    """Runs a plan. Replace it by what starts your agents."""

    name: str

    def run(self, planner_input: dict[str, Any], executed: dict[str, Any], attempt: int) -> dict[str, Any]:
        """Run an ``executed_plan.v1`` to its end: ``{outcome, duration_ms, cost_usd_est}`` of a ``run_summary.v1``."""
        ...


class RunLog:
    """The kernel's own log (``run_summary.v1``, one line a run), and an earlier one that is only read."""

    def __init__(self, path: Path, earlier: Path | None = None) -> None:
        self.path = path
        self.runs: list[RunSummary] = []
        self.own: list[RunSummary] = []
        self.documents: dict[str, dict[str, Any]] = {}  # as history shows them
        if earlier is not None:
            self._read(earlier)
        before = len(self.runs)
        if path.exists():
            _drop_torn_line(path)
            self._read(path)
        self.own = self.runs[before:]

    def _read(self, path: Path) -> None:
        try:
            lines = path.read_bytes().splitlines()
        except OSError as problem:
            raise DataError(str(path), expected=f"a readable file ({problem.strerror})") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._add(read(line, RunSummary, str(path), number), json.loads(line), f"{path}, line {number}")

    def _add(self, run: RunSummary, document: dict[str, Any], place: str) -> None:
        if run.run_id in self.documents:
            raise DataError(place, path="$.run_id", found=run.run_id, expected="a run_id that no other run has")
        self.documents[run.run_id] = {key: value for key, value in document.items() if key not in EVIDENCE}
        self.runs.append(run)

    def append(self, document: dict[str, Any]) -> None:
        """Add one run: checked, then on disk as one whole line before this returns."""
        run = convert(document, RunSummary, "run summary")
        self._add(run, document, str(self.path))
        self.own.append(run)
        line = json.dumps(document, ensure_ascii=False).encode() + b"\n"
        with self.path.open("ab", buffering=0) as stream:
            while line:
                line = line[stream.write(line) :]
            os.fsync(stream.fileno())

    def end_ms(self) -> int:
        """When the last run ended; 0 for an empty log."""
        return max((run.started_ms + run.runtime.duration_ms for run in self.runs), default=0)


def _drop_torn_line(path: Path) -> None:
    """Cut off what a killed kernel left of a line; the run it belongs to is made again."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        print(f"{path}: dropping a line that was not written to its end", file=sys.stderr)
        os.truncate(path, whole)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a file as a whole: whoever reads it sees the old content or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.chmod(name, 0o644)  # a temporary file is private to its owner, a manifest is not
    os.replace(name, path)


def planner_input(planned: PlannedIssue, job_type: str, now_ms: int, log: RunLog) -> dict[str, Any]:
    """The ``planner_input.v1`` of one issue at one moment: exactly what ``planner data build`` makes of it later."""
    query = Query(
        at_ms=now_ms,
        job_type=job_type,
        tags=planned.issue["tags"],
        issue_id=planned.issue["issue_id"],
        universe_id=planned.universe_id,
        objective_id=planned.objective_id,
    )
    similar = similar_runs(query, log.runs, SIMILAR_RUNS)
    return {
        "schema_version": INPUT_SCHEMA,
        "created_at": rfc3339(now_ms),
        "universe_id": planned.universe_id or DEFAULT_UNIVERSE,
        "job_type": job_type,
        "universe_defaults": {"swarm_id": None, "objective_id": planned.objective_id},
        "issue": planned.issue,
        "history": {"last_n_similar_runs": [log.documents[run.run_id] for run in similar]},
        "action_space": ActionSpace().to_dict(),
        "system_state": None,  # a kernel that knows its load says it here
    }


def run_summary(
    run_id: str, now_ms: int, planned: PlannedIssue, job_type: str, plan: Plan, result: dict[str, Any]
) -> dict[str, Any]:
    """The ``run_summary.v1`` of a finished run. A limit that was null stays null, and is read back as NA."""
    executed = plan.executed
    seconds = executed["timeout_seconds_executed"]
    return {
        "run_id": run_id,
        "started_ms": now_ms,
        "issue_id": planned.issue["issue_id"],
        "job_type": job_type,
        "domain": DOMAINS.get(job_type, "code"),
        "universe_id": planned.universe_id,
        "objective_id": planned.objective_id,
        "action_executed": {
            "swarm_id": executed["swarm_id_executed"],
            "max_candidates": executed["max_candidates_executed"],
            "max_minutes": None if seconds is None else seconds // 60,
            "max_iterations": executed["max_iterations_executed"],
        },
        "outcome": result["outcome"],
        "runtime": {"duration_ms": result["duration_ms"]},
        "cost_usd_est": result["cost_usd_est"],
        "tags": planned.issue["tags"],
        "decision_id": plan.decision_id,  # the line of the decision log that led to this run
        "propensity": plan.propensity,
        "propensities": plan.propensities,
    }


def dispatch(
    issues: list[PlannedIssue], planner: Planner, executor: Executor, log: RunLog, out: Path, job_type: str, now_ms: int
) -> Iterator[dict[str, Any]]:
    """Run every issue once, one after another; yields the finished manifests.

    The manifest is there before the run starts, so that a crash leaves a trace of what was planned. The line in the
    log makes a run count: without it the issue is planned again.
    """
    manifests = out / "manifests"
    manifests.mkdir(parents=True, exist_ok=True)
    attempts = Counter(run.issue_id for run in log.own)
    for planned in issues:
        given = planner_input(planned, job_type, now_ms, log)
        plan = planner.plan(given)
        issue_id = planned.issue["issue_id"]
        run_id = f"{rfc3339(now_ms)}-{quote(issue_id, safe='')[:80]}".replace(":", "")
        manifest: dict[str, Any] = {
            "run_id": run_id,
            "issue_id": issue_id,
            "mode": planner.mode,
            "executor": executor.name,
            "planner": {
                "planner_input": given,
                "planner_action": plan.action,
                "planner_prediction": plan.prediction,
                "executed_plan": plan.executed,
                "decision_id": plan.decision_id,
                "arm": plan.arm,
                "expected": plan.expected,
            },
            "run": None,
        }
        write_json(manifests / f"{run_id}.json", manifest)
        result = executor.run(given, plan.executed, attempts[issue_id])
        manifest["run"] = run_summary(run_id, now_ms, planned, job_type, plan, result)
        log.append(manifest["run"])
        write_json(manifests / f"{run_id}.json", manifest)
        attempts[issue_id] += 1
        now_ms += max(1, result["duration_ms"])  # the example's clock: the next issue waits for this one
        yield manifest


def report(manifests: list[dict[str, Any]], skipped: int, out: Path) -> str:
    """What was done, in a few lines."""
    reasons: Counter[str] = Counter()
    for manifest in manifests:
        reasons[(manifest["planner"]["planner_action"]["reason"] or "the model's own plan").split(":")[0]] += 1
    runs = [manifest["run"] for manifest in manifests]
    passed = sum(run["outcome"]["status"] == "success" for run in runs)
    minutes = sum(run["runtime"]["duration_ms"] for run in runs) / 60_000
    lines = [
        f"{len(runs)} issues dispatched, {passed} passed, {skipped} had passed before",
        f"{minutes:.0f} minutes, {sum(run['cost_usd_est'] for run in runs):.2f} USD (simulated)",
        "plans: " + (", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "none"),
        f"log: {out / 'runs.jsonl'}   manifests: {out / 'manifests'}",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Dispatch every issue of a tracker, with the planner asked first.")
    parser.add_argument("--issues", type=Path, required=True, help="Beads JSONL, either dialect")
    parser.add_argument("--bundle", type=Path, required=True, help="bundle directory of 'planner export'")
    parser.add_argument("--out", type=Path, required=True, help="directory of the run log and the manifests")
    parser.add_argument("--mode", choices=MODES, default="log", help="log: ask, but run the rules' plan")
    parser.add_argument("--share", type=float, default=1.0, help="share of the issues that are the model's; 0: none")
    parser.add_argument("--explore", type=float, default=0.0, help="share of those that try what is hardly worse")
    parser.add_argument("--salt", default="", help="name of the experiment: another one draws other issues")
    parser.add_argument("--runs", type=Path, help="earlier runs (run_summary.v1 JSONL) to learn from; only read")
    parser.add_argument("--limit", type=int, help="dispatch at most this many issues")
    parser.add_argument("--job-type", default="code", help="what the tracker's issues are; trackers do not say")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulated executor")
    parser.add_argument("--start", default="2026-03-01T00:00:00Z", help="first moment of the simulated clock")
    options = parser.parse_args(argv)
    if options.limit is not None and options.limit < 0:
        parser.error("--limit must not be negative")
    for name in ("share", "explore"):
        if not 0.0 <= getattr(options, name) <= 1.0:
            parser.error(f"--{name} must lie in [0, 1]")
    try:
        start = datetime.fromisoformat(options.start)
        start_ms = round(start.timestamp() * 1000) if start.tzinfo else None
    except ValueError:
        start_ms = None
    if start_ms is None or start_ms < 0:
        parser.error(f"--start is {options.start}, expected a time like 2026-03-01T00:00:00Z")
    try:
        issues = read_issues(options.issues)
        log = RunLog(options.out / "runs.jsonl", options.runs)
        done = {run.issue_id for run in log.own if run.outcome.status == "success"}
        todo = [planned for planned in issues if planned.issue["issue_id"] not in done][: options.limit]
        options.out.mkdir(parents=True, exist_ok=True)
        rollout = {"share": options.share, "explore": options.explore, "salt": options.salt}
        planner = Planner.load(options.bundle, mode=options.mode, log=options.out / "decisions.jsonl", **rollout)
        manifests = []
        started = max(start_ms, log.end_ms())
        for manifest in dispatch(todo, planner, Simulation(options.seed), log, options.out, options.job_type, started):
            executed, run = manifest["planner"]["executed_plan"], manifest["run"]
            limits = (executed["max_candidates_executed"], run["action_executed"]["max_minutes"])
            print(f"{manifest['issue_id']}: {executed['swarm_id_executed']} {limits} {run['outcome']['status']}")
            manifests.append(manifest)
    except (PlannerError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print(report(manifests, len(done), options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
