"""What defines a simulated world: one structure, written whole into ``meta.json``.

The names (job types, tags, universes, objectives) are constants; every number is a field. The worlds differ in what an
action leads to (:attr:`WorldConfig.outcome`) and in nothing else: issues, difficulties and the logging policy are
drawn alike, so that a policy can be compared from world to world.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from planner_core.action_space import JOB_TYPES
from planner_core.encoder import TOOLCHAINS
from planner_core.errors import ConfigError

JOBS = JOB_TYPES[:3]
TAGS = (
    *("api", "auth", "backend", "billing", "bug", "build", "cache", "ci", "cli", "config"),
    *("crash", "css", "database", "dependencies", "deploy", "docs", "e2e", "errors", "export", "flaky"),
    *("frontend", "i18n", "import", "infra", "logging", "memory", "metrics", "migration", "mobile", "networking"),
    *("onboarding", "parser", "performance", "refactor", "release", "search", "security", "tests", "ui", "upgrade"),
)
UNIVERSE_SWARMS = {"medieval-village": None, "orbital-station": "speculate_vote", "desert-outpost": "serial_handoff"}
UNIVERSES = tuple(UNIVERSE_SWARMS)
OBJECTIVES = ("realism", "performance")

Table = dict[str, float]
"""A number by name; the order of the names is that of the indices."""


def column(table: Mapping[str, float]) -> NDArray[np.float64]:
    """The numbers of a table, float64 [names], in its order."""
    return np.array(list(table.values()), np.float64)


class Shares(Struct, frozen=True, forbid_unknown_fields=True):
    """How often each value of an issue occurs. ``system_state`` is the share of runs whose state was recorded."""

    job_type: Table
    priority: Table
    risk: Table
    size: Table
    tool_hint: Table
    tag_count: Table
    objective: Table
    system_state: float


class Difficulty(Struct, frozen=True, forbid_unknown_fields=True):
    """z = size + risk + mean offset of the tags + attempt x attempts - skill of the hinted tool + noise.

    An offset is N(0, ``tag_fixed_sd``) plus a stationary AR(1) of standard deviation ``tag_drift_sd`` and time constant
    ``tag_drift_issues``; a skill is N(0, ``skill_sd``). Nobody can observe the noise, N(0, ``noise_sd``).
    """

    size: Table
    risk: Table
    attempt: float = 0.25
    tag_fixed_sd: float = 1.3
    tag_drift_sd: float = 0.9
    tag_drift_issues: float = 1000.0
    skill_sd: float = 0.6
    noise_sd: float = 0.35


class Attempts(Struct, frozen=True, forbid_unknown_fields=True):
    """How failed issues come back: with which probability, at most how often, after how long on average."""

    retry_probability: float = 0.3
    max_attempts: int = 4
    mean_retry_delay_ms: int = 3 * 3_600_000


class OutcomeParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What a vote does in every world."""

    vote_success: float = 0.97
    vote_minutes: float = 2.0


class Tries(OutcomeParameters, frozen=True, forbid_unknown_fields=True):
    """The default world: :mod:`planner_core.world.tries`.

    A try has quality with probability sigmoid(``quality_at`` - z); the first takes ``size_minutes`` in the median at z
    = 0, every further one ``retry_share`` of it. ``time_slope`` and ``time_spread`` are the change with z and the
    standard deviation of log minutes.
    """

    quality_at: float = 0.5
    size_minutes: Table = msgspec.field(
        default_factory=lambda: {"XS": 6.0, "S": 11.0, "M": 18.0, "L": 28.0, "XL": 50.0}
    )
    time_slope: float = 0.25
    time_spread: float = 0.4
    retry_share: float = 0.6
    usd_per_candidate: float = 0.02
    usd_per_candidate_minute: float = 0.05


class GivesUp(Tries, frozen=True, forbid_unknown_fields=True):
    """A candidate without quality in any try stops at ``give_up_share`` of the time at which its last try would end."""

    give_up_share: float = 0.6


class SameFate(Tries, frozen=True, forbid_unknown_fields=True):
    """In ``shared_fate`` of the runs all candidates fare exactly as the first one does."""

    shared_fate: float = 0.9


