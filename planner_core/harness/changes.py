"""Which issues a policy would run otherwise than its reference, and what that does to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import SWARM_IDS, ActionSpace
from planner_core.encoder import PRIORITIES, RISKS, SIZES
from planner_core.examples import Examples
from planner_core.utility import weighted
from planner_core.value import (
    Comparison,
    GroupValue,
    Predictions,
    group_values,
    known_group_values,
)

MOST_TAGS, FEWEST_RUNS = 8, 20
"""Tags that are shown: the most frequent ones, of at least so many runs."""
MOST_MOVES, LARGEST = 10, 10

Basis = Literal["known", "predicted", "none"]
Action = list[Any]
"""Swarm, candidates, minutes, iterations; null is no limit."""


class Move(msgspec.Struct, frozen=True):
    """Runs that go from one action to another: how many, and which share of the judged ones."""

    was: Action
    becomes: Action
    rows: int
    share: float


class Group(msgspec.Struct, frozen=True):
    """Issues of one size, risk, priority or tag, and what the policy does to them."""

    by: str
    name: str
    value: GroupValue


class ChangedIssue(msgspec.Struct, frozen=True):
    """An issue: its judged ``runs``, how the one that changes most was run and would be, and the change in passes,
    minutes, USD and utility over all of them."""

    issue_id: str
    size: str
    risk: str
    tags: list[str]
    runs: int
    was: Action
    becomes: Action
    passes: float
    minutes: float
    cost_usd: float
    utility: float


class Changes(msgspec.Struct, frozen=True):
    """What changes on ``rows`` runs, ``changed`` of them, ordered from the most frequent and the largest.

    ``basis`` says what the changes of single issues are: known outcomes, or a model's predictions, which are no
    evidence; ``none`` where there is neither.
    """

    rows: int
    changed: int
    moves: list[Move]
    groups: list[Group]
    basis: Basis
    largest: list[ChangedIssue]


def logged_changes(
    judged: Comparison,
    actions: NDArray[np.int64],
    against: NDArray[np.int64] | None,
    examples: Examples,
    space: ActionSpace,
    weights: NDArray[np.float64],
    predictions: Predictions | None,
) -> Changes:
    """On a log: ``actions`` int64 [n] joint classes against those of ``against``, what was run where that is None.

    ``weights`` float64 [n, (pass, hour, USD)].
    """
    changed = np.zeros(len(examples), bool)
    changed[judged.log.rows] = judged.changed()
    counted = np.zeros(len(examples), bool)
    counted[judged.log.rows] = True
    groups = list(_groups(examples, counted))
    values = group_values(judged, [rows for _, _, rows in groups])
    assert examples.executed is not None
    was = examples.executed.action if against is None else against
    gaps = (
        None if predictions is None else _predicted_gaps(predictions, actions, was, changed, examples, space, weights)
    )
    text = _reference(against, examples, space)
    return _changes(actions, text, changed, counted, gaps, "predicted", groups, values, examples, space)


def known_changes(
    gaps: NDArray[np.float64],
    actions: NDArray[np.int64],
    against: NDArray[np.int64] | None,
    examples: Examples,
    space: ActionSpace,
) -> Changes:
    """Where outcomes are known: ``gaps`` float64 [4, n] in the order of ``METRICS``, policy minus reference, NaN where
    one of them is unknown."""
    text = _reference(against, examples, space)
    if against is None:
        assert examples.executed is not None
        against = examples.executed.action
    counted = np.asarray(~np.isnan(gaps).any(axis=0))
    canonical = space.canonical[examples.job_type]
    row = np.arange(len(actions))
    changed = counted & (canonical[row, actions] != canonical[row, against])
    groups = list(_groups(examples, counted))
    values = known_group_values(gaps, changed, examples.issue, [rows for _, _, rows in groups])
    return _changes(actions, text, changed, counted, gaps, "known", groups, values, examples, space)


def _changes(
    actions: NDArray[np.int64],
    was: Sequence[Action],
    changed: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    gaps: NDArray[np.float64] | None,
    basis: Basis,
    groups: Sequence[tuple[str, str, NDArray[np.bool_]]],
    values: Sequence[GroupValue],
    examples: Examples,
    space: ActionSpace,
) -> Changes:
    total = int(counted.sum())
    moved = Counter((tuple(was[row]), int(actions[row])) for row in np.flatnonzero(changed).tolist())
    moves = [
        Move(list(old), list(space.actions[new]), n, n / total)
        for (old, new), n in sorted(moved.items(), key=lambda item: (-item[1], str(item[0])))[:MOST_MOVES]
    ]
    return Changes(
        total,
        int(changed.sum()),
        moves,
        [Group(by, name, value) for (by, name, _), value in zip(groups, values, strict=True)],
        "none" if gaps is None else basis,
        [] if gaps is None else _largest(gaps, changed, actions, was, examples, space),
    )


def _reference(against: NDArray[np.int64] | None, examples: Examples, space: ActionSpace) -> list[Action]:
    return _executed(examples) if against is None else [list(space.actions[a]) for a in against]


def _executed(examples: Examples) -> list[Action]:
    """What was run of each row, in raw numbers; null for a limit that there was not, and for an unknown swarm."""
    run = examples.executed
    assert run is not None

    def number(value: float) -> int | None:
        return None if np.isnan(value) else int(value)

    return [
        [
            SWARM_IDS[run.swarm[i]] if run.swarm[i] >= 0 else None,
            number(run.candidates[i]),
            number(run.minutes[i]) if run.minutes_limited[i] else None,
            number(run.iterations[i]),
        ]
        for i in range(len(run))
    ]


def _predicted_gaps(
    predictions: Predictions,
    actions: NDArray[np.int64],
    was: NDArray[np.int64],
    changed: NDArray[np.bool_],
    examples: Examples,
    space: ActionSpace,
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What a model expects of the policy less what it expects of the reference, float64 [4, n]; 0 where neither."""
    canonical, row = space.canonical[examples.job_type], np.arange(len(actions))
    new, old = canonical[row, actions], canonical[row, np.maximum(was, 0)]
    arrays = (predictions.passed, predictions.minutes, predictions.cost_usd)
    gaps = np.stack([array[row, new].astype(np.float64) - array[row, old] for array in arrays])
    gaps = np.where(changed & (was >= 0), gaps, 0.0)
    passes, minutes, usd = (gap[:, None] for gap in gaps)
    return np.concatenate([gaps, weighted(passes, minutes, usd, weights).T])


