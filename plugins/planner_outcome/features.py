"""Compact features: a few hundred figures made of the 3779 bits by fixed linear maps, ratios and one ReLU.

The parts of the model are linear in them. Blocks:

- ``fixed``: priority, risk, size, attempts, objective, defaults, system state: bits as they are.
- ``tags``: the tag bits over the number of tags, so that their weights add up to a mean.
- ``recent`` and ``history``: the slots' bits summed over the slots, with weights that fall with the slot in the first
  and do not in the second, over the sum of those weights plus a constant (a share, shrunk where little is known).
- ``tools``: one indicator a tool seen in training. The encoder writes a tool as the binary code of its bucket, which a
  linear part cannot tell apart; ``relu(code . bits - (ones in code - 1))``, code in -1 and +1, is 1 for it alone.
- ``fresh``: how many similar runs passed, by how long ago they were: the sum over the slots of
  ``relu(success + recency - 1)``. What passed yesterday says more of today than what passed last month.
- ``log``: the figures of the log before the issue, where the encoder has them. They are shrunk to 0 where the log knows
  little; what is missing is filled in by what the features above let one expect of them, so that an issue of which the
  log knows nothing, or that comes without figures, is judged by those features alone.

Positions that training never switches on belong to no feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner_outcome.core import JOB_TYPES, EncoderConfig, SparseFeatures

Floats = NDArray[np.float64]
RATIOS = ("tags", "recent", "history")
MAX_TOOLS = 32
SLOT_DECAY, PSEUDO_RUNS = 0.7, 1.0
KNOWN = 1
"""Of the figures the first says how much is known; the others are offsets, 0 where nothing is."""
EXPECTED_RIDGE = 1.0
MIN_ROWS = 5
"""A bit that fewer training rows switch on (or leave off) says too little to be a feature."""


@dataclass(frozen=True)
class Block:
    """Features ``sum of scale[p] over positions p that are on and belong to the feature / denominator``.

    ``column`` int64 [d_in] is the feature of each position, -1 for none; ``scale`` float64 [d_in]. The denominator is
    max(1, ``base`` + the sum of ``weight`` float64 [d_in] over the positions that are on).
    """

    column: NDArray[np.int64]
    scale: Floats
    weight: Floats
    base: float
    width: int

    def matrix(self, heads: Floats) -> Floats:
        """Weights of the features [width, n] as weights of the positions [d_in, n]."""
        out = np.zeros((len(self.column), heads.shape[1]))
        there = self.column >= 0
        out[there] = heads[self.column[there]] * self.scale[there, None]
        return out


@dataclass(frozen=True)
class Units:
    """Features that are sums of ReLU units: ``relu(x[positions] @ weight + bias)``, added up by ``feature``.

    ``positions`` int64 [p], ``weight`` float64 [p, n], ``bias`` float64 [n], ``feature`` int64 [n]; ``widths`` are the
    numbers of features of the blocks they form.
    """

    positions: NDArray[np.int64]
    weight: Floats
    bias: Floats
    feature: NDArray[np.int64]
    widths: dict[str, int]

    @property
    def sums(self) -> Floats:
        """0/1 float64 [n, features]: which units make up each feature."""
        return np.eye(sum(self.widths.values()))[self.feature]


@dataclass(frozen=True)
class FeatureMap:
    """Where each compact feature comes from.

    ``expected`` float64 [features before ``log``, width of ``log``]: what those let one expect of the log figures.
    """

    blocks: dict[str, Block]
    units: Units
    expected: Floats | None = None

    @property
    def widths(self) -> dict[str, int]:
        """Number of features of each block, in the order in which they stand."""
        blocks = {name: block.width for name, block in self.blocks.items()}
        log = {} if self.expected is None else {"log": self.expected.shape[1]}
        return {**blocks, **self.units.widths, **log, "job": len(JOB_TYPES)}

    @property
    def slices(self) -> dict[str, slice]:
        """Columns of each block."""
        ends = np.cumsum((0, *self.widths.values())).tolist()
        return {name: slice(ends[i], ends[i + 1]) for i, name in enumerate(self.widths)}

    def features(self, rows: SparseFeatures, job_type: NDArray[np.int64]) -> Floats:
        """Compact features float64 [n, sum of widths]."""
        own = self.own(rows)
        parts = [own, np.eye(len(JOB_TYPES))[job_type]]
        if self.expected is not None:
            known, figures = log_figures(rows, self.expected.shape[1])
            parts.insert(1, figures + (1.0 - known) * (own @ self.expected))
        return np.concatenate(parts, axis=1)

    def own(self, rows: SparseFeatures) -> Floats:
        """The features before ``log`` and ``job``: what the bits say."""
        n, units = len(rows), self.units
        on = np.asarray(rows.indices, np.int64)
        row = np.repeat(np.arange(n), np.diff(rows.starts))
        parts = []
        for block in self.blocks.values():
            column = block.column[on]
            there = column >= 0
            cell = row[there] * block.width + column[there]
            sums = np.bincount(cell, block.scale[on[there]], n * block.width).reshape(n, block.width)
            below = np.maximum(block.base + np.bincount(row, block.weight[on], n), 1.0)
            parts.append(sums / below[:, None])
        place = np.full(rows.d_in, -1)
        place[units.positions] = np.arange(len(units.positions))
        bits = np.zeros((n, len(units.positions)))
        there = place[on] >= 0
        bits[row[there], place[on[there]]] = 1.0
        parts.append(np.maximum(bits @ units.weight + units.bias, 0.0) @ units.sums)
        return np.concatenate(parts, axis=1)


def log_figures(rows: SparseFeatures, width: int) -> tuple[Floats, Floats]:
    """How much is known float64 [n, 1], and the offsets float64 [n, width]; zeros where there are no figures."""
    if rows.figures is None:
        return np.zeros((len(rows), KNOWN)), np.zeros((len(rows), width))
    figures = rows.figures.astype(np.float64)
    return figures[:, :KNOWN], figures[:, KNOWN:]


def tool_codes(rows: SparseFeatures, hint: range) -> NDArray[np.int64]:
    """Bucket of each row's tool hint, -1 for none; ``hint`` is its group of features, the null flag last."""
    on = np.asarray(rows.indices, np.int64)
    row = np.repeat(np.arange(len(rows)), np.diff(rows.starts))
    here = (on >= hint.start) & (on < hint.stop)
    place, row = on[here] - hint.start, row[here]
    bits = len(hint) - 1
    code = np.bincount(row, np.where(place < bits, 1 << (np.maximum(bits - 1 - place, 0)), 0), len(rows))
    none = np.bincount(row, place == bits, len(rows)) > 0
    return np.where(none, -1, code.astype(np.int64))


