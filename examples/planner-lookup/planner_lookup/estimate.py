"""Estimates for every cell, from the coarsest grouping to the finest, each leaning on the one before.

The mean of n examples in a group whose coarser estimate is m becomes (sum + k m) / (n + k): with many examples it is
their mean, with none it is the coarser estimate (the empirical-Bayes shape of James and Stein's shrinkage).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner_core import ActionSpace, Examples
from planner_lookup.cells import KEYS, cells_of, groups

LEVELS = (
    (),
    ("job_type",),
    ("job_type", "priority"),
    ("job_type", "priority", "size"),
    ("job_type", "priority", "size", "risk"),
)
"""Priority comes first: what an outcome is worth depends on it more than anything else does."""

UTILITY_UNIT = 0.1
"""Utility that one unit of score stands for; calibration then finds the exact scale."""

UNTRIED = 1e3
"""Score taken off an action that no training example tells anything about."""


def utility_scores(examples: Examples, utility: NDArray[np.float32], shrinkage: float) -> NDArray[np.float32]:
    """Mean utility of every action in every cell, in units of :data:`UTILITY_UNIT`; float32 [cells, n_joint].

    ``utility`` float32 [n, n_joint], NaN where unknown; something must be known.
    """
    totals = np.zeros((len(KEYS), utility.shape[1]))
    counts = np.zeros((len(KEYS), utility.shape[1]))
    for cell, rows in _rows_by_cell(examples):
        known = ~np.isnan(utility[rows])
        totals[cell] = np.where(known, utility[rows], 0.0).sum(axis=0, dtype=np.float64)
        counts[cell] = known.sum(axis=0)
    tried = counts.sum(axis=0) > 0
    start = np.broadcast_to(totals.sum() / counts.sum(), totals.shape)
    means = _shrunk(totals, counts, start, LEVELS, shrinkage)
    return (means / UTILITY_UNIT - UNTRIED * ~tried).astype(np.float32)


def label_scores(examples: Examples, space: ActionSpace, shrinkage: float) -> NDArray[np.float32]:
    """Log of the smoothed frequency of every action as a label, float32 [cells, n_joint]."""
    totals = np.zeros((len(KEYS), len(space.actions)))
    np.add.at(totals, (cells_of(examples.batch()), examples.action), 1.0)
    counts = totals.sum(axis=1, keepdims=True)
    start = np.full(totals.shape, 1.0 / len(space.actions))
    return np.log(_shrunk(totals, counts, start, LEVELS, shrinkage)).astype(np.float32)


def _shrunk(
    totals: NDArray[np.float64],
    counts: NDArray[np.float64],
    start: NDArray[np.float64],
    levels: tuple[tuple[str, ...], ...],
    shrinkage: float,
) -> NDArray[np.float64]:
    """Means of ``totals`` over ``counts`` (both by cell, along axis 0), level by level."""
    estimate = start
    for fields in levels:
        group = groups(fields)
        total = np.zeros((group.max() + 1, *totals.shape[1:]))
        count = np.zeros((group.max() + 1, *counts.shape[1:]))
        np.add.at(total, group, totals)
        np.add.at(count, group, counts)
        estimate = (total[group] + shrinkage * estimate) / (count[group] + shrinkage)
    return estimate


def _rows_by_cell(examples: Examples) -> list[tuple[int, NDArray[np.int64]]]:
    """The cells that occur, each with the rows in it: so that no more than one cell's utilities is copied at a time."""
    cells = cells_of(examples.batch())
    order = np.argsort(cells, kind="stable")
    found, first = np.unique(cells[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, first[1:]), strict=True))
