"""The JSON contracts as msgspec structs: inputs, run summaries, actions, executed plans, dataset lines.

Structs marked closed refuse unknown keys; every other one ignores them when read (the raw JSON is what gets
written on, so nothing is lost). None can hold itself, so the garbage collector need not look at those of an input.
Reading goes through :func:`planner_core.jsonio.read`, which accepts an integer
that arrives as a numeric string and names the place of anything else that does not fit.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from planner_core.bounds import (
    MAX_ACTIONS,
    MAX_BINS,
    MAX_BUDGET,
    MAX_HISTORY_RUNS,
    MAX_INTEGER,
    MAX_LIST,
    MAX_PROPENSITIES,
    MAX_RULES,
    MAX_STRING,
)

INPUT_SCHEMA = "cyntra.planner_input.v1"
ACTION_SCHEMA = "cyntra.planner_action.v1"
EXECUTED_PLAN_SCHEMA: Literal["cyntra.executed_plan.v1"] = "cyntra.executed_plan.v1"
DATASET_SCHEMA = "cyntra.planner_dataset.v1"
DECISION_SCHEMA = "swarm_planner.decision.v1"
LOG_FIGURE_HALF_LIVES = (150, 600, 2500)
"""Of the log figures, counted in runs."""

Integer = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Budget = Annotated[int, Meta(ge=1, le=MAX_BUDGET)]
Bin = Budget | Literal["NA"]
Text = Annotated[str, Meta(max_length=MAX_STRING)]
Texts = Annotated[list[Text], Meta(max_length=MAX_LIST)]
Bins = Annotated[tuple[Bin, ...], Meta(max_length=MAX_BINS)]
Timestamp = Annotated[datetime, Meta(tz=True)]
Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Temperature = Annotated[float, Meta(ge=1e-6, le=1e6)]
Figure = Annotated[float, Meta(ge=-1e3, le=1e3)]
Split = Literal["train", "val", "test"]


class UniverseDefaults(Struct, forbid_unknown_fields=True, gc=False):
    """Closed. Defaults of the universe the issue lives in."""

    swarm_id: Text | None = None
    objective_id: Text | None = None


class Issue(Struct, gc=False):
    """The issue to be planned. ``dk_speculate`` and ``on_critical_path`` are read by the kernel rules only."""

    issue_id: Text
    dk_priority: Literal["P0", "P1", "P2", "P3"]
    dk_risk: Literal["low", "medium", "high", "critical"]
    dk_size: Literal["XS", "S", "M", "L", "XL"]
    dk_tool_hint: Text | None
    dk_attempts: Count
    tags: Texts
    dk_speculate: bool | None = None
    on_critical_path: bool | None = None


class ActionExecuted(Struct, gc=False):
    """What a run was allowed to use; None where the run had no such limit."""

    swarm_id: Text | None = None
    max_candidates: Count | None = None
    max_minutes: Count | None = None
    max_iterations: Count | None = None


class Gate(Struct, gc=False):
    """One quality gate of a run."""

    name: Text
    passed: bool
    score: float | None = None


class Outcome(Struct, gc=False):
    """How a run ended."""

    status: Literal["success", "failed", "timeout"]
    fail_codes: Texts
    gates: Annotated[list[Gate], Meta(max_length=MAX_LIST)]


class RunRuntime(Struct, gc=False):
    """Wall-clock length of a run in milliseconds."""

    duration_ms: Count


class CandidateRun(Struct, gc=False):
    """What became of one candidate of a run: whether it passed, and its own minutes and cost, the vote excluded."""

    passed: bool
    duration_ms: NonNegative | None = None
    cost_usd: NonNegative | None = None


class CandidateOutcome(Struct):
    """Known outcome of one counterfactual action."""

    status: Literal["success", "failed", "timeout"]
    duration_ms: NonNegative
    cost_usd: NonNegative | None = None
    all_gates_passed: bool = False
    fail_codes: list[str] = []


class Candidate(Struct):
    """One counterfactual: ``action`` is (swarm, candidates, minutes, iterations)."""

    action: tuple[str, Bin, Bin, Bin]
    outcome: CandidateOutcome
    is_winner: bool = False


class RunSummary(Struct, gc=False):
    """``run_summary.v1``. ``universe_id`` and ``objective_id`` are extras that fab-world retrieval reads.

    ``propensity`` is the probability with which the logging policy chose the action, ``propensities`` its whole
    distribution by ``"swarm|candidates|minutes|iterations"`` in resolved numbers. ``counterfactuals`` is what came of
    several actions that were all tried on the issue, this run's among them; they become ``candidates`` of the example,
    and the one that ``is_winner`` its label. These three and ``candidates`` are evidence, not history: they are not
    copied into an input.
    """

    run_id: Text
    started_ms: Count
    job_type: Text
    domain: Literal["code", "fab_world", "fab_asset"]
    action_executed: ActionExecuted
    outcome: Outcome
    runtime: RunRuntime
    cost_usd_est: NonNegative | None = None
    tokens_in: Count | None = None
    tokens_out: Count | None = None
    tags: Texts | None = None
    issue_id: Text | None = None
    propensity: Probability | None = None
    universe_id: Text | None = None
    objective_id: Text | None = None
    propensities: Annotated[dict[Text, Probability], Meta(max_length=MAX_PROPENSITIES)] | None = None
    candidates: Annotated[list[CandidateRun], Meta(max_length=MAX_LIST)] | None = None
    decision_id: Text | None = None
    counterfactuals: Annotated[list[Candidate], Meta(max_length=MAX_LIST)] | None = None


class SharedRun(RunSummary, frozen=True, gc=False):  # type: ignore[misc]  # msgspec allows what dataclasses do not
    """A run that the histories of several inputs share; nobody changes it, nor what it holds. Hashable."""

    def __hash__(self) -> int:
        return hash(self.run_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunSummary) and msgspec.structs.astuple(self) == msgspec.structs.astuple(other)


class History(Struct, forbid_unknown_fields=True, gc=False):
    """Closed. Similar earlier runs, most recent first."""

    last_n_similar_runs: Annotated[list[RunSummary], Meta(max_length=MAX_HISTORY_RUNS)]


class RuleCondition(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """When a validity rule applies: every key that is set must be equal."""

    swarm_id: Text | UnsetType = UNSET
    job_type: Text | UnsetType = UNSET


class RuleConsequence(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What a validity rule demands: a bin to be this value, or not to be it."""

    swarm_id: Text | UnsetType = UNSET
    swarm_id_not: Text | UnsetType = UNSET
    max_candidates_bin: Bin | UnsetType = UNSET
    max_candidates_bin_not: Bin | UnsetType = UNSET
    max_minutes_bin: Bin | UnsetType = UNSET
    max_minutes_bin_not: Bin | UnsetType = UNSET
    max_iterations_bin: Bin | UnsetType = UNSET
    max_iterations_bin_not: Bin | UnsetType = UNSET


