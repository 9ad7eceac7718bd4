"""The cells of the table: every combination of job type, size, risk and priority, and which one an input is in."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from planner_core import JOB_TYPES, PRIORITIES, RISKS, SIZES, Batch

FIELDS = {"job_type": JOB_TYPES, "size": SIZES, "risk": RISKS, "priority": PRIORITIES}
"""What makes up a cell, slowest first; a cell's number is the position in their Cartesian product."""

KEYS = np.array(list(product(*(range(len(values)) for values in FIELDS.values()))), np.int64)
"""Position of each field's value, int64 [cells, fields]."""

CELLS_PER_JOB = len(KEYS) // len(JOB_TYPES)

# The issue block opens with three one-hot groups: priority, risk, size. A dot product of their bits with these weights
# is the cell's number within its job type.
_PER_RISK = len(PRIORITIES)
_PER_SIZE = len(RISKS) * _PER_RISK
BIT_WEIGHTS = np.concatenate(
    [np.arange(len(PRIORITIES)), np.arange(len(RISKS)) * _PER_RISK, np.arange(len(SIZES)) * _PER_SIZE]
).astype(np.int64)


def cells_of(batch: Batch) -> NDArray[np.int64]:
    """Cell of each input, int64 [n]."""
    features = batch.features
    rows = np.repeat(np.arange(len(features)), np.diff(features.starts))
    leading = features.indices < len(BIT_WEIGHTS)
    weights = BIT_WEIGHTS[features.indices[leading]]
    within = np.bincount(rows[leading], weights, minlength=len(features)).astype(np.int64)
    return batch.job_type * CELLS_PER_JOB + within


def groups(fields: tuple[str, ...]) -> NDArray[np.int64]:
    """For every cell, the number of its group when only ``fields`` are told apart; int64 [cells]."""
    group = np.zeros(len(KEYS), np.int64)
    for column, (name, values) in enumerate(FIELDS.items()):
        if name in fields:
            group = group * len(values) + KEYS[:, column]
    return group
