"""swarm-planner: how to run an issue, as a trained and exportable policy.

Everything a plugin or a kernel needs is importable from here. Names resolve on first use, so that importing the
package costs next to nothing; the names of :mod:`planner_core.torch` need the ``train`` extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "action_space": (
        *("HEADS", "JOB_TYPES", "NA", "Action", "ActionEncoder", "ActionSpace", "EncodedAction"),
        *("ValidityMaskBuilder", "action_dict", "action_space_for_swarms", "default_rules", "job_type_index"),
        *("nearest_action", "nearest_bin", "request_actions", "resolve", "valid_actions"),
    ),
    "contracts": (
        *("ACTION_SCHEMA", "EXECUTED_PLAN_SCHEMA", "INPUT_SCHEMA", "Bin", "DatasetExample", "ExecutedPlan", "Issue"),
        *("PlannerAction", "PlannerInput", "RunSummary", "ValidityRule"),
    ),
    "data.build": ("DEFAULT_UNIVERSE", "build_dataset"),
    "data.dataset": ("Dataset", "load_dataset"),
    "data.issues": ("PlannedIssue", "read_issues"),
    "data.retrieval": ("Query", "similar_runs"),
    "data.writer": ("rfc3339",),
    "decision": ("Decision", "Scores", "decide"),
    "encoder": ("PRIORITIES", "RISKS", "SIZES", "EncoderConfig", "PlannerInputEncoder"),
    "errors": (
        *("BundleError", "CheckBlocked", "CheckDoesNotApply", "CheckFailed", "ConfigError", "DataError"),
        *("MissingExtra", "ParityError", "PlannerError", "PolicyFailed", "RegistryError", "TargetMissed"),
    ),
    "examples": ("Examples", "Executed", "Outcomes"),
    "features": ("Batch", "SparseFeatures"),
    "harness.metrics": ("EvalMetrics",),
    "harness.training_config": ("TrainingConfig", "TrunkConfig"),
    "jsonio": ("convert", "read"),
    "plugins.guard": ("make_policy", "policy_class"),
    "plugins.hookspecs": ("hookimpl",),
    "plugins.predictor": ("PolicyPredictor",),
    "plugins.records": (
        *("BenchSetup", "BenchStage", "CheckSetup", "Metric", "PolicyCheck", "TrainingCallback", "TrainingRun"),
    ),
    "plugins.registry": ("load_registry",),
    "policy": ("PROTOCOL_VERSION", "BasePolicy", "PolicyContext", "PolicySpec", "TrainablePolicy"),
    "rules": ("Baseline", "DefaultRules", "default_action"),
    "runtime.limits": ("Caps",),
    "runtime.planner": ("Plan", "Planner", "Predictor", "executed_plan"),
    "training": ("EpochReport", "FitReport", "TrainingSession"),
    "utility": ("utilities",),
    "torch": (
        *("BinaryLinear", "PlannerDataset", "PlannerLoss", "SparseRows", "TorchPolicy", "collate"),
        *("evaluate_model", "mlp_trunk", "train_epoch"),
    ),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'planner_core' has no attribute {name!r}")
    value = getattr(import_module(f"planner_core.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
