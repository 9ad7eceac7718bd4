"""How a policy's value, and where it predicts outcomes its choice, varies with the worth of a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace
from planner_core.decision import Decision, Scores, decide, temperatures_for
from planner_core.examples import Examples
from planner_core.harness.evaluate import Judged, among_known
from planner_core.harness.outcome_metrics import Columns, outcome_columns
from planner_core.value import (
    MULTIPLES,
    Answer,
    Log,
    Predictions,
    Range,
    ReplayUse,
    Sensitivity,
    comparison,
    estimate_value,
    known_answer,
    known_mean,
    known_sensitivity,
    read_log,
    sensitivity,
)


class Choice(msgspec.Struct, frozen=True):
    """What an outcome policy chooses at one worth of a pass, and what that leads to.

    ``changed`` share of rows whose action is another than at the given worth; ``most_frequent`` action and its share;
    means a run, utility at this worth of a pass; ``difference`` in that utility to the reference, and what it says.
    """

    multiple: float
    pass_usd: float | None
    changed: float
    most_frequent: list[Any]
    most_frequent_share: float
    pass_rate: Range
    minutes: Range
    cost_usd: Range
    utility: Range
    difference: Range
    answer: Answer


class PassWorth(msgspec.Struct, frozen=True):
    """The difference of a fixed policy by the worth of a pass, and the ``choices`` of one that weighs outcomes."""

    fixed: Sensitivity
    choices: list[Choice] | None

    def to_dict(self) -> dict[str, Any]:
        """The key ``sensitivity`` of an evaluation."""
        out: dict[str, Any] = msgspec.to_builtins(self.fixed)
        return out | {"choices": msgspec.to_builtins(self.choices)}


def pass_worth(
    own: Judged,
    examples: Examples,
    space: ActionSpace,
    weights: NDArray[np.float64],
    *,
    against: NDArray[np.int64] | None = None,
    columns: Columns | None = None,
    against_name: str = "what was run",
    predictions: Predictions | None = None,
    replay: ReplayUse = "checked",
    multiples: Sequence[float] = MULTIPLES,
) -> PassWorth | None:
    """The sensitivity of a judged policy to the worth of a pass, against a reference.

    On a log the reference is ``against``, joint classes int64 [n], or what was run where that is None; where outcomes
    are known it is what they are of the reference, ``columns``. ``weights`` as of
    :func:`planner_core.utility.weight_table`; ``predictions`` and ``replay`` as of an estimate of the value. None where
    nothing is known to compare.
    """
    of_row = weights[examples.priority]
    if examples.known == "executed":
        assert examples.executed is not None
        log = read_log(examples.executed, examples.job_type, of_row, strata=examples.job_type, use=replay)
        if not len(log):
            return None
        judged = comparison(
            log, own.decision.action, against=against, predictions=predictions, against_name=against_name
        )
        fixed = sensitivity(judged, multiples)

        def figures(chosen: Decision, multiple: float) -> _Figures:
            return _logged(log, chosen.action, against, predictions, multiple)

    else:
        if own.columns is None or columns is None:
            return None
        reference = columns
        fixed = _known(own.columns, reference, of_row, examples, against_name, multiples)

        def figures(chosen: Decision, multiple: float) -> _Figures:
            return _looked_up(chosen, reference, examples, space, weights, multiple)

    if own.decision.outcomes is None:
        return PassWorth(fixed, None)
    given = rechosen(own.decision.outcomes, examples, space, of_row, 1.0).action
    choices = []
    for worth in fixed.rows:
        chosen = rechosen(own.decision.outcomes, examples, space, of_row, worth.multiple)
        count = np.bincount(chosen.action, minlength=len(space.actions))
        most = int(count.argmax())
        choices.append(
            Choice(
                worth.multiple,
                worth.pass_usd,
                float((chosen.action != given).mean()),
                list(space.actions[most]),
                float(count[most] / len(examples)),
                *figures(chosen, worth.multiple),
            )
        )
    return PassWorth(fixed, choices)


def rechosen(
    outcomes: Scores, examples: Examples, space: ActionSpace, weights: NDArray[np.float64], multiple: float
) -> Decision:
    """The decisions by predicted ``outcomes`` at a multiple of the worth of a pass.

    ``weights`` float64 [n, (pass, hour, USD)].
    """
    plain = temperatures_for("outcomes")
    return decide(outcomes, examples.job_type, plain, space, weights * [multiple, 1.0, 1.0])


_Figures = tuple[Range, Range, Range, Range, Range, Answer]


def _logged(
    log: Log,
    chosen: NDArray[np.int64],
    other: NDArray[np.int64] | None,
    predictions: Predictions | None,
    multiple: float,
) -> _Figures:
    at = replace(log, utility_weights=log.utility_weights * [multiple, 1.0, 1.0])
    found = estimate_value(at, chosen, against=other, predictions=predictions)
    value = found.value
    gap = value.difference.utility
    return value.pass_rate, value.minutes, value.cost_usd, value.utility, gap, found.verdict.answer


def _known(
    own: Columns,
    other: Columns,
    weights: NDArray[np.float64],
    examples: Examples,
    against: str,
    multiples: Sequence[float],
) -> Sensitivity:
    both = ~(np.isnan(own["utility"]) | np.isnan(other["utility"]))
    gaps = np.stack([own[name] - other[name] for name in ("passed", "minutes", "cost")])[:, both]
    issue = None if examples.issue is None else examples.issue[both]
    return known_sensitivity(gaps, weights[both], issue, against=against, multiples=multiples)


def _looked_up(
    chosen: Decision,
    other: Columns,
    examples: Examples,
    space: ActionSpace,
    weights: NDArray[np.float64],
    multiple: float,
) -> _Figures:
    scaled = weights * [multiple, 1.0, 1.0]
    columns = outcome_columns(among_known(chosen, examples, space), examples, space, scaled)
    assert columns is not None
    w = scaled[examples.priority]
    theirs = w[:, 0] * other["passed"] - w[:, 1] * other["minutes"] / 60.0 - w[:, 2] * other["cost"]
    both = ~(np.isnan(columns["utility"]) | np.isnan(theirs))
    issue = None if examples.issue is None else examples.issue[both]
    passes, minutes, usd, utility = (
        Range.of(known_mean(columns[name][both], issue)) for name in ("passed", "minutes", "cost", "utility")
    )
    gap = known_mean((columns["utility"] - theirs)[both], issue)
    return passes, minutes, usd, utility, Range.of(gap), known_answer(gap)
