"""The layout of the features: what is called how, where it stands, and what of it is configurable.

Blocks in order: issue, history (one group of features a slot), action space, universe defaults, system state. Where the
configuration asks for them, the log figures follow as a last block of numbers that are no bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec
from msgspec import UNSET, UnsetType

from planner_core.action_space import CANDIDATES_BINS, ITERATIONS_BINS, MINUTES_BINS, SWARM_IDS
from planner_core.bounds import MAX_FEATURES, MAX_HISTORY_SLOTS
from planner_core.contracts import LOG_FIGURE_HALF_LIVES, Offsets

PRIORITIES = ("P0", "P1", "P2", "P3")
RISKS = ("low", "medium", "high", "critical")
SIZES = ("XS", "S", "M", "L", "XL")
RUN_JOB_TYPES = ("code", "fab-world", "fab-asset")
DOMAINS = ("code", "fab_world", "fab_asset")
STATUSES = ("success", "failed", "timeout")
GATES = (
    *("test", "typecheck", "lint", "build", "format", "security", "coverage", "review", "e2e", "integration"),
    *("performance", "docs", "fab-realism", "godot", "asset-only", "godot-config"),
)
WORKCELLS = (("0", 0), ("1-2", 2), ("3-5", 5), ("6+", None))
QUEUE = (("0", 0), ("1-5", 5), ("6-20", 20), ("20+", None))
HOURS = ("night", "morning", "afternoon", "evening")
BUDGETS = ("low", "medium", "high", "unlimited")
TOOLCHAINS = ("codex", "claude", "crush", "opencode")

BUDGET_NAMES = ("candidates", "minutes", "iterations")
NAME_BITS = 10  # a hinted name is written as the binary code of one of 1024 buckets
MAX_TAGS, MAX_FAIL_CODES = 8, 5
DURATION_EDGES_MS = tuple(minutes * 60_000 for minutes in (1, 5, 15, 30, 60))
COST_EDGES_USD = (0.01, 0.1, 1.0, 10.0)
DAY_MS = 86_400_000
RECENCY_EDGES_MS = (DAY_MS, 7 * DAY_MS, 30 * DAY_MS)

_NAME = NAME_BITS + 1
ACTION_SLOTS = 8

# The layout, one block after the other: what each group of features is called, and how wide it is. Tags, fail codes and
# the number of history slots are configuration.
_ISSUE = {"priority": len(PRIORITIES), "risk": len(RISKS), "size": len(SIZES), "attempts": 4, "tool_hint": _NAME}
_RUN_HEAD = {
    **{"job_type": len(RUN_JOB_TYPES), "domain": len(DOMAINS), "swarm": len(SWARM_IDS) + 1},
    **{"candidates": len(CANDIDATES_BINS), "minutes": len(MINUTES_BINS), "iterations": len(ITERATIONS_BINS)},
    "status": len(STATUSES),
}
_RUN_TAIL = {
    "gates": 2 * len(GATES),
    **{"duration": len(DURATION_EDGES_MS) + 1, "cost": len(COST_EDGES_USD) + 2, "recency": len(RECENCY_EDGES_MS) + 1},
    "filled": 1,
}
_OFFERED = {name: ACTION_SLOTS for name in ("offered_swarms", *(f"offered_{b}" for b in BUDGET_NAMES))}
UNIVERSE = {"default_swarm": len(SWARM_IDS) + 1, "objective": _NAME}
_SYSTEM = {
    **{"workcells": len(WORKCELLS) + 1, "queue": len(QUEUE) + 1, "hour": len(HOURS) + 1, "budget": len(BUDGETS) + 1},
    **{"toolchains": len(TOOLCHAINS), "present": 1},
}
_RESPONSES = ("passed", "minutes")
_FIGURES = {name: len(Offsets.__struct_fields__) * len(LOG_FIGURE_HALF_LIVES) for name in _RESPONSES}
"""Groups of the log figures after the first, ``known``."""


def _laid_out(widths: Mapping[str, int], start: int = 0) -> dict[str, range]:
    """Groups one after the other, the first at ``start``."""
    out = {}
    for name, width in widths.items():
        out[name] = range(start, start + width)
        start += width
    return out


IN_ISSUE, IN_HEAD, _IN_TAIL = _laid_out(_ISSUE), _laid_out(_RUN_HEAD), _laid_out(_RUN_TAIL)
IN_SYSTEM = _laid_out(_SYSTEM)
D_HEAD = IN_HEAD["status"].stop
DURATION, COST, RECENCY, FILLED = (_IN_TAIL[name].start for name in ("duration", "cost", "recency", "filled"))


class EncoderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of the layout is configurable; it travels in the bundle.

    ``log_figures``: whether the figures of the log before the issue follow the bits. Where they do not, the
    configuration is written without the key, as it was before there were any.
    """

    history_slots: int = 8
    tag_buckets: int = 1024
    fail_code_buckets: int = 256
    log_figures: bool | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.log_figures is False:
            msgspec.structs.force_setattr(self, "log_figures", UNSET)
        limits = (("history_slots", 0, MAX_HISTORY_SLOTS), ("tag_buckets", 1, MAX_FEATURES))
        for name, low, high in (*limits, ("fail_code_buckets", 1, MAX_FEATURES)):
            if not low <= getattr(self, name) <= high:
                bound = f"at least {low}" if getattr(self, name) < low else f"at most {high}"
                raise ValueError(f"{name} must be {bound}, not {getattr(self, name)}")
        if self.d_in > MAX_FEATURES:
            raise ValueError(f"{self.d_in} features are too many, expected at most {MAX_FEATURES}")

    @property
    def d_in(self) -> int:
        """Number of features; 3779 by default, 19 more with the log figures."""
        return self.group("log_figures").stop

    @property
    def n_figures(self) -> int:
        """How many of the features, the last ones, are numbers and not bits: 19 with the log figures, else 0."""
        return len(self.group("log_figures"))

    @property
    def d_run(self) -> int:
        """Width of one history slot; 332 by default."""
        return _layout(self)[1]["run"].stop

    def group(self, name: str, slot: int | None = None) -> range:
        """The positions of a named group of features.

        Blocks: ``issue``, ``history``, ``action_space``, ``universe_defaults``, ``system_state``. Groups: ``priority``,
        ``risk``, ``size``, ``attempts``, ``tool_hint``, ``tags``; ``offered_swarms``, ``offered_candidates``,
        ``offered_minutes``, ``offered_iterations``; ``default_swarm``, ``objective``; ``workcells``, ``queue``,
        ``hour``, ``budget``, ``toolchains``, ``present``. Of history slot ``slot``: ``run`` (all of it), ``job_type``,
        ``domain``, ``swarm``, ``candidates``, ``minutes``, ``iterations``, ``status``, ``fail_codes``, ``gates``,
        ``duration``, ``cost``, ``recency``, ``filled``. Last, where there are any, the numbers ``log_figures``, of them
        ``known``, ``log_passed`` and ``log_minutes``. KeyError for any other name, IndexError for no such slot.
        """
        blocks, run = _layout(self)
        if slot is None:
            return blocks[name]
        if not 0 <= slot < self.history_slots:
            raise IndexError(f"there is no history slot {slot}; the encoder has {self.history_slots}")
        start = blocks["history"].start + slot * run["run"].stop
        return range(start + run[name].start, start + run[name].stop)


@lru_cache(maxsize=64)
def _layout(config: EncoderConfig) -> tuple[dict[str, range], dict[str, range]]:
    """Every group by name: those of the whole vector, and those of a history slot, counted from its beginning."""
    run = _laid_out({**_RUN_HEAD, "fail_codes": config.fail_code_buckets, **_RUN_TAIL})
    run["run"] = range(run["filled"].stop)
    blocks = {
        "issue": {**_ISSUE, "tags": config.tag_buckets},
        "history": {"": config.history_slots * run["run"].stop},
        "action_space": _OFFERED,
        "universe_defaults": UNIVERSE,
        "system_state": _SYSTEM,
        "log_figures": {"known": 1, **{f"log_{name}": width for name, width in _FIGURES.items()}}
        if config.log_figures is True
        else {},
    }
    out: dict[str, range] = {}
    start = 0
    for block, widths in blocks.items():
        out |= {name: group for name, group in _laid_out(widths, start).items() if name}
        out[block] = range(start, start := start + sum(widths.values()))
    return out, run