def _largest(
    gaps: NDArray[np.float64],
    changed: NDArray[np.bool_],
    actions: NDArray[np.int64],
    was: Sequence[Action],
    examples: Examples,
    space: ActionSpace,
) -> list[ChangedIssue]:
    if examples.inputs is None:
        return []
    moved = np.where(changed, np.nan_to_num(gaps), 0.0)
    issue = np.arange(len(actions)) if examples.issue is None else examples.issue
    names = np.where(issue < 0, -1 - np.arange(len(issue)), issue)
    _, place = np.unique(names, return_inverse=True)
    sums = np.stack([np.bincount(place, gap) for gap in moved])
    order = np.argsort(-np.abs(sums[3]), kind="stable")[:LARGEST]
    out = []
    for which in order:
        if sums[3][which] == 0.0:
            break
        rows = np.flatnonzero(place == which)
        row = int(rows[np.argmax(np.abs(moved[3][rows]))])
        of = examples.inputs[row].issue
        change = [float(value) for value in sums[:, which]]
        becomes = list(space.actions[actions[row]])
        out.append(
            ChangedIssue(of.issue_id, of.dk_size, of.dk_risk, list(of.tags), len(rows), was[row], becomes, *change)
        )
    return out


def _groups(examples: Examples, counted: NDArray[np.bool_]) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """By size, risk, priority and frequent tag: what an issue is, not what was done with it; groups without rows are
    left out."""
    if examples.inputs is None:
        return
    issues = [given.issue for given in examples.inputs]
    for by, values, key in (
        ("size", SIZES, "dk_size"),
        ("risk", RISKS, "dk_risk"),
        ("priority", PRIORITIES, "dk_priority"),
    ):
        found = np.array([getattr(issue, key) for issue in issues])
        for name in values:
            if (rows := counted & (found == name)).any():
                yield by, name, rows
    tags = Counter(tag for issue, counts in zip(issues, counted, strict=True) if counts for tag in set(issue.tags))
    for tag, n in sorted(tags.items(), key=lambda item: (-item[1], item[0]))[:MOST_TAGS]:
        if n >= FEWEST_RUNS:
            yield "tag", tag, counted & np.array([tag in issue.tags for issue in issues])
