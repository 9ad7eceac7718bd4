"""Joining run logs with the decisions that led to them: how likely a plan was, and what was known when it was made.

A run belongs to the decision that it names (``decision_id``), else to its issue's latest decision before it started.
What it then takes over: the logging distribution, the input as it was decided, and, where the log does not say at all
what was run, the plan. A distribution is taken over only where the plan that was decided was run: another plan is
somebody else's choice, whose probability nobody knows.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from planner_core import system
from planner_core.action_space import NA, Action, resolve
from planner_core.contracts import ActionExecuted, PlannerInput, RunSummary
from planner_core.data.decisions import DecisionReader, LoggedDecision, input_of
from planner_core.data.executed import read_propensities
from planner_core.errors import DataError
from planner_core.jsonio import canonical, read

# What became of a run.
BY_ID, BY_TIME = "joined by decision_id", "joined to the latest decision of the issue"
NO_DECISION, LOST_DECISION = "no decision of the issue before the run", "decision_id is in no decision log"
OTHER_ISSUE, OTHER_PLAN = "the decision is of another issue or job type", "another plan was run than was decided"
PLAN_FILLED = "what was run is taken from the decision, for the run does not say it"

_TOLD_EVERY = 1000


class Decision(NamedTuple):
    """What a run takes over of a decision. ``propensities`` as JSON; ``place`` of its input among the inputs."""

    decision_id: str
    at_ms: int
    issue_id: str
    job_type: str
    action: Action
    propensity: float | None
    propensities: bytes
    place: tuple[int, int] | None


@dataclass
class DecisionIndex:
    """The decisions of some logs by name and by issue; their inputs wait in a file, since they are the bulk of it."""

    by_id: dict[str, Decision] = field(default_factory=dict)
    by_issue: dict[str, list[Decision]] = field(default_factory=dict)
    read: int = 0
    torn: int = 0
    repeated: int = 0
    noted: Counter[str] = field(default_factory=Counter)
    _inputs: Any = None
    _distributions: dict[bytes, bytes] = field(default_factory=dict)

    def join(self, summary: RunSummary) -> Decision | None:
        """The decision of a run, counted either way."""
        if summary.decision_id is not None:
            found = self.by_id.get(summary.decision_id)
            self.noted[BY_ID if found is not None else LOST_DECISION] += 1
            return found
        earlier = self.by_issue.get(summary.issue_id or "", [])
        before = bisect_right(earlier, summary.started_ms, key=lambda decision: decision.at_ms)
        self.noted[BY_TIME if before else NO_DECISION] += 1
        return earlier[before - 1] if before else None

    @property
    def counts(self) -> dict[str, int]:
        """What was read, and what became of the runs."""
        there = {"decisions": self.read, "torn lines": self.torn, "repeated": self.repeated}
        return {name: count for name, count in {**there, **self.noted}.items() if count}

    def input_of(self, decision: Decision) -> bytes | None:
        """The ``planner_input.v1`` that was decided, as JSON; None where the log does not hold it."""
        if decision.place is None:
            return None
        start, length = decision.place
        return system.read_part(self._inputs.fileno(), length, start)

    def add(self, decision: LoggedDecision, given: bytes | None, source: str) -> None:
        """Take in a decision of a log; one that stands there twice counts once."""
        self.read += 1
        if decision.decision_id in self.by_id:
            self.repeated += 1
            return
        read_propensities(decision.propensities, decision.job_type, source, None, "$.propensities")
        place = None
        if given is not None:
            read(given, PlannerInput, f"{source}, planner_input of decision {decision.decision_id}")
            place = (self._inputs.tell(), len(given))
            self._inputs.write(given)
        raw = canonical(decision.propensities)
        taken = Decision(
            decision.decision_id,
            decision.at_ms,
            decision.issue_id,
            decision.job_type,
            Action(*decision.bins),
            decision.propensity,
            self._distributions.setdefault(raw, raw),
            place,
        )
        self.by_id[taken.decision_id] = taken
        self.by_issue.setdefault(taken.issue_id, []).append(taken)


def read_decisions(
    paths: Sequence[Path], scratch: Path, tell: Callable[[str, int, int], None] | None = None
) -> DecisionIndex:
    """Read decision logs with their earlier parts; ``scratch`` is a directory in which a file without a name may lie.

    Raises :class:`DataError` with the place of what is no decision.
    """
    index = DecisionIndex()
    # Closed with the index; until then it is read by position.
    index._inputs = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  # the index keeps it open
    for path in paths:
        reader = DecisionReader(path)
        for decision, line in reader.lines():
            index.add(decision, input_of(line), str(path))
            if tell is not None and index.read % _TOLD_EVERY == 0:
                tell("reading decisions", index.read, index.read)
        index.torn += reader.torn
    index._inputs.flush()
    if paths and not index.read:
        named = ", ".join(map(str, paths))
        raise DataError(named, found=f"no decision, {index.torn} torn lines", expected="at least one decision")
    for decisions in index.by_issue.values():
        decisions.sort(key=lambda decision: decision.at_ms)  # stable: of one moment the later line is the later one
    return index


def taken_over(summary: RunSummary, index: DecisionIndex) -> tuple[Decision | None, ActionExecuted, bool]:
    """(the decision of a run, what was run, whether that is the plan that was decided)."""
    decision, executed = index.join(summary), summary.action_executed
    if decision is None:
        return None, executed, False
    if (decision.issue_id, decision.job_type) != (summary.issue_id, summary.job_type):
        index.noted[OTHER_ISSUE] += 1
        return None, executed, False
    if msgspec.structs.astuple(executed) == (None,) * 4:
        index.noted[PLAN_FILLED] += 1
        numbers = (None if value == NA else value for value in decision.action[1:])
        return decision, ActionExecuted(decision.action.swarm, *numbers), True
    same = _meaning(executed, decision.action.swarm, summary.job_type) == resolve(decision.action, decision.job_type)
    same = same and executed.swarm_id in (None, decision.action.swarm)
    if not same:
        index.noted[OTHER_PLAN] += 1
    return decision, executed, same


def _meaning(executed: ActionExecuted, swarm: str, job_type: str) -> tuple[int, int, int, int]:
    numbers = (executed.max_candidates, executed.max_minutes, executed.max_iterations)
    return resolve(Action(swarm, *(NA if number is None else number for number in numbers)), job_type)
