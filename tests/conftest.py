"""One small simulated world, one quickly trained run of each policy and one bundle of each, made once a session.

Nothing may write into them; a test that wants another one copies it or makes its own under ``tmp_path``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from planner_core.data.dataset import load_dataset
from planner_core.data.writer import meta_hash, write_dataset
from planner_core.harness.train import train
from planner_core.plugins import collecting, loading
from planner_core.plugins.hookspecs import hookimpl
from planner_core.plugins.registry import load_registry
from planner_core.settings import make_settings
from planner_core.world.source import make_world

# The same examples on every run: a red test must stay red until somebody changes the code.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

QUICK = {"d_hidden": 32, "epochs": 3, "lr": 0.01}
META = {"swarm_ids": ["serial_handoff", "speculate_vote"], "n_similar_runs": 8, "label_source": "best_of_k"}


@pytest.fixture(scope="session")
def registry():
    return load_registry()


@pytest.fixture
def plugged(monkeypatch):
    """``plugged(hook, record, ("other-planner 0.1", record), ...)``: exactly these come from plugins, by default from
    ``acme-planner 1.2``; every warning is said anew."""

    def plug(hook, *records):
        loading.warn_once.cache_clear()
        by_origin = {}
        for item in records:
            origin, record = item if isinstance(item, tuple) else ("acme-planner 1.2", item)
            by_origin.setdefault(origin, []).append(record)
        plugins = []
        for origin, those in by_origin.items():
            manager = loading.plugin_manager()
            manager.register(_Registers(hook, those))
            plugins.append(loading.Plugin("watch", *origin.split(), manager))
        monkeypatch.setattr(collecting, "loaded", lambda group: plugins)

    yield plug
    loading.warn_once.cache_clear()


class _Registers:
    """A plugin that implements one hook by registering what it was given."""

    def __init__(self, hook, records):
        @hookimpl
        def implementation(register):
            for record in records:
                register(record)

        setattr(self, hook, implementation)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Directory of a simulated world of 400 examples (320 train, 40 val, 40 test)."""
    path = tmp_path_factory.mktemp("data") / "world"
    make_world(path, 400, seed=7)
    return path


@pytest.fixture(scope="session")
def dataset(world):
    return load_dataset(world)


@pytest.fixture(scope="session")
def quick_train(registry):
    """Train ``policy`` on a loaded dataset into ``out``, small and fast; returns the results."""

    def run(policy, data, out, seed=3, **values):
        chosen = make_settings(policy, registry.spec(policy).config_type, {**QUICK, **values})
        return train(policy, data, out, chosen, registry, seed=seed)

    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory, dataset, quick_train):
    """{policy: run directory} of ``mlp`` and ``joint``."""
    root = tmp_path_factory.mktemp("runs")
    for policy in ("mlp", "joint"):
        quick_train(policy, dataset, root / policy)
    return {policy: root / policy for policy in ("mlp", "joint")}


@pytest.fixture(scope="session")
def bundles(tmp_path_factory, registry, runs):
    """{policy: bundle directory} of ``mlp``, ``joint`` and ``heuristic``."""
    from planner_export.bundle import export_bundle

    root = tmp_path_factory.mktemp("bundles")
    for policy in ("mlp", "joint", "heuristic"):
        export_bundle(policy, registry, root / policy, run=runs.get(policy))
    return {policy: root / policy for policy in ("mlp", "joint", "heuristic")}


@pytest.fixture(scope="session")
def outcome_bundle(tmp_path_factory, dataset, registry):
    """``outcome``, fitted briefly on the log of the small world."""
    from planner_export.bundle import export_bundle

    root = tmp_path_factory.mktemp("outcome")
    values = {"rounds": 1, "steps": 10, "evidence": "executed"}
    settings = make_settings("outcome", registry.spec("outcome").config_type, values)
    train("outcome", dataset, root / "run", settings, registry)
    export_bundle("outcome", registry, root / "bundle", run=root / "run")
    return root / "bundle"


@pytest.fixture(scope="session")
def world_lines(world):
    """The first 60 lines of the world as dicts, fresh copies at each call."""
    text = (world / "dataset.jsonl").read_bytes().splitlines()[:60]
    return lambda count=10: [json.loads(line) for line in text[:count]]


@pytest.fixture(scope="session")
def write_lines():
    """Write examples (dicts, or bytes as they are) as a dataset whose ``meta.json`` tells the truth about them."""

    def write(directory, lines, outcomes=None, **meta):
        directory.mkdir(parents=True)
        raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        splits = [line.get("split", "train") if isinstance(line, dict) else "train" for line in lines]
        with tempfile.TemporaryDirectory() as scratch:
            files = {name: Path(scratch) / f"{name}.npy" for name in outcomes} if outcomes else None
            for name, values in (outcomes or {}).items():
                np.save(files[name], values)
            complete = write_dataset(directory, raw, splits, META, files)
        if meta:
            changed = {**complete, **meta}
            (directory / "meta.json").write_text(json.dumps({**changed, "meta_hash": meta_hash(changed)}))
        return directory

    return write


# The smallest valid documents; a test names only the field it is about.


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
