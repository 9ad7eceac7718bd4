"""What the values of a column stand for: the words of logs and trackers, and those of our contracts."""

from __future__ import annotations

import re

SKIP = "skip"
"""The meaning of a value whose rows are left out: a run that has no end yet, or none that says anything."""


def _table(**words: str) -> dict[str, str]:
    """``{value: meaning}`` of ``meaning="value value..."``."""
    return {word: meaning for meaning, said in words.items() for word in said.split()}


_STATUS = _table(
    success="success succeeded successful ok okay pass passed true 1 yes y t resolved solved merged green",
    failed="failed fail failure failing false 0 no n f unresolved unsolved error errored red rejected crashed broken",
    timeout="timeout timed_out time_out timedout deadline_exceeded out_of_time",
    skip="running pending queued in_progress scheduled starting cancelled canceled skipped aborted",
)
_PRIORITY = {
    **_table(P0="p0 0 critical blocker urgent highest", P1="p1 1 high major", P2="p2 2 medium normal moderate default"),
    **_table(P3="p3 p4 3 4 low lowest minor trivial backlog"),
}
_RISK = _table(low="low minor safe", medium="medium moderate normal", high="high major", critical="critical severe")
_SIZE = {
    **_table(XS="xs tiny trivial extra_small", S="s small", M="m medium", L="l large big"),
    **_table(XL="xl xxl huge extra_large very_large"),
}
_SWARM = {
    **_table(serial_handoff="serial_handoff serial single single_agent solo sequential handoff one"),
    **_table(
        speculate_vote="speculate_vote speculate vote voting best_of_n best_of_k parallel ensemble majority_vote"
        " self_consistency multi multi_agent swarm"
    ),
}
_CHOSEN = _table(true="true 1 yes y t chosen selected winner", false="false 0 no n f")

MEANINGS: dict[str, dict[str, str]] = {
    "outcome.status": _STATUS,
    "issue.dk_priority": _PRIORITY,
    "issue.dk_risk": _RISK,
    "issue.dk_size": _SIZE,
    "action_executed.swarm_id": _SWARM,
    "candidate.chosen": _CHOSEN,
}
"""``{field: {value: meaning}}`` of the fields whose values are few words."""

BY_AGENTS = "by_agents"
"""The meaning of a swarm of another name: one agent is serial, more are a vote."""

ALLOWED: dict[str, tuple[str, ...]] = {field: tuple(dict.fromkeys(words.values())) for field, words in MEANINGS.items()}
"""The meanings that each of these fields may have."""
ALLOWED["action_executed.swarm_id"] += (BY_AGENTS,)


def plain(value: str) -> str:
    """A value as the tables above have it: lower case, blanks and dashes as ``_``."""
    return re.sub(r"[\s-]+", "_", value.strip().lower())


def usual_meaning(field: str, value: str) -> str | None:
    """What a value usually stands for; None where it is no known word."""
    return MEANINGS[field].get(plain(value))
