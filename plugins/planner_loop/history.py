"""What was decided and what came of it, joined: decision logs and the runs that followed, as arrays."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from planner_core import (
    NOT_EVIDENCE,
    PRIORITIES,
    DataError,
    DecisionIndex,
    DecisionReader,
    LoggedDecision,
    PlannerInput,
    RunSummary,
    has_passed,
    input_of,
    iter_summaries,
    not_evidence,
    read,
    taken_over,
)
from planner_loop.ab import LONGEST_RUN_MS
from planner_loop.tables import ARMS, PARTS, Decisions, Runs

MOST_INPUTS = 2_000
"""Issues, the newest, whose inputs are compared with those of the training."""
PLACES = 3
"""Damaged lines that are named."""
MODEL_DECIDES = ("enforce", "enforce_reductions")
"""Modes in which issues are divided between model and baseline at all."""

LONGEST_MS = 10 * 365 * 86_400_000
"""A run that is said to have taken longer than ten years ends after these, for a clock has to hold it."""

DAY_MS = 86_400_000

_PART = re.compile(r"(.+\.jsonl)\.\d{6,18}")


@dataclass
class Damage:
    """Lines of decision logs that were left out: how many, and where the first of them stand."""

    lines: int = 0
    torn: int = 0
    places: list[str] = field(default_factory=list)

    def note(self, problem: DataError) -> None:
        """One more line that is no decision."""
        self.lines += 1
        if len(self.places) < PLACES:
            self.places.append(str(problem))


@dataclass
class History:
    """The decisions of one bundle, the runs that followed, and what was left out.

    ``decided`` counts all decisions of the logs, ``by_others`` those of other bundles. ``inputs`` are those of the
    newest issues, each as it was decided first, over ``input_days``. ``as_of_ms`` is the end of the last run that is
    known, None without any: what happened later is not in the logs. It lies at most the longest run after the newest
    decision, so that one run with a wrong clock does not let issues enter early. ``runs_left_out`` counts runs by
    reason.
    """

    decisions: Decisions
    runs: Runs
    inputs: list[PlannerInput]
    input_days: float
    decided: int
    by_others: int
    as_of_ms: int | None
    runs_left_out: dict[str, int]
    damage: Damage


class _Row(NamedTuple):
    decision_id: str
    issue_id: str
    at_ms: int
    arm: int
    share: float
    priority: int
    expected: tuple[float, float, float] | None
    reason: str | None
    model: str | None


class _Given(NamedTuple):
    at_ms: int
    line: bytes


def read_history(
    decisions: Sequence[Path], runs: Sequence[Path], checkpoint_id: str, patterns: Sequence[str] = NOT_EVIDENCE
) -> History:
    """Join decision logs (files, or directories of ``*.jsonl``) with ``run_summary.v1`` files.

    A run belongs to the decision that it names, else to the latest one of its issue before it started. A decision is
    the bundle's whose ``checkpoint_id`` it names; one that names none, because no bundle could be used, is that of the
    bundle which decided last. ``patterns`` are the fail codes of runs that ended for reasons that are not the agent's.

    Lines that are torn or no decision are left out and counted. Raises DataError for logs that hold nothing else, and
    for runs that break their contract.
    """
    index, damage = DecisionIndex(), Damage()
    rows, newest = _read_logs(log_files(decisions), checkpoint_id, index, damage)
    if not rows and (damage.lines or damage.torn):
        first = damage.places[0] if damage.places else "torn lines only"
        raise DataError(", ".join(map(str, decisions)), found=f"no decision ({first})", expected="a decision log")
    for of_issue in index.by_issue.values():
        of_issue.sort(key=lambda decision: decision.at_ms)
    rows.sort(key=lambda row: (row.at_ms, row.decision_id))
    own, earlier = _of_bundle(rows, checkpoint_id)
    table = _decisions([rows[i] for i in own], earlier)
    place = {rows[i].decision_id: at for at, i in enumerate(own)}
    followed, left_out, last_end_ms = _runs(runs, index, place, patterns)
    as_of_ms = None if last_end_ms is None else min(last_end_ms, rows[-1].at_ms + LONGEST_RUN_MS)
    inputs = [read(given.line, PlannerInput, "planner_input of a decision") for given in newest]
    days = (newest[-1].at_ms - newest[0].at_ms) / DAY_MS if newest else 0.0
    return History(table, followed, inputs, days, len(rows), len(rows) - len(own), as_of_ms, dict(left_out), damage)


def log_files(paths: Sequence[Path]) -> list[Path]:
    """The logs that ``paths`` name: a file is one, a directory all of its ``*.jsonl``, whole or set aside in parts."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        names = {((part := _PART.fullmatch(entry.name)) and part[1]) or entry.name for entry in path.iterdir()}
        logs = sorted(name for name in names if name.endswith(".jsonl"))
        if not logs:
            raise DataError(str(path), found="no *.jsonl", expected="a directory of decision logs")
        found += [path / name for name in logs]
    return list(dict.fromkeys(found))


def _read_logs(
    paths: Sequence[Path], checkpoint_id: str, index: DecisionIndex, damage: Damage
) -> tuple[list[_Row], list[_Given]]:
    rows: list[_Row] = []
    seen: set[str] = set()
    newest: list[_Given] = []
    for path in paths:
        reader = DecisionReader(path, damage.note)
        for decision, line in reader.lines():
            repeated = index.repeated
            given = input_of(line)
            try:
                priority = _priority(given, f"{path}, planner_input of decision {decision.decision_id}")
                index.add(decision, None, str(path))
            except DataError as problem:
                damage.note(problem)
                continue
            if index.repeated > repeated:
                continue
            rows.append(_row(decision, priority))
            if given is not None and decision.issue_id not in seen and rows[-1].model == checkpoint_id:
                newest.append(_Given(decision.at_ms, given))
            seen.add(decision.issue_id)
            if len(newest) >= 2 * MOST_INPUTS:
                newest = _newest(newest)
        damage.torn += reader.torn
    return rows, _newest(newest)


