"""Runs with known truth for the tests of the ``outcome`` policy."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime

from planner_core import ActionSpace, EncoderConfig, Examples, Executed, SparseFeatures
from planner_outcome.state import Physics

SPACE, ENCODER = ActionSpace(), EncoderConfig(history_slots=1, tag_buckets=16, fail_code_buckets=4)

PHYSICS = Physics(
    sigma=0.45,
    rho=0.8,
    kappa=-0.2,
    retry=0.6,
    psi=0.5,
    give_up=-0.4,
    give_up_sigma=0.5,
    fill=0.2,
    quality=np.array([0.0, -0.4, 0.3]),
    cost=np.array([0.0, 0.2, -0.1]),
    vote_accuracy=0.9,
    vote_minutes=3.0,
)


def executed(n, **columns):
    """n serial runs of 60 minutes that failed at their budget; ``columns`` replace what they tell."""
    full = {
        "swarm": np.zeros(n, np.int64),
        "candidates": np.ones(n, np.float32),
        "minutes": np.full(n, 60, np.float32),
        "iterations": np.ones(n, np.float32),
        "minutes_limited": np.ones(n, bool),
        "action": np.full(n, -1, np.int64),
        "passed": np.zeros(n, np.float32),
        "status": np.full(n, 1, np.int8),
        "duration_minutes": np.full(n, 60, np.float32),
        "cost_usd": np.full(n, np.nan, np.float32),
        "propensity": np.full(n, np.nan, np.float32),
        "propensity_starts": np.zeros(n + 1, np.int64),
        "propensity_actions": np.zeros((0, 4), np.int64),
        "propensity_values": np.zeros(0, np.float32),
        "candidate_passed": np.full((n, 3), -1, np.int8),
        "candidate_minutes": np.full((n, 3), np.nan, np.float32),
        "candidate_cost_usd": np.full((n, 3), np.nan, np.float32),
        "issue": np.arange(n),
        "started_ms": np.arange(n),
        "evidence": np.ones(n, bool),
    }
    return Executed(**{**full, **columns})


def simulated(n, seed=0, detail=True):
    """n examples of two tags with the runs they made: quality by the first tag, speed by size, 0.1 USD a minute.

    Truth: logit of quality 1.5 with tag 3, else -1; median 10 minutes, 25 with size L; sigma 0.4; 1 to 3 candidates.
    """
    rng = np.random.default_rng(seed)
    tag, large = rng.random(n) < 0.5, rng.random(n) < 0.5
    issue = ENCODER.group("tags").start
    size = ENCODER.group("size").start
    priority = rng.integers(0, 4, n)
    dense = np.zeros((n, ENCODER.d_in), np.float32)
    each = np.arange(n)
    dense[each, priority] = 1
    dense[each, size + np.where(large, 3, 1)] = 1
    dense[each, issue + np.where(tag, 3, 5)] = 1
    job = np.where(rng.random(n) < 0.7, 0, 1)
    standing = [np.unique(SPACE.canonical[j][SPACE.joint_masks[j]]) for j in range(4)]
    action = np.array([rng.choice(standing[j]) for j in job])
    swarm, k, m, i = SPACE.resolved[job, action].T
    q = 1 / (1 + np.exp(-np.where(tag, 1.5, -1.0)))
    good = rng.random((n, 3, 5)) < q[:, None, None]
    good &= np.arange(5) < i[:, None, None]
    first = np.where(large, 25.0, 10.0)[:, None] * np.exp(0.4 * rng.standard_normal((n, 3)))
    ends = first * (1 + 0.6 * good.argmax(axis=2))
    there = np.arange(3) < k[:, None]
    won = good.any(axis=2) & (ends <= m[:, None]) & there
    busy = np.where(won, ends, m[:, None])
    any_won = won.any(axis=1)
    passed = any_won & ((rng.random(n) < 0.9) | (swarm == 0))
    minutes = np.where(there, busy, np.inf)
    wall = np.where(any_won, np.where(won, busy, np.inf).min(axis=1), m) + 3.0 * swarm
    usd = np.where(there, 0.1 * busy, 0.0)
    told = detail & there
    runs = executed(
        n,
        swarm=swarm,
        candidates=k.astype(np.float32),
        minutes=m.astype(np.float32),
        iterations=i.astype(np.float32),
        action=action,
        passed=passed.astype(np.float32),
        duration_minutes=wall.astype(np.float32),
        cost_usd=usd.sum(axis=1).astype(np.float32),
        candidate_passed=np.where(told, won, -1).astype(np.int8),
        candidate_minutes=np.where(told, minutes, np.nan).astype(np.float32),
        candidate_cost_usd=np.where(told, usd, np.nan).astype(np.float32),
    )
    labels = SPACE.head_index[action]
    features = SparseFeatures.from_dense(dense)
    return Examples(features, job.astype(np.int64), labels, action, priority, executed=runs), tag, large


def parity(policy, examples):
    """Check that the graph gives what the policy predicts; the graph."""
    model = policy.export_scorer()
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for rows in (1, 2, 64):
        some = examples.between(0, rows)
        got = session.run(None, {"input": some.features.dense(), "job_type": some.job_type})
        for name, values in zip((o.name for o in session.get_outputs()), got, strict=True):
            wanted = policy.predict(some.batch())[name]
            scale = np.maximum(np.abs(wanted), 1.0)
            assert np.max(np.abs(values - wanted) / scale) < 1e-5, name
    return model
