"""The fields a table may have, and the column names that they are usually known by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from planner_tables.units import UNIT_WORDS, UNITS_MS

Kind = Literal["text", "word", "time", "number", "whole", "probability", "duration", "list", "distribution"]


@dataclass(frozen=True)
class Field:
    """One field: its name for ``--map``, how its cells are read, and the names of columns it is guessed from.

    ``per_candidate``: it may differ between the candidates of one run.
    """

    name: str
    kind: Kind
    columns: str = ""
    per_candidate: bool = False

    @property
    def names(self) -> list[str]:
        """The usual names, likeliest first; its own name is the first of all."""
        return [plain(self.name), *self.columns.split()]


_LENGTH = "duration elapsed runtime run_time wall_time wall_clock walltime time_taken took execution_time"
_LIMIT = "budget time_budget time_limit timeout limit max max_time max_duration minutes_budget budget_limit allowed"


def _with_units(name: str, bases: str, *, per_candidate: bool) -> list[Field]:
    """A field for each unit that a column's name may end or begin with."""
    fields = []
    for unit, words in UNIT_WORDS.items():
        names = [f"{base}_{word}" for base in bases.split() for word in words.split()]
        names += [f"{word}_{base}" for base in bases.split() for word in words.split() if len(word) > 2]
        fields.append(Field(f"{name}_{unit}", "number", " ".join(names), per_candidate))
    return fields


FIELDS: tuple[Field, ...] = (
    Field("run_id", "text", "run attempt_id job_id execution_id trial_id trial_name workcell_id workcell"),
    Field("issue_id", "text", "issue issue_key ticket ticket_id task_id task bead bead_id instance_id story work_item"),
    Field("outcome.status", "word", "outcome result status passed success resolved verdict conclusion", True),
    Field("started_at", "time", "started_ms started start started_on start_time start_ts begin began timestamp time"),
    Field(
        "ended_at",
        "time",
        "ended_ms ended end end_time end_ts finished finished_at completed_at stopped_at",
        True,
    ),
    *_with_units("runtime.duration", _LENGTH, per_candidate=True),
    Field("runtime.duration", "duration", _LENGTH, True),
    Field("cost_usd_est", "number", "cost_usd usd cost total_cost total_cost_usd cost_dollars price spend", True),
    Field("tokens_in", "whole", "input_tokens prompt_tokens tokens_input tokens_prompt", True),
    Field("tokens_out", "whole", "output_tokens completion_tokens tokens_output tokens_completion", True),
    Field("action_executed.swarm_id", "word", "swarm_id swarm swarm_type strategy"),
    Field("action_executed.max_candidates", "whole", "max_candidates candidates n_candidates n_agents agents k"),
    Field("action_executed.max_minutes", "number", "max_minutes"),
    *_with_units("action_executed.limit", _LIMIT, per_candidate=False),
    Field("action_executed.max_iterations", "whole", "max_iterations iterations max_turns max_steps"),
    Field("candidate", "text", "candidate_id candidate_index candidate_no sample sample_id rollout", True),
    Field("candidate.chosen", "word", "chosen selected winner is_winner", True),
    Field("outcome.fail_codes", "list", "fail_codes fail_code failure_reason fail_reason error_code error_type", True),
    Field("propensity", "probability", "propensity_score logging_probability action_probability p_action"),
    Field("propensities", "distribution", ""),
    Field("tool", "text", "dk_tool_hint tool_hint tool_name model model_name llm agent agent_name engine"),
    Field("job_type", "text", ""),
    Field("tags", "list", "labels components component label"),
    Field("decision_id", "text", ""),
    Field("issue.dk_priority", "word", "dk_priority priority prio severity"),
    Field("issue.dk_risk", "word", "dk_risk risk risk_level"),
    Field("issue.dk_size", "word", "dk_size size t_shirt_size complexity effort"),
    Field("issue.estimated_minutes", "number", "estimated_minutes estimate_minutes estimate_min"),
    Field("issue.issue_type", "text", "issue_type type kind"),
    Field("issue.dk_attempts", "whole", "dk_attempts"),
)
BY_NAME = {field.name: field for field in FIELDS}

ISSUE_ONLY = ("id", "key", "number")
"""Names of the issue's column in a table that holds issues and no runs."""


def plain(name: str) -> str:
    """A column's name to be compared: ``Duration (min)``, ``durationMin`` and ``duration_min`` are one."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parts.lower()).strip("_")


def unit_of_limit(name: str) -> float:
    """Milliseconds of the unit that a field's name ends with."""
    return UNITS_MS[name.rpartition("_")[2]]


def guesses(field: Field, columns: dict[str, str]) -> list[str]:
    """The columns (of ``{plain name: column}``) that a field may be in, likeliest first."""
    return [columns[name] for name in field.names if name in columns]
