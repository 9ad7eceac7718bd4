"""How often each value of an input occurs: what a bundle keeps of its training, to see later whether inputs shifted.

One row an issue counts, its first: later attempts at it say the same of its size and its tags again. So the number of
attempts is not among the groups.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES
from planner_core.examples import Examples
from planner_core.features import SparseFeatures
from planner_core.layout import (
    BUDGETS,
    COST_EDGES_USD,
    DURATION_EDGES_MS,
    HOURS,
    PRIORITIES,
    QUEUE,
    RISKS,
    SIZES,
    STATUSES,
    WORKCELLS,
    EncoderConfig,
)

NONE, OTHERS = "none", "others"
"""Issues without any value of a group; all tags but the frequent ones."""
FREQUENT_TAGS = 30

_ROWS_AT_ONCE = 8192
_UNKNOWN = "unknown"
_MINUTES = [edge // 60_000 for edge in DURATION_EDGES_MS]
# The values of a group in the order of its features; the encoder's last value of the system state is "not said".
_NAMES: dict[str, tuple[str, ...]] = {
    "priority": PRIORITIES,
    "risk": RISKS,
    "size": SIZES,
    "workcells": (*(name for name, _ in WORKCELLS), _UNKNOWN),
    "queue": (*(name for name, _ in QUEUE), _UNKNOWN),
    "hour": (*HOURS, _UNKNOWN),
    "budget": (*BUDGETS, _UNKNOWN),
}
_SLOT_NAMES: dict[str, tuple[str, ...]] = {
    "status": STATUSES,
    "duration": (*(f"below {edge} min" for edge in _MINUTES), "longer"),
    "cost": (*(f"below {edge:g} USD" for edge in COST_EDGES_USD), "dearer", _UNKNOWN),
}
"""Of the most recent similar run, where the encoder has a slot for it."""

Counts = dict[str, Annotated[int, Meta(ge=0)]]


class InputCounts(Struct):
    """How many of ``issues`` issues have each value of each group of inputs, ``{group: {value: issues}}``.

    A value that no issue has is left out. An issue counts once in a group, but in ``tags`` once for each of its tags:
    the :data:`FREQUENT_TAGS` most frequent buckets by their number (tags are hashed), the rest as ``others``.
    """

    issues: Annotated[int, Meta(ge=0)]
    groups: dict[str, Counts]


def input_counts(
    features: SparseFeatures, job_type: NDArray[np.integer], encoder: EncoderConfig, tags: Counts | None = None
) -> InputCounts:
    """Count rows, each an issue; of their tags those that are named in ``tags``, else the most frequent."""
    n, on = len(features), np.zeros(features.d_in, np.int64)
    tagged, places = 0, encoder.group("tags")
    for begin in range(0, n, _ROWS_AT_ONCE):
        part = features.take(np.arange(begin, min(n, begin + _ROWS_AT_ONCE)))
        on += np.bincount(part.indices, minlength=features.d_in)
        rows = np.repeat(np.arange(len(part)), np.diff(part.starts))
        tagged += len(np.unique(rows[(part.indices >= places.start) & (part.indices < places.stop)]))
    groups = {name: _named(on, encoder.group(name), names, n) for name, names in _NAMES.items()}
    if encoder.history_slots:
        slot = {name: encoder.group(name, 0) for name in _SLOT_NAMES}
        groups |= {f"latest run: {name}": _named(on, slot[name], _SLOT_NAMES[name], n) for name in slot}
    groups["job type"] = _kept(zip(JOB_TYPES, np.bincount(job_type, minlength=len(JOB_TYPES)).tolist(), strict=True))
    counts = on[places.start : places.stop]
    named = _frequent(counts) if tags is None else [name for name in tags if name.isdigit() and int(name) < len(places)]
    found = {name: int(counts[int(name)]) for name in named}
    groups["tags"] = _kept([*found.items(), (OTHERS, int(counts.sum()) - sum(found.values())), (NONE, n - tagged)])
    return InputCounts(n, groups)


def training_counts(examples: Examples, encoder: EncoderConfig) -> InputCounts:
    """Of the issues that a training learnt from; of all rows where the dataset does not say which issue they are of."""
    rows = np.arange(len(examples))
    if examples.executed is not None:
        issue = examples.executed.issue
        rows = np.sort(np.unique(np.where(issue < 0, -1 - rows, issue), return_index=True)[1])
    features = examples.features if len(rows) == len(examples) else examples.features.take(rows)
    return input_counts(features, examples.job_type[rows], encoder)


def _named(on: NDArray[np.int64], places: range, names: tuple[str, ...], issues: int) -> Counts:
    counts = on[places.start : places.stop].tolist()
    return _kept([*zip(names, counts, strict=True), (NONE, max(0, issues - sum(counts)))])


def _kept(counts: Iterable[tuple[str, int]]) -> Counts:
    return {name: count for name, count in counts if count}


def _frequent(counts: NDArray[np.int64]) -> list[str]:
    order = np.argsort(-counts, kind="stable")[:FREQUENT_TAGS]
    return [str(bucket) for bucket in order.tolist() if counts[bucket]]
