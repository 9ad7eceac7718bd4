"""Harbor: the ``result.json`` of every trial, and the ATIF trajectories beside them.

A trial is a run of one agent at one task. What ended a trial from outside (a sandbox, a provider, a verifier) is kept
apart from what the agent did: it becomes a fail code that is no evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from planner_core import ConfigError, DataError, LogInput, LogIssue, LogReading, LogRun, tool_tag
from planner_sources.atif import Totals, read_atif
from planner_sources.common import (
    SERIAL,
    an_object,
    checked,
    minutes_of,
    run_document,
    span_ms,
    unix_ms,
)
from planner_sources.endings import Ending, ending_of, status_of
from planner_sources.harbor_files import Timing, Trial

OPTIONS = {
    "reward": "the key of the rewards that says whether a trial passed; 'reward', or the only one, if not given",
    "pass-at": "the least reward with which a trial passed; 1 if not given",
}
NO_LIMIT = "a task's own time limit is not in its result: read as no limit (agent.override_timeout_sec is)"
NO_REWARD = "trials without a reward that say nothing of why"
NO_TIME = "trials that do not say when they began and ended"
CANCELLED = "trials that somebody cancelled"
NO_TRIAL = "ATIF trajectories without a trial: no outcome"


@dataclass
class _Found:
    trials: list[tuple[Trial, LogInput]] = field(default_factory=list)
    trajectories: dict[str, Totals] = field(default_factory=dict)
    """By the folder of their trial."""


def read(reading: LogReading) -> Iterator[LogIssue | LogRun]:
    """Every task as an issue, every trial that has an outcome as a run."""
    found = _Found()
    for given in reading.inputs:
        files = (f for f in given.files("*.json") if _is_ours(f)) if given.is_folder else iter((given,))
        for file in files:
            _take(file, found)
    for trial, file in found.trials:
        yield LogIssue({"id": trial.task_name, "tags": _tags(trial)}, file.name)
        run = _run(trial, file, found, reading)
        if run is not None:
            yield LogRun(run, file.name)
    if found.trajectories:
        reading.account.leave_out(NO_TRIAL, len(found.trajectories))


def _is_ours(file: LogInput) -> bool:
    return PurePath(file.name).name == "result.json" or PurePath(file.name).name.startswith("trajectory")


def _take(file: LogInput, found: _Found) -> None:
    document = an_object(file.json(), file.name)
    if "trial_name" in document:
        found.trials.append((checked(document, Trial, file.name), file))
    elif isinstance(document.get("schema_version"), str) and document["schema_version"].startswith("ATIF-"):
        folder = _trial_folder(file.name)
        found.trajectories[folder] = found.trajectories.get(folder, Totals()) + read_atif(document, file.name)
    elif "n_total_trials" not in document:
        expected = "the result of a trial or of a job, or an ATIF trajectory"
        raise DataError(
            file.name, found="none of their keys (trial_name, n_total_trials, schema_version)", expected=expected
        )


def _trial_folder(name: str) -> str:
    """The folder of the trial that a trajectory below it belongs to: above ``agent/`` and ``steps/NAME/agent/``."""
    parts = PurePath(name).parent.parts
    inside = next((i for i, part in enumerate(parts) if part in ("steps", "agent")), len(parts))
    return str(PurePath(*parts[:inside]))


def _run(trial: Trial, file: LogInput, found: _Found, reading: LogReading) -> dict[str, Any] | None:
    account = reading.account
    totals = found.trajectories.pop(str(PurePath(file.name).parent), Totals())
    ending = _ending(trial, reading)
    reward = _reward(trial, file, reading)
    timing = trial.agent_execution or Timing(trial.started_at, trial.finished_at)
    if ending.cause == "cancelled":
        account.leave_out(CANCELLED)
    elif reward is None and ending.code is None:
        account.leave_out(NO_REWARD)
    elif timing.started_at is None or timing.finished_at is None:
        account.leave_out(NO_TIME)
    else:
        path = "$.agent_execution.finished_at" if trial.agent_execution else "$.finished_at"
        passed = reward is not None and reward[1] >= _pass_at(reading) and ending.cause != "infrastructure"
        usages = [trial.agent_result, *(step.agent_result for step in trial.step_results or ())]
        model = trial.agent_info.model_info
        minutes = _minutes(trial, reading)
        return run_document(
            trial.id,
            trial.task_name,
            unix_ms(timing.started_at),
            span_ms(timing.started_at, timing.finished_at, file.name, None, path),
            status_of(passed, ending.cause),
            fail_codes=[] if passed else [ending.code or "not_rewarded"],
            gates=[{"name": reward[0], "passed": passed, "score": reward[1]}] if reward and _counts(ending) else [],
            action=(SERIAL, 1, minutes, None),
            tags=[*_tags(trial), tool_tag(trial.agent_info.name), *([f"model:{model.name}"] if model else ())],
            cost_usd_est=_sum([usage.cost_usd for usage in usages if usage]) or totals.cost_usd,
            tokens_in=_sum([usage.n_input_tokens for usage in usages if usage]) or totals.tokens_in,
            tokens_out=_sum([usage.n_output_tokens for usage in usages if usage]) or totals.tokens_out,
        )
    return None


def _counts(ending: Ending) -> bool:
    """Whether a reward says something of the agent."""
    return ending.cause != "infrastructure"


def _tags(trial: Trial) -> list[str]:
    return [f"dataset:{trial.source}"] if trial.source else []


def _ending(trial: Trial, reading: LogReading) -> Ending:
    """By the trial's exception, else its first step's that has one."""
    exceptions = [trial.exception_info, *(step.exception_info for step in trial.step_results or ())]
    name = next((problem.exception_type for problem in exceptions if problem is not None), None)
    ending = ending_of(name)
    if name is not None:
        reading.account.value("exception_type", name, ending.cause)
    return ending


def _reward(trial: Trial, file: LogInput, reading: LogReading) -> tuple[str, float] | None:
    rewards = (trial.verifier_result.rewards if trial.verifier_result else None) or {}
    if not rewards:
        return None
    key = reading.options.get("reward") or ("reward" if "reward" in rewards else next(iter(rewards)))
    if key not in rewards or ("reward" not in rewards and len(rewards) > 1 and "reward" not in reading.options):
        expected = f"'{key}' among them, or --set reward=NAME for the one that counts"
        keys = ", ".join(rewards)
        raise DataError(file.name, path="$.verifier_result.rewards", found=f"the keys {keys}", expected=expected)
    reading.account.field("outcome.status", f"verifier_result.rewards.{key}")
    return key, rewards[key]


def _pass_at(reading: LogReading) -> float:
    text = reading.options.get("pass-at", "1")
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--set pass-at={text}: expected a number") from None


def _minutes(trial: Trial, reading: LogReading) -> int | None:
    """The agent's time limit as Harbor resolves it, where the trial's own configuration gives it."""
    agent, config = trial.config.agent, trial.config
    seconds = agent.override_timeout_sec
    if seconds is None:
        reading.account.guess(NO_LIMIT)
        return None
    seconds = min(seconds, agent.max_timeout_sec or seconds)
    multiplier = config.agent_timeout_multiplier
    return minutes_of(seconds * (config.timeout_multiplier if multiplier is None else multiplier), reading.account)


def _sum(values: list[Any]) -> Any:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
