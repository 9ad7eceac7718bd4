"""What the log says of today, before an issue is planned: the log figures of a planner input.

Some tags and tools do better this month than they used to. Of a few similar runs little of that is seen; here every
finished run is heard once. Two responses are followed, each by a :class:`DynamicRegression`: the logit of passing, and
the log minutes of a run that passed. Both are what size, risk, attempts, job type and the executed action let one
expect, plus what is tracked: all runs alike, the mean over the issue's tags, its tool, each at three half-lives,
counted in runs. The figures are the posterior means of what is tracked, so 0 says "nothing is known" and a tag of one
run says little; how much is known stands beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core import jsonio
from planner_core.action_space import JOB_TYPES, MINUTES_BINS, NA, NA_STANDS_FOR, SWARM_IDS, job_type_index
from planner_core.contracts import LOG_FIGURE_HALF_LIVES, Count, Issue, LogFigures, Offsets, RunSummary
from planner_core.data.dynamic_regression import (
    Coefficient,
    DynamicRegression,
    Involved,
    observe_binary,
    observe_number,
    predicted,
)
from planner_core.data.executed import NOT_EVIDENCE, Resolved, not_evidence, resolved_run, swarm_of
from planner_core.data.summaries import has_passed
from planner_core.encoder import MAX_TAGS, RISKS, SIZES, bucket

BUCKETS = 1024
"""Tags and tools are known by hash bucket, as in the features: the state of a tracker is bounded whatever is logged."""
OVERALL, FIRST_TAG, FIRST_TOOL = 0, 1, 1 + BUCKETS
NO_TOOL = FIRST_TOOL + BUCKETS

PRIOR_LOGIT = {"expected": 1.0, "overall": 0.3, "tags": 3.0, "tool": 0.3}
PRIOR_LOG_MINUTES = {"expected": 1.0, "overall": 0.05, "tags": 0.1, "tool": 0.05}
"""Variances: of each coefficient of what is expected, and of all half-lives of one that is tracked together."""
NOISE = 0.25
"""Variance of log minutes around what is expected of a run: it takes half or twice as long one time in six."""
MOST_LOG_MINUTES = 2.0
LEAST_MINUTES = 0.05
DIGITS = 6
_MOMENTS_AT_ONCE = 1 << 12

_LIMITS = tuple(NA_STANDS_FOR["minutes"] if limit == NA else int(limit) for limit in MINUTES_BINS)
_MOST = 4  # attempts, candidates or tries from here on are counted alike
_CELLS = (1, len(SIZES), len(RISKS), _MOST, len(JOB_TYPES), _MOST, len(_LIMITS), _MOST)
_STARTS = tuple(sum(_CELLS[:i]) for i in range(len(_CELLS) + 1))
_EXPECTED = _STARTS[-1] + len(SIZES) * len(_LIMITS)


class Tracked(NamedTuple):
    """What of an issue is tracked, by number: its tags, each once, and its tool."""

    tags: tuple[int, ...]
    tool: int


class Finished(NamedTuple):
    """What a tracker hears of a finished run: what is expected of it, by number, whether it passed, its minutes."""

    about: Tracked
    expected: tuple[int, ...]
    passed: bool
    minutes: float


class _Response(msgspec.Struct, forbid_unknown_fields=True):
    expected: list[Coefficient]
    tracked: list[Coefficient]

    def __post_init__(self) -> None:
        _check(self.expected, _EXPECTED, 1)
        _check(self.tracked, NO_TOOL + 1, len(LOG_FIGURE_HALF_LIVES))


def _check(coefficients: Sequence[Coefficient], most: int, size: int) -> None:
    for known in coefficients:
        if not 0 <= known.key < most:
            raise ValueError(f"{known.key} is not the number of a coefficient, which are 0 to {most - 1}")
        if not len(known.means) == len(known.variances) == size:
            raise ValueError(f"coefficient {known.key} needs {size} means and variances")


class _State(msgspec.Struct, forbid_unknown_fields=True):
    """A tracker as JSON."""

    observed: Count
    not_evidence: tuple[str, ...]
    passed: _Response
    minutes: _Response
    schema_version: Literal["swarm_planner.run_tracker.v1"] = "swarm_planner.run_tracker.v1"


class _Tracking:
    """One response: what is expected does not drift, what is tracked does."""

    def __init__(self, priors: Mapping[str, float], known: _Response | None = None) -> None:
        self.priors = priors
        self.expected = DynamicRegression((math.inf,), known.expected if known else ())
        self.tracked = DynamicRegression(LOG_FIGURE_HALF_LIVES, known.tracked if known else ())

    def involved(self, run: Finished, now: int) -> list[Involved]:
        """The coefficients of a run, moved on to ``now``."""
        prior, (tags, tool) = self.priors, run.about
        out = [Involved(self.expected.moved(key, now, prior["expected"]), 1.0) for key in run.expected]
        out += [Involved(self.tracked.moved(tag, now, prior["tags"]), 1.0 / len(tags)) for tag in tags]
        out.append(Involved(self.tracked.moved(tool, now, prior["tool"]), 1.0))
        out.append(Involved(self.tracked.moved(OVERALL, now, prior["overall"]), 1.0))
        return out

    def about(self, issue: Tracked, now: int) -> list[Involved]:
        """What is tracked of an issue: all runs, its tool, its tags."""
        prior, share = self.priors, 1.0 / max(len(issue.tags), 1)
        fixed = [Involved(self.tracked.at(OVERALL, now, prior["overall"]), 1.0)]
        fixed.append(Involved(self.tracked.at(issue.tool, now, prior["tool"]), 1.0))
        return fixed + [Involved(self.tracked.at(tag, now, prior["tags"]), share) for tag in issue.tags]

    def offsets(self, issue: Tracked, now: int) -> tuple[Offsets, float]:
        """Those of an issue, and which share of their prior variance is gone."""
        involved = self.about(issue, now)
        (overall, _), (tool, _), *tags = involved
        means = [sum(c.means[i] * x for c, x in tags) for i in range(len(LOG_FIGURE_HALF_LIVES))]
        _, variance = predicted(involved)
        prior = self.priors["overall"] + self.priors["tool"] + sum(x * x for _, x in tags) * self.priors["tags"]
        known = min(max(1.0 - variance / prior, 0.0), 1.0)
        return Offsets(*map(_rounded, (overall.means, means, tool.means))), known

    def response(self) -> _Response:
        return _Response(list(self.expected.coefficients.values()), list(self.tracked.coefficients.values()))


class RunTracker:
    """Hears of finished runs, one at a time in the order in which they ended, and gives the log figures of an issue.

    Runs that ended for reasons that are not the agent's are not counted: those with a fail code that matches one of
    ``not_evidence`` and without a pass. What a run costs does not depend on how many were heard, and at most
    2,050 coefficients are kept a response. Not safe to share between threads.
    """

    def __init__(self, not_evidence: Sequence[str] = NOT_EVIDENCE) -> None:
        self.not_evidence, self.observed = tuple(not_evidence), 0
        self._passed, self._minutes = _Tracking(PRIOR_LOGIT), _Tracking(PRIOR_LOG_MINUTES)

    def observe(self, issue: Mapping[str, Any] | Issue, run: Mapping[str, Any] | RunSummary) -> None:
        """A run of an issue has ended; ``issue`` as of a planner input, ``run`` a ``run_summary.v1``.

        Raises :class:`planner_core.errors.DataError` for what breaks its contract; then nothing has changed.
        """
        known = issue if isinstance(issue, Issue) else jsonio.convert(issue, Issue, "issue")
        summary = run if isinstance(run, RunSummary) else jsonio.convert(run, RunSummary, "run_summary")
        outcome, executed = summary.outcome, summary.action_executed
        passed = has_passed(summary)
        if not passed and not_evidence(outcome.fail_codes, self.not_evidence):
            return
        agents = executed.max_candidates if executed.max_candidates is not None else len(summary.candidates or ())
        swarm = swarm_of(executed.swarm_id, agents or None)
        budgets = executed.max_candidates, executed.max_minutes, executed.max_iterations
        action = resolved_run(swarm, *budgets, summary.job_type)
        about = tracked(known.tags, known.dk_tool_hint)
        expected = expectation(known.dk_size, known.dk_risk, known.dk_attempts, summary.job_type, action)
        self.hear(Finished(about, expected, passed, summary.runtime.duration_ms / 60_000))

    def hear(self, run: Finished) -> None:
        """As :meth:`observe`, of a run that counts."""
        self.observed += 1
        observe_binary(self._passed.involved(run, self.observed), run.passed)
        if run.passed:
            minutes = math.log(max(run.minutes, LEAST_MINUTES))
            involved = self._minutes.involved(run, self.observed)
            observe_number(involved, minutes, NOISE, MOST_LOG_MINUTES)

    def figures(self, issue: Mapping[str, Any] | Issue) -> dict[str, Any]:
        """The ``log_figures`` of a planner input for ``issue``, of the runs observed so far, as plain JSON values.

        Raises :class:`planner_core.errors.DataError` for an issue that breaks its contract.
        """
        known = issue if isinstance(issue, Issue) else jsonio.convert(issue, Issue, "issue")
        figures = self.figures_of(tracked(known.tags, known.dk_tool_hint))
        document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(figures))
        return document

    def figures_of(self, about: Tracked) -> LogFigures:
        """As :meth:`figures`, of what is tracked of an issue."""
        passed, known = self._passed.offsets(about, self.observed)
        minutes, _ = self._minutes.offsets(about, self.observed)
        return LogFigures(round(known, DIGITS), passed, minutes)

    def to_json(self) -> bytes:
        """Everything that was learnt, as JSON; a tracker made of it goes on exactly as this one would."""
        state = _State(self.observed, self.not_evidence, self._passed.response(), self._minutes.response())
        return msgspec.json.encode(state)

    @classmethod
    def from_json(cls, document: bytes | str, source: str = "run_tracker") -> RunTracker:
        """The tracker that :meth:`to_json` wrote; raises :class:`planner_core.errors.DataError` for anything else."""
        state = jsonio.read(document, _State, source)
        made = cls(state.not_evidence)
        made.observed = state.observed
        made._passed = _Tracking(PRIOR_LOGIT, state.passed)
        made._minutes = _Tracking(PRIOR_LOG_MINUTES, state.minutes)
        return made


def tracked(tags: Sequence[str], tool: str | None) -> Tracked:
    """What of an issue is tracked: the features' first tags, its tool or that it has none."""
    numbers = dict.fromkeys(FIRST_TAG + bucket(tag, BUCKETS) for tag in tags[:MAX_TAGS])
    return Tracked(tuple(numbers), NO_TOOL if tool is None else FIRST_TOOL + bucket(tool, BUCKETS))


