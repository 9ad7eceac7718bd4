"""Replay of budgets: what a run would have come to under another budget of minutes (SPEC section 13).

Candidates of a run work side by side. Candidate j *ends itself* at T_j, by passing or by giving up, or is *cut* by the
budget (T_j infinite). All times exclude the vote. The run's own time is

- for pass and minutes: the first pass (also where the vote did not pick it); without one the last give-up if all gave
  up; else infinite;
- for USD and utility: the last T_j, since losers go on. A loser that stops at the first pass has T_j there: where
  losers are cancelled this is the first pass.

Under a budget b the run is as it was if its time is at most b, and is cut at b otherwise. What a cut run has spent is
known only where USD goes with minutes: that is read from the log (:data:`USD_BY_MINUTES`). Where it does not (cost
follows tokens, say), USD is not replayed. Whether a run *tells* the outcome under b at all, and with which weight, is
said in :mod:`planner_core.value.weights`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_core.examples import Executed
from planner_core.value.actions import NA_MINUTES

TOLERANCE = 0.02
"""Minutes (about a second) within which a time counts as reaching a budget: logs round, and killing takes a moment."""

USD_BY_MINUTES = 0.98
"""Share of the variance of the candidates' USD that a line on their minutes must explain for USD to go with them."""

_TIMEOUT = 2
_SERIAL = 0
_FEWEST = 20  # runs from which a habit of the log is read
_HOLDS = 0.9  # share of those runs that must show it


