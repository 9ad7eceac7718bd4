"""Builders of the smallest valid documents; a test names only the field it is about."""

from __future__ import annotations

import pytest


def _make_run(*, action=None, outcome=None, duration_ms=0, **fields):
    """A run whose start is the very moment the default input was created (2025-03-01T12:00:00Z)."""
    return {
        "run_id": "run-1",
        "started_ms": 1_740_830_400_000,
        "job_type": "code",
        "domain": "code",
        "action_executed": action or {},
        "outcome": {"status": "success", "fail_codes": [], "gates": [], **(outcome or {})},
        "runtime": {"duration_ms": duration_ms},
        **fields,
    }


def _make_input(*, issue=None, runs=(), **fields):
    return {
        "schema_version": "cyntra.planner_input.v1",
        "created_at": "2025-03-01T12:00:00Z",
        "universe_id": "universe-1",
        "job_type": "code",
        "universe_defaults": {"swarm_id": None, "objective_id": None},
        "issue": {
            "issue_id": "issue-1",
            "dk_priority": "P0",
            "dk_risk": "low",
            "dk_size": "XS",
            "dk_tool_hint": None,
            "dk_attempts": 0,
            "tags": [],
            **(issue or {}),
        },
        "history": {"last_n_similar_runs": list(runs)},
        "action_space": {
            "swarm_ids": ["serial_handoff", "speculate_vote"],
            "max_candidates_bins": [1, 2, 3, "NA"],
            "max_minutes_bins": [15, 30, 45, 60, 120, "NA"],
            "max_iterations_bins": [1, 2, 3, 5, "NA"],
            "validity_rules": [],
        },
        "system_state": None,
        **fields,
    }


# The fixtures hand out pure functions, so one for the whole session is safe (and hypothesis accepts it).
@pytest.fixture(scope="session")
def make_run():
    return _make_run


@pytest.fixture(scope="session")
def make_input():
    return _make_input
