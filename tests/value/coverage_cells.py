"""Are the intervals and verdicts honest? Logs of a known truth, drawn again and again, and what is made of them.

A *source* knows one world. It is asked for logs (:class:`Redraw`) and for the truth (:class:`Source`); targets and the
outcome model are fitted once, on an earlier log, so that only the judged log is random. :func:`judge` runs one cell of
a source, exploration and number of runs, and :func:`failures` says what of it a binomial test rejects at p < 0.01:

- coverage below 90 % of the 95 % interval of the utility difference, among the logs that are not refused;
- more than 2.5 % of them called ``better`` where the true difference is not above 0.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from planner_core.examples import Executed
from planner_core.value import Predictions, estimate_value, read_log

AS_RUN, RULES = "as_run", "rules"
LEVEL = 0.01


class Redraw(NamedTuple):
    """One log of n rows: ``job_type`` int [n], ``utility_weights`` [n, 3], ``targets`` and ``rules`` int [n] classes."""

    executed: Executed
    job_type: np.ndarray
    utility_weights: np.ndarray
    targets: Mapping[str, np.ndarray]
    rules: np.ndarray
    predictions: Predictions | None


class Source(Protocol):
    """One world."""

    def redraw(self, exploration: float, n: int, seed: int) -> Redraw:
        """A log of n runs; the same arguments give the same log."""

    def truth(self, target: str, against: str, exploration: float) -> float:
        """The expected utility of a target minus that of ``AS_RUN`` or ``RULES``, over all runs of the world."""


@dataclass
class Tally:
    """What came of one target against one reference in a cell."""

    truth: float
    refused: int = 0
    covered: int = 0
    answers: dict[str, int] = field(default_factory=lambda: {"better": 0, "worse": 0, "cannot_tell": 0})
    errors: list[float] = field(default_factory=list)

    @property
    def told(self) -> int:
        """Logs that were not refused."""
        return sum(self.answers.values()) - self.refused

    @property
    def rmse(self) -> float:
        """Root mean square error of the difference, of all logs that gave a figure."""
        return math.sqrt(np.mean(np.square(self.errors))) if self.errors else math.nan


def judge(source: Source, exploration: float, n: int, redraws: int) -> tuple[dict[tuple[str, str], Tally], float]:
    """Tallies by (target, against) of one cell, and the seconds that the estimates took."""
    tallies: dict[tuple[str, str], Tally] = {}
    seconds = 0.0
    for seed in range(redraws):
        drawn = source.redraw(exploration, n, seed)
        start = time.perf_counter()
        log = read_log(drawn.executed, drawn.job_type, drawn.utility_weights)
        for name, target in drawn.targets.items():
            for against, reference in ((AS_RUN, None), (RULES, drawn.rules)):
                value = estimate_value(log, target, against=reference, predictions=drawn.predictions)
                if (name, against) not in tallies:
                    tallies[name, against] = Tally(source.truth(name, against, exploration))
                tally = tallies[name, against]
                verdict, gap = value.verdict, value.value.difference.utility
                tally.answers[verdict.answer] += 1
                if gap.estimate is not None:
                    tally.errors.append(gap.estimate - tally.truth)
                if verdict.reasons and "holds 0" not in verdict.reasons[0]:
                    tally.refused += 1
                else:
                    tally.covered += gap.low <= tally.truth <= gap.high
        seconds += time.perf_counter() - start
    return tallies, seconds


def at_most(k: int, n: int, p: float) -> float:
    """P(X <= k) of a binomial."""
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def failures(tallies: Mapping[tuple[str, str], Tally]) -> list[str]:
    """What a binomial test rejects."""
    found = []
    for (target, against), tally in tallies.items():
        told = tally.told
        if told and at_most(tally.covered, told, 0.9) < LEVEL:
            found.append(f"{target} against {against}: {tally.covered} of {told} intervals hold {tally.truth:.3f}")
        better = tally.answers["better"]
        if told and tally.truth <= 0 and 1 - at_most(better - 1, told, 0.025) < LEVEL:
            found.append(f"{target} against {against}: {better} of {told} better, the truth is {tally.truth:.3f}")
    return found


HEADER = (
    "| world | explored | runs | target | against | truth | told | covered | better | worse | RMSE |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


def rows(world: str, exploration: float, n: int, tallies: Mapping[tuple[str, str], Tally]) -> list[str]:
    """The cell as rows of a table."""
    out = []
    for (target, against), t in tallies.items():
        covered = f"{100 * t.covered / t.told:.0f} %" if t.told else "-"
        rmse = "-" if math.isnan(t.rmse) else f"{t.rmse:.3f}"
        out.append(
            f"| {world} | {100 * exploration:.0f} % | {n} | {target} | {against} | {t.truth:+.3f} | "
            f"{t.told} of {sum(t.answers.values())} | {covered} | {t.answers['better']} | {t.answers['worse']} | {rmse} |"
        )
    return out