class ValidityRule(Struct, frozen=True, gc=False):
    """``{description, if, then}``. A rule with a description alone is a remark and restricts nothing."""

    description: Text = ""
    condition: RuleCondition | None = msgspec.field(name="if", default=None)
    consequence: RuleConsequence | None = msgspec.field(name="then", default=None)


class RequestActionSpace(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Closed. The swarms and bins this request may choose from, and the rules between them. Hashable."""

    swarm_ids: Annotated[tuple[Text, ...], Meta(max_length=MAX_BINS)]
    max_candidates_bins: Bins
    max_minutes_bins: Bins
    max_iterations_bins: Bins
    validity_rules: Annotated[tuple[ValidityRule, ...], Meta(max_length=MAX_RULES)]

    def __post_init__(self) -> None:
        count = len(self.swarm_ids) * len(self.max_candidates_bins) * len(self.max_minutes_bins)
        if count * len(self.max_iterations_bins) > MAX_ACTIONS:
            raise ValueError(f"Expected at most {MAX_ACTIONS} combinations of swarms and bins")


class SystemState(Struct, gc=False):
    """Load of the machine room; ``action_rate``, ``action_rates`` (of each domain: code, fab_world, fab_asset) and
    ``force_speculate`` are read by the kernel rules only.

    The two count bins arrive as their label (``"3-5"``) or as the bare count, which falls into its bin.
    """

    active_workcells_bin: Text | Integer | None = None
    queue_depth_bin: Text | Integer | None = None
    hour_bucket: Text | None = None
    budget_remaining_bin: Text | None = None
    available_toolchains: Texts | None = None
    toolchain_health: Any = None
    action_rate: float | None = None
    action_rates: dict[str, float] | None = None
    force_speculate: bool | None = None


class Offsets(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Closed. How far recent runs were off what was expected of them, one number a half-life; 0 where nothing is known.

    ``overall`` of all runs, ``tags`` the mean over the issue's tags, ``tool`` of those with the issue's tool hint.
    """

    overall: tuple[Figure, Figure, Figure]
    tags: tuple[Figure, Figure, Figure]
    tool: tuple[Figure, Figure, Figure]


class LogFigures(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Closed. What the log said of the issue before it started, at :data:`LOG_FIGURE_HALF_LIVES`.

    ``passed``: on the logit of passing; ``minutes``: on the logarithm of the minutes of a run that passed. ``known``:
    how much of the offsets of passing is known, as the share of their prior variance that is gone; 0 is nothing.
    """

    known: Probability
    passed: Offsets
    minutes: Offsets


class PlannerInput(Struct, gc=False):
    """``planner_input.v1``: everything a policy may look at when it plans one issue."""

    schema_version: Literal["cyntra.planner_input.v1"]
    created_at: Timestamp
    universe_id: Text
    job_type: Text
    universe_defaults: UniverseDefaults
    issue: Issue
    history: History
    action_space: RequestActionSpace
    system_state: SystemState | None = None
    log_figures: LogFigures | None = None


class Budgets(Struct, forbid_unknown_fields=True, gc=False):
    """Closed. One bin a budget."""

    max_candidates_bin: Bin
    max_minutes_bin: Bin
    max_iterations_bin: Bin


class ModelIdentity(Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Closed. Which checkpoint decided."""

    checkpoint_id: str
    version: str | None = None
    git_sha: str | None = None


class Label(Struct, gc=False):
    """The part of a ``planner_action.v1`` that is the choice."""

    swarm_id: Text
    budgets: Budgets


class PlannerAction(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """``planner_action.v1``, closed. The plan for one issue and how it came about."""

    schema_version: Literal["cyntra.planner_action.v1"]
    created_at: Timestamp
    swarm_id: str
    budgets: Budgets
    probs: dict[str, list[float]] | None = None
    confidence: Probability | None = None
    abstain_to_default: bool | None = None
    reason: str | None = None
    model: ModelIdentity | None = None
    input_hash: str | None = None


class ExecutedPlan(Struct):
    """``executed_plan.v1``: what the kernel actually ran after fallbacks."""

    swarm_id_executed: str
    max_candidates_executed: int | None
    timeout_seconds_executed: int | None
    max_iterations_executed: int | None
    fallback_applied: bool
    fallback_reason: str | None = None
    schema_version: Literal["cyntra.executed_plan.v1"] = EXECUTED_PLAN_SCHEMA


class BudgetsDocument(TypedDict):
    """``budgets`` of a ``planner_action.v1``, as plain JSON values."""

    max_candidates_bin: Bin
    max_minutes_bin: Bin
    max_iterations_bin: Bin


class ActionDocument(TypedDict):
    """A ``planner_action.v1`` as plain JSON values, as the runtime returns it; ``reason`` is null for the model's."""

    schema_version: str
    created_at: str
    swarm_id: str
    budgets: BudgetsDocument
    abstain_to_default: bool
    reason: str | None
    input_hash: str
    confidence: NotRequired[float]
    model: NotRequired[dict[str, str]]


class ExecutedPlanDocument(TypedDict):
    """An ``executed_plan.v1`` as plain JSON values; null is no limit."""

    schema_version: str
    swarm_id_executed: str
    max_candidates_executed: int | None
    timeout_seconds_executed: int | None
    max_iterations_executed: int | None
    fallback_applied: bool
    fallback_reason: str | None


class ExpectedOutcome(TypedDict):
    """What a model predicts of an action: probability of a pass, minutes, USD. A prediction, not evidence."""

    passed: float
    minutes: float
    cost_usd: float


class ExpectedDocument(TypedDict):
    """What is expected of the action that was decided and of the baseline's; null where the model knows it not."""

    action: ExpectedOutcome | None
    baseline: ExpectedOutcome | None


class ExecutedRun(Struct):
    """What was run of one example and what came of it; raw numbers, null is no limit.

    ``passed`` is a success with no known gate failed. ``evidence`` is false where the run ended for reasons that are
    not the agent's: it is history, and nothing is learnt from it.
    """

    action: tuple[str | None, Count | None, Count | None, Count | None]
    status: Literal["success", "failed", "timeout"]
    passed: bool
    duration_ms: NonNegative
    cost_usd: NonNegative | None = None
    fail_codes: list[str] = []
    propensity: Probability | None = None
    propensities: dict[str, Probability] | None = None
    candidates: list[CandidateRun] | None = None
    evidence: bool = True


class DatasetExample(Struct):
    """One line of ``dataset.jsonl``."""

    run_id: str
    started_ms: Count
    split: Split
    planner_input: PlannerInput
    label_action: PlannerAction
    candidates: list[Candidate] | None = None
    executed: ExecutedRun | None = None


class DatasetMeta(Struct):
    """``meta.json``: what a dataset is and where it came from. Extra keys (world parameters) are kept on disk.

    ``meta_hash`` is the SHA-256 of the canonical JSON of everything else in it; older datasets have none.
    """

    schema_version: str
    dataset_hash: str
    example_count: Count
    split_counts: dict[str, int]
    swarm_ids: list[str]
    n_similar_runs: Count
    label_source: Literal["executed_plan", "best_of_k"]
    utility: dict[str, dict[str, float]] | None = None
    ceiling: dict[str, dict[str, float]] | None = None
    floor: dict[str, dict[str, float]] | None = None
    meta_hash: str | None = None
