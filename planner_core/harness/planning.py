"""How to run the open issues of a tracker now: the plan of a bundle for each, beside that of the rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from planner_core.action_space import ActionSpace
from planner_core.clock import rfc3339
from planner_core.contracts import INPUT_SCHEMA, ExpectedOutcome
from planner_core.data.build import DEFAULT_UNIVERSE
from planner_core.data.executed import NOT_EVIDENCE
from planner_core.data.issues import NO_ISSUE, PlannedIssue, read_tracker
from planner_core.data.ready import IssueState, counted, read_states
from planner_core.data.retrieval import Query, retrieve_all, to_columns
from planner_core.data.run_store import RunStore
from planner_core.data.runs import read_runs
from planner_core.encoder import PRIORITIES
from planner_core.errors import DataError
from planner_core.runtime.planner import Planner
from planner_core.utility import parse_value, weight_table, weights_document

N_SIMILAR = 8


class Total(Struct):
    """Predicted sums, one run each, over the issues for which both plans have a prediction."""

    issues: int = 0
    passed: float = 0.0
    minutes: float = 0.0
    cost_usd: float = 0.0

    def add(self, expected: ExpectedOutcome) -> None:
        """One more issue."""
        self.issues += 1
        self.passed += expected["passed"]
        self.minutes += expected["minutes"]
        self.cost_usd += expected["cost_usd"]


class PlannedRun(Struct):
    """The plan for one issue. ``expected`` and ``rules_expected`` are predictions of the model, null without one."""

    issue_id: str
    title: str | None
    priority: str
    ready: bool
    why_not: str | None
    plan: dict[str, Any]
    reason: str | None
    confidence: float | None
    expected: ExpectedOutcome | None
    rules: dict[str, Any]
    rules_expected: ExpectedOutcome | None


class TrackerPlan(Struct):
    """The plans for a tracker's issues, most urgent first. ``totals`` are predictions: what was saved, logs tell."""

    at: str
    bundle: str
    policy: str | None
    model: dict[str, str] | None
    job_type: str
    counts: dict[str, int]
    issues: list[PlannedRun]
    totals: dict[str, Total]
    totals_are: str = "predictions of the model"


def plan_tracker(
    issues: Sequence[Path],
    bundle: Path,
    *,
    runs: Sequence[Path] = (),
    value: Sequence[str] = (),
    everything: bool = False,
    job_type: str = "code",
    progress: Callable[[str, int, int], None] | None = None,
) -> TrackerPlan:
    """Plan the ready issues of Beads JSONL files, or with ``everything`` all that are not done.

    ``runs`` are run logs to find similar runs in; ``value`` gives outcomes another worth ("pass=3"). Raises
    :class:`DataError` for files that do not fit, :class:`BundleError` for a bundle that cannot be used or, with
    ``value``, predicts no outcomes, and :class:`ConfigError` for a ``value`` that is none.
    """
    planner = _open(bundle, value)
    known = read_tracker(issues)
    if known.left_out[NO_ISSUE] == known.read:
        named = ", ".join(map(str, issues))
        raise DataError(named, found=f"{known.read} rows, none of them an issue", expected="the issues of a tracker")
    states = read_states(issues, known)
    wanted = [name for name, state in states.items() if state.why_not is None or (everything and not state.done)]
    wanted.sort(key=lambda name: PRIORITIES.index(known.issues[name].issue["dk_priority"]))
    now_ms = time.time_ns() // 1_000_000
    with RunStore() as log:
        if runs:
            read_runs(runs, known, NOT_EVIDENCE, log, progress)
        inputs = _inputs([known.issues[name] for name in wanted], log, now_ms, job_type)
    rules, planned = Planner(None, mode="off"), []
    totals = {"plan": Total(), "rules": Total()}
    for i, given in enumerate(inputs):
        planned.append(_planned(planner, rules, given, states[wanted[i]], totals))
        if progress is not None:
            progress("planning", i + 1, len(wanted))
    return TrackerPlan(
        rfc3339(now_ms), str(bundle), planner.policy, planner.model, job_type, counted(states), planned, totals
    )


def _open(bundle: Path, value: Sequence[str]) -> Planner:
    planner = Planner.load(bundle, strict=True)
    own = getattr(planner.predictor, "weights", None)
    table = parse_value(value, weight_table() if own is None else own)
    return planner if table is None else Planner.load(bundle, strict=True, utility=weights_document(table))


def _inputs(issues: list[PlannedIssue], log: RunStore, now_ms: int, job_type: str) -> list[dict[str, Any]]:
    """The ``planner_input.v1`` of each issue at this moment."""
    queries = [
        Query(
            now_ms,
            job_type,
            planned.issue["tags"],
            planned.issue["issue_id"],
            planned.universe_id,
            planned.objective_id,
        )
        for planned in issues
    ]
    similar = retrieve_all(*to_columns(queries, (run.summary for run in log)), N_SIMILAR).tolist()
    history = {row: msgspec.json.decode(log.history(row)) for rows in similar for row in rows if row >= 0}
    space = ActionSpace().to_dict()
    return [
        {
            "schema_version": INPUT_SCHEMA,
            "created_at": rfc3339(now_ms),
            "universe_id": planned.universe_id or DEFAULT_UNIVERSE,
            "job_type": job_type,
            "universe_defaults": {"swarm_id": None, "objective_id": planned.objective_id},
            "issue": planned.issue,
            "history": {"last_n_similar_runs": [history[row] for row in rows if row >= 0]},
            "action_space": space,
            "system_state": None,
        }
        for planned, rows in zip(issues, similar, strict=True)
    ]


def _planned(
    planner: Planner, rules: Planner, given: dict[str, Any], state: IssueState, totals: dict[str, Total]
) -> PlannedRun:
    plan, baseline = planner.plan(given), rules.decide(given)
    own, theirs = (None, None) if plan.expected is None else (plan.expected["action"], plan.expected["baseline"])
    if own is not None and theirs is not None:
        totals["plan"].add(own)
        totals["rules"].add(theirs)
    return PlannedRun(
        issue_id=given["issue"]["issue_id"],
        title=state.title,
        priority=given["issue"]["dk_priority"],
        ready=state.why_not is None,
        why_not=state.why_not,
        plan={"swarm_id": plan.action["swarm_id"], "budgets": plan.action["budgets"]},
        reason=plan.action["reason"],
        confidence=plan.action.get("confidence"),
        expected=own,
        rules={"swarm_id": baseline["swarm_id"], "budgets": baseline["budgets"]},
        rules_expected=theirs,
    )
