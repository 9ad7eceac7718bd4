"""What a model would do with a request: its most probable action among those the request allows.

Where it predicts outcomes, also what it expects of an action, and which actions it expects to be hardly worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import Action, ActionSpace, job_type_index
from planner_core.contracts import ExpectedOutcome, PlannerInput
from planner_core.encoder import PRIORITIES
from planner_core.runtime.intake import Offer, Request
from planner_core.runtime.reasons import INFERENCE_FAILED, NO_OVERLAP
from planner_core.utility import weighted

ROUNDING = 1e-3
MIN_MASS = 1e-6
"""Below this total probability on the request's actions, renormalising would only amplify rounding."""


class Predictor(Protocol):
    """Anything that gives planner inputs their action probabilities."""

    def action_probs(self, inputs: Sequence[PlannerInput]) -> NDArray[np.float32]:
        """float32 [n, n_joint] for n validated inputs."""
        ...


class OutcomePredictor(Predictor, Protocol):
    """One that tells what it expects of every action too.

    ``weights`` float64 [4 priorities, (pass, time, cost)] is what its probabilities take outcomes to be worth.
    """

    weights: NDArray[np.float64]

    def answer(self, inputs: Sequence[PlannerInput]) -> Answer:
        """For n validated inputs."""
        ...


class Answer(NamedTuple):
    """Probabilities, float32 [n, n_joint], and expected passed, minutes and USD, float32 [n, 3, n_joint]."""

    probs: NDArray[np.float32]
    outcomes: NDArray[np.float32]


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
    weights: NDArray[np.float64] | None = None
    """Those of an :class:`OutcomePredictor`; None where the predictor is none."""


class Choice(NamedTuple):
    """What the model would do, and why it may not (``reason`` None: it may).

    ``outcomes`` float32 [3, n_joint]: what it expects of every action, where somebody asked for it.
    """

    action: Action | None
    confidence: float | None
    reason: str | None = None
    detail: str = ""
    outcomes: NDArray[np.float32] | None = None


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
        mass, low = float(np.add.reduce(masses)), float(np.minimum.reduce(masses))
        return [_choice(model, int(ours[best]), float(masses[best]), mass, low)]
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


def hardly_worse(model: Model, request: Request, choice: Choice, loss: float) -> list[Action]:
    """What the request allows whose expected utility is at most ``loss`` below that of the model's own action.

    In the order of the joint classes, twins once, the model's own among them; that alone for a model that expects
    nothing.
    """
    own, outcomes, weights = choice.action, choice.outcomes, model.weights
    if own is None:
        return []
    if outcomes is None or weights is None:
        return [own]
    ours, stands_at = request.offer.classes(model.space, model.twins)
    row = weights[PRIORITIES.index(request.x.issue.dk_priority)][None]
    passed, minutes, cost_usd = outcomes[:, None, stands_at]
    utility = weighted(passed, minutes, cost_usd, row)[0]
    at = model.space.index[own]
    # Written so that a prediction that is no number is never explored.
    kept = (utility[ours == at] - utility <= loss) | (ours == at)
    return [model.space.actions[i] for i in sorted(ours[kept].tolist())]


def expected_of(
    model: Model, request: Request, action: Action, outcomes: NDArray[np.float32]
) -> ExpectedOutcome | None:
    """What a model expects of an action, from float32 [3, n_joint]; None where it knows no such action."""
    at = model.space.index.get(action)
    if at is None:
        return None
    column = outcomes[:, model.space.canonical[job_type_index(request.x.job_type), at]]
    if not np.isfinite(column).all():
        return None
    passed, minutes, cost_usd = column.tolist()
    return {"passed": passed, "minutes": minutes, "cost_usd": cost_usd}