def _priority(given: bytes | None, place: str) -> int:
    """Index of an input's priority, P2 where the log holds no input; DataError for one that is none."""
    return PRIORITIES.index("P2" if given is None else read(given, PlannerInput, place).issue.dk_priority)


def _newest(given: list[_Given]) -> list[_Given]:
    return sorted(given, key=lambda one: one.at_ms)[-MOST_INPUTS:]


def _row(decision: LoggedDecision, priority: int) -> _Row:
    told = None if decision.expected is None else decision.expected.action
    return _Row(
        decision.decision_id,
        decision.issue_id,
        decision.at_ms,
        ARMS.index(decision.arm),
        decision.rollout.share if decision.mode in MODEL_DECIDES else 0.0,
        priority,
        None if told is None else (told.passed, told.minutes, told.cost_usd),
        decision.reason,
        None if decision.model is None else decision.model.checkpoint_id,
    )


def _of_bundle(rows: Sequence[_Row], checkpoint_id: str) -> tuple[list[int], list[bool]]:
    """The places of the bundle's decisions, and of each whether another model had decided its issue before."""
    own, earlier = [], []
    elsewhere: set[str] = set()
    serving: str | None = None
    for i, row in enumerate(rows):
        serving = row.model or serving
        if serving == checkpoint_id:
            own.append(i)
            earlier.append(row.issue_id in elsewhere)
        else:
            elsewhere.add(row.issue_id)
    return own, earlier


def _decisions(rows: Sequence[_Row], earlier: Sequence[bool]) -> Decisions:
    number: dict[str, int] = {}
    issue = [number.setdefault(row.issue_id, len(number)) for row in rows]
    expected = np.full((len(rows), len(PARTS)), np.nan)
    for i, row in enumerate(rows):
        if row.expected is not None:
            expected[i] = row.expected
    return Decisions(
        np.array(issue, np.int64),
        np.array([row.at_ms for row in rows], np.int64),
        np.array([row.arm for row in rows], np.int8),
        np.array([row.share for row in rows], np.float64),
        np.array(earlier, bool),
        np.array([row.priority for row in rows], np.int64),
        expected,
        [row.reason for row in rows],
    )


NO_DECISION, BY_OTHERS = "follow no decision in the logs", "follow a decision of another bundle"
OTHER_PLAN, NOT_THE_AGENT = "ran another plan than was decided", "ended for reasons that are not the agent's"
TWICE = "stand there again"


class _Run(NamedTuple):
    place: int
    started_ms: int
    ended_ms: int
    outcome: tuple[float, float, float]
    as_decided: bool
    evidence: bool


def _runs(
    paths: Sequence[Path], index: DecisionIndex, place: Mapping[str, int], patterns: Sequence[str]
) -> tuple[Runs, Counter[str], int | None]:
    """The runs that follow a decision of the bundle; of a run that stands there twice the later row."""
    kept: dict[str, _Run | str] = {}
    left_out: Counter[str] = Counter()
    as_of_ms: int | None = None
    for summary in iter_summaries(paths):
        left_out[TWICE] += summary.run_id in kept
        run = kept[summary.run_id] = _followed(summary, index, place, patterns)
        if isinstance(run, _Run) or run == BY_OTHERS:
            ended = _ended_ms(summary)
            as_of_ms = ended if as_of_ms is None else max(as_of_ms, ended)
    followed = sorted((run for run in kept.values() if isinstance(run, _Run)), key=_order)
    left_out.update(run for run in kept.values() if isinstance(run, str))
    left_out[OTHER_PLAN] += sum(not run.as_decided for run in followed)
    left_out[NOT_THE_AGENT] += sum(not run.evidence for run in followed)
    table = Runs(
        np.array([run.place for run in followed], np.int64),
        np.array([run.started_ms for run in followed], np.int64),
        np.array([run.ended_ms for run in followed], np.int64),
        np.array([run.outcome for run in followed], np.float64).reshape(-1, len(PARTS)),
        np.array([run.as_decided for run in followed], bool),
        np.array([run.evidence for run in followed], bool),
    )
    return table, +left_out, as_of_ms


def _followed(
    summary: RunSummary, index: DecisionIndex, place: Mapping[str, int], patterns: Sequence[str]
) -> _Run | str:
    decision, _, as_decided = taken_over(summary, index)
    if decision is None:
        return NO_DECISION
    at = place.get(decision.decision_id)
    if at is None:
        return BY_OTHERS
    passed, minutes = has_passed(summary), summary.runtime.duration_ms / 60_000
    cost = np.nan if summary.cost_usd_est is None else summary.cost_usd_est
    return _Run(
        at,
        # No run that names a decision began before it: its clock is another one, or it began with the asking.
        max(summary.started_ms, decision.at_ms),
        _ended_ms(summary),
        (float(passed), minutes, cost),
        as_decided,
        passed or not not_evidence(summary.outcome.fail_codes, patterns),
    )


def _ended_ms(summary: RunSummary) -> int:
    return summary.started_ms + min(summary.runtime.duration_ms, LONGEST_MS)


def _order(run: _Run) -> tuple[int, int, int]:
    return run.ended_ms, run.started_ms, run.place
