"""With which probability the log chose what it did, and what else it might have done.

Most figures need only the *family* of the action that was run (same swarm, candidates and iterations), whose other
members differ in their budget of minutes; support needs the whole distribution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from planner_core.errors import DataError
from planner_core.examples import Executed
from planner_core.value.actions import BUDGETS, NA_MINUTES, classes, family_code

Source = Literal["logged", "logged, of the executed action only", "estimated", "partly estimated", "unknown"]

FEWEST_RUNS_IN_A_STRATUM = 20
"""Strata with fewer runs are estimated together: a frequency among a handful says little."""


@dataclass(frozen=True)
class LoggingPolicy:
    """The logging policy on n rows.

    ``own`` float64 [n]: probability of the action that was run, NaN unknown; ``whole`` bool [n]: the distribution is
    known; ``family`` int64 [n] of the action that was run, ``budget`` int64 [n] its minutes (240 without a limit).

    The members of the run's own family: ``row`` int64, ``minutes`` int64, ``p`` float64, all [members].
    ``exact`` float64 [n, 150]: probability of each class (with its twins); ``longest`` int64 [n, 150]: the longest
    budget with positive probability in the family of each class, -1 where there is none.
    """

    source: Source
    own: NDArray[np.float64]
    whole: NDArray[np.bool_]
    family: NDArray[np.int64]
    budget: NDArray[np.int64]
    row: NDArray[np.int64]
    minutes: NDArray[np.int64]
    p: NDArray[np.float64]
    exact: NDArray[np.float64]
    longest: NDArray[np.int64]

    def at_least(self, minutes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability of the run's own family with a budget >= ``minutes`` [n]; float64 [n]."""
        counts = self.minutes >= minutes[self.row]
        return np.bincount(self.row, self.p * counts, minlength=len(self.own)).astype(np.float64)


def run_budget(executed: Executed) -> NDArray[np.int64]:
    """Budget of minutes of each run as the log's keys name it: whole minutes, 240 without a limit."""
    minutes = np.where(executed.minutes_limited, executed.minutes, NA_MINUTES)
    return np.rint(minutes).astype(np.int64)


def run_family(executed: Executed) -> NDArray[np.int64]:
    """Family of each run, int64 [n]; -1 where the swarm is unknown."""
    k, i = (np.rint(values).astype(np.int64) for values in (executed.candidates, executed.iterations))
    return family_code(executed.swarm, k, i)


def estimate_propensities(executed: Executed, strata: NDArray[np.integer]) -> Executed:
    """The log with the distribution of rows that say nothing about it estimated by action frequency within strata.

    ``strata`` int [n] says which rows are alike for whoever chose the action. Strata with fewer than
    ``FEWEST_RUNS_IN_A_STRATUM`` such runs are taken together. Rows with a probability of their own are left alone.
    """
    sizes = np.diff(executed.propensity_starts)
    unknown = (sizes == 0) & np.isnan(executed.propensity) & (executed.swarm >= 0)
    if not unknown.any():
        return executed
    rows = np.flatnonzero(unknown)
    _, stratum, counts = np.unique(np.asarray(strata)[rows], return_inverse=True, return_counts=True)
    stratum = np.where(counts[stratum] < FEWEST_RUNS_IN_A_STRATUM, len(counts), stratum)
    k, i = (np.rint(values).astype(np.int64) for values in (executed.candidates, executed.iterations))
    actions = np.column_stack([executed.swarm, k, run_budget(executed), i])[rows]
    cells, cell, runs = np.unique(np.column_stack([stratum, actions]), axis=0, return_inverse=True, return_counts=True)
    del cell
    # The cells are sorted by stratum: those of one stratum are one slice.
    begin = np.searchsorted(cells[:, 0], np.arange(len(counts) + 2))
    total = np.bincount(cells[:, 0], runs, minlength=len(counts) + 1)
    share = runs / total[cells[:, 0]]
    new_sizes = sizes.copy()
    new_sizes[rows] = np.diff(begin)[stratum]
    starts = np.concatenate([[0], np.cumsum(new_sizes)])
    of_row = np.repeat(np.arange(len(executed)), new_sizes)
    within = np.arange(starts[-1]) - starts[of_row]
    values = np.empty(starts[-1], np.float32)
    keys = np.empty((starts[-1], 4), np.int64)
    guessed = unknown[of_row]
    old = executed.propensity_starts[of_row[~guessed]] + within[~guessed]
    values[~guessed], keys[~guessed] = executed.propensity_values[old], executed.propensity_actions[old]
    stratum_of = np.zeros(len(executed), np.int64)
    stratum_of[rows] = stratum
    at = begin[stratum_of[of_row[guessed]]] + within[guessed]
    values[guessed], keys[guessed] = share[at], cells[at, 1:]
    return replace(executed, propensity_starts=starts, propensity_actions=keys, propensity_values=values)


