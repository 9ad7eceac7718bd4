"""From a policy's scores to a decision: temperature, validity mask, normalisation, argmax.

This is the NumPy twin of the tail that the exporter appends to every graph; parity is checked between the two.

Head scores: the logit of an action is the sum of its heads' calibrated logits (their log-softmax normalisers are the
same for every action and cancel). Joint scores: one calibrated logit an action; the heads are log-marginals. Outcome
scores: the logit of an action is its expected utility in passed runs over the temperature, and actions that mean the
same are one. In passed runs, since urgent issues have larger utilities and their decisions would look surer for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS, ActionSpace
from planner_core.encoder import EncoderConfig
from planner_core.examples import OUTCOME_ARRAYS
from planner_core.features import SparseFeatures
from planner_core.utility import in_passed_runs, weight_table, weighted

Scores = dict[str, NDArray[np.float32]]
"""What a policy answers for n inputs, float32 arrays by the names of :func:`score_sizes`: unscaled logits, without
temperature and mask, or (kind ``outcomes``) the expected outcome of every action."""

ScoreKind = Literal["heads", "joint", "outcomes"]
SCORE_KINDS: tuple[ScoreKind, ...] = get_args(ScoreKind)
TEMPERATURES: dict[ScoreKind, tuple[str, ...]] = {"heads": HEADS, "joint": ("joint",), "outcomes": ("utility",)}
"""Which temperatures a kind has; that of ``utility`` is in units of what a passed run of the row is worth."""

UTILITY_TEMPERATURE = 0.05
"""Of outcome scores, unless one was fitted: actions whose expected utilities differ by less than what 5 % more
chance of passing is worth are hardly told apart."""


def kind_of(scores: Scores) -> ScoreKind:
    """Which kind of scores these are, by their names."""
    return "joint" if "joint" in scores else "outcomes" if "passed" in scores else "heads"


def score_sizes(kind: ScoreKind, space: ActionSpace) -> dict[str, int]:
    """The arrays of a kind of scores, and how many columns each has."""
    if kind == "heads":
        return dict(zip(HEADS, space.head_sizes, strict=True))
    return dict.fromkeys(("joint",) if kind == "joint" else OUTCOME_ARRAYS, len(space.actions))


PARITY_TOLERANCE = 1e-5
"""Between the same scores computed in two ways, in absolute terms: by policy and graph, or in another order."""

MIN_MARGINAL = np.float32(1e-9)
"""Floor of a marginal probability before its logarithm, so that a forbidden class gets a finite number."""


@dataclass(frozen=True)
class Decision:
    """The outputs of the graph interface for n rows.

    ``heads`` float32 [n, classes] each: calibrated logits (log-marginals for a joint policy). ``action_probs`` float32
    [n, n_joint], 0 for actions the job type forbids. ``action`` int64 [n], ``confidence`` float32 [n]. ``outcomes``:
    what an outcome policy predicts of every action, float32 [n, n_joint] each of passed, minutes and cost_usd.
    """

    heads: dict[str, NDArray[np.float32]]
    action_probs: NDArray[np.float32]
    action: NDArray[np.int64]
    confidence: NDArray[np.float32]
    outcomes: Scores | None = None


def temperatures_for(kind: ScoreKind, fitted: Mapping[str, float] | None = None) -> dict[str, float]:
    """The temperatures of a kind; where none was fitted 1.0, for utilities :data:`UTILITY_TEMPERATURE`."""
    unfitted = UTILITY_TEMPERATURE if kind == "outcomes" else 1.0
    return {name: float((fitted or {}).get(name, unfitted)) for name in TEMPERATURES[kind]}


def decide(
    scores: Scores,
    job_type: NDArray[np.int64],
    temperatures: Mapping[str, float],
    space: ActionSpace,
    weights: NDArray[np.float64] | None = None,
) -> Decision:
    """Decide n rows of ``scores`` under the validity rules of their job types.

    ``weights`` float64 [n, (pass, time, cost)] is what the outcomes of each row are worth (:func:`row_weights`); scores
    of the kind ``outcomes`` need it, the others do not read it.
    """
    mask = space.joint_masks[job_type]
    kind = kind_of(scores)
    if kind == "heads":
        heads = {name: scores[name] / np.float32(temperatures[name]) for name in HEADS}
        logits = np.concatenate([heads[name] for name in HEADS], axis=1) @ space.incidence
        return _decision(heads, masked_softmax(logits, mask))
    if kind == "joint":
        return _joint(scores["joint"] / np.float32(temperatures["joint"]), mask, space)
    logits, mask = utility_logits(scores, job_type, space, weights, temperatures["utility"])
    return replace(_joint(logits, mask, space), outcomes=scores)


def utility_logits(
    scores: Scores,
    job_type: NDArray[np.int64],
    space: ActionSpace,
    weights: NDArray[np.float64] | None,
    temperature: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Expected utilities in passed runs over the temperature, float32 [n, n_joint], and which count, bool [n, n_joint].

    Actions that mean the same carry one mass, on the one that stands for them. ValueError without ``weights``.
    """
    if weights is None:
        raise ValueError("scores of the kind 'outcomes' are decided by the weights of each row, and there are none")
    utility = weighted(scores["passed"], scores["minutes"], scores["cost_usd"], in_passed_runs(weights))
    standing = space.canonical[job_type] == np.arange(len(space.actions))
    return (utility / temperature).astype(np.float32), space.joint_masks[job_type] & standing


def row_weights(features: SparseFeatures, table: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """What outcomes are worth in each row, float64 [n, (pass, time, cost)], by the priority among its features.

    ``table`` as of :func:`planner_core.utility.weight_table`, the default weights where it is None. A row without a
    priority gets zeros, as in the graph.
    """
    table = weight_table() if table is None else table
    out = np.zeros((len(features), 3))
    group = EncoderConfig().group("priority")  # the first group, whatever is configured
    rows = np.repeat(np.arange(len(features)), np.diff(features.starts))
    on = (features.indices >= group.start) & (features.indices < group.stop)
    np.add.at(out, rows[on], table[features.indices[on] - group.start])
    return out


def _joint(logits: NDArray[np.float32], mask: NDArray[np.bool_], space: ActionSpace) -> Decision:
    """From one calibrated logit an action; the heads are log-marginals."""
    probs = masked_softmax(logits, mask)
    logs = np.log(np.maximum(probs @ space.incidence.T, MIN_MARGINAL))
    bounds = np.cumsum((0, *space.head_sizes))
    return _decision({name: logs[:, bounds[i] : bounds[i + 1]] for i, name in enumerate(HEADS)}, probs)


def _decision(heads: dict[str, NDArray[np.float32]], probs: NDArray[np.float32]) -> Decision:
    action = np.argmax(probs, axis=1)
    return Decision(heads, probs, action, probs[np.arange(len(action)), action])


def masked_softmax(logits: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Softmax over the True entries of each row, 0 elsewhere; every row of ``mask`` needs one True entry."""
    shifted = np.where(mask, logits, -np.inf)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    probs: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return probs
