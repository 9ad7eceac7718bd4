"""The document of a watch: what was found, whether the model is stale, and why."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from planner_core import InputCounts, rfc3339
from planner_loop.ab import AB, ab
from planner_loop.drift import CalibrationDrift, InputDrift, calibration_drift, input_drift
from planner_loop.findings import Fallbacks, Predictions, fallbacks, realised_against_predicted
from planner_loop.history import History
from planner_loop.intervals import ENOUGH
from planner_loop.tables import Floats


class Limits(Struct):
    """From where on a model is stale: ``tolerance`` of the predicted pass rate, ``fallbacks`` of the decisions."""

    tolerance: float
    fallbacks: float


class WatchReport(Struct):
    """Everything that a watch found; ``text`` says it in a sentence.

    ``stale`` where there are ``reasons``; ``notes`` are what a reader must know, too little data among it. ``as_of`` is
    the end of the last run that is known. Of all ``decided`` decisions of the logs ``decisions`` are the bundle's.
    ``runs_left_out`` and ``damaged_lines`` say what was not used; ``damaged`` names the first damaged lines.
    ``inputs`` is null where the bundle does not know the inputs of its training.
    """

    bundle: str
    policy: str
    checkpoint_id: str
    stale: bool
    text: str
    reasons: list[str]
    notes: list[str]
    decided: int
    decisions: int
    issues: int
    runs: int
    begin: str | None
    end: str | None
    as_of: str | None
    predictions: Predictions
    ab: AB
    fallbacks: Fallbacks
    inputs: InputDrift | None
    calibration: CalibrationDrift
    utility: dict[str, dict[str, float]]
    limits: Limits
    runs_left_out: dict[str, int]
    damaged_lines: int
    damaged: list[str]

    def to_json(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class Watched(Struct):
    """The bundle that is watched; ``inputs`` are counts of its training."""

    path: str
    policy: str
    checkpoint_id: str
    inputs: InputCounts | None


def judge(
    history: History,
    bundle: Watched,
    seen: InputCounts | None,
    weights: Floats,
    utility: dict[str, dict[str, float]],
    window_ms: int,
    limits: Limits,
) -> WatchReport:
    """Judge a history as of its end.

    ``seen`` counts the inputs of the newest issues; ``weights`` float64 [4, (pass, time, cost)] by priority, and
    ``utility`` the same as a document.
    """
    decisions, runs = history.decisions, history.runs
    as_of_ms = history.as_of_ms if history.as_of_ms is not None else 0
    drift = None if bundle.inputs is None or seen is None else input_drift(bundle.inputs, seen, history.input_days)
    found = WatchReport(
        bundle=bundle.path,
        policy=bundle.policy,
        checkpoint_id=bundle.checkpoint_id,
        stale=False,
        text="",
        reasons=[],
        notes=[],
        decided=history.decided,
        decisions=len(decisions),
        issues=int(decisions.issue.max()) + 1 if len(decisions) else 0,
        runs=len(runs),
        begin=rfc3339(int(decisions.at_ms[0])) if len(decisions) else None,
        end=rfc3339(int(decisions.at_ms[-1])) if len(decisions) else None,
        as_of=None if history.as_of_ms is None else _time(history.as_of_ms),
        predictions=realised_against_predicted(decisions, runs),
        ab=ab(decisions, runs, weights, window_ms, as_of_ms),
        fallbacks=fallbacks(decisions),
        inputs=drift,
        calibration=calibration_drift(decisions, runs),
        utility=utility,
        limits=limits,
        runs_left_out=history.runs_left_out,
        damaged_lines=history.damage.lines + history.damage.torn,
        damaged=history.damage.places,
    )
    found.reasons = _reasons(found)
    found.notes = _notes(found, history)
    found.stale = bool(found.reasons)
    found.text = _text(found)
    return found


def _time(at_ms: int) -> str | None:
    try:
        return rfc3339(at_ms)
    except OverflowError:  # a run that is said to end after the last year a calendar has
        return None


def _reasons(found: WatchReport) -> list[str]:
    reasons, test = [], found.ab
    if test.answer == "worse":
        low, high = _ends(test.utility.low, test.utility.high, "+.3f")
        reasons.append(f"the A/B shows it to be worse than the baseline ({low} to {high} utility an issue)")
    passed = found.predictions.passed
    if passed.issues >= ENOUGH and passed.difference.beyond(found.limits.tolerance):
        low, high = _ends(passed.difference.low, passed.difference.high, "+.1%")
        reasons.append(f"passes came {passed.difference.estimate:+.1%} off what was predicted ({low} to {high})")
    drift = found.calibration
    if drift.changed and drift.since_issues >= ENOUGH and drift.since.beyond(found.limits.tolerance):
        low, high = _ends(drift.since.low, drift.since.high, "+.1%")
        reasons.append(f"the error of its predicted passes changed, to {drift.since.estimate:+.1%} ({low} to {high})")
    if found.inputs is not None and found.inputs.shifted:
        reasons.append(f"its inputs are not those it was trained on: {', '.join(found.inputs.shifted)}")
    fell = found.fallbacks
    if fell.issues >= ENOUGH and fell.share.low is not None and fell.share.low > found.limits.fallbacks:
        reasons.append(f"{fell.share.estimate:.0%} of its decisions fell back, mostly: {next(iter(fell.by_reason))}")
    return reasons


def _ends(low: float | None, high: float | None, form: str) -> tuple[str, str]:
    return _end(low, form), _end(high, form)


def _end(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


def _notes(found: WatchReport, history: History) -> list[str]:
    """What must be known before the figures are believed."""
    test, notes = found.ab, []
    if found.decided and not found.decisions:
        notes.append(f"none of the {found.decided:,} decisions of the logs was made by this bundle")
    elif history.by_others:
        notes.append(f"{history.by_others:,} decisions of other bundles are not judged")
    if not found.decisions:
        return [*notes, *_damage(found)]
    if not found.predictions.passed.runs:
        notes.append("no run of a plan as it was decided has a prediction: how honest these are is unknown")
    elif found.predictions.passed.issues < ENOUGH:
        n = found.predictions.passed.issues
        notes.append(f"{n} issues with a prediction are too few to judge predictions by; {ENOUGH} are needed")
    entered = sum(test.issues.values())
    if not entered and not test.waiting:
        notes.append("no issue was decided while a share of them went to each arm: there is no A/B to judge")
    elif test.utility.low is None:
        least = min(test.issues.values())
        notes.append(
            f"the A/B says nothing before {ENOUGH} issues of each arm have entered; the smaller has {least}, and"
            f" {test.waiting:,} issues wait for the end of their {test.window_hours:g} hours"
        )
    if test.earlier:
        notes.append(f"{test.earlier:,} issues had been decided by another bundle before and are in no A/B")
    if test.without_run:
        notes.append(f"{test.without_run:,} issues had no run within {test.window_hours:g} hours and count as nothing")
    if entered and test.parts["cost_usd"] is None and test.parts["passed"] is not None:
        notes.append("some runs have no cost, so the arms are compared by passes and time alone")
    if found.inputs is None:
        notes.append(
            "the bundle does not say what inputs it was trained on (it was exported before bundles did, or its policy"
            " is not trained): whether they shifted is unknown"
        )
    elif not found.inputs.enough:
        notes.append(
            f"inputs of {found.inputs.issues} issues of {found.inputs.days:.1f} days are too few to see whether they"
            f" shifted; {ENOUGH} issues of a week are needed"
        )
    return [*notes, *_damage(found)]


def _damage(found: WatchReport) -> list[str]:
    if not found.damaged_lines:
        return []
    named = f": {'; '.join(found.damaged)}" if found.damaged else ""
    return [f"{found.damaged_lines:,} damaged lines of the decision logs were left out{named}"]


def _text(found: WatchReport) -> str:
    if not found.decisions:
        return "There is no decision of this bundle to watch."
    if found.stale:
        return f"The model is stale: {'; '.join(found.reasons)}."
    test, low = found.ab, found.ab.utility.low
    if test.answer == "better" and low is not None:
        shown = f"the A/B shows it to be better than the baseline, by at least {low:.3f} utility an issue"
    elif sum(test.issues.values()) + test.waiting:
        shown = "the A/B cannot tell yet"
        if test.more_issues:
            shown += f" (about {test.more_issues:,} issues more would if it stays as it is)"
    else:
        shown = "there is no A/B to judge it by"
    return f"Nothing speaks against the model; {shown}."
