"""Temperature scaling (Guo et al., ICML 2017): one temperature a head, or one for a joint policy.

Fitted by minimising the negative log-likelihood of the validation labels over log T. In beta = 1/T the NLL of a
softmax is convex, hence unimodal in log T, so a golden-section search finds the minimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS, ActionSpace
from planner_core.decision import Scores
from planner_core.examples import Examples

T_RANGE = (0.25, 20.0)
"""Below a quarter a temperature says more about a small validation split than about the model."""

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


def fit_temperatures(scores: Scores, valid: Examples, space: ActionSpace) -> dict[str, Any]:
    """Fit on validation scores. Returns ``{method, temperatures, nll_before, nll_after, n}``.

    An empty validation split leaves every temperature at 1.0, with ``method`` "none" and the reason in ``note``.
    """
    names = ("joint",) if "joint" in scores else HEADS
    if not len(valid):
        return {
            "method": "none",
            "note": "the validation split is empty, so there is nothing to calibrate on",
            "temperatures": dict.fromkeys(names, 1.0),
            "n": 0,
        }
    temperatures, before, after = {}, {}, {}
    for name in names:
        if name == "joint":
            mask, labels = space.joint_masks[valid.job_type], valid.action
        else:
            mask, labels = space.head_masks[name][valid.job_type], valid.labels[:, HEADS.index(name)]
        t = fit_temperature(scores[name], labels, mask)
        temperatures[name] = t
        before[name], after[name] = nll(scores[name], labels, mask, 1.0), nll(scores[name], labels, mask, t)
    return {
        "method": "temperature_scaling",
        "temperatures": temperatures,
        "nll_before": before,
        "nll_after": after,
        "n": len(valid),
    }
