"""The fixtures that several files of these tests share; their plain helpers are modules beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from planner_core.plugins.hookspecs import POLICY_GROUP

sys.path.insert(0, str(Path(__file__).parent))

from contract_documents import ACTION


@pytest.fixture(scope="module")
def full_input(make_input, make_run):
    """A planner input in which every integer position is filled."""
    run = make_run(
        action={"swarm_id": "speculate_vote", "max_candidates": 2, "max_minutes": 30, "max_iterations": 1},
        outcome={"gates": [{"name": "test", "passed": True, "score": 0.5}]},
        tokens_in=10,
        tokens_out=20,
    )
    document = make_input(runs=[run], system_state={"active_workcells_bin": 1, "queue_depth_bin": 1})
    document["action_space"]["validity_rules"] = [
        {
            "description": "",
            "if": {"swarm_id": "serial_handoff"},
            "then": {
                "max_candidates_bin": 1,
                "max_candidates_bin_not": 1,
                "max_minutes_bin": 1,
                "max_minutes_bin_not": 1,
                "max_iterations_bin": 1,
                "max_iterations_bin_not": 1,
            },
        }
    ]
    return document


@pytest.fixture(scope="module")
def example(full_input):
    """A line of a dataset around ``full_input``, with one candidate."""
    return {
        "run_id": "run-9",
        "started_ms": 1,
        "split": "train",
        "planner_input": full_input,
        "label_action": ACTION,
        "candidates": [
            {
                "action": ["speculate_vote", 2, 30, 1],
                "outcome": {
                    "status": "success",
                    "duration_ms": 60000,
                    "cost_usd": 0.5,
                    "all_gates_passed": True,
                    "fail_codes": [],
                },
                "is_winner": True,
            }
        ],
    }


PLANNER = Path(sys.executable).with_name("planner")


@pytest.fixture
def install(tmp_path):
    """``install(distribution, source, version=..., groups=...)``: a distribution of one module in ``tmp_path/site``."""
    site = tmp_path / "site"

    def write(distribution, source, version="1.2", groups=(POLICY_GROUP,), point=None):
        module = distribution.replace("-", "_")
        info = site / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text("".join(f"[{g}]\n{point or 'gbdt'} = {module}\n" for g in groups))
        (site / f"{module}.py").write_text(source)
        return site

    return write


@pytest.fixture
def planner(tmp_path):
    """``planner(*args, code=0, **environment)`` -> CompletedProcess, with ``tmp_path/site`` on the path."""

    def call(*args, code=0, cwd=None, **environment):
        env = {**os.environ, "COLUMNS": "250", "NO_COLOR": "1", "PYTHONPATH": str(tmp_path / "site"), **environment}
        done = subprocess.run(
            [str(PLANNER), *map(str, args)], cwd=cwd or tmp_path, capture_output=True, text=True, env=env, timeout=120
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        if not environment.get("PLANNER_DEBUG"):
            assert "Traceback" not in done.stderr, done.stderr
        return done

    return call


@pytest.fixture(scope="module")
def one_torch_thread():
    """These are small matrices: on a busy machine a second thread costs more than it brings."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
