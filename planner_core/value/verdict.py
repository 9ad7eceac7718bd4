"""From figures to an answer: better, worse, or the logs cannot tell, and why (SPEC section 13)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from planner_core.value.intervals import Mean
from planner_core.value.result import Answer, Verdict
from planner_core.value.student import two_sided_p

FEWEST_FULL = 20
FEWEST_EFFECTIVE = 20.0
MEAN_WEIGHT = (0.8, 1.25)

AB_SHARE = 0.5
AB_POWER = 0.8
AB_LEAST_DIFFERENCE = 0.02
AB_UNKNOWN_DIFFERENCE = 0.1
"""Utility a run that an A/B is sized for: what was estimated, but at least the first; the second without estimate."""


@dataclass(frozen=True)
class Grounds:
    """What a verdict rests on.

    ``difference`` of (pass rate, minutes, USD, utility); ``rows`` and ``issues`` judged; ``differing`` (the policy may
    decide otherwise), ``changed`` (it did) and ``unsupported`` count rows; ``n_full`` None for a stochastic policy;
    ``on_trust`` whether it rests on replay that could not be checked; the effective sizes in issues, of the reference
    None where it is what was run. ``spread`` is the variance of one run's utility, clustering included; ``usd_assumed``
    of the runs do not say what they cost.
    """

    difference: tuple[Mean, Mean, Mean, Mean]
    rows: int
    issues: int
    differing: int
    changed: int
    unsupported: int
    n_full: int | None
    ess: float
    ess_reference: float | None
    mean_weight: float
    mean_weight_reference: float | None
    replay: str
    on_trust: bool
    propensities: str
    spread: float
    against: str
    name: str = "the policy"
    usd_assumed: int = 0


def decide(grounds: Grounds, ab_share: float = AB_SHARE, ab_difference: float | None = None) -> Verdict:
    """The verdict on one policy; ``ab_difference`` is the utility a run that an A/B should be able to show."""
    utility = grounds.difference[3]
    against = grounds.against
    if grounds.rows and not grounds.differing:
        text = f"{capital(grounds.name)} decides as the reference does ({against}), on all {grounds.rows:,} runs."
        return Verdict("cannot_tell", against, text, ["no row differs: it decides as the reference does"])
    reasons = refusals(grounds)
    refused = bool(reasons)
    p_value = _p_value(utility)
    answer: Answer = "cannot_tell"
    if not reasons:
        if utility.estimate - utility.reach > 0:
            answer = "better"
        elif utility.estimate + utility.reach < 0:
            answer = "worse"
        else:
            reasons = [f"the 95 % interval of the utility difference, {_interval(utility)}, holds 0"]
    if answer != "cannot_tell":
        text = f"{capital(grounds.name)} is {answer} than {against}: {_figures(grounds.difference)}; {_basis(grounds)}."
        return Verdict(answer, against, text, p_value=p_value)
    wanted = ab_difference if ab_difference is not None else _worth_showing(grounds)
    share = grounds.changed / grounds.rows if grounds.rows else 1.0
    needed = runs_needed(wanted, ab_share, grounds.spread, differing=share)
    text = f"Your logs cannot tell whether {grounds.name} is better than {against}: {'; '.join(reasons)}; "
    text += f"{_basis(grounds)}."
    if needed is not None:
        text += (
            f" An A/B that gives it {100 * ab_share:.0f} % of the runs would show a difference of {wanted:.2g} utility"
            f" a run within about {needed:,} runs."
        )
    return Verdict("cannot_tell", against, text, reasons, needed, ab_share, wanted, p_value, refused)


def decide_known(
    difference: tuple[Mean, Mean, Mean, Mean], rows: int, issues: int, changed: int, against: str, name: str
) -> Verdict:
    """The verdict where the outcomes of both sides are known on ``rows`` rows, ``changed`` of which differ."""
    utility = difference[3]
    if rows and not changed:
        text = f"{capital(name)} does as well as {against} on each of {rows:,} runs: no decision makes a difference."
        return Verdict("cannot_tell", against, text, ["no row differs: it decides as the reference does"])
    reasons = []
    if issues < FEWEST_FULL:
        reasons.append(f"the outcomes of only {issues} issues are known (at least {FEWEST_FULL} are needed)")
    elif not abs(utility.estimate) > utility.reach:
        reasons.append(f"the 95 % interval of the utility difference, {_interval(utility)}, holds 0")
    basis = f"judged on {rows:,} runs of {issues:,} issues by their known outcomes"
    basis += f"; it differs on {100 * changed / rows if rows else 0:.0f} % of them"
    if reasons:
        text = f"It cannot be told whether {name} is better than {against}: {'; '.join(reasons)}; {basis}."
        too_few = issues < FEWEST_FULL
        return Verdict("cannot_tell", against, text, reasons, p_value=_p_value(utility), refused=too_few)
    answer: Answer = "better" if utility.estimate > 0 else "worse"
    text = f"{capital(name)} is {answer} than {against}: {_figures(difference)}; {basis}."
    return Verdict(answer, against, text, p_value=_p_value(utility))


def refusals(grounds: Grounds) -> list[str]:
    """Why no answer may be given whatever the interval says, each as a clause."""
    reasons = []
    if not grounds.rows:
        reasons.append("there is no run to judge by")
    if grounds.propensities == "unknown":
        reasons.append("the log does not say with which probability it chose, and it cannot be estimated")
    if grounds.replay == "contradicted":
        reasons.append("runs of different budgets do not behave alike, which replay assumes")
    if grounds.on_trust:
        reasons.append("that agents work alike under other budgets is assumed, not checked: too few runs to compare")
    if grounds.unsupported:
        reasons.append(f"on {grounds.unsupported:,} of {grounds.rows:,} runs the log could not have shown it")
    if grounds.n_full is not None and grounds.n_full < FEWEST_FULL:
        reasons.append(f"only {grounds.n_full} issues were run its way in full (at least {FEWEST_FULL} are needed)")
    for size, weight, whose in (
        (grounds.ess, grounds.mean_weight, "it"),
        (grounds.ess_reference, grounds.mean_weight_reference, "the reference"),
    ):
        if size is not None and size < FEWEST_EFFECTIVE:
            reasons.append(
                f"the evidence about {whose} is worth {size:.1f} issues (at least {FEWEST_EFFECTIVE:.0f} are needed)"
            )
        if weight is not None and not MEAN_WEIGHT[0] <= weight <= MEAN_WEIGHT[1]:
            reasons.append(f"the mean weight of {whose} is {weight:.2f} where 1 is expected")
    if not reasons and not math.isfinite(grounds.difference[3].reach):
        reasons.append("there is no interval")
    return reasons


def runs_needed(
    difference: float,
    share: float,
    variance: float,
    *,
    differing: float = 1.0,
    level: float = 0.05,
    power: float = AB_POWER,
) -> int | None:
    """Runs of an A/B that would show ``difference`` utility a run with that ``power``; None where it cannot be said.

    Both arms have the ``variance`` seen; ``share`` of the runs go to the policy. Where the arms agree there is nothing
    to compare, so only the ``differing`` share of the runs counts, on which the difference is larger by as much:

        runs = (z(1 - level/2) + z(power))^2 variance (1/share + 1/(1 - share)) differing / difference^2
    """
    if not (0 < share < 1 and difference > 0 and variance > 0 and differing > 0 and math.isfinite(variance)):
        return None
    normal = NormalDist()
    z = normal.inv_cdf(1 - level / 2) + normal.inv_cdf(power)
    return math.ceil(z * z * variance * (1 / share + 1 / (1 - share)) * differing / difference**2)


def holm(p_values: Sequence[float | None], level: float = 0.05) -> list[bool]:
    """Which of a family of tests hold after Holm's correction (1979); an unknown p-value never holds, nor counts."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None and not math.isnan(p))
    holds = [False] * len(p_values)
    for rank, (p, i) in enumerate(known):
        if p > level / (len(known) - rank):
            break
        holds[i] = True
    return holds


