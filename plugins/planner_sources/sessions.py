"""Sessions of interactive agents as runs: which issue, what came of it, how long the agent was at work.

A session belongs to the issue whose tracker says that it closed it, else to the one its branch names. It keeps no
outcome of its own: closing the issue is success, and what did not close it is unknown, unless the user says otherwise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from planner_core import ConfigError, LogReading, LogRun, tool_tag
from planner_sources.common import SERIAL, run_document
from planner_sources.prices import OPTION, Prices, Usage

OPTIONS = {
    **OPTION,
    "unclosed": "what sessions are that did not close their issue although it is closed: 'failed', or 'unknown' (left"
    " out) if not given",
}
NO_ISSUE = "sessions of no issue: neither a tracker nor their branch names one"
SEVERAL = "sessions that closed several issues: their time cannot be divided"
STILL_OPEN = "sessions of issues that are still open: no outcome yet"
UNCLOSED = "sessions that did not close their issue: no outcome (--set unclosed=failed counts them as failed)"
GIVEN_UP = "sessions of issues that were closed without being solved"
LAST_OF_BRANCH = "the last session on the branch of an issue closed by nobody known is taken for the one that closed it"
AT_WORK = "minutes are those the agent was at work: what it waited for its user is not counted"
ONLY_SUCCESS = "every session that has an outcome closed its issue: pass rates cannot be told from these"

_TRUNKS = frozenset({"main", "master", "trunk", "develop", "head", ""})
_ABOUT_ISSUES = frozenset({"issue", "issues", "gh", "fix", "fixes", "bug", "ticket", "task", "wc", "bd"})


@dataclass
class Session:
    """What a session's files tell. ``events`` are (Unix ms, whether a person wrote it); ``used`` is by model."""

    id: str
    tool: str
    file: str
    events: list[tuple[int, bool]] = field(default_factory=list)
    branches: Counter[str] = field(default_factory=Counter)
    used: dict[str, Usage] = field(default_factory=dict)

    def use(self, model: str, usage: Usage) -> None:
        """Count tokens of a model."""
        self.used.setdefault(model, Usage()).add(usage)

    @property
    def started_ms(self) -> int:
        """The first event."""
        return min(at for at, _ in self.events)

    @property
    def ended_ms(self) -> int:
        """The last event."""
        return max(at for at, _ in self.events)

    @property
    def at_work_ms(self) -> int:
        """Time between events, without that before what a person wrote: the agent waited there."""
        events = sorted(self.events)
        return sum(now - before for (before, _), (now, person) in pairwise(events) if not person)


def issue_of_branch(branch: str, reading: LogReading) -> str | None:
    """The issue that a branch names: as a link says, else the longest id that stands in it as whole words.

    ``feature/bd-12-login`` names ``bd-12``. An id that is a number must begin a part of the branch or follow a word
    such as ``issue``, ``gh`` or ``fix``: ``12-login`` and ``fix/gh-12`` name 12, ``retry-2-times`` names nothing.
    """
    linked = reading.issues_of("branch", branch)
    if linked:
        return linked[0] if len(linked) == 1 else None
    found: list[str] = []
    before = ""
    for part in branch.split("/"):
        words = re.split(r"([-_])", part)
        for begin in range(0, len(words), 2):
            led = begin == 0 or words[begin - 2].lower() in _ABOUT_ISSUES or before in _ABOUT_ISSUES
            for end in range(len(words), begin, -2):
                name = "".join(words[begin:end])
                if reading.issues_of("issue", name) and (led or not name.isdigit()):
                    found.append(name)
        before = part.lower()
    longest = max(map(len, found), default=0)
    best = {name for name in found if len(name) == longest}
    return best.pop() if len(best) == 1 else None


def runs_of(sessions: Sequence[Session], reading: LogReading) -> Iterator[LogRun]:
    """A run of every session that has an issue and an outcome; the others are left out and counted."""
    unclosed = reading.options.get("unclosed", "unknown")
    if unclosed not in ("unknown", "failed"):
        raise ConfigError(f"--set unclosed={unclosed}: expected unknown or failed")
    prices = Prices.of(reading)
    of_issue: dict[str, list[Session]] = {}
    for session in sorted(sessions, key=lambda session: (session.ended_ms, session.id)):
        issue = _issue_of(session, reading)
        if issue is not None:
            of_issue.setdefault(issue, []).append(session)
    statuses = set()
    for issue, group in of_issue.items():
        for session in group:
            status = _status(session, issue, session is group[-1], unclosed, reading)
            if status is not None:
                statuses.add(status)
                yield LogRun(_run(session, issue, status, prices.cost(session.used, reading)), session.file)
    if statuses:
        reading.account.note(AT_WORK)
    if statuses == {"success"}:
        reading.account.note(ONLY_SUCCESS)


def _issue_of(session: Session, reading: LogReading) -> str | None:
    closed = reading.issues_of("session", session.id)
    if len(closed) > 1:
        reading.account.leave_out(SEVERAL)
        return None
    if closed:
        reading.account.value("joined by", "session id", "issue.closed_by_session")
        return closed[0]
    for branch, _ in session.branches.most_common():
        issue = None if branch.lower() in _TRUNKS else issue_of_branch(branch, reading)
        if issue is not None:
            reading.account.value("joined by", "branch", "an issue's id in its name")
            return issue
    reading.account.leave_out(NO_ISSUE)
    return None


def _status(session: Session, issue: str, last: bool, unclosed: str, reading: LogReading) -> str | None:
    account = reading.account
    if reading.issues_of("not solved", issue):
        account.leave_out(GIVEN_UP)
        return None
    if issue in reading.issues_of("session", session.id):
        return "success"
    if not reading.issues_of("solved", issue):
        account.leave_out(STILL_OPEN)
        return None
    if last and not reading.issues_of("closed by session", issue):
        account.guess(LAST_OF_BRANCH)
        return "success"
    if unclosed == "failed":
        return "failed"
    account.leave_out(UNCLOSED)
    return None


def _run(session: Session, issue: str, status: str, cost: float | None) -> dict[str, Any]:
    used = session.used.values()
    return run_document(
        f"{session.tool}:{session.id}",
        issue,
        session.started_ms,
        session.at_work_ms,
        status,
        fail_codes=["not_closed"] if status == "failed" else [],
        action=(SERIAL, 1, None, None),
        tags=[tool_tag(session.tool), *(f"model:{model}" for model in sorted(session.used))],
        cost_usd_est=cost,
        tokens_in=sum(usage.tokens_in for usage in used),
        tokens_out=sum(usage.output for usage in used),
    )