@dataclass(frozen=True)
class Replay:
    """What is needed to replay n runs; minutes and USD, float64 [n] unless said otherwise.

    ``time_pass`` and ``time_cost`` are the run's own times, infinite where cut. ``replayable`` bool [n]. ``limit`` the
    budget, infinite without one. ``passed`` 0/1, ``minutes`` and ``usd`` as the run was, ``overhead`` minutes after
    the work ended (the vote). ``end`` [n, 3], ``busy`` [n, 3] and ``spent`` [n, 3] of each candidate: T_j, busy
    minutes and USD, NaN where there is none. ``detailed`` bool [n]: candidates are known one by one.
    ``usd_per_candidate`` is the part of a candidate's USD that does not grow with its minutes, ``usd_by_minutes``
    whether the rest does. ``usd_assumed`` counts the runs that do not say what they cost where others do.
    """

    candidates: NDArray[np.int64]
    time_pass: NDArray[np.float64]
    time_cost: NDArray[np.float64]
    first_pass: NDArray[np.float64]
    replayable: NDArray[np.bool_]
    limit: NDArray[np.float64]
    passed: NDArray[np.float64]
    minutes: NDArray[np.float64]
    usd: NDArray[np.float64]
    overhead: NDArray[np.float64]
    end: NDArray[np.float64]
    busy: NDArray[np.float64]
    spent: NDArray[np.float64]
    detailed: NDArray[np.bool_]
    usd_per_candidate: float
    usd_by_minutes: bool
    usd_known: bool
    notes: tuple[str, ...]
    usd_assumed: int = 0

    def under(self, budget: NDArray[np.float64], usd_ratio: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(passed, minutes, USD) float64 [3, n] under ``budget`` [n] minutes, where the run tells them.

        A candidate cut before its time has spent its fixed part, and of the rest as much as of its minutes.
        ``usd_ratio`` [n]: modelled USD under the budget over modelled USD as run, for the candidates that are not
        known one by one; without it their USD goes with the minutes of the run.
        """
        whole = budget >= np.minimum(self.limit, NA_MINUTES)  # the budget of the run itself, or a longer one
        as_run = whole | (self.time_pass <= budget)
        cut = budget[:, None]
        untouched = whole[:, None] | (self.end <= cut) | (self.busy <= cut) | np.isnan(self.busy)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(untouched, 1.0, cut / self.busy)
        fixed = self.usd_per_candidate
        saved = np.nansum(np.where(untouched, 0.0, (self.spent - fixed) * (1.0 - part)), axis=1)
        usd = np.where(self.detailed, self.usd - saved, self._usd_undetailed(budget, whole, usd_ratio))
        return np.stack(
            [
                np.where(as_run, self.passed, 0.0),
                np.where(as_run, self.minutes, budget + self.overhead),
                usd,
            ]
        )

    def _usd_undetailed(
        self, budget: NDArray[np.float64], whole: NDArray[np.bool_], usd_ratio: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """USD of runs known only as a whole: one candidate ended the run, the others are scaled."""
        worked = np.maximum(self.minutes - self.overhead, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(worked > budget, budget / worked, 1.0)
        part = np.where(whole, 1.0, part)
        others = part if usd_ratio is None else usd_ratio
        # Under the budget of the run itself nothing is scaled.
        others = np.where(budget == np.minimum(self.limit, NA_MINUTES), 1.0, others)
        scaled: NDArray[np.float64] = self.usd / self.candidates * (part + (self.candidates - 1) * others)
        return scaled


def replay(executed: Executed, budget: NDArray[np.int64]) -> Replay:
    """Read the ends of every candidate from a log; ``budget`` int64 [n] as of ``run_budget``."""
    rows = len(executed)
    k = np.maximum(np.rint(executed.candidates).astype(np.int64), 1)
    slot = np.arange(3) < k[:, None]
    duration = executed.duration_minutes.astype(np.float64)
    limit = np.where(executed.minutes_limited, executed.minutes.astype(np.float64), np.inf)
    known = (executed.candidate_passed >= 0) & np.isfinite(executed.candidate_minutes)
    detailed = (k <= 3) & (known | ~slot).all(axis=1)
    good = (executed.candidate_passed == 1) & slot
    # A run that passed although none of its candidates did contradicts itself: it counts as known only as a whole.
    contradictory = detailed & (executed.passed > 0) & ~good.any(axis=1)
    detailed &= ~contradictory
    vote = _vote_minutes(executed, detailed, good, duration, limit)
    usual_vote = np.where(executed.swarm == _SERIAL, 0.0, vote)

    # A single candidate is the run: what is not said of it follows from the run.
    alone = ~detailed & (k == 1)
    busy = np.where(slot & detailed[:, None], executed.candidate_minutes.astype(np.float64), np.nan)
    busy[alone, 0] = np.maximum(duration - usual_vote, 0.0)[alone]
    good &= detailed[:, None]
    good[alone, 0] = executed.passed[alone] > 0
    one_by_one = detailed | alone
    slot &= one_by_one[:, None]

    timeout = (executed.status == _TIMEOUT)[:, None]
    longest = np.max(np.where(slot, busy, -np.inf), axis=1)
    cut = slot & ~good & ((busy >= limit[:, None] - TOLERANCE) | (timeout & (busy >= longest[:, None] - TOLERANCE)))
    # A pass that was still counted just after the budget is a pass of that budget.
    end = np.where(good, np.minimum(busy, budget[:, None]), busy)
    end = np.where(good & np.isinf(limit)[:, None], busy, end)
    end = np.where(cut, np.inf, end)
    first = np.min(np.where(good, end, np.inf), axis=1)
    last = np.max(np.where(slot, end, -np.inf), axis=1)

    ended_alone = np.maximum(duration - usual_vote, 0.0)
    is_cut = (executed.passed == 0) & (timeout[:, 0] | (ended_alone >= limit - TOLERANCE))
    whole_end = np.where(is_cut, np.inf, np.minimum(ended_alone, limit))
    first_pass = np.where(one_by_one, first, np.where(executed.passed > 0, whole_end, np.inf))
    time_pass = np.where(one_by_one, np.where(np.isfinite(first), first, last), whole_end)
    time_cost = np.where(one_by_one, last, whole_end)

    at_first = _ends_at_first_pass(good, busy, slot, duration)
    ended = np.where(np.isfinite(first) & at_first, first, longest)
    overhead = np.where(one_by_one, np.maximum(duration - ended, 0.0), np.minimum(usual_vote, duration))
    usd, spent, usd_known, usd_assumed = _money(executed, slot, busy, k, duration)
    notes = [] if usd_known else ["no run says what it cost: USD counts as 0"]
    if usd_known and usd_assumed.any():
        rate = usd[usd_assumed].sum() / max(_work(slot, busy, k, duration)[usd_assumed].sum(), 1e-9)
        notes.append(f"{int(usd_assumed.sum())} runs do not say what they cost: {rate:.3g} USD a busy minute assumed")
    if contradictory.any():
        notes.append(f"{int(contradictory.sum())} runs passed although no candidate did: read only as a whole")
    fixed, by_minutes = _fixed_usd(spent, busy) if usd_known else (0.0, True)
    if not by_minutes:
        notes.append("USD does not go with minutes: it is not replayed, and has plain weights")
    elif (whole := int((~one_by_one).sum())) > 0:
        notes.append(f"{whole} runs say nothing of their single candidates: USD of the others is scaled, not replayed")
    if not at_first:
        notes.append("votes do not take place at the first pass: budgets of more than one candidate are not replayed")
    return Replay(
        candidates=k,
        time_pass=time_pass,
        time_cost=time_cost,
        first_pass=first_pass,
        replayable=np.full(rows, True) if at_first else k == 1,
        limit=limit,
        passed=executed.passed.astype(np.float64),
        minutes=duration,
        usd=usd,
        overhead=overhead,
        end=end,
        busy=busy,
        spent=spent,
        detailed=one_by_one,
        usd_per_candidate=fixed,
        usd_by_minutes=by_minutes,
        usd_known=usd_known,
        notes=tuple(notes),
        usd_assumed=int(usd_assumed.sum()) if usd_known else 0,
    )


def _vote_minutes(
    executed: Executed,
    detailed: NDArray[np.bool_],
    good: NDArray[np.bool_],
    duration: NDArray[np.float64],
    limit: NDArray[np.float64],
) -> float:
    """Usual length of a vote, for runs that do not tell it: after the first pass, else after the budget; else 0."""
    voted = executed.swarm != _SERIAL
    after = duration - np.min(np.where(good, executed.candidate_minutes, np.inf), axis=1)
    told = voted & detailed & np.isfinite(after)
    if told.any():
        return max(float(np.median(after[told])), 0.0)
    over = voted & (executed.passed == 0) & np.isfinite(limit) & (duration >= limit)
    return float(np.median((duration - limit)[over])) if over.any() else 0.0


def _ends_at_first_pass(
    good: NDArray[np.bool_], busy: NDArray[np.float64], slot: NDArray[np.bool_], duration: NDArray[np.float64]
) -> bool:
    """Whether the vote of this log takes place at the first pass: what follows it does not wait for the others.

    Judged on runs whose other candidates went on for more than a minute; too few of them leave the assumption alone.
    """
    first = np.min(np.where(good, busy, np.inf), axis=1)
    longest = np.max(np.where(slot, busy, -np.inf), axis=1)
    telling = np.isfinite(first) & (longest > first + 1.0)
    if telling.sum() < _FEWEST:
        return True
    after = (duration - first)[telling]
    usual = float(np.median(after))
    steady = np.abs(after - usual) <= max(1.0, 0.5 * usual)
    waited = np.mean(duration[telling] >= longest[telling] - TOLERANCE)
    return bool(np.mean(steady) >= _HOLDS and waited < _HOLDS)


def _money(
    executed: Executed,
    slot: NDArray[np.bool_],
    busy: NDArray[np.float64],
    k: NDArray[np.int64],
    duration: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool, NDArray[np.bool_]]:
    """(USD [n], USD of each candidate [n, 3], whether any is known, of which runs not [n]).

    Unknown USD goes by busy minutes.
    """
    usd = executed.cost_usd.astype(np.float64)
    spent = np.where(slot, executed.candidate_cost_usd.astype(np.float64), np.nan)
    work = _work(slot, busy, k, duration)
    complete: NDArray[np.bool_] = np.asarray(slot.any(axis=1) & (np.isfinite(spent) | ~slot).all(axis=1))
    usd = np.where(np.isnan(usd) & complete, np.nansum(np.where(slot, spent, 0.0), axis=1), usd)
    known: NDArray[np.bool_] = np.asarray(np.isfinite(usd))
    if not known.any():
        return np.zeros(len(usd)), np.where(slot, 0.0, np.nan), False, ~known
    usd = np.where(known, usd, work * (usd[known].sum() / max(work[known].sum(), 1e-9)))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(work[:, None] > 0, busy / work[:, None], 1.0 / k[:, None])
        spent = np.where(slot & ~complete[:, None], usd[:, None] * share, spent)
        # What the candidates do not account for was spent on the vote; they cannot have spent more than the run did.
        total = np.nansum(np.where(slot, spent, 0.0), axis=1)
        over = np.asarray(np.where(total > usd, usd / total, 1.0))
        spent = spent * over[:, None]
    return usd, spent, True, ~known


def _work(
    slot: NDArray[np.bool_], busy: NDArray[np.float64], k: NDArray[np.int64], duration: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Busy minutes of all candidates of a run, float64 [n]; the run's own for each where they are not told."""
    told = np.nansum(np.where(slot, busy, 0.0), axis=1)
    return np.asarray(np.where(slot.any(axis=1), told, duration * k))


def _fixed_usd(spent: NDArray[np.float64], busy: NDArray[np.float64]) -> tuple[float, bool]:
    """(USD of a candidate that do not grow with its minutes, whether the rest goes with them) from all candidates.

    The fixed part is the intercept of USD on minutes, by least squares of USD a minute on 1 / minutes as the spread of
    cost grows with its size; at least 0 and never more than the cheapest candidate cost. Too few candidates tell
    nothing: then USD is not taken to go with minutes.
    """
    told = np.isfinite(spent) & np.isfinite(busy) & (busy > 0)
    if told.sum() < _FEWEST:
        return 0.0, False
    usd, minutes = spent[told], busy[told]
    inverse = 1.0 / minutes
    rate = usd * inverse
    spread = inverse - inverse.mean()
    variance = float((spread * spread).sum())
    fixed = float(np.clip((spread * rate).sum() / variance, 0.0, usd.min())) if variance > 1e-18 else 0.0
    slope = (minutes * (usd - fixed)).sum() / (minutes * minutes).sum()
    left, whole = usd - fixed - slope * minutes, usd - usd.mean()
    return fixed, bool((left * left).sum() <= (1.0 - USD_BY_MINUTES) * (whole * whole).sum() + 1e-12)
