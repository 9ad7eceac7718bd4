"""The encoder: a planner input as 3779 binary features (by default), at most about 300 of them on.

Blocks in order: issue, history (one group of features a slot), action space, universe defaults, system state.
An encoder's whole output is the list of the positions that are on; the dense vector is made from it. Where the
configuration asks for them, the log figures follow as a last block of numbers that are no bits.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import (
    CANDIDATES_BINS,
    ITERATIONS_BINS,
    MINUTES_BINS,
    SWARM_IDS,
    nearest_bin,
)
from planner_core.bounds import (
    MAX_KEPT_PART,
    WORST_GROWTH,
    bounded_cache,
    held_bytes,
)
from planner_core.contracts import (
    PlannerInput,
    RequestActionSpace,
    RunSummary,
    SharedRun,
)
from planner_core.errors import DataError
from planner_core.jsonio import convert
from planner_core.layout import (
    ACTION_SLOTS,
    BUDGET_NAMES,
    BUDGETS,
    COST,
    COST_EDGES_USD,
    D_HEAD,
    DAY_MS,
    DOMAINS,
    DURATION,
    DURATION_EDGES_MS,
    FILLED,
    GATES,
    HOURS,
    IN_HEAD,
    IN_ISSUE,
    IN_SYSTEM,
    MAX_FAIL_CODES,
    MAX_TAGS,
    NAME_BITS,
    PRIORITIES,
    QUEUE,
    RECENCY,
    RECENCY_EDGES_MS,
    RISKS,
    RUN_JOB_TYPES,
    SIZES,
    STATUSES,
    TOOLCHAINS,
    UNIVERSE,
    WORKCELLS,
    EncoderConfig,
)

__all__ = [
    "BUDGETS",
    "DAY_MS",
    "DOMAINS",
    "GATES",
    "HOURS",
    "MAX_TAGS",
    "PRIORITIES",
    "QUEUE",
    "RECENCY_EDGES_MS",
    "RISKS",
    "RUN_JOB_TYPES",
    "SIZES",
    "STATUSES",
    "TOOLCHAINS",
    "WORKCELLS",
    "EncoderConfig",
    "PlannerInputEncoder",
    "bucket",
]

_ITEM = 8
"""Bytes of a position."""


@bounded_cache(65_536, megabytes=8)
def bucket(text: str, buckets: int) -> int:
    """First 8 hex digits of the SHA-256 of ``text`` as an integer, modulo ``buckets``."""
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise DataError("planner_input", found=ascii(text), expected="text without lone surrogates") from None
    return int.from_bytes(hashlib.sha256(encoded).digest()[:4], "big") % buckets


def _packed(positions: Iterable[int]) -> bytes:
    """Positions as the bytes of an int64 array: the parts of a row are joined and never looked at one by one."""
    return array("q", positions).tobytes()


@bounded_cache(16_384, megabytes=2)
def _name_code(name: str | None) -> tuple[int, ...]:
    """Positions that are on in a hinted name's 11 features: its bucket's bits, high bit first, then the null flag."""
    if name is None:
        return (NAME_BITS,)
    code = bucket(name, 1 << NAME_BITS)
    return tuple(i for i in range(NAME_BITS) if code >> (NAME_BITS - 1 - i) & 1)


def _count_bin(value: str | int, bins: tuple[tuple[str, int | None], ...]) -> int | None:
    """Position of a count bin given by its label or by a bare count; None when it is neither."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and value != bins[0][0]:
        value = int(value)
    for i, (label, top) in enumerate(bins):
        if value == label or (isinstance(value, int) and value >= 0 and (top is None or value <= top)):
            return i
    return None


@bounded_cache(16_384, megabytes=8)
def _issue_bits(priority: str, risk: str, size: str, attempts: int, hint: str | None) -> bytes:
    """Positions that are on in the issue block before its tags."""
    at = IN_ISSUE
    values = (PRIORITIES.index(priority), RISKS.index(risk), SIZES.index(size), attempts)
    fixed = (at[name][value] for name, value in zip(("priority", "risk", "size", "attempts"), values, strict=True))
    return _packed((*fixed, *(at["tool_hint"][bit] for bit in _name_code(hint))))


