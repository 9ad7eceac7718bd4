"""A validation split is judged by parts: the figures of the whole, with the probabilities of one part in memory."""

from __future__ import annotations

import pytest

from planner_core import PolicyContext, TrainingSession
from planner_core.data.dataset import Dataset
from planner_core.torch import Fit, loop
from planner_mlp import MLP, MLPConfig


@pytest.mark.parametrize("objective", ["label", "utility"])
def test_parts_give_what_the_whole_gives(objective, dataset: Dataset, tmp_path, monkeypatch) -> None:
    policy = MLP(MLPConfig(d_hidden=8, objective=objective), PolicyContext(dataset.encoder, dataset.action_space))
    session = TrainingSession(dataset.split("train"), dataset.split("val"), tmp_path)
    fit = Fit(policy.module, policy.forward, policy.config, session, dataset.action_space, 0)
    whole = fit._validate()
    monkeypatch.setattr(loop, "VALID_AT_ONCE", 7)
    parts = fit._validate()
    assert parts[1:] == whole[1:] and parts[0] == pytest.approx(whole[0], rel=1e-5)
    assert (whole[2] is None) == (objective == "label")
