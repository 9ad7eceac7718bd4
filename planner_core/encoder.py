"""The encoder: a planner input as 3779 binary features (by default), at most about 300 of them on.

Blocks in order: issue, history (one group of features a slot), action space, universe defaults, system state.
An encoder's whole output is the list of the positions that are on; the dense vector is made from it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import (
    CANDIDATES_BINS,
    ITERATIONS_BINS,
    MINUTES_BINS,
    SWARM_IDS,
    nearest_bin,
)
from planner_core.contracts import PlannerInput, RequestActionSpace, RunSummary, SystemState
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

NAME_BITS = 10  # a hinted name is written as the binary code of one of 1024 buckets
MAX_TAGS, MAX_FAIL_CODES = 8, 5
DURATION_EDGES_MS = tuple(minutes * 60_000 for minutes in (1, 5, 15, 30, 60))
COST_EDGES_USD = (0.01, 0.1, 1.0, 10.0)
DAY_MS = 86_400_000
RECENCY_EDGES_MS = (DAY_MS, 7 * DAY_MS, 30 * DAY_MS)

_ISSUE_FIXED = 4 + 4 + 5 + 4 + NAME_BITS + 1
_RUN_FIXED = 3 + 3 + 3 + 4 + 6 + 5 + 3 + 2 * len(GATES) + 6 + 6 + 4 + 1
_ACTION_SLOTS = 8
_D_ACTION_SPACE = 4 * _ACTION_SLOTS
_D_UNIVERSE = 3 + NAME_BITS + 1
_D_SYSTEM = 5 + 5 + 5 + 5 + 4 + 1


class EncoderConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of the layout is configurable; it travels in the bundle."""

    history_slots: int = 8
    tag_buckets: int = 1024
    fail_code_buckets: int = 256

    def __post_init__(self) -> None:
        for name, low in (("history_slots", 0), ("tag_buckets", 1), ("fail_code_buckets", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name} must be at least {low}, not {getattr(self, name)}")

    @property
    def d_issue(self) -> int:
        """Width of the issue block; 1052 by default."""
        return _ISSUE_FIXED + self.tag_buckets

    @property
    def d_run(self) -> int:
        """Width of one history slot; 332 by default."""
        return _RUN_FIXED + self.fail_code_buckets

    @property
    def offsets(self) -> dict[str, int]:
        """First feature of each block."""
        history = self.d_issue
        action_space = history + self.history_slots * self.d_run
        universe = action_space + _D_ACTION_SPACE
        return {
            "issue": 0,
            "history": history,
            "action_space": action_space,
            "universe_defaults": universe,
            "system_state": universe + _D_UNIVERSE,
        }

    @property
    def d_in(self) -> int:
        """Number of features; 3779 by default."""
        return self.offsets["system_state"] + _D_SYSTEM


@lru_cache(maxsize=65_536)
def bucket(text: str, buckets: int) -> int:
    """First 8 hex digits of the SHA-256 of ``text`` as an integer, modulo ``buckets``."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise DataError("planner_input", found=ascii(text), expected="text without lone surrogates") from None
    return int.from_bytes(hashlib.sha256(encoded).digest()[:4], "big") % buckets


@lru_cache(maxsize=16_384)
def _name_code(name: str | None) -> tuple[int, ...]:
    """Positions that are on in a hinted name's 11 features: its bucket's bits, high bit first, then the null flag."""
    if name is None:
        return (NAME_BITS,)
    code = bucket(name, 1 << NAME_BITS)
    return tuple(i for i in range(NAME_BITS) if code >> (NAME_BITS - 1 - i) & 1)


@lru_cache(maxsize=4096)
def _count_bin(value: str | int, bins: tuple[tuple[str, int | None], ...]) -> int | None:
    """Position of a count bin given by its label or by a bare count; None when it is neither."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and value != bins[0][0]:
        value = int(value)
    for i, (label, top) in enumerate(bins):
        if value == label or (isinstance(value, int) and value >= 0 and (top is None or value <= top)):
            return i
    return None


@lru_cache(maxsize=16_384)
def _issue_bits(priority: str, risk: str, size: str, attempts: int, hint: str | None) -> tuple[int, ...]:
    """Positions that are on in the issue block before its tags."""
    fixed = (PRIORITIES.index(priority), 4 + RISKS.index(risk), 8 + SIZES.index(size), 13 + attempts)
    return (*fixed, *(17 + bit for bit in _name_code(hint)))


@lru_cache(maxsize=16_384)
def _tag_bits(buckets: int, *tags: str) -> tuple[int, ...]:
    """Positions that are on in the issue's tags."""
    return tuple(sorted({_ISSUE_FIXED + bucket(tag, buckets) for tag in tags}))


@lru_cache(maxsize=16_384)
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
    """Positions that are on in the first 27 features of a slot: job type 3, domain 3, action 18, status 3.

    ``base``, where the slot begins, is part of the question, so that the answer is ready to be appended.
    """
    out = []
    if job_type in RUN_JOB_TYPES:
        out.append(RUN_JOB_TYPES.index(job_type))
    out.append(3 + DOMAINS.index(domain))
    if swarm is None:
        out.append(8)
    elif swarm in SWARM_IDS:
        out.append(6 + SWARM_IDS.index(swarm))
    offset = 9
    for value, bins in ((candidates, CANDIDATES_BINS), (minutes, MINUTES_BINS), (iterations, ITERATIONS_BINS)):
        out.append(offset + bins.index(nearest_bin(value, bins)))
        offset += len(bins)
    out.append(offset + STATUSES.index(status))
    return tuple(base + bit for bit in out)


@lru_cache(maxsize=16_384)
def _code_bits(base: int, buckets: int, *codes: str) -> tuple[int, ...]:
    """Positions that are on in the fail codes at ``base``."""
    return tuple(sorted({base + bucket(code, buckets) for code in codes}))


@lru_cache(maxsize=4096)
def _known_gate(name: str) -> int | None:
    """Position of a gate name, matched up to its first colon."""
    base = name.split(":", 1)[0]
    return GATES.index(base) if base in GATES else None


@lru_cache(maxsize=1024)
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


class PlannerInputEncoder:
    """Planner inputs as binary features. Stateless after construction, safe to share between threads."""

    def __init__(self, config: EncoderConfig | None = None) -> None:
        self.config = config or EncoderConfig()
        self._offsets = self.config.offsets

    def encode(self, planner_input: Mapping[str, Any] | PlannerInput) -> NDArray[np.float32]:
        """Dense features, float32 (d_in,), each 0 or 1. A dict is validated first (:class:`DataError`)."""
        dense = np.zeros(self.config.d_in, np.float32)
        dense[self.positions(planner_input)] = 1.0
        return dense

    def encode_indices(self, planner_input: Mapping[str, Any] | PlannerInput) -> NDArray[np.int32]:
        """Positions of the features that are on, int32 (n_on,), ascending and without repetitions."""
        return np.array(self.positions(planner_input), np.int32)

    def encode_batch(self, planner_inputs: Iterable[Mapping[str, Any] | PlannerInput]) -> NDArray[np.float32]:
        """Dense features of many inputs, float32 (n, d_in)."""
        indices, starts = self.encode_indices_batch(planner_inputs)
        dense = np.zeros((len(starts) - 1, self.config.d_in), np.float32)
        row_of = np.repeat(np.arange(len(dense)), np.diff(starts))
        # One assignment for all rows: one a row would cost more than finding the positions.
        dense.reshape(-1)[row_of * self.config.d_in + indices] = 1.0
        return dense

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
        if not isinstance(planner_input, PlannerInput):
            planner_input = convert(planner_input, PlannerInput, "planner_input")
        x = planner_input
        config, offsets = self.config, self._offsets
        issue = x.issue
        attempts = min(issue.dk_attempts, 3)
        out = [*_issue_bits(issue.dk_priority, issue.dk_risk, issue.dk_size, attempts, issue.dk_tool_hint)]
        out += _tag_bits(config.tag_buckets, *issue.tags[:MAX_TAGS])
        now_ms = round(x.created_at.timestamp() * 1000)
        base = offsets["history"]
        for run in x.history.last_n_similar_runs[: config.history_slots]:
            self._add_run(out, base, run, now_ms)
            base += config.d_run
        out += _action_space_bits(offsets["action_space"], x.action_space)
        base = offsets["universe_defaults"]
        defaults = x.universe_defaults
        if defaults.swarm_id is None:
            out.append(base + 2)
        elif defaults.swarm_id in SWARM_IDS:
            out.append(base + SWARM_IDS.index(defaults.swarm_id))
        out += [base + 3 + bit for bit in _name_code(defaults.objective_id)]
        if x.system_state is not None:
            self._add_system_state(out, offsets["system_state"], x.system_state)
        return out

    def _add_run(self, out: list[int], base: int, run: RunSummary, now_ms: int) -> None:
        """One history slot: 27 fixed features, fail codes, gates 32, then the buckets of duration, cost and recency."""
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
        base += 27
        buckets = self.config.fail_code_buckets
        if outcome.fail_codes:
            out += _code_bits(base, buckets, *outcome.fail_codes[:MAX_FAIL_CODES])
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
        base += 2 * len(GATES)
        cost = run.cost_usd_est
        # The bucket of a value is the number of edges at or below it.
        out += (
            base + bisect_right(DURATION_EDGES_MS, run.runtime.duration_ms),
            base + 6 + (5 if cost is None else bisect_right(COST_EDGES_USD, cost)),
            base + 12 + bisect_right(RECENCY_EDGES_MS, now_ms - run.started_ms),
            base + 16,
        )

    def _add_system_state(self, out: list[int], base: int, state: SystemState) -> None:
        """Workcells 5, queue 5, hour 5, budget 5 (null last in each), toolchains 4, present 1."""
        for value, bins in ((state.active_workcells_bin, WORKCELLS), (state.queue_depth_bin, QUEUE)):
            position = 4 if value is None else _count_bin(value, bins)
            if position is not None:
                out.append(base + position)
            base += 5
        for label, labels in ((state.hour_bucket, HOURS), (state.budget_remaining_bin, BUDGETS)):
            if label is None:
                out.append(base + 4)
            elif label in labels:
                out.append(base + labels.index(label))
            base += 5
        tools = state.available_toolchains or ()
        out += [base + i for i, tool in enumerate(TOOLCHAINS) if tool in tools]
        out.append(base + 4)
