"""The encoder: a planner input as 3779 binary features (by default), at most about 300 of them on.

Blocks in order: issue, history (one group of features a slot), action space, universe defaults, system state.
An encoder's whole output is the list of the positions that are on; the dense vector is made from it. Where the
configuration asks for them, the log figures follow as a last block of numbers that are no bits.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from planner_core.action_space import (
    CANDIDATES_BINS,
    ITERATIONS_BINS,
    MINUTES_BINS,
    SWARM_IDS,
    nearest_bin,
)
from planner_core.bounds import MAX_FEATURES, MAX_HISTORY_SLOTS, bounded_cache
from planner_core.contracts import (
    LOG_FIGURE_HALF_LIVES,
    Offsets,
    PlannerInput,
    RequestActionSpace,
    RunSummary,
    SystemState,
)
from planner_core.errors import DataError
from planner_core.jsonio import convert

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

_BUDGETS = ("candidates", "minutes", "iterations")
NAME_BITS = 10  # a hinted name is written as the binary code of one of 1024 buckets
MAX_TAGS, MAX_FAIL_CODES = 8, 5
DURATION_EDGES_MS = tuple(minutes * 60_000 for minutes in (1, 5, 15, 30, 60))
COST_EDGES_USD = (0.01, 0.1, 1.0, 10.0)
DAY_MS = 86_400_000
RECENCY_EDGES_MS = (DAY_MS, 7 * DAY_MS, 30 * DAY_MS)

_NAME = NAME_BITS + 1
_ACTION_SLOTS = 8

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
_OFFERED = {name: _ACTION_SLOTS for name in ("offered_swarms", *(f"offered_{b}" for b in _BUDGETS))}
_UNIVERSE = {"default_swarm": len(SWARM_IDS) + 1, "objective": _NAME}
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


_IN_ISSUE, _IN_HEAD, _IN_TAIL = _laid_out(_ISSUE), _laid_out(_RUN_HEAD), _laid_out(_RUN_TAIL)
_IN_SYSTEM = _laid_out(_SYSTEM)
_D_HEAD = _IN_HEAD["status"].stop
_DURATION, _COST, _RECENCY, _FILLED = (_IN_TAIL[name].start for name in ("duration", "cost", "recency", "filled"))


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
        "universe_defaults": _UNIVERSE,
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


@bounded_cache(65_536, megabytes=8)
def bucket(text: str, buckets: int) -> int:
    """First 8 hex digits of the SHA-256 of ``text`` as an integer, modulo ``buckets``."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise DataError("planner_input", found=ascii(text), expected="text without lone surrogates") from None
    return int.from_bytes(hashlib.sha256(encoded).digest()[:4], "big") % buckets


@bounded_cache(16_384, megabytes=2)
def _name_code(name: str | None) -> tuple[int, ...]:
    """Positions that are on in a hinted name's 11 features: its bucket's bits, high bit first, then the null flag."""
    if name is None:
        return (NAME_BITS,)
    code = bucket(name, 1 << NAME_BITS)
    return tuple(i for i in range(NAME_BITS) if code >> (NAME_BITS - 1 - i) & 1)


