"""What this plugin needs of the core, in one place."""

from __future__ import annotations

from planner_core import (
    JOB_TYPES,
    ActionSpace,
    Batch,
    DataError,
    EncoderConfig,
    EpochReport,
    Examples,
    Executed,
    FitReport,
    Outcomes,
    PlannerError,
    PolicyContext,
    ScoreKind,
    Scores,
    SparseFeatures,
    TrainingSession,
    read_log,
    row_weights,
    utilities,
    weight_table,
)

__all__ = [
    "JOB_TYPES",
    "ActionSpace",
    "Batch",
    "DataError",
    "EncoderConfig",
    "EpochReport",
    "Examples",
    "Executed",
    "FitReport",
    "Outcomes",
    "PlannerError",
    "PolicyContext",
    "ScoreKind",
    "Scores",
    "SparseFeatures",
    "TrainingSession",
    "read_log",
    "row_weights",
    "utilities",
    "weight_table",
]
