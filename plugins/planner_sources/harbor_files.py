"""The files of Harbor: how they are known, and what is read of a trial's ``result.json``."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from planner_core import LogSample
from planner_sources.atif import ATIF_MARK
from planner_sources.common import Amount, Count, has_keys, lies_at

PLACES = {
    "trial": ("result.json", "*/result.json", "*/*/result.json"),
    "job": ("result.json", "*/result.json"),
}
"""Where results lie in the folder of a trial, of a job, or of all jobs."""


def kind_of(head: bytes) -> str | None:
    """What a file is by its first bytes: a trial, a job, an ATIF trajectory, or none of Harbor's."""
    if ATIF_MARK.search(head):
        return "trajectory"
    if has_keys(head, "task_name", "trial_name"):
        return "trial"
    return "job" if has_keys(head, "n_total_trials", "stats") else None


def sniff(sample: LogSample) -> float:
    """Such a file, or a folder with the result of a trial in it."""
    if not sample.is_folder:
        return 0.0 if kind_of(sample.head) is None else 1.0
    for kind, places in PLACES.items():
        names = [name for name in sample.files if lies_at(name, *places)][:20]
        if any(kind_of(sample.peek(name)) == kind for name in names):
            return 1.0
    return 0.0


class Timing(Struct):
    """When something began and ended."""

    started_at: datetime | None = None
    finished_at: datetime | None = None


class Usage(Struct):
    """What an agent spent."""

    n_input_tokens: Count | None = None
    n_output_tokens: Count | None = None
    cost_usd: Amount | None = None


class Verified(Struct):
    """What the verifier gave."""

    rewards: dict[str, float] | None = None


class Problem(Struct):
    """What ended a trial or a step."""

    exception_type: str


class StepResult(Struct):
    """One step of a task of several."""

    agent_result: Usage | None = None
    exception_info: Problem | None = None


class AgentConfig(Struct):
    """The time an agent was allowed."""

    override_timeout_sec: Amount | None = None
    max_timeout_sec: Amount | None = None


class TrialConfig(Struct):
    """What a trial was to be."""

    timeout_multiplier: Amount = 1.0
    agent_timeout_multiplier: Amount | None = None
    agent: AgentConfig = field(default_factory=AgentConfig)


class ModelInfo(Struct):
    """The model of an agent."""

    name: str


class AgentInfo(Struct):
    """Which agent it was."""

    name: str
    model_info: ModelInfo | None = None


class Trial(Struct):
    """What is read of a trial's ``result.json``."""

    id: str
    task_name: str
    trial_name: str
    agent_info: AgentInfo
    config: TrialConfig = field(default_factory=TrialConfig)
    source: str | None = None
    agent_result: Usage | None = None
    verifier_result: Verified | None = None
    exception_info: Problem | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    agent_execution: Timing | None = None
    step_results: list[StepResult] | None = None
