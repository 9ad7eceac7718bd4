"""The ``joint`` policy: its shape and its mask. What it shares with ``mlp`` is in test_training.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import planner_joint
from planner_core import ActionSpace, Batch, PolicyContext, decide
from planner_core.decision import temperatures_for
from planner_core.harness.run_dir import load_run
from planner_core.torch import BinaryLinear
from planner_joint import JointConfig, JointPolicy

SPACE = ActionSpace()


def test_output_shape():
    outputs = JointPolicy()(torch.zeros(7, 3779))
    assert {name: tuple(values.shape) for name, values in outputs.items()} == {"joint": (7, 150)}


def test_trunk_is_that_of_the_mlp():
    module = JointPolicy(d_hidden=64, n_layers=2, dropout=0.4)
    widths = [layer.bias.numel() for layer in module.trunk if isinstance(layer, nn.Linear | BinaryLinear)]
    assert widths == [64, 32] and module.head.in_features == 32
    assert {layer.p for layer in module.trunk if isinstance(layer, nn.Dropout)} == {0.4}


def test_classes_follow_the_action_space():
    space = ActionSpace(swarm_ids=("serial_handoff",), max_minutes_bins=(15, 30), max_iterations_bins=(1, "NA"))
    assert JointPolicy(d_in=10, action_space=space, d_hidden=8)(torch.zeros(1, 10))["joint"].shape == (1, 4)


def test_policy_is_registered_as_joint():
    policy = planner_joint.Joint(JointConfig(d_hidden=8), PolicyContext())
    assert policy.score_kind == "joint"
    with pytest.raises(AttributeError):
        _ = planner_joint.NoSuchThing


def test_decisions_are_valid_for_every_job_type(runs, registry, dataset):
    """The same features under each job type: the mask alone must keep the decision valid."""
    run = load_run(runs["joint"], registry)
    features = dataset.split("test").features
    for job in range(4):
        jobs = np.full(len(features), job)
        decision = decide(run.policy.predict(Batch(features, jobs)), jobs, run.temperatures, SPACE)
        assert SPACE.joint_masks[job][decision.action].all()
        assert (decision.action_probs[:, ~SPACE.joint_masks[job]] == 0).all()


def test_one_temperature(runs, registry):
    run = load_run(runs["joint"], registry)
    assert set(run.temperatures) == set(temperatures_for("joint")) == {"joint"}
