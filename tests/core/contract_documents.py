"""The smallest documents of SPEC section 2 that are read, and how to spoil one place of them."""

from __future__ import annotations

import copy
import json

import pytest

from planner_core import jsonio
from planner_core.errors import DataError

ACTION = {
    "schema_version": "cyntra.planner_action.v1",
    "created_at": "2025-03-01T12:00:00Z",
    "swarm_id": "speculate_vote",
    "budgets": {"max_candidates_bin": 2, "max_minutes_bin": 30, "max_iterations_bin": "NA"},
}
PLAN = {
    "schema_version": "cyntra.executed_plan.v1",
    "swarm_id_executed": "speculate_vote",
    "max_candidates_executed": 2,
    "timeout_seconds_executed": 1800,
    "max_iterations_executed": 1,
    "fallback_applied": True,
    "fallback_reason": "low confidence",
}
META = {
    "schema_version": "cyntra.planner_dataset.v1",
    "dataset_hash": "0" * 64,
    "example_count": 10,
    "split_counts": {"train": 8, "val": 1, "test": 1},
    "swarm_ids": ["serial_handoff", "speculate_vote"],
    "n_similar_runs": 8,
    "label_source": "best_of_k",
}
MISSING = object()
RUN = "history.last_n_similar_runs.0"


def steps(path):
    return [int(step) if step.isdigit() else step for step in path.split(".")]


def changed(document, path, value):
    """A deep copy with the value at the dotted path replaced (or, for MISSING, removed)."""
    out = copy.deepcopy(document)
    *parents, last = steps(path)
    holder = out
    for step in parents:
        holder = holder[step]
    if value is MISSING:
        del holder[last]
    else:
        holder[last] = value
    return out


def at(document, path):
    for step in steps(path):
        document = document[step]
    return document


def read(document, contract):
    return jsonio.read(json.dumps(document), contract, "runs.jsonl", 7)


def refused(raw, contract):
    with pytest.raises(DataError) as caught:
        jsonio.read(raw, contract, "runs.jsonl", 7)
    assert str(caught.value).startswith("runs.jsonl, line 7")
    return caught.value
