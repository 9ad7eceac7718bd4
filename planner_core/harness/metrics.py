"""The metrics of an evaluation, from decisions and labels as plain arrays.

Diagnostic: per-head and exact-match accuracy. Collapse: entropy of the chosen actions and friends. Calibration:
expected and maximum calibration error over 10 equal-width bins (Naeini et al., AAAI 2015; Guo et al., ICML 2017).
Outcome: what the chosen actions would have achieved, where that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS, ActionSpace
from planner_core.decision import Decision, masked_softmax

N_BINS = 10


class EvalMetrics(msgspec.Struct, kw_only=True):
    """Diagnostic, collapse and calibration metrics. ``*_before`` is before temperature scaling, where there was any."""

    n: int
    per_head_accuracy: dict[str, float]
    exact_match_accuracy: float
    action_entropy: float
    top1_frequency: float
    unique_actions: int
    unique_action_ratio: float
    ece: float
    mce: float
    joint_ece: float
    ece_before: float | None = None
    mce_before: float | None = None
    joint_ece_before: float | None = None
    abstain_rate: float | None = None


@dataclass(frozen=True)
class ReliabilityTable:
    """Predictions binned by confidence: ``count`` int [bins], mean ``confidence`` and ``accuracy`` float [bins]."""

    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def ece(self) -> float:
        """Mean gap between confidence and accuracy, weighted by the bins' counts."""
        return float((self.count * self._gaps).sum() / max(self.count.sum(), 1))

    @property
    def mce(self) -> float:
        """Largest gap of any bin that holds a prediction."""
        return float(self._gaps.max(initial=0.0))

    def to_dict(self) -> dict[str, list[float]]:
        """The bins as plain lists."""
        return {name: getattr(self, name).tolist() for name in ("count", "confidence", "accuracy")}

    @property
    def _gaps(self) -> NDArray[np.float64]:
        return np.where(self.count > 0, np.abs(self.confidence - self.accuracy), 0.0)


def reliability(confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = N_BINS) -> ReliabilityTable:
    """Bin predictions by confidence into equal-width bins (lower, upper]; a confidence of 0 falls into the first."""
    place = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    safe = np.maximum(count, 1)
    return ReliabilityTable(
        count,
        np.bincount(place, weights=confidence, minlength=bins) / safe,
        np.bincount(place, weights=correct, minlength=bins) / safe,
    )


def head_reliability(
    decision: Decision, labels: NDArray[np.int64], job_type: NDArray[np.int64], space: ActionSpace
) -> dict[str, ReliabilityTable]:
    """Reliability of each head's own distribution, over the classes valid for the job type."""
    tables = {}
    for i, name in enumerate(HEADS):
        probs = masked_softmax(decision.heads[name], space.head_masks[name][job_type])
        tables[name] = reliability(probs.max(axis=1), probs.argmax(axis=1) == labels[:, i])
    return tables


def evaluate_decision(
    decision: Decision,
    labels: NDArray[np.int64],
    action: NDArray[np.int64],
    job_type: NDArray[np.int64],
    space: ActionSpace,
    before: Decision | None = None,
) -> EvalMetrics:
    """Metrics of n >= 1 decisions.

    ``labels`` int64 [n, 4] head classes, ``action`` int64 [n] joint class of the label, ``before`` the decisions
    without temperature scaling.
    """
    chosen = decision.action
    heads_match = space.head_index[chosen] == labels
    frequency = np.bincount(chosen, minlength=len(space.actions)) / len(chosen)
    seen = frequency[frequency > 0]
    exact = chosen == action
    tables = head_reliability(decision, labels, job_type, space).values()
    out = EvalMetrics(
        n=len(chosen),
        per_head_accuracy={name: float(heads_match[:, i].mean()) for i, name in enumerate(HEADS)},
        exact_match_accuracy=float(exact.mean()),
        action_entropy=float(-(seen * np.log(seen)).sum()) + 0.0,
        top1_frequency=float(frequency.max()),
        unique_actions=len(seen),
        unique_action_ratio=len(seen) / len(np.unique(action)),
        ece=float(np.mean([t.ece for t in tables])),
        mce=float(np.mean([t.mce for t in tables])),
        joint_ece=reliability(decision.confidence, exact).ece,
    )
    if before is not None:
        tables = head_reliability(before, labels, job_type, space).values()
        out.ece_before = float(np.mean([t.ece for t in tables]))
        out.mce_before = float(np.mean([t.mce for t in tables]))
        out.joint_ece_before = reliability(before.confidence, before.action == action).ece
    return out


def threshold_for(curve: Sequence[Mapping[str, float]], accuracy: float) -> Mapping[str, float] | None:
    """The point of a risk-coverage curve with the most coverage at which at least ``accuracy`` is right; or None."""
    fitting = [point for point in curve if 1.0 - point["risk"] >= accuracy]
    return max(fitting, key=lambda point: point["coverage"]) if fitting else None


def risk_coverage(confidence: NDArray[np.floating], correct: NDArray[np.bool_], points: int = 21) -> dict[str, Any]:
    """The risk-coverage curve (El-Yaniv and Wiener, JMLR 2010): error rate when only the surest are decided.

    ``curve`` holds about ``points`` equally spaced coverages with the threshold that gives each: decisions of equal
    confidence cannot be told apart, so a coverage ends where their group does. ``area`` is the mean risk over all
    coverages 1/n, 2/n, ..., 1.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    errors = np.cumsum(~correct[order])
    risks = errors / np.arange(1, len(order) + 1)
    curve: list[dict[str, float]] = []
    for coverage in np.linspace(0.0, 1.0, points)[1:]:
        wanted = max(1, round(coverage * len(order)))
        taken = int(np.searchsorted(-ranked, -ranked[wanted - 1], side="right"))
        if curve and curve[-1]["coverage"] == taken / len(order):
            continue
        curve.append(
            {
                "coverage": taken / len(order),
                "risk": float(risks[taken - 1]),
                "threshold": float(ranked[taken - 1]),
            }
        )
    return {"area": float(risks.mean()), "curve": curve}