def holm_verdicts(verdicts: Sequence[Verdict], level: float = 0.05) -> list[bool]:
    """Which of several verdicts hold together: those that answer, after Holm's correction over all with a p-value."""
    holds = holm([verdict.p_value for verdict in verdicts], level)
    return [held and verdict.answer != "cannot_tell" for held, verdict in zip(holds, verdicts, strict=True)]


def _p_value(utility: Mean) -> float | None:
    if math.isnan(utility.estimate) or not utility.error > 0 or utility.df < 1:
        return None
    return two_sided_p(utility.estimate / utility.error, utility.df)


def _worth_showing(grounds: Grounds) -> float:
    seen = abs(grounds.difference[3].estimate)
    return max(seen, AB_LEAST_DIFFERENCE) if math.isfinite(seen) else AB_UNKNOWN_DIFFERENCE


def _figures(difference: tuple[Mean, Mean, Mean, Mean]) -> str:
    passes, minutes, usd, utility = difference
    return (
        f"{utility.estimate:+.3f} utility a run (95 % interval {_interval(utility)}); in 100 runs "
        f"{_more(100 * passes.estimate, 'passes', '{:.1f}')}, {_more(100 * usd.estimate, '', '${:,.2f}')} and "
        f"{_more(100 * minutes.estimate, 'minutes', '{:,.0f}')}"
    )


def _more(value: float, what: str, form: str) -> str:
    if not math.isfinite(value):
        return f"unknown {what or 'USD'}"
    less = "fewer" if what == "passes" else "less"  # as the report says it: passes are counted, money and time measured
    return " ".join(part for part in (form.format(abs(value)), less if value < 0 else "more", what) if part)


def _basis(grounds: Grounds) -> str:
    full = "" if grounds.n_full is None else f", {grounds.n_full:,} of which were run its way in full"
    share = 100 * grounds.changed / grounds.rows if grounds.rows else 0.0
    text = (
        f"judged on {grounds.rows:,} runs of {grounds.issues:,} issues{full}; it differs on {share:.0f} % of the runs"
    )
    if grounds.usd_assumed:
        text += f"; the cost of {grounds.usd_assumed:,} of the runs is assumed, which the interval takes for seen"
    return text


def _interval(mean: Mean) -> str:
    return f"{mean.estimate - mean.reach:.3f} to {mean.estimate + mean.reach:.3f}"


def capital(text: str) -> str:
    """A sentence's first letter; names, which may be paths, stay as they are."""
    return text[:1].upper() + text[1:] if text.startswith(("the ", "what ")) else text
