"""An acceptance as JSON and as a table."""

from __future__ import annotations

from typing import Any

import msgspec

from planner_bench.acceptance.criteria import ELSEWHERE, Criterion, accepted
from planner_bench.environment import environment
from planner_bench.tables import Grid

SCHEMA = "swarm_planner.acceptance.v1"
WORDS = {True: "pass", False: "FAIL"}


def document(criteria: list[Criterion], *, dataset: str, seed: int, seconds: float) -> dict[str, Any]:
    """For machines."""
    return {
        "schema_version": SCHEMA,
        "accepted": accepted(criteria),
        "dataset": dataset,
        "seed": seed,
        "seconds": seconds,
        "criteria": msgspec.to_builtins(criteria),
        "elsewhere": msgspec.to_builtins(ELSEWHERE),
        "environment": environment(),
    }


def grid(criteria: list[Criterion], seconds: float) -> Grid:
    """One row a criterion; the commands stand below, by their number."""
    commands = list(dict.fromkeys(row.command for row in criteria))
    rows = [
        (row.what, row.figure, row.wanted, verdict(row), f"[{commands.index(row.command) + 1}]") for row in criteria
    ]
    notes = [f"[{number}] {command}" for number, command in enumerate(commands, 1)]
    notes += [f"not measured here: {entry.what}: {entry.command} ({entry.page})" for entry in ELSEWHERE]
    title = f"acceptance, measured in {seconds:.0f} s"
    return Grid(title, ("criterion", "figure", "wanted", "verdict", "by"), rows, notes, words=5)


def verdict(row: Criterion) -> str:
    """In a word; of an aim it is said that it is one."""
    if row.kind == "aim":
        return {True: "aim kept", False: "aim missed", None: "aim, noisy"}[row.kept]
    return WORDS[bool(row.kept)]
