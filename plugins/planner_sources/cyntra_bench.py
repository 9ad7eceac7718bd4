"""Best-of-k benches: several actions tried on one issue, each with what came of it.

An issue becomes one run. Its outcomes of several actions are its ``counterfactuals``, and the winner that the bench
named its label. What counts as executed is the first action: a bench chooses its actions before it sees an outcome, and
begins with the kernel's own, while the winner was picked by its outcome and would look better than it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from msgspec import Struct

from planner_core import NA, Action, ActionSpace, Bin, DataError, LogInput, LogReading, LogRun, tool_tag, valid_actions
from planner_sources.common import VOTE, Amount, Count, checked, run_document
from planner_sources.cyntra_files import Verification, Workcell

SKIPPED = "issues that the bench skipped"
NO_WINNER = "issues for which the bench named no winner"
NO_ARCHIVE = "issues of a bench without the archive of any of their workcells: neither time nor issue is known"
NO_DURATION = "actions of a bench without a duration"
BY_RULE = "the winner is found by the kernel's rule: verified first, then the shortest, then the cheapest"


class _Ran(Struct):
    workcell_id: str | None = None
    verified: bool = False
    duration_ms: Count | None = None
    cost_usd: Amount | None = None


class _Details(Struct):
    toolchain: str | None = None
    toolchains: list[str] | None = None
    verification: Verification | None = None
    runs: list[_Ran] | None = None


class _Candidate(Struct):
    action: tuple[str, Bin, Bin, Bin]
    verified: bool
    duration_ms: Count | None = None
    cost_usd: Amount | None = None
    status: str | None = None
    workcell_id: str | None = None
    details: _Details | None = None

    @property
    def timed_out(self) -> bool:
        """Whether its time was over."""
        return self.status == "timeout"


class _Winner(Struct):
    workcell_id: str | None = None
    action: tuple[str, Bin, Bin, Bin] | None = None


class _Record(Struct):
    issue_id: str
    title: str | None = None
    job_type: str = "code"
    skipped: bool | None = None
    winner: _Winner | None = None
    candidates: list[_Candidate] = []


def bench_runs(
    bench: LogInput, workcells: Mapping[str, Workcell], taken: set[str], reading: LogReading
) -> Iterator[LogRun]:
    """A run of every issue that a bench tried; the names of its workcells' manifests are added to ``taken``."""
    # The archives stand beside the folder of the results, and all of them are the bench's.
    archives = PurePath(bench.name).parent.parent / "archives"
    own = {cell.id: name for name, cell in workcells.items() if archives in PurePath(name).parents}
    taken.update(own.values())
    rows = checked(bench.json(), list[Any], bench.name)
    for i, row in enumerate(rows):
        record = checked(row, _Record, bench.name, path=f"$[{i}]")
        names = _workcells(record)
        here = {name: own[name] for name in names if name in own}
        usable = _usable(record, bench.name, f"$[{i}]", reading)
        if record.skipped:
            reading.account.leave_out(SKIPPED)
        elif record.winner is None or not usable:
            reading.account.leave_out(NO_WINNER)
        elif not here:
            reading.account.leave_out(NO_ARCHIVE)
        else:
            cell = workcells[next(iter(here.values()))]
            if cell.issue_id not in (None, record.issue_id):
                expected = f"{cell.issue_id}, as the manifest of its workcell {cell.id} says"
                raise DataError(bench.name, path=f"$[{i}].issue_id", found=record.issue_id, expected=expected)
            winner = _winner(record, usable, bench.name, f"$[{i}].winner", reading)
            yield LogRun(_run(record, usable, winner, cell), bench.name, path=f"$[{i}]")


def _workcells(record: _Record) -> list[str]:
    """The ids of its workcells, the winner's first."""
    found = [record.winner.workcell_id if record.winner else None]
    for candidate in record.candidates:
        found.append(candidate.workcell_id)
        found += [ran.workcell_id for ran in (candidate.details.runs if candidate.details else None) or ()]
    return list(dict.fromkeys(name for name in found if name))


def _usable(record: _Record, source: str, path: str, reading: LogReading) -> list[_Candidate]:
    """The actions with a duration. :class:`DataError` for one that is not valid, or stands there twice."""
    usable: list[_Candidate] = []
    valid = set(valid_actions(record.job_type, ActionSpace()))
    seen = set()
    for i, candidate in enumerate(record.candidates):
        action, place = Action(*candidate.action), f"{path}.candidates[{i}].action"
        if action not in valid:
            expected = f"an action of the default action space, valid for job type {record.job_type}"
            raise DataError(source, path=place, found=str(list(action)), expected=expected)
        if action in seen:
            raise DataError(source, path=place, found=str(list(action)), expected="each action once an issue")
        seen.add(action)
        if candidate.duration_ms is None:
            reading.account.leave_out(NO_DURATION)
        else:
            usable.append(candidate)
    return usable


def _winner(record: _Record, usable: list[_Candidate], source: str, path: str, reading: LogReading) -> _Candidate:
    """The one that the bench names, by workcell or action; where its candidates name neither, by the kernel's rule."""
    named = record.winner or _Winner()
    for candidate in usable:
        by_id = named.workcell_id is not None and candidate.workcell_id == named.workcell_id
        if by_id or (named.action is not None and candidate.action == named.action):
            return candidate
    if named.action is not None or any(candidate.workcell_id for candidate in usable):
        found, expected = str(named.workcell_id or named.action), "one of its candidates that has a duration"
        raise DataError(source, path=path, found=found, expected=expected)
    reading.account.guess(BY_RULE)
    return min(usable, key=_rank)


def _rank(candidate: _Candidate) -> tuple[bool, int, float]:
    cost = candidate.cost_usd
    return not candidate.verified, candidate.duration_ms or 0, float("inf") if cost is None else cost


def _run(record: _Record, usable: list[_Candidate], winner: _Candidate, cell: Workcell) -> dict[str, Any]:
    first = usable[0]
    swarm, *budgets = first.action
    candidates, minutes, iterations = (None if value == NA else int(value) for value in budgets)
    details = first.details or _Details()
    runs = details.runs if swarm == VOTE else None
    tools = details.toolchains or ([details.toolchain] if details.toolchain else [])
    issue = cell.issue() or {}
    return run_document(
        f"bench:{winner.workcell_id or cell.id}",
        record.issue_id,
        cell.started_ms or 0,
        first.duration_ms or 0,
        _status(first),
        fail_codes=_codes(first),
        action=(swarm, candidates, minutes, iterations),
        job_type=record.job_type,
        tags=[*(issue.get("tags") or ()), *map(tool_tag, tools)],
        cost_usd_est=first.cost_usd,
        candidates=[{"passed": r.verified, "duration_ms": r.duration_ms, "cost_usd": r.cost_usd} for r in runs]
        if runs
        else None,
        counterfactuals=[_counterfactual(candidate, candidate is winner) for candidate in usable],
    )


def _counterfactual(candidate: _Candidate, won: bool) -> dict[str, Any]:
    outcome = {
        "status": _status(candidate),
        "duration_ms": candidate.duration_ms,
        "cost_usd": candidate.cost_usd,
        "all_gates_passed": candidate.verified,
        "fail_codes": _codes(candidate),
    }
    return {"action": list(candidate.action), "outcome": outcome, "is_winner": won}


def _status(candidate: _Candidate) -> str:
    return "success" if candidate.verified else "timeout" if candidate.timed_out else "failed"


def _codes(candidate: _Candidate) -> list[str]:
    verification = candidate.details.verification if candidate.details else None
    return [] if candidate.verified or verification is None else verification.fail_codes
