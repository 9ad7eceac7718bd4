"""From a policy's scores to a decision: temperature, validity mask, normalisation, argmax.

This is the NumPy twin of the tail that the exporter appends to every graph; parity is checked between the two.

Head scores: the logit of an action is the sum of its heads' calibrated logits (their log-softmax normalisers are the
same for every action and cancel). Joint scores: one calibrated logit an action; the heads are log-marginals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS, ActionSpace

Scores = dict[str, NDArray[np.float32]]
"""Either ``{"swarm", "candidates", "minutes", "iterations"}: float32 [n, classes]`` or ``{"joint": float32 [n, 150]}``.

Unscaled logits: no temperature, no mask.
"""

MIN_MARGINAL = np.float32(1e-9)
"""Floor of a marginal probability before its logarithm, so that a forbidden class gets a finite number."""


@dataclass(frozen=True)
class Decision:
    """The outputs of the graph interface for n rows.

    ``heads`` float32 [n, classes] each: calibrated logits (log-marginals for a joint policy). ``action_probs`` float32
    [n, n_joint], 0 for actions the job type forbids. ``action`` int64 [n], ``confidence`` float32 [n].
    """

    heads: dict[str, NDArray[np.float32]]
    action_probs: NDArray[np.float32]
    action: NDArray[np.int64]
    confidence: NDArray[np.float32]


def temperatures_for(kind: str, fitted: Mapping[str, float] | None = None) -> dict[str, float]:
    """One temperature a score array; 1.0 where none was fitted."""
    names = HEADS if kind == "heads" else ("joint",)
    return {name: float((fitted or {}).get(name, 1.0)) for name in names}


def decide(
    scores: Scores, job_type: NDArray[np.int64], temperatures: Mapping[str, float], space: ActionSpace
) -> Decision:
    """Decide n rows of ``scores`` under the validity rules of their job types."""
    mask = space.joint_masks[job_type]
    if "joint" in scores:
        logits = scores["joint"] / np.float32(temperatures["joint"])
        probs = masked_softmax(logits, mask)
        marginals = probs @ space.incidence.T
        logs = np.log(np.maximum(marginals, MIN_MARGINAL))
        bounds = np.cumsum((0, *space.head_sizes))
        heads = {name: logs[:, bounds[i] : bounds[i + 1]] for i, name in enumerate(HEADS)}
    else:
        heads = {name: scores[name] / np.float32(temperatures[name]) for name in HEADS}
        logits = np.concatenate([heads[name] for name in HEADS], axis=1) @ space.incidence
        probs = masked_softmax(logits, mask)
    action = np.argmax(probs, axis=1)
    return Decision(heads, probs, action, probs[np.arange(len(action)), action])


def masked_softmax(logits: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Softmax over the True entries of each row, 0 elsewhere; every row of ``mask`` needs one True entry."""
    shifted = np.where(mask, logits, -np.inf)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    probs: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return probs
