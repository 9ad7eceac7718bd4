"""GitHub issues, as ``gh issue list --state all --json number,title,state,labels,...`` prints them.

GitHub keeps issues and not what agents did with them: a run log must come from elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct

from planner_core import DataError, LogInput, LogIssue, LogReading, LogRun, LogSample
from planner_sources.common import an_object, checked, files_of, has_keys
from planner_sources.labels import COLUMN, read_labels

NO_RUNS = "these are issues only: GitHub keeps no runs, so bring a run log too (sessions, a table, trial results)"
_OF_PULL_REQUESTS = ("headRefName", "baseRefName", "isDraft", "mergedAt", "mergeable", "reviewDecision")
_READ = frozenset({"number", "title", "labels", "milestone", "url", "state", "stateReason"})
_REPOSITORY = re.compile(r"https?://[^/]+/([^/]+/[^/]+)/issues/\d+\Z")


class Label(Struct):
    """A label; ``gh`` gives its description and color as well."""

    name: str


class Milestone(Struct):
    """A milestone, which becomes a tag."""

    title: str


class Issue(Struct):
    """One issue."""

    number: Annotated[int, Meta(ge=1)]
    title: str | None = None
    labels: list[Label] | None = None
    milestone: Milestone | None = None
    url: str | None = None
    state: str | None = None
    stateReason: str | None = None


def sniff(sample: LogSample) -> float:
    """A list of objects with a number and labels or a state (``gh issue list``), or one of them (``gh issue view``)."""
    head = sample.head.lstrip()
    if not re.search(rb'(?<!\\)"number"\s*:\s*\d', head):
        return 0.0
    if head.startswith(b"{"):
        return 0.9 if _is_one_issue(head, sample.whole) else 0.0
    if not re.match(rb"\[\s*(\{|\]\s*\Z)", head):
        return 0.0
    return 0.9 if has_keys(head, "labels") or has_keys(head, "state") else 0.0


def _is_one_issue(head: bytes, whole: bool) -> bool:
    """Whether what begins with ``head`` is one issue and no line of a table: its labels or its state say so."""
    try:
        document = json.loads(head if whole else head.partition(b"\n")[0])
    except (ValueError, RecursionError):
        # Longer than the sample, in one line: what it begins with must do.
        return not whole and b"\n" not in head and has_keys(head, "labels")
    if not whole or not isinstance(document, dict):
        return False  # the first line is a document by itself, and more follow
    labels, state = document.get("labels"), document.get("state")
    named = isinstance(labels, list) and all(isinstance(label, dict) and "name" in label for label in labels)
    return named if labels else state in ("OPEN", "CLOSED")


def read(reading: LogReading) -> Iterator[LogIssue | LogRun]:
    """Every issue; its id is its number, with its repository before it where there are several."""
    found = [issue for given in files_of(reading, "*.json*") for issue in _issues(given, reading)]
    repositories = {name for _, issue, _ in found if (name := _repository(issue)) is not None}
    reading.account.field("issue.id", "number")
    reading.account.note(NO_RUNS)
    if any(issue.labels for _, issue, _ in found):
        for field in ("dk_priority", "dk_risk", "dk_size", "tags"):
            reading.account.field(f"issue.{field}", COLUMN)
    for given, issue, place in found:
        issue_id = str(issue.number)
        if len(repositories) > 1:
            repository = _repository(issue)
            if repository is None:
                expected = (
                    f"the url of an issue, since there are several repositories ({', '.join(sorted(repositories))})"
                )
                raise DataError(given.name, path=f"{place}.url", found=str(issue.url), expected=expected)
            issue_id = f"{repository}#{issue_id}"
        document: dict[str, Any] = {
            "id": issue_id,
            **read_labels([label.name for label in issue.labels or ()], reading),
        }
        if issue.title:
            document["title"] = issue.title
        if issue.milestone is not None:
            document["tags"] = [*document["tags"], f"milestone:{issue.milestone.title}"]
        reading.link("issue", issue_id, issue_id)
        if (issue.state or "").upper() == "CLOSED":
            solved = (issue.stateReason or "COMPLETED").upper() in ("COMPLETED", "")
            reading.link("solved" if solved else "not solved", issue_id, issue_id)
        yield LogIssue(document, given.name, path=place)


def _issues(given: LogInput, reading: LogReading) -> Iterator[tuple[LogInput, Issue, str]]:
    found = given.json()
    rows = [found] if isinstance(found, dict) else checked(found, list[Any], given.name)
    for i, row in enumerate(rows):
        place = "$" if rows[0] is found else f"$[{i}]"
        fields = an_object(row, given.name, path=place)
        odd = next((name for name in _OF_PULL_REQUESTS if name in fields), None)
        if odd is not None:
            expected = "issues, as 'gh issue list' prints them"
            raise DataError(given.name, path=f"{place}.{odd}", found="a pull request", expected=expected)
        for name in fields.keys() - _READ:
            reading.account.not_used(name)
        yield given, checked(fields, Issue, given.name, path=place), place


def _repository(issue: Issue) -> str | None:
    match = _REPOSITORY.match(issue.url or "")
    return match[1] if match else None
