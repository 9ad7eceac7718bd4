"""How the figures of a report read: money, passes, intervals, actions, sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

PER = 100
"""Issues, one run each, that money and passes are told of."""
NONE = "–"
_ENDS = ("estimate", "low", "high")
ANSWERS = {"better": "Better", "worse": "Worse", "cannot_tell": "Cannot tell"}
_SWARMS = {"serial_handoff": "serial", "speculate_vote": "vote"}


def usd(value: float) -> str:
    """``$1,234`` or ``$12.30``, without a sign."""
    size = abs(value)
    return f"${size:,.0f}" if size >= 100 else f"${size:,.2f}"


def passes(value: float) -> str:
    """One decimal, without a sign."""
    return f"{abs(value):,.1f}"


def hours(value: float) -> str:
    """Minutes as hours, without a sign."""
    size = abs(value) / 60
    return f"{size:,.0f} h" if size >= 10 else f"{size:,.1f} h"


def plain(value: float) -> str:
    """Three decimals with a true minus sign."""
    return f"{value:.3f}".replace("-", "−")


FORMS = {"pass_rate": passes, "cost_usd": usd, "minutes": hours}


def known(figure: Mapping[str, Any] | None) -> bool:
    """Whether there is an estimate."""
    return figure is not None and figure["estimate"] is not None


def bounded(figure: Mapping[str, Any]) -> bool:
    """Whether there is an interval."""
    return figure["low"] is not None and figure["high"] is not None


def amount(figure: Mapping[str, Any], metric: str) -> tuple[str, str]:
    """A mean a run as (estimate, interval), of 100 runs; utility stays that of one."""
    if not known(figure):
        return NONE, ""
    estimate, low, high = (
        None if figure[end] is None else plain(figure[end]) if metric == "utility" else _of_many(figure[end], metric)
        for end in _ENDS
    )
    if not bounded(figure):
        return str(estimate), "no interval"
    # Where nothing varies there is no interval, however few the runs are.
    return str(estimate), "no spread" if figure["low"] == figure["high"] else f"{low} to {high}"


def _of_many(value: float, metric: str) -> str:
    told = FORMS[metric](PER * value)
    return ("−" if value < 0 and told.strip("$0. h") else "") + told


def delta(figure: Mapping[str, Any], metric: str) -> tuple[str, str]:
    """A difference a run as (estimate, interval) with signs, of 100 runs; utility stays that of one."""
    if not known(figure):
        return NONE, ""
    ends = [(figure[end] if metric == "utility" else PER * figure[end]) for end in _ENDS if figure[end] is not None]
    told = [_plus(value, FORMS.get(metric, _size)) for value in ends]
    return told[0], f"{told[1]} to {told[2]}" if bounded(figure) else "no interval"


def _size(value: float) -> str:
    return f"{abs(value):.3f}"


def _plus(value: float, form: Any) -> str:
    return ("−" if value < 0 else "+") + str(form(value))


def change(figure: Mapping[str, Any], metric: str) -> tuple[str, str]:
    """A difference a run in words, as (estimate, interval) of 100 runs: ``$12 less``, ``$4 to $20 less``."""
    estimate = more(PER * figure["estimate"], metric)
    if not bounded(figure):
        return estimate, "no interval"
    low, high = PER * figure["low"], PER * figure["high"]
    form = FORMS[metric]
    if low >= 0:
        return estimate, f"{form(low)} to {form(high)} more"
    if high <= 0:
        return estimate, f"{form(high)} to {form(low)} {_less(metric)}"
    return estimate, f"{more(low, metric)} to {more(high, metric)}"


def more(value: float, metric: str) -> str:
    """``$12.00 more``, ``4.0 fewer``."""
    return f"{FORMS[metric](value)} {'more' if value >= 0 else _less(metric)}"


def _less(metric: str) -> str:
    return "fewer" if metric == "pass_rate" else "less"


def headline(document: Mapping[str, Any]) -> str:
    """The answer in one sentence: dollars and passes with their intervals, and on how many runs it rests."""
    against, verdict = document["against"], document["evaluation"].get("verdict")
    gap = document["difference"]
    n = f"judged on {document['evaluation']['rows']:,} runs of {document['issues']:,} issues"
    if verdict is None:
        return f"There is nothing to compare the policy with, {n}."
    changes = document["changes"]
    if changes is not None and changes["rows"] and not changes["changed"]:
        return f"The policy decides as {against} does: it saves nothing and loses nothing, {n}."
    told = []
    if known(gap["cost_usd"]):
        estimate, interval = change(gap["cost_usd"], "cost_usd")
        told.append(f"the policy costs {estimate} (95 % interval {interval})")
    if known(gap["pass_rate"]):
        estimate, interval = change(gap["pass_rate"], "pass_rate")
        told.append(f"{estimate} pass ({interval if told else f'95 % interval {interval}'})")
    figures = f"per {PER} issues {' and '.join(told)}" if told else "there is no estimate"
    if verdict["answer"] != "cannot_tell":
        return f"{ANSWERS[verdict['answer']]} than {against}: {figures}, {n}."
    if document["known"] == "all":
        return f"The policy is not shown to be better than {against}: {figures}, {n}."
    return f"Your logs cannot tell whether the policy is better than {against}: {figures}, {n}."


def action(parts: Sequence[Any]) -> str:
    """``vote · 3 candidates · 60 min · 1 iteration``; what is not limited is left out."""
    swarm, candidates, minutes, iterations = parts
    words = ["unknown swarm" if swarm is None else _SWARMS.get(swarm, str(swarm))]
    for value, one, many in ((candidates, "candidate", "candidates"), (iterations, "iteration", "iterations")):
        if value not in (None, "NA"):
            words.append(f"{value} {one if value == 1 else many}")
    words.insert(2 if len(words) > 1 else 1, "no time limit" if minutes in (None, "NA") else f"{minutes} min")
    return " · ".join(words)


def signed(value: float) -> str:
    """Passes of one issue with their sign, two decimals."""
    return _plus(value, lambda size: f"{abs(size):.2f}")


def signed_usd(value: float) -> str:
    """USD of one issue with their sign."""
    return _plus(value, usd)


def share(value: float | None) -> str:
    """A share in whole percent; one decimal below 10."""
    if value is None:
        return NONE
    return f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def multiple(value: float) -> str:
    """``2 ×``, of a given worth."""
    return f"{value:.3g} ×"


def date(ms: int | None) -> str | None:
    """The day of a time in milliseconds since 1970, UTC."""
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%-d %B %Y")
