"""The metrics that plugins add to an evaluation. One that cannot be had is said once, and left out."""

from __future__ import annotations

import logging
import math
import numbers
from functools import cache

from planner_core.action_space import ActionSpace
from planner_core.decision import Decision
from planner_core.errors import describe
from planner_core.examples import Examples
from planner_core.harness.metrics import EvalMetrics
from planner_core.harness.outcome_metrics import OutcomeMetrics
from planner_core.plugins.collecting import Offer, collect, warn
from planner_core.plugins.loading import Plugin, warn_once
from planner_core.plugins.records import Metric

logger = logging.getLogger("planner")

RESERVED = frozenset(
    {
        *EvalMetrics.__struct_fields__,
        *OutcomeMetrics.__struct_fields__,
        *("risk_coverage", "reliability", "policy", "split", "dataset_hash", "heuristic", "floor", "ceiling"),
        *(
            "intervals",
            "from",
            "run",
            "notes",
            "known",
            "rows",
            "coverage",
            "utility",
            "as_run",
            "best_constant",
            "regret_by_confidence",
        ),
        *("predictions", "value", "values", "estimator", "n_full", "ess", "support", "verdict"),
        *("verdicts", "against", "replay", "reference"),
    }
)
"""What an evaluation already says under a name of its own."""


@cache
def extra_metrics() -> tuple[Offer[Metric], ...]:
    """Every sound metric of the hook ``planner_metrics``, asked for once; a warning for each other one."""
    return tuple(collect("planner_metrics", Metric, _problem, taken=RESERVED))


def _problem(metric: Metric, plugin: Plugin) -> str | None:
    if not metric.name.isidentifier():
        return f"its name is {metric.name!r}; expected letters, digits and _"
    return None if callable(metric.compute) else "it has no function to compute it"


def compute_extra(decision: Decision, examples: Examples, space: ActionSpace) -> dict[str, float | None]:
    """Every extra metric by its name: its number, None where it does not apply or is not finite.

    One that raises, or returns no number, is left out with a warning.
    """
    out: dict[str, float | None] = {}
    for offer in extra_metrics():
        try:
            value = offer.record.compute(decision, examples, space)
            if value is not None and not isinstance(value, numbers.Real):
                raise TypeError(f"it returned a {type(value).__name__}, expected a number or None")
        except (Exception, SystemExit) as problem:
            warn(offer.refused(describe(problem)))
            logger.debug("the traceback", exc_info=problem)
            continue
        number = None if value is None else float(value)
        if number is not None and not math.isfinite(number):
            warn_once(f"the metric '{offer.name}' of {offer.plugin.origin} is {number}; it is left empty")
            number = None
        out[offer.name] = number
    return out
