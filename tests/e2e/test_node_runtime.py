"""The Node.js port: golden rows, and the same decisions as the Python runtime on inputs they do not cover."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from planner_core import NA, EncoderConfig, Planner, PlannerInputEncoder
from planner_core.data.samples import sample_inputs

PORT = Path(__file__).resolve().parents[2] / "examples" / "node-runtime"
NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ENOTCACHED", "E403")


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A copy of the example with its dependencies installed from the lock file."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < 20:
        pytest.skip(f"node {version} is too old, the example needs 20")
    copy = tmp_path_factory.mktemp("node") / "node-runtime"
    shutil.copytree(PORT, copy, ignore=shutil.ignore_patterns("node_modules"))
    npm = ["npm", "ci", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefer-offline"]
    done = subprocess.run(npm, cwd=copy, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    if done.returncode and any(code in said for code in NO_NETWORK):
        told = next(line for line in said.splitlines() if any(code in line for code in NO_NETWORK))
        pytest.skip(f"npm ci cannot reach a registry: {told}")
    assert done.returncode == 0, said
    return copy


def node(port, *args, code=0, **more):
    done = subprocess.run(["node", *map(str, args)], cwd=port, capture_output=True, text=True, timeout=300, **more)
    assert done.returncode == code, done.stdout[-4000:] + done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def bundle(planner, workshop):
    return workshop / "bundles" / "mlp"


def test_every_golden_row(port, bundle):
    rows = len((bundle / "golden.jsonl").read_text().splitlines())
    told = node(port, "--test", "--test-reporter=tap", env={**os.environ, "BUNDLE": str(bundle)}).stdout
    # One test each for the features, the outputs and the decision of a row.
    assert told.count("\nok ") >= 3 * rows > 0 and "\nnot ok " not in told
    for i in range(rows):
        assert f"golden row {i}: every output of the graph" in told


def test_a_wrong_port_fails_its_test(port, bundle, tmp_path):
    """The golden rows notice one wrong constant; otherwise they would prove nothing."""
    wrong = tmp_path / "wrong"
    shutil.copytree(port, wrong, symlinks=True, ignore=shutil.ignore_patterns("node_modules"))
    (wrong / "node_modules").symlink_to(port / "node_modules")
    source = (wrong / "planner.mjs").read_text()
    assert source.count('"lint", "build"') == 1
    (wrong / "planner.mjs").write_text(source.replace('"lint", "build"', '"build", "lint"'))
    told = node(wrong, "--test", "--test-reporter=tap", code=1, env={**os.environ, "BUNDLE": str(bundle)}).stdout
    assert "features and job type" in told and "\nnot ok " in told


def odd_inputs():
    """60 inputs with narrower action spaces, rules of their own, numbers as text, unknown names, shared gate names."""
    rng = np.random.default_rng(11)
    inputs = sample_inputs(60, seed=77, log_figures=True)
    for i, x in enumerate(inputs):
        space = x["action_space"]
        for name in ("max_candidates_bins", "max_minutes_bins", "max_iterations_bins"):
            bins = space[name]
            kept = [bins[j] for j in rng.permutation(len(bins))[: int(rng.integers(1, len(bins) + 1))]]
            space[name] = [str(b) if i % 5 == 0 and b != NA else b for b in kept]
        space["max_candidates_bins"].append(1)  # serial needs it, code needs the other: something is always allowed
        space["max_iterations_bins"].append(NA)
        if i % 4 == 0:
            space["validity_rules"] = [
                {
                    "description": "no long runs",
                    "if": {"job_type": x["job_type"]},
                    "then": {"max_minutes_bin_not": 120},
                },
                {"description": "only a remark"},
            ]
            space["max_minutes_bins"].append(60)
        if i % 7 == 0:
            space["swarm_ids"] = ["unheard_of", "serial_handoff"]
        x["issue"]["dk_attempts"] = str(x["issue"]["dk_attempts"])
        x["issue"]["tags"] = ["größe", *x["issue"]["tags"], "größe"]
        x["created_at"] = ["2026-05-28T20:26:40.4996Z", "2026-05-28t22:26:40+02:00", "2026-05-28 20:26:40.5Z"][i % 3]
        for run in x["history"]["last_n_similar_runs"]:
            run["outcome"]["gates"] += [
                {"name": "test:unit", "passed": True},
                {"name": "test:api", "passed": i % 2 == 0},
            ]
            run["outcome"]["gates"].append({"name": "unknown", "passed": True})
            run["action_executed"]["max_minutes"] = "37"
            run["action_executed"]["max_candidates"] = int(rng.integers(0, 9))
            if i % 6 == 0:
                run["action_executed"]["swarm_id"], run["job_type"] = "unheard_of", "other"
        if x["system_state"]:
            x["system_state"]["active_workcells_bin"] = [4, "4", "many", 0, "0", 17, "6+"][i % 7]
            x["system_state"]["hour_bucket"] = ["evening", "dawn"][i % 2]
    return inputs


def test_decides_as_the_python_runtime_does(port, bundle):
    inputs = odd_inputs()
    lines = "".join(json.dumps(x) + "\n" for x in inputs)
    theirs = [json.loads(line) for line in node(port, "planner.mjs", bundle, input=lines).stdout.splitlines()]
    ours = Planner.load(bundle, strict=True).decide_batch(inputs)
    assert len(theirs) == len(ours) == len(inputs)
    for mine, other in zip(ours, theirs, strict=True):
        for name in ("swarm_id", "budgets", "abstain_to_default", "model"):
            assert other[name] == mine[name]
        assert (other["reason"] or "").split(":")[0] == (mine["reason"] or "").split(":")[0]
        assert other.get("confidence") == pytest.approx(mine.get("confidence"), abs=1e-5)
    assert len({json.dumps(x["budgets"], sort_keys=True) for x in ours}) > 5  # not one answer sixty times


def test_falls_back_to_the_same_rules(port, bundle):
    """Under a threshold that nothing reaches both decide by the heuristic, inside the same narrow spaces."""
    inputs = odd_inputs()
    script = (
        "import { Planner } from './planner.mjs'; import { readFileSync } from 'node:fs';"
        "const planner = await Planner.load(process.env.BUNDLE, { threshold: 1.01 });"
        "for (const x of JSON.parse(readFileSync(0))) console.log(JSON.stringify(await planner.decide(x)));"
    )
    done = node(
        *(port, "--input-type=module", "-e", script),
        input=json.dumps(inputs),
        env={**os.environ, "BUNDLE": str(bundle)},
    )
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    ours = Planner.load(bundle, mode="off").decide_batch(inputs)
    assert [(a["swarm_id"], a["budgets"]) for a in theirs] == [(a["swarm_id"], a["budgets"]) for a in ours]
    assert all(a["abstain_to_default"] for a in theirs)


def test_encodes_as_the_python_runtime_does(port):
    inputs = odd_inputs()
    config = {"history_slots": 4, "tag_buckets": 64, "fail_code_buckets": 32, "log_figures": True}
    script = (
        "import { encode, figures } from './planner.mjs'; import { readFileSync } from 'node:fs';"
        "const { inputs, config } = JSON.parse(readFileSync(0));"
        "console.log(JSON.stringify(inputs.map((x) => [encode(x, config), figures(x, config)])));"
    )
    done = node(port, "--input-type=module", "-e", script, input=json.dumps({"inputs": inputs, "config": config}))
    encoder = PlannerInputEncoder(EncoderConfig(**config))
    theirs = json.loads(done.stdout)
    assert [on for on, _ in theirs] == [encoder.encode_indices(x).tolist() for x in inputs]
    numbers = np.array([given for _, given in theirs], np.float32)
    assert (numbers == encoder.encode_batch(inputs)[:, -encoder.config.n_figures :]).all() and numbers.any()
    assert not numbers[[x.get("log_figures") is None for x in inputs]].any()


def test_it_stays_small_and_names_no_registry():
    assert len((PORT / "planner.mjs").read_text().splitlines()) < 210
    lock = (PORT / "package-lock.json").read_text()
    assert '"resolved"' not in lock and "http" not in lock
