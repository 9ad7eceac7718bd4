"""What an outcome is worth: utility = w_pass x pass - w_time x hours - w_cost x USD, by priority."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import ActionSpace, bin_key
from planner_core.encoder import PRIORITIES
from planner_core.errors import ConfigError, DataError, suggestion

Objective = Literal["utility", "duration", "cost"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

KEYS, VALUE_KEYS = ("pass", "time", "cost"), ("pass", "hour", "usd")
"""What the weights are called in ``meta.json``, and on the command line."""

_KNOWN = "expected pass, hour or usd, perhaps after a priority (P0.pass=4)"

UTILITY_WEIGHTS: dict[str, dict[str, float]] = {
    "P0": {"pass": 4.0, "time": 1.0, "cost": 0.10},
    "P1": {"pass": 3.0, "time": 0.8, "cost": 0.15},
    "P2": {"pass": 2.0, "time": 0.6, "cost": 0.20},
    "P3": {"pass": 1.2, "time": 0.3, "cost": 0.30},
}


def weight_table(
    weights: Mapping[str, Mapping[str, float]] | None = None, source: str = "utility weights"
) -> NDArray[np.float64]:
    """Weights as float64 [4 priorities, (pass, time, cost)]; the defaults where ``weights`` is None.

    Raises :class:`DataError`, which calls them ``source``, for a priority or a weight that is missing, unknown or no
    finite number of 0 or more.
    """
    chosen = UTILITY_WEIGHTS if weights is None else weights
    if not isinstance(chosen, Mapping):
        found = f"a value of the type {type(chosen).__name__}"
        raise DataError(source, path="$.utility", found=found, expected=f"the keys {', '.join(PRIORITIES)}")
    _check_keys(chosen, PRIORITIES, source, "$.utility")
    for priority in PRIORITIES:
        if not isinstance(chosen[priority], Mapping):
            found = f"a value of the type {type(chosen[priority]).__name__}"
            raise DataError(source, path=f"$.utility.{priority}", found=found, expected=f"the keys {', '.join(KEYS)}")
        _check_keys(chosen[priority], KEYS, source, f"$.utility.{priority}")
        for key, value in chosen[priority].items():
            if not 0.0 <= value < float("inf"):
                raise DataError(
                    source, path=f"$.utility.{priority}.{key}", found=str(value), expected="a finite number >= 0"
                )
    return np.array([[chosen[p][key] for key in KEYS] for p in PRIORITIES], np.float64)


def in_passed_runs(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights float64 [n, (pass, time, cost)] so that a utility counts passed runs, or as they are where a pass is
    worth nothing."""
    worth = weights[:, :1]
    return weights / np.where(worth > 0.0, worth, 1.0)


def weights_document(table: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Weights as a ``meta.json`` has them: ``{"P0": {"pass": .., "time": .., "cost": ..}, ...}``."""
    return {p: dict(zip(KEYS, map(float, row), strict=True)) for p, row in zip(PRIORITIES, table, strict=True)}


def _check_keys(given: Mapping[str, object], known: Sequence[str], source: str, path: str) -> None:
    odd = [key for key in given if key not in known]
    missing = [key for key in known if key not in given]
    if odd or missing:
        found = f"the unknown key '{odd[0]}'{suggestion(odd[0], known)}" if odd else f"no '{missing[0]}'"
        raise DataError(source, path=path, found=found, expected=f"the keys {', '.join(known)}")


def parse_value(assignments: Iterable[str], base: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """``["pass=2", "P0.hour=3"]`` laid over ``base``, as of :func:`weight_table`; None where nothing is assigned.

    ``hour`` and ``usd`` are the ``time`` and ``cost`` of a ``meta.json``. Without a priority a weight is that of all
    four; one with a priority wins, whatever the order. Raises :class:`ConfigError` listing every one that does not fit.
    """
    table, problems = base.copy(), []
    parsed = []
    for text in assignments:
        name, equals, number = text.partition("=")
        priority, dot, key = name.strip().rpartition(".")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not equals or not 0.0 <= value < float("inf"):
            problems.append(f"--value {text}: expected KEY=NUMBER with a finite number of 0 or more")
        elif key not in VALUE_KEYS:
            problems.append(f"--value {text}: there is no '{key}'{suggestion(key, VALUE_KEYS)}; {_KNOWN}")
        elif dot and priority not in PRIORITIES:
            problems.append(f"--value {text}: there is no priority '{priority}'{suggestion(priority, PRIORITIES)}")
        else:
            parsed.append((bool(dot), priority, VALUE_KEYS.index(key), value))
    if problems:
        raise ConfigError("\n".join(problems))
    for by_priority, priority, column, value in sorted(parsed, key=lambda item: item[0]):
        table[PRIORITIES.index(priority) if by_priority else slice(None), column] = value
    return table if parsed else None


def utilities(
    passed: NDArray[np.floating],
    minutes: NDArray[np.floating],
    cost_usd: NDArray[np.floating],
    priority: NDArray[np.integer],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Utility of every known outcome, float64 [examples, actions]; NaN where the outcome is unknown.

    ``passed`` is a probability or 0/1; ``priority`` int [examples] indexes P0..P3; ``weights`` as of
    :func:`weight_table`.
    """
    return weighted(passed, minutes, cost_usd, weights[priority])


def weighted(
    passed: NDArray[np.floating],
    minutes: NDArray[np.floating],
    cost_usd: NDArray[np.floating],
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """:func:`utilities` of rows with weights of their own, float64 [examples, (pass, time, cost)]."""
    out: NDArray[np.float64] = weights[:, :1] * passed.astype(np.float64)
    out -= weights[:, 1:2] * (minutes.astype(np.float64) / 60.0)
    out -= weights[:, 2:] * cost_usd.astype(np.float64)
    return out


def tie_order(space: ActionSpace) -> NDArray[np.int64]:
    """Joint classes from the one a tie prefers to the one it prefers least: fewer candidates, minutes, then order."""
    keys = [(bin_key(a.candidates), bin_key(a.minutes), i) for i, a in enumerate(space.actions)]
    return np.array([key[2] for key in sorted(keys)], np.int64)


def best_actions(
    passed: NDArray[np.floating],
    score: NDArray[np.floating],
    valid: NDArray[np.bool_],
    order: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The winning joint class of each row, int64 [examples]; -1 where no valid outcome is known.

    ``score`` is higher-is-better [examples, actions]. An action that passed all gates beats one that did not; where
    ``passed`` holds probabilities strictly between 0 and 1 the row has expected outcomes, and the score alone decides.
    """
    known = valid & ~np.isnan(passed) & ~np.isnan(score)
    certain = (~known | (passed == 0.0) | (passed == 1.0)).all(axis=1, keepdims=True)
    eligible = known & (~certain | (passed == 1.0))
    none_passed = ~eligible.any(axis=1)
    eligible[none_passed] = known[none_passed]
    ranked = np.where(eligible, score, -np.inf)[:, order]
    best = order[np.argmax(ranked, axis=1)]
    return np.where(known.any(axis=1), best, -1)
