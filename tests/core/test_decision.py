"""From scores to a decision, against a loop over single actions in float64."""

from __future__ import annotations

import numpy as np
import pytest

from planner_core.action_space import HEADS, ActionSpace, valid_actions
from planner_core.decision import MIN_MARGINAL, decide, masked_softmax, temperatures_for

SPACE = ActionSpace()
JOBS = ("code", "fab-world", "fab-asset", "other")
TEMPERATURES = {"swarm": 0.7, "candidates": 1.3, "minutes": 2.0, "iterations": 0.5, "joint": 1.7}


def head_scores(rng, n, scale):
    sizes = dict(zip(HEADS, (2, 4, 6, 5), strict=True))
    return {name: rng.normal(0, scale, (n, size)).astype(np.float32) for name, size in sizes.items()}


def slow(scores, job):
    """{action: probability} of one row; ``scores`` {name: 1-D}."""
    weights = {}
    for action in valid_actions(JOBS[job], SPACE):
        if "joint" in scores:
            logit = float(scores["joint"][SPACE.actions.index(action)]) / TEMPERATURES["joint"]
        else:
            logit = sum(
                float(scores[name][bins.index(value)]) / TEMPERATURES[name]
                for name, bins, value in zip(HEADS, SPACE.head_bins, action, strict=True)
            )
        weights[action] = logit
    top = max(weights.values())
    weights = {action: np.exp(logit - top) for action, logit in weights.items()}
    total = sum(weights.values())
    return {action: weight / total for action, weight in weights.items()}


@pytest.mark.parametrize("kind", ["heads", "joint"])
@pytest.mark.parametrize(("seed", "scale"), [(0, 1.0), (1, 1.0), (2, 10.0), (3, 40.0)])
def test_against_a_loop(kind, seed, scale):
    rng = np.random.default_rng(seed)
    n = 12
    scores = head_scores(rng, n, scale) if kind == "heads" else {"joint": rng.normal(0, scale, (n, 150))}
    scores = {name: values.astype(np.float32) for name, values in scores.items()}
    job_type = np.arange(n) % 4
    got = decide(scores, job_type, TEMPERATURES, SPACE)
    for row in range(n):
        expected = slow({name: values[row] for name, values in scores.items()}, job_type[row])
        for action, probability in zip(SPACE.actions, got.action_probs[row], strict=True):
            if action in expected:
                assert probability == pytest.approx(expected[action], rel=2e-4, abs=1e-7)
            else:
                assert probability == 0.0  # exactly
        best = max(expected, key=expected.get)
        assert SPACE.actions[got.action[row]] == best
        assert got.confidence[row] == pytest.approx(expected[best], rel=2e-4)
        assert got.confidence[row] == got.action_probs[row].max()
    assert got.action_probs.sum(axis=1) == pytest.approx(np.ones(n), abs=1e-5)
    assert got.action_probs.dtype == got.confidence.dtype == np.float32 and got.action.dtype == np.int64


def test_heads_are_logits_over_temperatures():
    scores = head_scores(np.random.default_rng(4), 3, 1.0)
    got = decide(scores, np.zeros(3, np.int64), TEMPERATURES, SPACE)
    for name in HEADS:
        assert got.heads[name] == pytest.approx(scores[name] / TEMPERATURES[name], rel=1e-6)


def test_joint_heads_are_log_marginals():
    scores = {"joint": np.random.default_rng(5).normal(0, 2, (4, 150)).astype(np.float32)}
    job_type = np.arange(4)
    got = decide(scores, job_type, TEMPERATURES, SPACE)
    for row in range(4):
        expected = slow({"joint": scores["joint"][row]}, row)
        for head, name in enumerate(HEADS):
            for k, value in enumerate(SPACE.head_bins[head]):
                marginal = sum(p for action, p in expected.items() if action[head] == value)
                log = np.log(max(marginal, MIN_MARGINAL))
                assert got.heads[name][row, k] == pytest.approx(log, abs=1e-3)
    # code jobs do not iterate: four classes of the head have probability 0, and a finite logarithm all the same
    assert got.heads["iterations"][0] == pytest.approx([np.log(1e-9)] * 4 + [0.0], abs=1e-4)


def test_a_tie_goes_to_the_first_action():
    scores = {"joint": np.zeros((1, 150), np.float32)}
    got = decide(scores, np.array([1]), temperatures_for("joint"), SPACE)
    assert SPACE.actions[got.action[0]] == valid_actions("fab-world")[0]
    assert got.confidence[0] == pytest.approx(1 / 120)


def test_temperatures():
    assert temperatures_for("heads") == dict.fromkeys(HEADS, 1.0)
    assert temperatures_for("joint") == {"joint": 1.0}
    assert temperatures_for("heads", {"swarm": 2}) == {
        "swarm": 2.0,
        "candidates": 1.0,
        "minutes": 1.0,
        "iterations": 1.0,
    }


def test_masked_softmax_ignores_what_it_masks():
    mask = np.array([[True, False, True], [False, True, False]])
    huge = np.array([[0.0, 1e30, np.log(3.0)], [np.nan, -1e30, np.inf]], np.float32)
    assert masked_softmax(huge, mask) == pytest.approx(np.array([[0.25, 0.0, 0.75], [0.0, 1.0, 0.0]]), abs=1e-6)
