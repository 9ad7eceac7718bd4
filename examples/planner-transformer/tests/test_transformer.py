"""The tokens: sparse and dense forms agree, empty slots are nobody's business, runs share their weights."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from planner_core import (
    Batch,
    EncoderConfig,
    PlannerInput,
    PlannerInputEncoder,
    PolicyContext,
    SparseFeatures,
    convert,
)
from planner_core.torch import SparseRows
from planner_transformer import TransformerConfig
from planner_transformer.policy import Transformer
from planner_transformer.tokens import Tokens

SMALL = {"d_model": 16, "n_heads": 2, "d_feedforward": 24, "d_readout": 8}


def planner_input(runs, tags=("web",)):
    """An input with ``runs`` (status, days ago) in its history."""
    return {
        "schema_version": "cyntra.planner_input.v1",
        "created_at": "2026-01-31T00:00:00Z",
        "universe_id": "u",
        "job_type": "code",
        "universe_defaults": {},
        "issue": {
            "issue_id": "1",
            "dk_priority": "P1",
            "dk_risk": "high",
            "dk_size": "L",
            "dk_tool_hint": None,
            "dk_attempts": 0,
            "tags": list(tags),
        },
        "history": {
            "last_n_similar_runs": [
                {
                    "run_id": f"r{i}",
                    "started_ms": 1_769_817_600_000 - days * 86_400_000 - 1,
                    "job_type": "code",
                    "domain": "code",
                    "action_executed": {},
                    "outcome": {"status": status, "fail_codes": [], "gates": []},
                    "runtime": {"duration_ms": 1000},
                }
                for i, (status, days) in enumerate(runs)
            ]
        },
        "action_space": PolicyContext().action_space.to_dict(),
        "system_state": None,
    }


def batch_of(inputs, encoder):
    return Batch.from_inputs([convert(x, PlannerInput, "test") for x in inputs], PlannerInputEncoder(encoder))


def policy_of(encoder=None, **config):
    """A policy whose weights are all different from zero, as after training."""
    policy = Transformer(TransformerConfig(**{**SMALL, **config}), PolicyContext(encoder or EncoderConfig()))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return policy


INPUTS = [
    planner_input([]),
    planner_input([("failed", 1)]),
    planner_input([("success", 1), ("timeout", 3), ("failed", 9)], tags=()),
    planner_input([("success", i) for i in range(20)], tags=("web", "db", "api")),
]


@pytest.mark.parametrize("slots", [0, 1, 4, 8, 16])
def test_sparse_and_dense_tokens_agree(slots):
    encoder = EncoderConfig(history_slots=slots)
    tokens = policy_of(encoder).module.tokens
    features = batch_of(INPUTS, encoder).features
    with torch.inference_mode():
        sparse, present = tokens(SparseRows.of(features))
        dense, also_present = tokens(torch.from_numpy(features.dense()))
    assert tuple(sparse.shape) == (len(INPUTS), 1 + slots + 3, 16)
    assert torch.allclose(sparse, dense, atol=1e-5)
    assert torch.equal(present, also_present)
    runs = [min(n, slots) for n in (0, 1, 3, 20)]
    assert present[:, 1 : 1 + slots].sum(1).tolist() == runs
    assert present[:, 0].all() and present[:, 1 + slots :].all()


@pytest.mark.parametrize(("slots", "layers"), [(0, 1), (8, 2)])
def test_the_graph_takes_any_batch(slots, layers):
    encoder = EncoderConfig(history_slots=slots)
    policy = policy_of(encoder, n_layers=layers)
    session = onnxruntime.InferenceSession(policy.export_scorer().SerializeToString())
    for count in (1, 2, 64):
        batch = batch_of((INPUTS * 16)[:count], encoder)
        feed = {"input": batch.features.dense(), "job_type": np.arange(count) % 4}
        batch = Batch(batch.features, np.arange(count) % 4)
        [found] = session.run(["joint"], feed)
        assert found.shape == (count, 150)
        assert np.abs(found - policy.predict(batch)["joint"]).max() < 1e-4


def test_empty_slots_are_not_looked_at():
    encoder = EncoderConfig()
    policy = policy_of(encoder)
    batch = batch_of([planner_input([("failed", 1)])], encoder)
    before = policy.predict(batch)["joint"]
    with torch.no_grad():
        policy.module.tokens.kind[2:9] += 100.0  # slots 2 to 8 are empty
    assert np.array_equal(before, policy.predict(batch)["joint"])
    with torch.no_grad():
        policy.module.tokens.kind[1] += 1.0
    assert not np.array_equal(before, policy.predict(batch)["joint"])


def test_what_is_learnt_of_one_run_holds_for_the_others():
    encoder = EncoderConfig(history_slots=2)
    tokens = Tokens(encoder, 4)
    with torch.no_grad():
        tokens.run[5] += 1.0
        tokens.kind.zero_()
    first = encoder.group("history").start + 5
    rows = SparseFeatures(np.array([first, first + encoder.d_run]), np.array([0, 2]), encoder.d_in)
    with torch.inference_mode():
        out, _ = tokens(SparseRows.of(rows))
    assert out[0].tolist() == [[0.0] * 4, [1.0] * 4, [1.0] * 4, *[[0.0] * 4] * 3]


def test_the_job_type_and_the_history_are_read():
    policy = policy_of()
    encoder = EncoderConfig()
    batch = batch_of([planner_input([("failed", 1)]), planner_input([("success", 1)])], encoder)
    scores = policy.predict(batch)["joint"]
    assert not np.allclose(scores[0], scores[1])
    other = policy.predict(Batch(batch.features, batch.job_type + 1))["joint"]
    assert not np.allclose(scores, other)


def test_widths_that_do_not_divide_are_told():
    with pytest.raises(ValueError, match="multiple of n_heads"):
        TransformerConfig(d_model=30, n_heads=4)
