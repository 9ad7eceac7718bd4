"""Histories as arrays, made by known laws."""

from __future__ import annotations

import numpy as np

from planner_core import weight_table
from planner_loop.ab import LONGEST_RUN_MS, ab
from planner_loop.tables import Decisions, Runs

HOUR, DAY = 3_600_000, 86_400_000
WEIGHTS = weight_table()


def history(
    n,
    seed,
    *,
    share=0.5,
    gain=0.0,
    error=0.0,
    error_from=None,
    attempts=1,
    reason=None,
    same_fate=False,
    kind=None,
    retried=False,
):
    """n issues an hour apart; the model passes ``gain`` more often, and predicts ``error`` too much from a row on.

    ``same_fate`` lets all attempts at an issue end alike; ``kind`` draws rarer or heavier outcomes; ``retried`` makes
    an attempt only after one that failed, hours later.
    """
    rng = np.random.default_rng(seed)
    treated = rng.random(n) < share
    likely = rng.beta(1, 30, n) if kind == "rare passes" else rng.beta(4, 3, n)
    luck = rng.random((1, n)).repeat(attempts, axis=0) if same_fate else rng.random((attempts, n))
    passed = luck < np.clip(likely + gain * treated, 0, 1)
    at = np.arange(n) * HOUR
    off = error * (np.arange(n) >= (0 if error_from is None else error_from))
    expected = np.stack([np.clip(likely + gain * treated + off, 0, 1), np.full(n, 20.0), np.full(n, 1.0)], axis=1)
    decisions = Decisions(
        issue=np.arange(n),
        at_ms=at,
        arm=treated.astype(np.int8),
        share=np.full(n, float(share)),
        earlier=np.zeros(n, bool),
        priority=rng.integers(0, 4, n) if kind else np.full(n, 2),
        expected=expected.reshape(n, 3),
        reason=[reason] * n,
    )
    spread = 1.5 if kind == "heavy costs" else 0.3
    minutes, cost = rng.lognormal(3, 0.3, (attempts, n)), rng.lognormal(0, spread, (attempts, n))
    outcome = np.stack([passed, minutes, cost], axis=-1).reshape(-1, 3).astype(float)
    later = HOUR * np.arange(attempts)[:, None]
    if retried:
        later = np.cumsum(rng.exponential(10 * HOUR, (attempts, n)), axis=0).astype(np.int64)
    started = (at + later).ravel()
    ended = started + (outcome[:, 1] * 60_000).astype(np.int64)
    order = np.argsort(ended, kind="stable")
    if retried:
        made = np.cumsum(passed, axis=0) - passed == 0
        order = order[made.ravel()[order]]
    every = np.ones(len(order), bool)
    decision = np.tile(np.arange(n), attempts)
    return decisions, Runs(decision[order], started[order], ended[order], outcome[order], every, every)


def as_of(decisions, unit, window=DAY):
    """When the ``unit``-th issue enters."""
    return int(decisions.at_ms[unit]) + window + LONGEST_RUN_MS


def judged(decisions, runs, window=DAY, until=None):
    until = as_of(decisions, -1, window) if until is None else until
    return ab(decisions, runs, WEIGHTS, window, until)