@bounded_cache(16_384, megabytes=8)
def _head_bits(
    job_type: str,
    domain: str,
    swarm: str | None,
    candidates: int | None,
    minutes: int | None,
    iterations: int | None,
    status: str,
) -> bytes:
    """Positions that are on in a slot's job type, domain, action and status, counted from the slot's beginning."""
    at, out = IN_HEAD, []
    if job_type in RUN_JOB_TYPES:
        out.append(at["job_type"][RUN_JOB_TYPES.index(job_type)])
    out.append(at["domain"][DOMAINS.index(domain)])
    if swarm is None or swarm in SWARM_IDS:
        out.append(at["swarm"][-1 if swarm is None else SWARM_IDS.index(swarm)])
    bins = (CANDIDATES_BINS, MINUTES_BINS, ITERATIONS_BINS)
    for name, value, known in zip(BUDGET_NAMES, (candidates, minutes, iterations), bins, strict=True):
        out.append(at[name][known.index(nearest_bin(value, known))])
    out.append(at["status"][STATUSES.index(status)])
    return _packed(out)


@bounded_cache(16_384, megabytes=8)
def _bucket_bits(base: int, buckets: int, *names: str) -> bytes:
    """Positions that are on in the group of ``buckets`` features at ``base``."""
    return _packed(sorted({base + bucket(name, buckets) for name in names}))


@bounded_cache(4096, megabytes=1)
def _known_gate(name: str) -> int | None:
    """Position of a gate name, matched up to its first colon."""
    base = name.split(":", 1)[0]
    return GATES.index(base) if base in GATES else None


def _run_bits(run: RunSummary, buckets: int) -> bytes:
    """Positions that are on in a history slot, counted from its beginning, but for the recency and what follows it.

    ``buckets`` is how many features the fail codes have.
    """
    action, outcome = run.action_executed, run.outcome
    budgets = action.max_candidates, action.max_minutes, action.max_iterations
    head = _head_bits(run.job_type, run.domain, action.swarm_id, *budgets, outcome.status)
    if outcome.fail_codes:
        head += _bucket_bits(D_HEAD, buckets, *outcome.fail_codes[:MAX_FAIL_CODES])
    out: list[int] = []
    base = D_HEAD + buckets
    seen: dict[int, bool] = {}
    for gate in outcome.gates:
        known = _known_gate(gate.name)
        if known is not None:
            # One name may stand for several gates ("test:unit", "test:api"); it passed if all of them did.
            seen[known] = gate.passed and seen.get(known, True)
    for known in sorted(seen):
        out += (base + 2 * known, base + 2 * known + 1) if seen[known] else (base + 2 * known,)
    cost = run.cost_usd_est
    # The bucket of a value is the number of edges at or below it.
    out += (
        base + DURATION + bisect_right(DURATION_EDGES_MS, run.runtime.duration_ms),
        base + COST + (len(COST_EDGES_USD) + 1 if cost is None else bisect_right(COST_EDGES_USD, cost)),
    )
    return head + _packed(out)


def _shared_size(value: Any) -> int:
    return WORST_GROWTH * MAX_KEPT_PART if isinstance(value, SharedRun) else held_bytes(value)


_shared_run_bits = bounded_cache(8192, 64, _shared_size)(_run_bits)
"""A shared run's, kept with it."""


@bounded_cache(1024, megabytes=4)
def _action_space_bits(base: int, space: RequestActionSpace) -> bytes:
    """Positions that are on in the action space block: presence of each default entry, eight positions a head."""
    heads = (
        (SWARM_IDS, space.swarm_ids),
        (CANDIDATES_BINS, space.max_candidates_bins),
        (MINUTES_BINS, space.max_minutes_bins),
        (ITERATIONS_BINS, space.max_iterations_bins),
    )
    return _packed(
        base + head * ACTION_SLOTS + i
        for head, (defaults, given) in enumerate(heads)
        for i, value in enumerate(defaults)
        if value in given
    )


