"""What a log says of parts of its rows: the same differences, on rows that are chosen by what the issue is.

A group must not be chosen by what was run or decided: that would flatter or wrong whoever was lucky on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.value.comparison import Comparison
from planner_core.value.estimators import mean_of
from planner_core.value.intervals import Clusters, Mean
from planner_core.value.result import Figures, Range
from planner_core.value.sensitivity import known_mean
from planner_core.value.verdict import refusals


class GroupValue(msgspec.Struct, frozen=True):
    """The differences on the ``rows`` runs of a group: of ``issues`` issues, ``changed`` share of which are decided
    otherwise. ``reasons`` why there is no figure; empty where there is one."""

    rows: int
    issues: int
    changed: float
    difference: Figures
    reasons: list[str] = []


def group_values(judged: Comparison, groups: Sequence[NDArray[np.bool_]]) -> list[GroupValue]:
    """A policy against its reference on each of ``groups``, bool [given] rows of the log as it was given.

    A group has figures where alone it would get an answer or an interval that holds 0.
    """
    log = judged.log
    gaps = judged.target_rows() - judged.reference_rows()
    changed = judged.changed()
    out = []
    for given in groups:
        rows = given[log.rows]
        differing = judged.differing & rows
        clusters = Clusters(log.clusters.of_row[rows])
        share = float(changed[rows].mean()) if rows.any() else 0.0
        reasons = ["it decides as the reference does"]
        if differing.any():
            grounds = judged.grounds(differing, judged.unsupported & rows)
            reasons = refusals(replace(grounds, rows=int(rows.sum()), issues=clusters.count))
        figures = Figures()
        if not reasons:
            df = judged.degrees(differing)
            means = [mean_of(row[rows]) for row in gaps]
            figures = Figures(*(Range.of(Mean(m.value, clusters.error(m.influence), df)) for m in means))
        out.append(GroupValue(int(rows.sum()), clusters.count, share, figures, reasons))
    return out


def known_group_values(
    gaps: NDArray[np.float64],
    changed: NDArray[np.bool_],
    issue: NDArray[np.integer] | None,
    groups: Sequence[NDArray[np.bool_]],
) -> list[GroupValue]:
    """The same where outcomes are known: ``gaps`` float64 [4, n] in the order of ``METRICS``, NaN where unknown.

    ``changed`` bool [n] says where both decide otherwise; ``issue`` int [n] as of :func:`known_mean`.
    """
    known = np.asarray(~np.isnan(gaps).any(axis=0))
    names = np.arange(len(known)) if issue is None else np.asarray(issue)
    out = []
    for given in groups:
        rows = given & known
        means = [known_mean(row[rows], names[rows]) for row in gaps]
        reasons = [] if rows.any() else ["no outcome is known"]
        if not reasons and not all(math.isfinite(mean.reach) for mean in means):
            reasons = ["one issue gives no interval"]
        figures = Figures() if reasons else Figures(*map(Range.of, means))
        share = float(changed[rows].mean()) if rows.any() else 0.0
        out.append(GroupValue(int(rows.sum()), len(np.unique(names[rows])), share, figures, reasons))
    return out
