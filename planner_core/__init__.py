"""swarm-planner: how to run an issue, as a trained and exportable policy.

Everything a plugin or a kernel needs is importable from here. Names resolve on first use, so that importing the
package costs next to nothing; the names of :mod:`planner_core.torch` need the ``train`` extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

_EXPORTS = {
    "ablation.trials": ("Trial", "TrialResult", "TrialRuns", "TrialValue"),
    "action_space": (
        *("HEADS", "JOB_TYPES", "NA", "Action", "ActionEncoder", "ActionSpace", "EncodedAction"),
        *("ValidityMaskBuilder", "action_dict", "action_space_for_swarms", "default_rules", "job_type_index"),
        *("nearest_action", "nearest_bin", "request_actions", "resolve", "valid_actions"),
    ),
    "claim": ("claimed_for",),
    "clock": ("now", "rfc3339"),
    "contracts": (
        *("ACTION_SCHEMA", "EXECUTED_PLAN_SCHEMA", "INPUT_SCHEMA", "Bin", "DatasetExample", "ExecutedPlan", "Issue"),
        *("ActionDocument", "ExecutedPlanDocument", "PlannerAction", "PlannerInput", "RunSummary", "ValidityRule"),
    ),
    "data.build": ("DEFAULT_UNIVERSE", "build_dataset"),
    "data.dataset": ("Dataset", "load_dataset"),
    "data.decisions": ("DecisionReader", "LoggedDecision", "input_of"),
    "data.executed": ("NOT_EVIDENCE", "not_evidence"),
    "data.issues": ("PlannedIssue", "read_issues"),
    "data.joining": ("DecisionIndex", "taken_over"),
    "data.retrieval": ("Query", "similar_runs"),
    "data.run_tracker": ("RunTracker",),
    "data.samples": ("sample_inputs",),
    "data.sources.importing": ("ImportReport", "import_logs"),
    "data.summaries": ("has_passed", "iter_summaries"),
    "data.tools": ("tool_of", "tool_tag", "with_tool"),
    "decision": (
        *(
            "MIN_MARGINAL",
            "PARITY_TOLERANCE",
            "Decision",
            "ScoreKind",
            "Scores",
            "decide",
            "masked_softmax",
            "row_weights",
        ),
        *("score_sizes", "temperatures_for"),
    ),
    "encoder": ("PRIORITIES", "RISKS", "SIZES", "EncoderConfig", "PlannerInputEncoder"),
    "errors": (
        *("BundleError", "CheckBlocked", "CheckDoesNotApply", "CheckFailed", "ConfigError", "DataError"),
        *(
            "MissingExtra",
            "ParityError",
            "PlannerError",
            "PolicyFailed",
            "RegistryError",
            "TargetMissed",
            "describe",
            "suggestion",
        ),
    ),
    "examples": ("OUTCOME_ARRAYS", "Examples", "Executed", "Outcomes"),
    "features": ("Batch", "SparseFeatures"),
    "files": ("new_directory", "write_bytes"),
    "harness.bundle_decider": ("bundle_decider",),
    "harness.evaluate": ("decide_split", "policy_decider"),
    "harness.constants": ("best_constants", "constant_decider"),
    "harness.evaluation": ("baseline_decider",),
    "harness.gate": ("Gate", "promotion_gate", "refuse"),
    "harness.input_counts": ("InputCounts", "input_counts"),
    "harness.metrics": ("EvalMetrics", "evaluate_decision", "threshold_for"),
    "harness.outcome_metrics": ("evaluate_outcomes", "gap_closed", "outcome_columns"),
    "harness.promotion": ("MARGIN", "Promotion", "judge_promotion"),
    "harness.report": ("Report", "make_report"),
    "harness.run_dir": ("LoadedRun", "load_run", "newest_run"),
    "harness.train": ("train",),
    "harness.training_config": ("TRUNK_SEARCH_SPACE", "TrainingConfig", "TrunkConfig"),
    "jsonio": ("canonical", "convert", "pretty", "read", "read_file"),
    "plugins.guard": ("make_policy", "policy_class"),
    "plugins.hookspecs": ("hookimpl",),
    "plugins.collecting": ("Refusal", "collect"),
    "plugins.log_sources": (
        *("LogAccount", "LogInput", "LogIssue", "LogMapping", "LogReading", "LogRun", "LogSample", "LogSource"),
    ),
    "plugins.predictor": ("PolicyPredictor",),
    "plugins.records": (
        *("BenchSetup", "BenchStage", "CheckSetup", "Metric", "PolicyCheck", "TrainingCallback", "TrainingRun"),
    ),
    "plugins.registry": ("Registry", "load_registry"),
    "onnx_policy": ("OnnxPolicy", "classifier_scorer", "feature_matrix", "joint_scorer"),
    "policy": ("PROTOCOL_VERSION", "BasePolicy", "PolicyContext", "PolicySpec", "TrainablePolicy"),
    "rules": ("BASELINE", "Baseline", "DefaultRules", "default_action"),
    "runtime.intake": ("Document", "Located", "Request", "read_request"),
    "runtime.limits": ("Caps",),
    "runtime.bundle": ("read_bundle",),
    "runtime.choice": ("Answer", "OutcomePredictor", "Predictor"),
    "runtime.rollout": ("Rollout",),
    "runtime.planner": ("Plan", "Planner", "executed_plan"),
    "runtime.reasons": ("BUNDLE_UNUSABLE", "INFERENCE_FAILED"),
    "search_space": (
        "Dimension",
        "IntegerRange",
        "OneOf",
        "RealRange",
        "SearchSpace",
        "nested",
        "space_document",
        "value_at",
    ),
    "settings": ("make_settings", "merge", "parse_assignments", "read_config_file"),
    "system": ("END_SIGNALS", "peak_memory_mib", "processor_name", "usable_cpus"),
    "training": ("EpochReport", "FitReport", "TrainingSession"),
    "utility": ("in_passed_runs", "parse_value", "utilities", "weight_table", "weights_document"),
    "value": (
        *("ab_sequence", "clustered_mean", "estimate_value", "holm", "read_log"),
        "units_to_exclude_zero",
    ),
    "world.live": ("Change", "LiveRun", "LiveWorld"),
    "world.source": ("default_dataset", "make_world"),
    "torch": (
        *("BinaryLinear", "PlannerDataset", "PlannerLoss", "SparseRows", "TorchPolicy", "collate"),
        *("evaluate_model", "mlp_trunk", "train_epoch"),
    ),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = ["__version__", *sorted(_MODULE_OF)]

if TYPE_CHECKING:
    # Made from the table above by `make reference`; edit that.
    from planner_core.ablation.trials import Trial as Trial
    from planner_core.ablation.trials import TrialResult as TrialResult
    from planner_core.ablation.trials import TrialRuns as TrialRuns
    from planner_core.ablation.trials import TrialValue as TrialValue
    from planner_core.action_space import HEADS as HEADS
    from planner_core.action_space import JOB_TYPES as JOB_TYPES
    from planner_core.action_space import NA as NA
    from planner_core.action_space import Action as Action
    from planner_core.action_space import ActionEncoder as ActionEncoder
    from planner_core.action_space import ActionSpace as ActionSpace
    from planner_core.action_space import EncodedAction as EncodedAction
    from planner_core.action_space import ValidityMaskBuilder as ValidityMaskBuilder
    from planner_core.action_space import action_dict as action_dict
    from planner_core.action_space import action_space_for_swarms as action_space_for_swarms
    from planner_core.action_space import default_rules as default_rules
    from planner_core.action_space import job_type_index as job_type_index
    from planner_core.action_space import nearest_action as nearest_action
    from planner_core.action_space import nearest_bin as nearest_bin
    from planner_core.action_space import request_actions as request_actions
    from planner_core.action_space import resolve as resolve
    from planner_core.action_space import valid_actions as valid_actions
    from planner_core.claim import claimed_for as claimed_for
    from planner_core.clock import now as now
    from planner_core.clock import rfc3339 as rfc3339
    from planner_core.contracts import ACTION_SCHEMA as ACTION_SCHEMA
    from planner_core.contracts import EXECUTED_PLAN_SCHEMA as EXECUTED_PLAN_SCHEMA
    from planner_core.contracts import INPUT_SCHEMA as INPUT_SCHEMA
    from planner_core.contracts import ActionDocument as ActionDocument
    from planner_core.contracts import Bin as Bin
    from planner_core.contracts import DatasetExample as DatasetExample
    from planner_core.contracts import ExecutedPlan as ExecutedPlan
    from planner_core.contracts import ExecutedPlanDocument as ExecutedPlanDocument
    from planner_core.contracts import Issue as Issue
    from planner_core.contracts import PlannerAction as PlannerAction
    from planner_core.contracts import PlannerInput as PlannerInput
    from planner_core.contracts import RunSummary as RunSummary
    from planner_core.contracts import ValidityRule as ValidityRule
    from planner_core.data.build import DEFAULT_UNIVERSE as DEFAULT_UNIVERSE
    from planner_core.data.build import build_dataset as build_dataset
    from planner_core.data.dataset import Dataset as Dataset
    from planner_core.data.dataset import load_dataset as load_dataset
    from planner_core.data.decisions import DecisionReader as DecisionReader
    from planner_core.data.decisions import LoggedDecision as LoggedDecision
    from planner_core.data.decisions import input_of as input_of
    from planner_core.data.executed import NOT_EVIDENCE as NOT_EVIDENCE
    from planner_core.data.executed import not_evidence as not_evidence
    from planner_core.data.issues import PlannedIssue as PlannedIssue
    from planner_core.data.issues import read_issues as read_issues
    from planner_core.data.joining import DecisionIndex as DecisionIndex
    from planner_core.data.joining import taken_over as taken_over
    from planner_core.data.retrieval import Query as Query
    from planner_core.data.retrieval import similar_runs as similar_runs
    from planner_core.data.run_tracker import RunTracker as RunTracker
    from planner_core.data.samples import sample_inputs as sample_inputs
    from planner_core.data.sources.importing import ImportReport as ImportReport
    from planner_core.data.sources.importing import import_logs as import_logs
    from planner_core.data.summaries import has_passed as has_passed
    from planner_core.data.summaries import iter_summaries as iter_summaries
    from planner_core.data.tools import tool_of as tool_of
    from planner_core.data.tools import tool_tag as tool_tag
    from planner_core.data.tools import with_tool as with_tool
    from planner_core.decision import MIN_MARGINAL as MIN_MARGINAL
    from planner_core.decision import PARITY_TOLERANCE as PARITY_TOLERANCE
    from planner_core.decision import Decision as Decision
    from planner_core.decision import ScoreKind as ScoreKind
    from planner_core.decision import Scores as Scores
    from planner_core.decision import decide as decide
    from planner_core.decision import masked_softmax as masked_softmax
    from planner_core.decision import row_weights as row_weights
    from planner_core.decision import score_sizes as score_sizes
    from planner_core.decision import temperatures_for as temperatures_for
    from planner_core.encoder import PRIORITIES as PRIORITIES
    from planner_core.encoder import RISKS as RISKS
    from planner_core.encoder import SIZES as SIZES
    from planner_core.encoder import EncoderConfig as EncoderConfig
    from planner_core.encoder import PlannerInputEncoder as PlannerInputEncoder
    from planner_core.errors import BundleError as BundleError
    from planner_core.errors import CheckBlocked as CheckBlocked
    from planner_core.errors import CheckDoesNotApply as CheckDoesNotApply
    from planner_core.errors import CheckFailed as CheckFailed
    from planner_core.errors import ConfigError as ConfigError
    from planner_core.errors import DataError as DataError
    from planner_core.errors import MissingExtra as MissingExtra
    from planner_core.errors import ParityError as ParityError
    from planner_core.errors import PlannerError as PlannerError
    from planner_core.errors import PolicyFailed as PolicyFailed
    from planner_core.errors import RegistryError as RegistryError
    from planner_core.errors import TargetMissed as TargetMissed
    from planner_core.errors import describe as describe
    from planner_core.errors import suggestion as suggestion
    from planner_core.examples import OUTCOME_ARRAYS as OUTCOME_ARRAYS
    from planner_core.examples import Examples as Examples
    from planner_core.examples import Executed as Executed
    from planner_core.examples import Outcomes as Outcomes
    from planner_core.features import Batch as Batch
    from planner_core.features import SparseFeatures as SparseFeatures
    from planner_core.files import new_directory as new_directory
    from planner_core.files import write_bytes as write_bytes
    from planner_core.harness.bundle_decider import bundle_decider as bundle_decider
    from planner_core.harness.constants import best_constants as best_constants
    from planner_core.harness.constants import constant_decider as constant_decider
    from planner_core.harness.evaluate import decide_split as decide_split
    from planner_core.harness.evaluate import policy_decider as policy_decider
    from planner_core.harness.evaluation import baseline_decider as baseline_decider
    from planner_core.harness.gate import Gate as Gate
    from planner_core.harness.gate import promotion_gate as promotion_gate
    from planner_core.harness.gate import refuse as refuse
    from planner_core.harness.input_counts import InputCounts as InputCounts
    from planner_core.harness.input_counts import input_counts as input_counts
    from planner_core.harness.metrics import EvalMetrics as EvalMetrics
    from planner_core.harness.metrics import evaluate_decision as evaluate_decision
    from planner_core.harness.metrics import threshold_for as threshold_for
    from planner_core.harness.outcome_metrics import evaluate_outcomes as evaluate_outcomes
    from planner_core.harness.outcome_metrics import gap_closed as gap_closed
    from planner_core.harness.outcome_metrics import outcome_columns as outcome_columns
    from planner_core.harness.promotion import MARGIN as MARGIN
    from planner_core.harness.promotion import Promotion as Promotion
    from planner_core.harness.promotion import judge_promotion as judge_promotion
    from planner_core.harness.report import Report as Report
    from planner_core.harness.report import make_report as make_report
    from planner_core.harness.run_dir import LoadedRun as LoadedRun
    from planner_core.harness.run_dir import load_run as load_run
    from planner_core.harness.run_dir import newest_run as newest_run
    from planner_core.harness.train import train as train
    from planner_core.harness.training_config import TRUNK_SEARCH_SPACE as TRUNK_SEARCH_SPACE
    from planner_core.harness.training_config import TrainingConfig as TrainingConfig
    from planner_core.harness.training_config import TrunkConfig as TrunkConfig
    from planner_core.jsonio import canonical as canonical
    from planner_core.jsonio import convert as convert
    from planner_core.jsonio import pretty as pretty
    from planner_core.jsonio import read as read
    from planner_core.jsonio import read_file as read_file
    from planner_core.onnx_policy import OnnxPolicy as OnnxPolicy
    from planner_core.onnx_policy import classifier_scorer as classifier_scorer
    from planner_core.onnx_policy import feature_matrix as feature_matrix
    from planner_core.onnx_policy import joint_scorer as joint_scorer
    from planner_core.plugins.collecting import Refusal as Refusal
    from planner_core.plugins.collecting import collect as collect
    from planner_core.plugins.guard import make_policy as make_policy
    from planner_core.plugins.guard import policy_class as policy_class
    from planner_core.plugins.hookspecs import hookimpl as hookimpl
    from planner_core.plugins.log_sources import LogAccount as LogAccount
    from planner_core.plugins.log_sources import LogInput as LogInput
    from planner_core.plugins.log_sources import LogIssue as LogIssue
    from planner_core.plugins.log_sources import LogMapping as LogMapping
    from planner_core.plugins.log_sources import LogReading as LogReading
    from planner_core.plugins.log_sources import LogRun as LogRun
    from planner_core.plugins.log_sources import LogSample as LogSample
    from planner_core.plugins.log_sources import LogSource as LogSource
    from planner_core.plugins.predictor import PolicyPredictor as PolicyPredictor
    from planner_core.plugins.records import BenchSetup as BenchSetup
    from planner_core.plugins.records import BenchStage as BenchStage
    from planner_core.plugins.records import CheckSetup as CheckSetup
    from planner_core.plugins.records import Metric as Metric
    from planner_core.plugins.records import PolicyCheck as PolicyCheck
    from planner_core.plugins.records import TrainingCallback as TrainingCallback
    from planner_core.plugins.records import TrainingRun as TrainingRun
    from planner_core.plugins.registry import Registry as Registry
    from planner_core.plugins.registry import load_registry as load_registry
    from planner_core.policy import PROTOCOL_VERSION as PROTOCOL_VERSION
    from planner_core.policy import BasePolicy as BasePolicy
    from planner_core.policy import PolicyContext as PolicyContext
    from planner_core.policy import PolicySpec as PolicySpec
    from planner_core.policy import TrainablePolicy as TrainablePolicy
    from planner_core.rules import BASELINE as BASELINE
    from planner_core.rules import Baseline as Baseline
    from planner_core.rules import DefaultRules as DefaultRules
    from planner_core.rules import default_action as default_action
    from planner_core.runtime.bundle import read_bundle as read_bundle
    from planner_core.runtime.choice import Answer as Answer
    from planner_core.runtime.choice import OutcomePredictor as OutcomePredictor
    from planner_core.runtime.choice import Predictor as Predictor
    from planner_core.runtime.intake import Document as Document
    from planner_core.runtime.intake import Located as Located
    from planner_core.runtime.intake import Request as Request
    from planner_core.runtime.intake import read_request as read_request
    from planner_core.runtime.limits import Caps as Caps
    from planner_core.runtime.planner import Plan as Plan
    from planner_core.runtime.planner import Planner as Planner
    from planner_core.runtime.planner import executed_plan as executed_plan
    from planner_core.runtime.reasons import BUNDLE_UNUSABLE as BUNDLE_UNUSABLE
    from planner_core.runtime.reasons import INFERENCE_FAILED as INFERENCE_FAILED
    from planner_core.runtime.rollout import Rollout as Rollout
    from planner_core.search_space import Dimension as Dimension
    from planner_core.search_space import IntegerRange as IntegerRange
    from planner_core.search_space import OneOf as OneOf
    from planner_core.search_space import RealRange as RealRange
    from planner_core.search_space import SearchSpace as SearchSpace
    from planner_core.search_space import nested as nested
    from planner_core.search_space import space_document as space_document
    from planner_core.search_space import value_at as value_at
    from planner_core.settings import make_settings as make_settings
    from planner_core.settings import merge as merge
    from planner_core.settings import parse_assignments as parse_assignments
    from planner_core.settings import read_config_file as read_config_file
    from planner_core.system import END_SIGNALS as END_SIGNALS
    from planner_core.system import peak_memory_mib as peak_memory_mib
    from planner_core.system import processor_name as processor_name
    from planner_core.system import usable_cpus as usable_cpus
    from planner_core.torch import BinaryLinear as BinaryLinear
    from planner_core.torch import PlannerDataset as PlannerDataset
    from planner_core.torch import PlannerLoss as PlannerLoss
    from planner_core.torch import SparseRows as SparseRows
    from planner_core.torch import TorchPolicy as TorchPolicy
    from planner_core.torch import collate as collate
    from planner_core.torch import evaluate_model as evaluate_model
    from planner_core.torch import mlp_trunk as mlp_trunk
    from planner_core.torch import train_epoch as train_epoch
    from planner_core.training import EpochReport as EpochReport
    from planner_core.training import FitReport as FitReport
    from planner_core.training import TrainingSession as TrainingSession
    from planner_core.utility import in_passed_runs as in_passed_runs
    from planner_core.utility import parse_value as parse_value
    from planner_core.utility import utilities as utilities
    from planner_core.utility import weight_table as weight_table
    from planner_core.utility import weights_document as weights_document
    from planner_core.value import ab_sequence as ab_sequence
    from planner_core.value import clustered_mean as clustered_mean
    from planner_core.value import estimate_value as estimate_value
    from planner_core.value import holm as holm
    from planner_core.value import read_log as read_log
    from planner_core.value import units_to_exclude_zero as units_to_exclude_zero
    from planner_core.world.live import Change as Change
    from planner_core.world.live import LiveRun as LiveRun
    from planner_core.world.live import LiveWorld as LiveWorld
    from planner_core.world.source import default_dataset as default_dataset
    from planner_core.world.source import make_world as make_world
else:

    def __getattr__(name):
        from importlib import import_module

        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module 'planner_core' has no attribute {name!r}")
        value = getattr(import_module(f"planner_core.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