class PerToken(Tries, frozen=True, forbid_unknown_fields=True):
    """A try costs what its tokens cost, from its first minute on: minutes cost nothing.

    USD of a try are ``try_usd`` of the size times exp(``usd_slope`` z) on average, log-normal with ``usd_spread``.
    """

    usd_per_candidate_minute: float = 0.0
    try_usd: Table = msgspec.field(default_factory=lambda: {"XS": 0.2, "S": 0.5, "M": 1.0, "L": 1.8, "XL": 3.0})
    usd_slope: float = 0.3
    usd_spread: float = 0.5


class Expands(Tries, frozen=True, forbid_unknown_fields=True):
    """Work fills the budget: log minutes of a first try go ``pull`` of the way to ``fill`` of the budget."""

    pull: float = 0.3
    fill: float = 0.6


class Formless(OutcomeParameters, frozen=True, forbid_unknown_fields=True):
    """Outcomes from ``trees`` random trees over issue and action each: :mod:`planner_core.world.formless`.

    A tree asks ``issue_splits`` questions about the issue and ``action_splits`` about the action. Their sum has the
    standard deviation ``*_sd`` around the centre ``*_at``; ``time_spread`` and ``usd_spread`` are those of log minutes
    and log USD of single runs.
    """

    trees: int = 24
    issue_splits: int = 3
    action_splits: int = 3
    logit_at: float = 0.2
    logit_sd: float = 1.6
    minutes_at: float = 16.0
    log_minutes_sd: float = 0.6
    time_spread: float = 0.5
    usd_at: float = 1.0
    log_usd_sd: float = 0.8
    usd_spread: float = 0.4


class WorldConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A simulated world. ``exploration``: share of the runs whose action was drawn uniformly from the valid ones.

    ``mean_gap_ms`` lies between two new issues; ``gate_fail_share`` is the probability that a further gate fails once
    one has.
    """

    name: str
    outcome: OutcomeParameters
    shares: Shares
    difficulty: Difficulty
    attempts: Attempts = Attempts()
    exploration: float = 0.2
    epoch_ms: int = 1_767_225_600_000  # 2026-01-01T00:00:00Z
    mean_gap_ms: int = 600_000
    gate_fail_share: float = 0.25


DEFAULT = WorldConfig(
    name="default",
    outcome=Tries(),
    shares=Shares(
        job_type=dict(zip(JOBS, (0.7, 0.2, 0.1), strict=True)),
        priority={"P0": 0.1, "P1": 0.25, "P2": 0.45, "P3": 0.2},
        risk={"low": 0.35, "medium": 0.4, "high": 0.18, "critical": 0.07},
        size={"XS": 0.15, "S": 0.3, "M": 0.3, "L": 0.17, "XL": 0.08},
        tool_hint=dict(zip((*TOOLCHAINS, "none"), (0.3, 0.3, 0.1, 0.1, 0.2), strict=True)),
        tag_count={"1": 0.3, "2": 0.35, "3": 0.25, "4": 0.1},
        objective=dict(zip((*OBJECTIVES, "none"), (0.5, 0.3, 0.2), strict=True)),
        system_state=0.5,
    ),
    difficulty=Difficulty(
        size={"XS": -0.8, "S": -0.4, "M": 0.0, "L": 0.4, "XL": 0.8},
        risk={"low": 0.0, "medium": 0.15, "high": 0.4, "critical": 0.7},
    ),
)

WORLDS: dict[str, WorldConfig] = {
    config.name: config
    for config in (
        DEFAULT,
        replace(DEFAULT, name="gives-up", outcome=GivesUp()),
        replace(DEFAULT, name="same-fate", outcome=SameFate()),
        replace(DEFAULT, name="per-token", outcome=PerToken()),
        replace(DEFAULT, name="expands", outcome=Expands()),
        replace(DEFAULT, name="formless", outcome=Formless()),
    )
}


def world_config(name: str, exploration: float | None = None) -> WorldConfig:
    """The world of that name, with another share of exploration if one is given.

    Raises :class:`ConfigError` for a name that is none or a share outside [0, 1].
    """
    if name not in WORLDS:
        raise ConfigError(f"there is no world {name!r}; there are {', '.join(WORLDS)}")
    if exploration is None:
        return WORLDS[name]
    if not 0 <= exploration <= 1:
        raise ConfigError(f"exploration is a share between 0 and 1, not {exploration}")
    return replace(WORLDS[name], exploration=float(exploration))
