"""What a model would do with a request: its most probable action among those the request allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import Action, ActionSpace
from planner_core.contracts import PlannerInput
from planner_core.runtime.intake import Offer, Request
from planner_core.runtime.reasons import INFERENCE_FAILED, NO_OVERLAP

ROUNDING = 1e-3
MIN_MASS = 1e-6
"""Below this total probability on the request's actions, renormalising would only amplify rounding."""


class Predictor(Protocol):
    """Anything that gives planner inputs their action probabilities."""

    def action_probs(self, inputs: Sequence[PlannerInput]) -> NDArray[np.float32]:
        """float32 [n, n_joint] for n validated inputs."""
        ...


@dataclass(frozen=True)
class Model:
    """Everything of a bundle that a decision reads; swapped as one, so that no decision sees two."""

    predictor: Predictor | None
    space: ActionSpace
    threshold: float
    identity: dict[str, str] | None
    unusable: str | None
    policy: str | None = None
    twins: bool = False
    """Whether actions that mean the same have one mass, with the one that stands for them."""


class Choice(NamedTuple):
    """What the model would do, and why it may not (``reason`` None: it may)."""

    action: Action | None
    confidence: float | None
    reason: str | None = None
    detail: str = ""


def most_probable(model: Model, requests: Sequence[Request], probs: NDArray[np.float32]) -> list[Choice]:
    """The most probable action that each request allows, from float32 [n, n_joint]."""
    if len(requests) == 1:
        return _most_probable_alike(model, requests[0].offer, probs)
    alike: dict[int, list[int]] = {}
    for row, request in enumerate(requests):
        alike.setdefault(id(request.offer), []).append(row)
    out: dict[int, Choice] = {}
    for rows in alike.values():
        out |= zip(rows, _most_probable_alike(model, requests[rows[0]].offer, probs[rows]), strict=True)
    return [out[row] for row in range(len(requests))]


def _most_probable_alike(model: Model, offer: Offer, probs: NDArray[np.float32]) -> list[Choice]:
    """:func:`most_probable` of requests that offer the same."""
    ours, masses_at = offer.classes(model.space, model.twins)
    if not len(ours):
        return [Choice(None, None, NO_OVERLAP, "the model knows none of them")] * len(probs)
    if len(probs) == 1:  # the most frequent case, without what many rows need
        masses = probs[0].take(masses_at)
        best = int(masses.argmax())
        return [_choice(model, int(ours[best]), float(masses[best]), float(masses.sum()), float(masses.min()))]
    masses = probs.take(masses_at, axis=1)
    columns = masses.argmax(axis=1), masses.max(axis=1), masses.sum(axis=1), masses.min(axis=1)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [_choice(model, int(ours[best]), top, mass, low) for best, top, mass, low in rows]


def _choice(model: Model, best: int, top: float, mass: float, low: float) -> Choice:
    """The joint class ``best`` of probability ``top``; the allowed ones sum to ``mass``, the least is ``low``."""
    if not (mass <= 1.0 + ROUNDING and low >= 0.0):  # false for NaN too
        return Choice(None, None, INFERENCE_FAILED, f"these are no probabilities (they sum to {mass:.4g})")
    if mass < MIN_MASS:
        return Choice(None, None, NO_OVERLAP, f"{mass:.2g} of the probability is on them")
    return Choice(model.space.actions[best], min(top / mass, 1.0))
