"""The desk of a simulated kernel: what is known when an issue is planned, and what is written down when it was run.

Time is the simulation's. At every moment only the runs that have ended are known, as in a kernel of your own
(``examples/kernel``).
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from planner_core import (
    DEFAULT_UNIVERSE,
    INPUT_SCHEMA,
    Action,
    ActionSpace,
    LiveRun,
    LiveWorld,
    Planner,
    PlannerInput,
    Query,
    RunSummary,
    RunTracker,
    convert,
    nearest_action,
    rfc3339,
    similar_runs,
)

SIMILAR_RUNS = 8
SEARCHED_RUNS = 200
"""Of a job type, the newest, among which similar ones are looked for."""
EVIDENCE = ("propensity", "propensities", "candidates", "decision_id")  # of a run, and no part of its history


class BundleAsBaseline:
    """A bundle in the place of the rules: the other arm of a rollout is what has served so far."""

    def __init__(self, bundle: Path) -> None:
        self._planner = Planner.load(bundle, strict=True)

    def nearest(self, x: PlannerInput, allowed: tuple[Action, ...]) -> Action:
        """What the bundle decides, or the allowed action nearest to it."""
        return nearest_action(action_of(self._planner.decide(msgspec.json.encode(x))), allowed)


def action_of(document: Any) -> Action:
    """The action of a ``planner_action.v1``."""
    return Action(document["swarm_id"], *document["budgets"].values())


class Desk:
    """Takes the issues of a world in time, attempts after failures among them, and hears of runs when they end."""

    def __init__(self, world: LiveWorld, first: int, last: int) -> None:
        self.world, self.space = world, ActionSpace().to_dict()
        self._due = [(world.arrival_ms(i), i, 0) for i in range(first, last)]
        self.arrived_ms = np.array([at_ms for at_ms, _, _ in self._due])
        heapq.heapify(self._due)
        self._running: list[tuple[int, int, RunSummary, dict[str, Any]]] = []
        self._recent: dict[str, deque[RunSummary]] = {}
        self._shown: dict[str, dict[str, Any]] = {}
        self._tracker = RunTracker()
        self._started = 0

    def __getstate__(self) -> dict[str, Any]:
        """Without the world, which is large, and made anew from its seed."""
        return {**self.__dict__, "world": None}

    def due(self, until_ms: int) -> Iterator[tuple[int, int, int]]:
        """(moment in Unix milliseconds, issue, attempt) of what is to be run before ``until_ms``."""
        while self._due and self._due[0][0] < until_ms:
            at_ms, issue, attempt = heapq.heappop(self._due)
            self._hear(at_ms)
            yield at_ms, issue, attempt

    def planner_input(self, at_ms: int, issue: int, attempt: int) -> dict[str, Any]:
        """The ``planner_input.v1`` of an attempt."""
        asked, place, job_type = self._issue(issue, attempt), self.world.place(issue), self.world.job_type(issue)
        query = Query(at_ms=at_ms, job_type=job_type, tags=asked["tags"], issue_id=asked["issue_id"], **place)
        similar = similar_runs(query, self._recent.get(job_type, ()), SIMILAR_RUNS)
        return {
            "schema_version": INPUT_SCHEMA,
            "created_at": rfc3339(at_ms),
            "universe_id": place.get("universe_id", DEFAULT_UNIVERSE),
            "job_type": job_type,
            "universe_defaults": {"swarm_id": None, "objective_id": place.get("objective_id")},
            "issue": asked,
            "history": {"last_n_similar_runs": [self._shown[run.run_id] for run in similar]},
            "action_space": self.space,
            "system_state": None,
            "log_figures": self._tracker.figures(asked),
        }

    def run(self, at_ms: int, issue: int, attempt: int, action: Action) -> LiveRun:
        """Run an action; a failed attempt may come back."""
        made = self.world.run(issue, attempt, at_ms, action, f"run-{issue:06d}-{attempt}")
        if made.retry_ms is not None:
            heapq.heappush(self._due, (made.retry_ms, issue, attempt + 1))
        ends = at_ms + made.summary["runtime"]["duration_ms"]
        self._started += 1
        summary = convert(made.summary, RunSummary, "run")
        heapq.heappush(self._running, (ends, self._started, summary, self._issue(issue, attempt)))
        self._shown[summary.run_id] = {key: value for key, value in made.summary.items() if key not in EVIDENCE}
        return made

    def _issue(self, issue: int, attempt: int) -> dict[str, Any]:
        row = self.world.row(issue)
        fields = ("dk_priority", "dk_risk", "dk_size", "dk_tool_hint", "tags")
        return {"issue_id": row["id"], "dk_attempts": attempt, **{name: row[name] for name in fields}}

    def _hear(self, now_ms: int) -> None:
        while self._running and self._running[0][0] < now_ms:
            _, _, summary, asked = heapq.heappop(self._running)
            self._tracker.observe(asked, summary)
            self._recent.setdefault(summary.job_type, deque(maxlen=SEARCHED_RUNS)).append(summary)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def restamp(log: Path, at_ms: dict[str, int], out: Path) -> None:
    """Give decisions the simulation's time instead of this machine's; ``at_ms`` by decision id."""
    with log.open(encoding="utf-8") as given, out.open("w", encoding="utf-8") as taken:
        for line in given:
            decision = json.loads(line)
            taken.write(json.dumps({**decision, "time": rfc3339(at_ms[decision["decision_id"]])}) + "\n")
