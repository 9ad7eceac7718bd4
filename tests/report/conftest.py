"""Small datasets of each kind, an outcome policy trained on what was run, and the documents of their reports."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from planner_core.data.dataset import load_dataset
from planner_core.data.writer import write_dataset
from planner_core.harness.report import make_report
from planner_core.settings import make_settings

sys.path.insert(0, str(Path(__file__).parent))

META = {"swarm_ids": ["serial_handoff", "speculate_vote"], "n_similar_runs": 8, "label_source": "executed_plan"}


@pytest.fixture(scope="session")
def logs(world, tmp_path_factory):
    """The world's runs without what other actions would have led to."""
    path = tmp_path_factory.mktemp("logs") / "logs"
    path.mkdir()
    lines = (world / "dataset.jsonl").read_bytes().splitlines()
    write_dataset(path, lines, [msgspec.json.decode(line)["split"] for line in lines], META)
    return path


@pytest.fixture(scope="session")
def outcome_run(world, registry, tmp_path_factory):
    """An outcome policy that learnt from the runs of the world alone."""
    from planner_core.harness.train import train

    settings = make_settings(
        "outcome", registry.spec("outcome").config_type, {"evidence": "executed", "rounds": 2, "steps": 15}
    )
    path = tmp_path_factory.mktemp("outcome") / "run"
    train("outcome", load_dataset(world), path, settings, registry, seed=1)
    return path


@pytest.fixture(scope="session")
def known(world, outcome_run, registry):
    """The report where outcomes are known."""
    return make_report(registry, dataset=world, source=outcome_run)


@pytest.fixture(scope="session")
def logged(logs, outcome_run, registry):
    """The report on logs, of runs later than those that the policy learnt from."""
    return make_report(registry, dataset=logs, source=outcome_run)


@pytest.fixture(scope="session")
def told(logged):
    """``logged`` with some changes to its fields, as plain values."""

    def change(**fields):
        return msgspec.to_builtins(msgspec.structs.replace(logged, **fields))

    return change
