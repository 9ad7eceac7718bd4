"""Temperature scaling (Guo et al., ICML 2017): one temperature a head, or one for a joint policy.

Fitted by minimising the negative log-likelihood of the validation labels over log T. In beta = 1/T the NLL of a
softmax is convex, hence unimodal in log T, so a golden-section search finds the minimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS, ActionSpace
from planner_core.decision import ScoreKind, Scores, decide, kind_of, row_weights, temperatures_for, utility_logits
from planner_core.examples import Examples
from planner_core.harness.metrics import risk_coverage
from planner_core.policy import PolicyContext, TrainablePolicy
from planner_core.training import TrainingSession

T_RANGE = (0.25, 20.0)
"""Below a quarter a temperature says more about a small validation split than about the model."""

CURVE_POINTS = 201
"""Of the risk-coverage curve that travels with a policy: a threshold is chosen from it in steps of half a percent."""

_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


def nll(logits: NDArray[np.floating], labels: NDArray[np.int64], mask: NDArray[np.bool_], temperature: float) -> float:
    """Mean negative log-likelihood in nats of ``labels`` under the masked softmax of ``logits / temperature``."""
    scaled = np.where(mask, logits.astype(np.float64) / temperature, -np.inf)
    top = scaled.max(axis=1, keepdims=True)
    normaliser = np.log(np.exp(scaled - top).sum(axis=1)) + top[:, 0]
    return float((normaliser - scaled[np.arange(len(labels)), labels]).mean())


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64], mask: NDArray[np.bool_]) -> float:
    """The temperature in :data:`T_RANGE` with the lowest NLL.

    1.0 where the data cannot tell: every row has a single valid class, all temperatures are equally good, or every
    prediction is right, so that the NLL falls towards a temperature of 0 without a minimum.
    """
    several = mask.sum(axis=1) > 1
    if not several.any():
        return 1.0
    logits, labels, mask = logits[several], labels[several], mask[several]
    low, high = np.log(T_RANGE[0]), np.log(T_RANGE[1])
    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    fa, fb = (nll(logits, labels, mask, float(np.exp(x))) for x in (a, b))
    for _ in range(40):
        if fa < fb:
            high, b, fb = b, a, fa
            a = high - _GOLDEN * (high - low)
            fa = nll(logits, labels, mask, float(np.exp(a)))
        else:
            low, a, fa = a, b, fb
            b = low + _GOLDEN * (high - low)
            fb = nll(logits, labels, mask, float(np.exp(b)))
    best = float(np.exp((low + high) / 2.0))
    separated = (np.where(mask, logits, -np.inf).argmax(axis=1) == labels).all()
    return best if not separated and nll(logits, labels, mask, best) < nll(logits, labels, mask, 1.0) else 1.0


def no_temperatures(kind: ScoreKind, note: str) -> dict[str, Any]:
    """What stands for a calibration that was not made, and why."""
    return {"method": "none", "note": note, "temperatures": temperatures_for(kind), "n": 0}


def fit_temperatures(
    scores: Scores, valid: Examples, space: ActionSpace, weights: NDArray[np.float64] | None = None
) -> dict[str, Any]:
    """Fit on validation scores of n >= 1 rows. Returns ``{method, temperatures, nll_before, nll_after, n}``.

    ``weights`` float64 [n, (pass, time, cost)], as of :func:`planner_core.decision.row_weights`, make utilities of
    outcome scores; their temperature is fitted relative to the one that holds without a fit.
    """
    unfitted = temperatures_for(kind_of(scores))
    temperatures, before, after = {}, {}, {}
    for name, unit in unfitted.items():
        if name in HEADS:
            mask, labels = space.head_masks[name][valid.job_type], valid.labels[:, HEADS.index(name)]
        else:
            mask, labels = space.joint_masks[valid.job_type], valid.action
        logits: NDArray[np.floating]
        if name == "utility":
            logits, mask = utility_logits(scores, valid.job_type, space, weights, unit)
            labels = space.canonical[valid.job_type, labels]
        else:
            logits = scores[name]
        t = fit_temperature(logits, labels, mask)
        temperatures[name] = t * unit
        before[name], after[name] = nll(logits, labels, mask, 1.0), nll(logits, labels, mask, t)
    return {
        "method": "temperature_scaling",
        "temperatures": temperatures,
        "nll_before": before,
        "nll_after": after,
        "n": len(valid),
    }


def calibrated(
    policy: TrainablePolicy, session: TrainingSession, context: PolicyContext, config: Any
) -> dict[str, Any]:
    """The temperatures fitted on the validation labels, and the risk-coverage curve there.

    Only where labels are what the policy is to be right about: those of a log are what was done, those of a simulated
    world are made of what no log shows.
    """
    valid, space = session.valid, context.action_space
    asked = getattr(config, "objective", "auto")
    if session.objective != "label" and asked != "label":
        return no_temperatures(
            policy.score_kind, "what was best is not known here, so there is nothing to calibrate on"
        )
    if not len(valid):
        return no_temperatures(policy.score_kind, "the validation split is empty, so there is nothing to calibrate on")
    weights = row_weights(valid.features, session.utility_weights)
    scores = policy.predict(valid.batch())
    calibration = fit_temperatures(scores, valid, space, weights)
    decision = decide(scores, valid.job_type, calibration["temperatures"], space, weights)
    right = decision.action == valid.action
    calibration["risk_coverage"] = risk_coverage(decision.confidence, right, points=CURVE_POINTS)
    return calibration