def logging_policy(executed: Executed, job_type: NDArray[np.integer], *, estimated: int = 0) -> LoggingPolicy:
    """Read the probabilities of a log; ``estimated`` is the number of its rows whose distribution was estimated.

    A distribution that gives the executed action no probability, or sums to more than 1, is a :class:`DataError`.
    """
    rows = len(executed)
    sizes = np.diff(executed.propensity_starts)
    whole = sizes > 0
    of_row = np.repeat(np.arange(rows), sizes)
    values = executed.propensity_values.astype(np.float64)
    keys = executed.propensity_actions
    code = family_code(keys[:, 0], keys[:, 1], keys[:, 3])
    family, budget = run_family(executed), run_budget(executed)
    mine = np.flatnonzero(code == family[of_row])
    row, minutes, p = of_row[mine], keys[mine, 2], values[mine]
    own = np.bincount(row, p * (minutes == budget[row]), minlength=rows).astype(np.float64)
    total = np.bincount(of_row, values, minlength=rows).astype(np.float64)
    _check(executed, whole, own, total)
    own = np.where(whole, own, np.where(executed.propensity > 0, executed.propensity, np.nan))
    exact, longest = _over_classes(rows, np.asarray(job_type, np.int64), of_row, code, keys[:, 2], values)
    return LoggingPolicy(
        _source(executed, whole, own, estimated), own, whole, family, budget, row, minutes, p, exact, longest
    )


def _check(executed: Executed, whole: NDArray[np.bool_], own: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    for wrong, found, expected in (
        (whole & (executed.swarm >= 0) & (own <= 0), own, "a positive probability of the action that was run"),
        (total > 1.001, total, "probabilities that sum to at most 1"),
    ):
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            raise DataError(
                "propensities", path=f"$.executed[{at}].propensities", found=f"{found[at]:.4g}", expected=expected
            )


def _source(executed: Executed, whole: NDArray[np.bool_], own: NDArray[np.float64], estimated: int) -> Source:
    if not len(executed) or np.isnan(own[executed.swarm >= 0]).any():
        return "unknown"
    if estimated:
        return "estimated" if estimated >= int(whole.sum()) else "partly estimated"
    return "logged" if whole.all() else "logged, of the executed action only"


def _over_classes(
    rows: int,
    job_type: NDArray[np.int64],
    of_row: NDArray[np.int64],
    code: NDArray[np.int64],
    minutes: NDArray[np.int64],
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(exact, longest) of :class:`LoggingPolicy`, through tables [n, families] and [n, families, budgets]."""
    table = classes()
    families, position = np.unique(table.family, return_inverse=True)
    position = position.reshape(table.family.shape)
    at = np.minimum(np.searchsorted(families, code), len(families) - 1)
    known = np.flatnonzero((families[at] == code) & (values > 0))
    cell = of_row[known] * len(families) + at[known]
    longest = np.full(rows * len(families), -1, np.int64)
    np.maximum.at(longest, cell, minutes[known])
    bin_of = np.searchsorted(BUDGETS, minutes[known])
    on_bin = np.array(BUDGETS)[np.minimum(bin_of, len(BUDGETS) - 1)] == minutes[known]
    exact = np.bincount(
        cell[on_bin] * len(BUDGETS) + bin_of[on_bin], values[known][on_bin], rows * len(families) * len(BUDGETS)
    )
    bins = np.searchsorted(BUDGETS, table.resolved[..., 2])
    columns = position[job_type]
    row = np.arange(rows)[:, None]
    return (
        exact.astype(np.float64).reshape(rows, len(families), len(BUDGETS))[row, columns, bins[job_type]],
        longest.reshape(rows, len(families))[row, columns],
    )