@bounded_cache(4096, megabytes=2)
def _universe_bits(base: int, swarm: str | None, objective: str | None) -> bytes:
    """Positions that are on in the block of the universe's defaults."""
    swarms = (*SWARM_IDS, None)
    out = [base + swarms.index(swarm)] if swarm in swarms else []
    base += UNIVERSE["default_swarm"]
    return _packed([*out, *(base + bit for bit in _name_code(objective))])


@bounded_cache(16_384, megabytes=8)
def _system_bits(
    base: int, workcells: str | int | None, queue: str | int | None, hour: str | None, budget: str | None, *tools: str
) -> bytes:
    """Positions that are on in the block of the system state, null last in each group but the toolchains."""
    at, out = IN_SYSTEM, []
    for name, value, bins in (("workcells", workcells, WORKCELLS), ("queue", queue, QUEUE)):
        position = len(bins) if value is None else _count_bin(value, bins)
        if position is not None:
            out.append(base + at[name][position])
    for name, label, labels in (("hour", hour, (*HOURS, None)), ("budget", budget, (*BUDGETS, None))):
        if label in labels:
            out.append(base + at[name][labels.index(label)])
    out += [base + at["toolchains"][i] for i, tool in enumerate(TOOLCHAINS) if tool in tools]
    return _packed([*out, base + at["present"].start])


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
        self._tags = group("tags").start
        self._offered, self._universe = group("action_space").start, group("universe_defaults").start
        self._system = group("system_state").start
        self._slots = group("history").start + self.config.d_run * np.arange(self.config.history_slots)
        tail = D_HEAD + self.config.fail_code_buckets
        self._recency = [_packed((tail + RECENCY + i, tail + FILLED)) for i in range(len(RECENCY_EDGES_MS) + 1)]

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
        return self.row(planner_input).astype(np.int32)

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
        rows = [self.row(item) for item in planner_inputs]
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        return np.concatenate([*rows, starts[:0]]).astype(np.int32), starts

    def positions(self, planner_input: Mapping[str, Any] | PlannerInput) -> list[int]:
        """Positions of the features that are on, ascending and without repetitions, as a list."""
        found: list[int] = self.row(planner_input).tolist()
        return found

    def row(self, planner_input: Mapping[str, Any] | PlannerInput) -> NDArray[np.int64]:
        """:meth:`positions` as int64 (n_on,)."""
        x, config = _validated(planner_input), self.config
        issue, state, defaults = x.issue, x.system_state, x.universe_defaults
        attempts = min(issue.dk_attempts, 3)
        parts = [
            _issue_bits(issue.dk_priority, issue.dk_risk, issue.dk_size, attempts, issue.dk_tool_hint),
            _bucket_bits(self._tags, config.tag_buckets, *issue.tags[:MAX_TAGS]),
        ]
        begin = (len(parts[0]) + len(parts[1])) // _ITEM
        now_ms, buckets = round(x.created_at.timestamp() * 1000), config.fail_code_buckets
        sizes = []
        for run in x.history.last_n_similar_runs[: config.history_slots]:
            bits = _shared_run_bits(run, buckets) if type(run) is SharedRun else _run_bits(run, buckets)
            recency = self._recency[bisect_right(RECENCY_EDGES_MS, now_ms - run.started_ms)]
            parts += (bits, recency)
            sizes.append((len(bits) + len(recency)) // _ITEM)
        parts.append(_action_space_bits(self._offered, x.action_space))
        parts.append(_universe_bits(self._universe, defaults.swarm_id, defaults.objective_id))
        if state is not None:
            counts = state.active_workcells_bin, state.queue_depth_bin
            tools = state.available_toolchains or ()
            parts.append(_system_bits(self._system, *counts, state.hour_bucket, state.budget_remaining_bin, *tools))
        out = np.frombuffer(bytearray().join(parts), np.int64)
        if sizes:
            slots = self._slots[: len(sizes)].repeat(sizes)
            out[begin : begin + len(slots)] += slots  # the bits of a run are counted from its slot
        return out
