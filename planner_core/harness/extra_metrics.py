"""The metrics that plugins add to an evaluation. One that cannot be had is said once, and left out."""

from __future__ import annotations

import logging
import math
import numbers
from collections.abc import Sequence
from functools import cache
from typing import Any

from planner_core.action_space import ActionSpace
from planner_core.decision import Decision
from planner_core.errors import describe
from planner_core.examples import Examples
from planner_core.harness.metrics import EvalMetrics
from planner_core.harness.outcome_metrics import OutcomeMetrics
from planner_core.plugins.loading import Plugin, collect_with_origin
from planner_core.plugins.records import Metric

logger = logging.getLogger("planner")

RESERVED = frozenset(
    {
        *EvalMetrics.__struct_fields__,
        *OutcomeMetrics.__struct_fields__,
        *("risk_coverage", "reliability", "policy", "split", "dataset_hash", "heuristic", "floor", "ceiling"),
        *("intervals", "from", "run", "notes", "known", "rows", "coverage", "utility", "as_run", "best_constant"),
        *("predictions", "value", "values", "estimator", "n_full", "ess", "support", "verdict"),
    }
)
"""What an evaluation already says under a name of its own."""


@cache
def extra_metrics() -> tuple[tuple[str, Metric], ...]:
    """(origin, metric) of every sound metric of the hook ``planner_metrics``, asked for once.

    Left out with a warning: what is no :class:`Metric`, a name that is taken, and a name that two plugins bring.
    """
    return sound_metrics(collect_with_origin("planner_metrics"))


def sound_metrics(given: Sequence[tuple[Plugin, Any]]) -> tuple[tuple[str, Metric], ...]:
    """Those of ``given`` that can be computed under their own names; a warning for each other one."""
    found: dict[str, list[tuple[Plugin, Metric]]] = {}
    for plugin, metric in given:
        wrong = _wrong(metric)
        if wrong:
            logger.warning("a metric of %s is left out: %s", plugin.origin, wrong)
        else:
            found.setdefault(metric.name, []).append((plugin, metric))
    sound = []
    for name, claims in found.items():
        own = [claim for claim in claims if claim[0].own]
        if len(claims) > 1:
            both = " and ".join(plugin.origin for plugin, _ in claims)
            logger.warning(
                "the metric '%s' is claimed by %s; %s",
                name,
                both,
                "the built-in one stays" if own else "neither counts",
            )
        owner = own or claims
        if len(owner) == 1:
            sound.append((owner[0][0].origin, owner[0][1]))
    return tuple(sound)


def _wrong(metric: Any) -> str | None:
    if not isinstance(metric, Metric):
        return f"it is a {type(metric).__name__}, not a Metric"
    if not isinstance(metric.name, str) or not metric.name.isidentifier():
        return f"its name is {metric.name!r}; expected letters, digits and _"
    if metric.name in RESERVED:
        return f"the name '{metric.name}' is the evaluation's own; rename it"
    return None if callable(metric.compute) else f"'{metric.name}' has no function to compute it"


def compute_extra(decision: Decision, examples: Examples, space: ActionSpace) -> dict[str, float | None]:
    """Every extra metric by its name: its number, None where it does not apply or is not finite.

    One that raises, or returns no number, is left out with a warning.
    """
    out: dict[str, float | None] = {}
    for origin, metric in extra_metrics():
        try:
            value = metric.compute(decision, examples, space)
            if value is not None and not isinstance(value, numbers.Real):
                raise TypeError(f"it returned a {type(value).__name__}, expected a number or None")
        except (Exception, SystemExit) as problem:
            _say(f"the metric '{metric.name}' of {origin} is left out: {describe(problem)}")
            logger.debug("the traceback", exc_info=problem)
            continue
        number = None if value is None else float(value)
        if number is not None and not math.isfinite(number):
            _say(f"the metric '{metric.name}' of {origin} is {number}; it is left empty")
            number = None
        out[metric.name] = number
    return out


@cache
def _say(text: str) -> None:
    """A warning, once: a training evaluates four times."""
    logger.warning(text)
