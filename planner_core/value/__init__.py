"""The value of a policy from logs: does it save me money? (SPEC section 13)

Give :func:`read_log` what happened (``Executed``), then :func:`estimate_value` any policy as an array of actions or
probabilities, with an outcome model's predictions as arrays if there are any. NumPy only.
"""

from planner_core.value.check import ReplayCheck
from planner_core.value.comparison import PARTIAL_LABEL, Comparison, comparison
from planner_core.value.estimate import estimate_value
from planner_core.value.estimators import METRICS, Predictions
from planner_core.value.groups import GroupValue, group_values, known_group_values
from planner_core.value.imputation import imputed_utilities
from planner_core.value.intervals import Clusters, clustered_mean
from planner_core.value.known import KnownValue, known_value
from planner_core.value.log import Log, ReplayUse, read_log
from planner_core.value.plain import PlainValue, plain_value
from planner_core.value.propensity import estimate_propensities
from planner_core.value.result import Answer, Figures, Partial, Range, Value, ValueFigures, Verdict, Weights
from planner_core.value.sensitivity import (
    MULTIPLES,
    Sensitivity,
    Worth,
    known_answer,
    known_mean,
    known_sensitivity,
    sensitivity,
)
from planner_core.value.sequence import Sequence, ab_sequence, units_to_exclude_zero
from planner_core.value.verdict import holm, holm_verdicts, runs_needed

__all__ = [
    "METRICS",
    "MULTIPLES",
    "PARTIAL_LABEL",
    "Answer",
    "Clusters",
    "Comparison",
    "Figures",
    "GroupValue",
    "KnownValue",
    "Log",
    "Partial",
    "PlainValue",
    "Predictions",
    "Range",
    "ReplayCheck",
    "ReplayUse",
    "Sensitivity",
    "Sequence",
    "Value",
    "ValueFigures",
    "Verdict",
    "Weights",
    "Worth",
    "ab_sequence",
    "clustered_mean",
    "comparison",
    "estimate_propensities",
    "estimate_value",
    "group_values",
    "holm",
    "holm_verdicts",
    "imputed_utilities",
    "known_answer",
    "known_group_values",
    "known_mean",
    "known_sensitivity",
    "known_value",
    "plain_value",
    "read_log",
    "runs_needed",
    "sensitivity",
    "units_to_exclude_zero",
]
