"""A value estimate as it stands in ``results.json`` and ``--json`` (SPEC section 11). Unknown figures are null."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from planner_core.value.intervals import Mean

Answer = Literal["better", "worse", "cannot_tell"]


class Range(msgspec.Struct, frozen=True):
    """An estimate and its 95 % interval."""

    estimate: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, mean: Mean) -> Range:
        """The interval of a mean; bounds are null where there is none."""
        return cls(finite(mean.estimate), finite(mean.estimate - mean.reach), finite(mean.estimate + mean.reach))


def finite(value: float) -> float | None:
    """The number, or None where it is NaN or infinite."""
    return float(value) if math.isfinite(value) else None


class Figures(msgspec.Struct, frozen=True):
    """A run's mean: share passed, wall-clock minutes, USD, utility."""

    pass_rate: Range = Range()
    minutes: Range = Range()
    cost_usd: Range = Range()
    utility: Range = Range()


class ValueFigures(msgspec.Struct, frozen=True):
    """:class:`Figures` of a policy and, under ``difference``, of the policy minus the reference."""

    pass_rate: Range = Range()
    minutes: Range = Range()
    cost_usd: Range = Range()
    utility: Range = Range()
    difference: Figures = Figures()


class Verdict(msgspec.Struct, frozen=True):
    """What the logs say, and what would tell.

    ``answer`` against ``against``; ``text`` one sentence for a person; ``reasons`` why it cannot be told (empty
    otherwise). ``runs_needed`` runs of an A/B that gives the policy ``ab_share`` of them would show a difference of
    ``ab_difference`` utility a run four times in five. ``p_value`` two-sided, of no difference in utility. Where it is
    ``refused`` the interval is no evidence either; else it holds, also where it holds 0 and so gives no answer.
    """

    answer: Answer
    against: str
    text: str
    reasons: list[str] = []
    runs_needed: int | None = None
    ab_share: float | None = None
    ab_difference: float | None = None
    p_value: float | None = None
    refused: bool = False


class Weights(msgspec.Struct, frozen=True):
    """Replay weights on the rows that differ: means (1 is expected) and the largest; of the reference where it is an
    action."""

    mean: float | None = None
    mean_for_pass: float | None = None
    mean_plain: float | None = None
    mean_reference: float | None = None
    largest: float | None = None


class Partial(msgspec.Struct, frozen=True):
    """The value of another policy: ``the policy where supported, the reference elsewhere``."""

    label: str
    value: ValueFigures
    verdict: Verdict
    n_full: int | None = None
    ess: float | None = None


class Value(msgspec.Struct, frozen=True):
    """The value of a policy from logs, with everything needed to doubt it.

    ``rows`` runs of ``issues`` issues are judged, ``coverage`` of the rows there are. ``support`` and ``differing`` are
    shares of rows; ``n_full``, ``ess`` (replay weights) and ``ess_plain`` count issues, on the rows that differ; n_full
    is null for a stochastic policy. ``estimators`` holds the figures of the others beside the one that counts.
    """

    known: str
    rows: int
    issues: int
    coverage: float
    estimator: str
    value: ValueFigures
    estimators: dict[str, ValueFigures]
    as_run: Figures
    n_full: int | None
    ess: float
    ess_plain: float
    support: float
    differing: float
    weights: Weights
    propensities: str
    replay: str
    predictions: str
    verdict: Verdict
    partial: Partial | None = None
    notes: list[str] = []