def feature_map(rows: SparseFeatures, config: EncoderConfig) -> FeatureMap:
    """The map for what occurs in the training ``rows``."""
    n, d_in = len(rows), config.d_in
    count = np.bincount(np.asarray(rows.indices, np.int64), minlength=d_in)
    tells = (count >= min(MIN_ROWS, max(n // 20, 1))) & (count < n)
    history = config.group("history")
    position = np.arange(d_in)
    in_tags, in_history = _within(config.group("tags"), d_in), _within(history, d_in)
    elsewhere = in_tags | in_history | _within(config.group("tool_hint"), d_in)
    # What a request offers says what may be chosen, not how it would go.
    fixed = ~elsewhere & ~_within(config.group("action_space"), d_in)
    ones = np.ones(d_in)
    blocks = {
        "fixed": _block(np.where(fixed & tells, position, -1), ones, np.zeros(d_in), 1.0),
        "tags": _block(np.where(in_tags & tells, position, -1), ones, in_tags.astype(np.float64), 0.0),
    }
    slot, within = np.divmod(np.where(in_history, position - history.start, 0), config.d_run)
    filled = in_history & (within == config.d_run - 1)
    pooled = np.bincount(within[in_history], count[in_history], config.d_run)
    used = in_history & (pooled[within] >= MIN_ROWS)
    for name, decay in (("recent", SLOT_DECAY), ("history", 1.0)):
        scale = np.where(in_history, decay**slot, 0.0)
        blocks[name] = _block(np.where(used, within, -1), scale, np.where(filled, scale, 0.0), PSEUDO_RUNS)
    units = _units(config, _frequent_tools(tool_codes(rows, config.group("tool_hint"))))
    made = FeatureMap(blocks, units)
    if rows.figures is None:
        return made
    own, (known, figures) = made.own(rows), log_figures(rows, rows.figures.shape[1] - KNOWN)
    own = known * own  # an offset of which little is known is shrunk as much
    gram = own.T @ own + EXPECTED_RIDGE * np.eye(own.shape[1])
    return FeatureMap(blocks, units, np.asarray(np.linalg.solve(gram, own.T @ figures), np.float64))


def _within(group: range, d_in: int) -> NDArray[np.bool_]:
    """bool [d_in]: the positions of a group."""
    position = np.arange(d_in)
    return (position >= group.start) & (position < group.stop)


def _frequent_tools(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The buckets of the tools that are met often enough, at most :data:`MAX_TOOLS`."""
    known, counts = np.unique(codes[codes >= 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_TOOLS]
    return np.sort(known[order][counts[order] >= MIN_ROWS])


def _units(config: EncoderConfig, tools: NDArray[np.int64]) -> Units:
    """The ReLU units of the tools, and of each slot and recency."""
    hint, slots = config.group("tool_hint"), range(config.history_slots)
    success = np.array([config.group("status", slot).start for slot in slots], np.int64)
    recency = np.array([config.group("recency", slot) for slot in slots], np.int64).reshape(len(slots), -1)
    recencies = recency.shape[1]
    positions = np.concatenate([np.array(hint), success, recency.ravel()])
    n_bits, n_tools, n_fresh = len(hint) - 1, len(tools), recency.size
    weight = np.zeros((len(positions), n_tools + n_fresh))
    bits = (tools[:, None] >> np.arange(n_bits - 1, -1, -1)) & 1
    weight[:n_bits, :n_tools] = np.where(bits.T == 1, 1.0, -1.0)
    weight[n_bits, :n_tools] = -1.0  # no tool is all zeros too
    unit = n_tools + np.arange(n_fresh)
    weight[len(hint) + np.repeat(np.arange(len(slots)), recencies), unit] = 1.0
    weight[len(hint) + len(slots) + np.arange(n_fresh), unit] = 1.0
    bias = np.concatenate([1.0 - bits.sum(axis=1), np.full(n_fresh, -1.0)])
    feature = np.concatenate([np.arange(n_tools), n_tools + np.tile(np.arange(recencies), len(slots))])
    return Units(positions, weight, bias, feature.astype(np.int64), {"tools": n_tools, "fresh": recencies})


def _block(label: NDArray[np.int64], scale: Floats, weight: Floats, base: float) -> Block:
    """A block with one feature for each distinct ``label`` >= 0 of the positions."""
    names = np.unique(label[label >= 0])
    column = np.where(label >= 0, np.searchsorted(names, label), -1)
    return Block(column.astype(np.int64), scale, weight, base, len(names))