def expectation(size: str, risk: str, attempts: int, job_type: str, action: Resolved) -> tuple[int, ...]:
    """What a run is expected to do depends on: issue and action, by number."""
    swarm, candidates, minutes, tries = action
    limit = min(range(len(_LIMITS)), key=lambda i: abs(_LIMITS[i] - minutes))
    level = SIZES.index(size)
    agents = 0 if SWARM_IDS[swarm] == SWARM_IDS[0] else _level(candidates, 1)
    places = (0, level, RISKS.index(risk), _level(attempts), job_type_index(job_type), agents, limit, _level(tries - 1))
    cells = [start + place for start, place in zip(_STARTS, places, strict=False)]
    return (*cells, _STARTS[-1] + level * len(_LIMITS) + limit)


def _level(count: int, least: int = 0) -> int:
    return min(max(count, least), _MOST - 1)


def _rounded(means: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = (round(mean, DIGITS) for mean in means)
    return first, second, third


def replay(
    started_ms: Sequence[int] | NDArray[np.uint64], ended_ms: Sequence[int] | NDArray[np.uint64]
) -> Iterator[tuple[bool, int]]:
    """The starts (False, row) and ends (True, row) of runs in time; of one millisecond the starts come first.

    So whoever takes figures at a start has heard of the runs that ended **before** it, and of no other.
    """
    # Unsigned, since a run may start late and last the longest time there is.
    moments = np.concatenate([np.asarray(started_ms, np.uint64), np.asarray(ended_ms, np.uint64)])
    order = np.argsort(moments, kind="stable")
    for begin in range(0, len(order), _MOMENTS_AT_ONCE):
        for moment in order[begin : begin + _MOMENTS_AT_ONCE].tolist():
            yield moment >= len(started_ms), moment % len(started_ms)