@bounded_cache(4096, megabytes=1)
def _count_bin(value: str | int, bins: tuple[tuple[str, int | None], ...]) -> int | None:
    """Position of a count bin given by its label or by a bare count; None when it is neither."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and value != bins[0][0]:
        value = int(value)
    for i, (label, top) in enumerate(bins):
        if value == label or (isinstance(value, int) and value >= 0 and (top is None or value <= top)):
            return i
    return None


@bounded_cache(16_384, megabytes=8)
def _issue_bits(priority: str, risk: str, size: str, attempts: int, hint: str | None) -> tuple[int, ...]:
    """Positions that are on in the issue block before its tags."""
    at = _IN_ISSUE
    values = (PRIORITIES.index(priority), RISKS.index(risk), SIZES.index(size), attempts)
    fixed = (at[name][value] for name, value in zip(("priority", "risk", "size", "attempts"), values, strict=True))
    return (*fixed, *(at["tool_hint"][bit] for bit in _name_code(hint)))


@bounded_cache(16_384, megabytes=8)
def _run_bits(
    base: int,
    job_type: str,
    domain: str,
    swarm: str | None,
    candidates: int | None,
    minutes: int | None,
    iterations: int | None,
    status: str,
) -> tuple[int, ...]:
    """Positions that are on in a slot's job type, domain, action and status.

    ``base``, where the slot begins, is part of the question, so that the answer is ready to be appended.
    """
    at, out = _IN_HEAD, []
    if job_type in RUN_JOB_TYPES:
        out.append(at["job_type"][RUN_JOB_TYPES.index(job_type)])
    out.append(at["domain"][DOMAINS.index(domain)])
    if swarm is None or swarm in SWARM_IDS:
        out.append(at["swarm"][-1 if swarm is None else SWARM_IDS.index(swarm)])
    bins = (CANDIDATES_BINS, MINUTES_BINS, ITERATIONS_BINS)
    for name, value, known in zip(_BUDGETS, (candidates, minutes, iterations), bins, strict=True):
        out.append(at[name][known.index(nearest_bin(value, known))])
    out.append(at["status"][STATUSES.index(status)])
    return tuple(base + bit for bit in out)


@bounded_cache(32_768, megabytes=16)
def _bucket_bits(base: int, buckets: int, *names: str) -> tuple[int, ...]:
    """Positions that are on in the group of ``buckets`` features at ``base``, for tags or fail codes."""
    return tuple(sorted({base + bucket(name, buckets) for name in names}))


@bounded_cache(4096, megabytes=1)
def _known_gate(name: str) -> int | None:
    """Position of a gate name, matched up to its first colon."""
    base = name.split(":", 1)[0]
    return GATES.index(base) if base in GATES else None


@bounded_cache(1024, megabytes=4)
def _action_space_bits(base: int, space: RequestActionSpace) -> tuple[int, ...]:
    """Positions that are on in the action space block: presence of each default entry, eight positions a head."""
    heads = (
        (SWARM_IDS, space.swarm_ids),
        (CANDIDATES_BINS, space.max_candidates_bins),
        (MINUTES_BINS, space.max_minutes_bins),
        (ITERATIONS_BINS, space.max_iterations_bins),
    )
    return tuple(
        base + head * _ACTION_SLOTS + i
        for head, (defaults, given) in enumerate(heads)
        for i, value in enumerate(defaults)
        if value in given
    )


def _validated(planner_input: Mapping[str, Any] | PlannerInput) -> PlannerInput:
    if isinstance(planner_input, PlannerInput):
        return planner_input
    return convert(planner_input, PlannerInput, "planner_input")


class PlannerInputEncoder:
    """Planner inputs as binary features. Stateless after construction, safe to share between threads."""

    def __init__(self, config: EncoderConfig | None = None) -> None:
        self.config = config or EncoderConfig()
        group = self.config.group
        # What a decision needs of the layout, as plain numbers: looking a group up costs more than using it.
        self._tags, self._history = group("tags").start, group("history").start
        self._offered, self._universe = group("action_space").start, group("universe_defaults").start
        self._system, self._d_run = group("system_state").start, self.config.d_run

    def group(self, name: str, slot: int | None = None) -> range:
        """The positions of a named group of features, as :meth:`EncoderConfig.group`."""
        return self.config.group(name, slot)

    def encode(self, planner_input: Mapping[str, Any] | PlannerInput) -> NDArray[np.float32]:
        """Dense features, float32 (d_in,), each 0 or 1 but for the log figures, where there are any.

        A dict is validated first (:class:`DataError`).
        """
        x = _validated(planner_input)
        dense = np.zeros(self.config.d_in, np.float32)
        dense[self.positions(x)] = 1.0
        if self.config.n_figures:
            dense[-self.config.n_figures :] = self.figures(x)
        return dense

    def encode_indices(self, planner_input: Mapping[str, Any] | PlannerInput) -> NDArray[np.int32]:
        """Positions of the features that are on, int32 (n_on,), ascending and without repetitions."""
        return np.array(self.positions(planner_input), np.int32)

    def encode_batch(self, planner_inputs: Iterable[Mapping[str, Any] | PlannerInput]) -> NDArray[np.float32]:
        """Dense features of many inputs, float32 (n, d_in)."""
        inputs = [_validated(item) for item in planner_inputs]
        indices, starts = self.encode_indices_batch(inputs)
        dense = np.zeros((len(starts) - 1, self.config.d_in), np.float32)
        row_of = np.repeat(np.arange(len(dense)), np.diff(starts))
        # One assignment for all rows: one a row would cost more than finding the positions.
        dense.reshape(-1)[row_of * self.config.d_in + indices] = 1.0
        if (figures := self.figures_batch(inputs)) is not None:
            dense[:, -figures.shape[1] :] = figures
        return dense

    def figures_batch(self, inputs: Sequence[PlannerInput]) -> NDArray[np.float32] | None:
        """The log figures of validated inputs, float32 (n, 19); None where the configuration has none."""
        if not self.config.n_figures:
            return None
        return np.array([self.figures(x) for x in inputs], np.float32).reshape(-1, self.config.n_figures)

    def figures(self, x: PlannerInput) -> list[float]:
        """The log figures as a list, in the order of their contract; an input without any knows nothing: zeros."""
        figures = x.log_figures
        if figures is None:
            return [0.0] * self.config.n_figures
        parts = figures.passed, figures.minutes
        return [figures.known, *(value for part in parts for value in (*part.overall, *part.tags, *part.tool))]

    def encode_indices_batch(
        self, planner_inputs: Iterable[Mapping[str, Any] | PlannerInput]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Positions of many inputs laid end to end, int32 (total,), and where each begins, int64 (n + 1,)."""
        rows = [self.positions(item) for item in planner_inputs]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        return np.fromiter(chain.from_iterable(rows), np.int32, int(starts[-1])), starts

    def positions(self, planner_input: Mapping[str, Any] | PlannerInput) -> list[int]:
        """Positions of the features that are on, ascending and without repetitions, as a list."""
        x, config = _validated(planner_input), self.config
        issue = x.issue
        attempts = min(issue.dk_attempts, 3)
        out = [*_issue_bits(issue.dk_priority, issue.dk_risk, issue.dk_size, attempts, issue.dk_tool_hint)]
        out += _bucket_bits(self._tags, config.tag_buckets, *issue.tags[:MAX_TAGS])
        now_ms = round(x.created_at.timestamp() * 1000)
        base = self._history
        for run in x.history.last_n_similar_runs[: config.history_slots]:
            self._add_run(out, base, run, now_ms)
            base += self._d_run
        out += _action_space_bits(self._offered, x.action_space)
        base, defaults = self._universe, x.universe_defaults
        if defaults.swarm_id is None or defaults.swarm_id in SWARM_IDS:
            which = len(SWARM_IDS) if defaults.swarm_id is None else SWARM_IDS.index(defaults.swarm_id)
            out.append(base + which)
        base += _UNIVERSE["default_swarm"]
        out += [base + bit for bit in _name_code(defaults.objective_id)]
        if x.system_state is not None:
            self._add_system_state(out, self._system, x.system_state)
        return out

    def _add_run(self, out: list[int], base: int, run: RunSummary, now_ms: int) -> None:
        """One history slot, which begins at ``base``."""
        action, outcome = run.action_executed, run.outcome
        out += _run_bits(
            base,
            run.job_type,
            run.domain,
            action.swarm_id,
            action.max_candidates,
            action.max_minutes,
            action.max_iterations,
            outcome.status,
        )
        base += _D_HEAD
        buckets = self.config.fail_code_buckets
        if outcome.fail_codes:
            out += _bucket_bits(base, buckets, *outcome.fail_codes[:MAX_FAIL_CODES])
        base += buckets
        if outcome.gates:
            seen: dict[int, bool] = {}
            for gate in outcome.gates:
                known = _known_gate(gate.name)
                if known is not None:
                    # One name may stand for several gates ("test:unit", "test:api"); it passed if all of them did.
                    seen[known] = gate.passed and seen.get(known, True)
            for known in sorted(seen):
                out.append(base + 2 * known)
                if seen[known]:
                    out.append(base + 2 * known + 1)
        cost = run.cost_usd_est
        # The bucket of a value is the number of edges at or below it.
        out += (
            base + _DURATION + bisect_right(DURATION_EDGES_MS, run.runtime.duration_ms),
            base + _COST + (len(COST_EDGES_USD) + 1 if cost is None else bisect_right(COST_EDGES_USD, cost)),
            base + _RECENCY + bisect_right(RECENCY_EDGES_MS, now_ms - run.started_ms),
            base + _FILLED,
        )

    def _add_system_state(self, out: list[int], base: int, state: SystemState) -> None:
        """The system state, null last in each group but the toolchains."""
        at = _IN_SYSTEM
        counts = (("workcells", state.active_workcells_bin, WORKCELLS), ("queue", state.queue_depth_bin, QUEUE))
        for name, value, bins in counts:
            position = len(bins) if value is None else _count_bin(value, bins)
            if position is not None:
                out.append(base + at[name][position])
        labelled = (("hour", state.hour_bucket, HOURS), ("budget", state.budget_remaining_bin, BUDGETS))
        for name, label, labels in labelled:
            if label is None or label in labels:
                out.append(base + at[name][len(labels) if label is None else labels.index(label)])
        tools = state.available_toolchains or ()
        out += [base + at["toolchains"][i] for i, tool in enumerate(TOOLCHAINS) if tool in tools]
        out.append(base + at["present"].start)
