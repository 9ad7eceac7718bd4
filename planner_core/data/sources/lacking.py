"""What imported runs lack for an estimate of value, and what each lack costs."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from planner_core.contracts import RunSummary
from planner_core.data.executed import swarm_of
from planner_core.data.tools import tool_of


class Lack(Struct):
    """Something that ``count`` of ``of`` runs (or all of them together) lack; ``costs`` says what cannot be done."""

    what: str
    count: int
    of: int
    costs: str


_COSTS = {
    "minutes budget": "read as no limit; shorter budgets cannot be compared with longer ones; "
    "--map action_executed.limit_min=COLUMN (or limit_s, limit_h) where a table tells",
    "candidates": "read from the swarm: one for serial_handoff, no limit for a vote",
    "cost": "utility without USD: only passes and minutes are compared",
    "propensity": "estimated from how often each action was run, and marked so: whoever chose by hand may mislead it",
    "whole distribution": "no replay of budgets: a run speaks for its own action only, and more runs are needed",
    "outcome of each candidate": "votes are not replayed, and what fewer candidates had cost is a guess of the model",
    "tool": "runs of different tools or models are taken for one; --map tool=COLUMN where a column tells",
    "issue": "left out by data build: give it the tracker that has these issues, too",
}


class Lacking:
    """Counts while runs go by."""

    def __init__(self) -> None:
        self._missing: Counter[str] = Counter()
        self._runs = self._votes = 0
        self._ends: Counter[str] = Counter()
        self._actions: set[tuple[str, int | None, int | None, int | None]] = set()

    def add(self, run: RunSummary) -> None:
        """One run that was taken."""
        action = run.action_executed
        agents = action.max_candidates if action.max_candidates is not None else len(run.candidates or ()) or None
        swarm = swarm_of(action.swarm_id, agents)
        vote = swarm != "serial_handoff"
        self._runs += 1
        self._votes += vote
        self._ends[run.outcome.status] += 1
        if len(self._actions) < 2:
            self._actions.add((swarm, agents, action.max_minutes, action.max_iterations))
        there = {
            "minutes budget": action.max_minutes is not None,
            "candidates": agents is not None or not vote,
            "cost": run.cost_usd_est is not None,
            "propensity": run.propensity is not None or bool(run.propensities),
            "whole distribution": bool(run.propensities),
            "outcome of each candidate": bool(run.candidates) or not vote,
            "tool": tool_of(run.tags or ()) is not None,
        }
        self._missing.update(name for name, known in there.items() if not known)

    def found(self, strangers: int) -> list[Lack]:
        """Everything that is lacking; ``strangers`` are runs whose issue is not among the issues."""
        if not self._runs:
            return [Lack("runs", 0, 0, "nothing can be learnt or judged: import run logs, too")]
        self._missing["issue"] = strangers
        lacks = []
        for name, costs in _COSTS.items():
            of = self._votes if name == "outcome of each candidate" else self._runs
            if self._missing[name]:
                lacks.append(Lack(name, self._missing[name], of, costs))
        if len(self._ends) == 1:
            only = next(iter(self._ends))
            costs = f"every run ended as {only}: nothing tells a good action from a bad one but minutes and cost"
            lacks.append(Lack("other outcomes", self._runs, self._runs, costs))
        if len(self._actions) == 1:
            costs = "every run had the same action: the log can say nothing of any other"
            lacks.append(Lack("other actions", self._runs, self._runs, costs))
        return lacks
