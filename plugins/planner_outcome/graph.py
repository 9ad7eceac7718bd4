"""The model as an ONNX graph: :meth:`planner_outcome.model.OutcomeModel.expected` in few, fused tensors.

Axes, as in :mod:`planner_outcome.compose`: rows n, nodes u, candidates j, tries i (or l), points t.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from planner_outcome.actions import CANDIDATES, CELLS, MINUTES, TRIES, ActionTable
from planner_outcome.additive import Additive
from planner_outcome.compose import MOST_TRIES, Expected, time_grid, try_masks
from planner_outcome.features import KNOWN, RATIOS, FeatureMap
from planner_outcome.model import OutcomeModel
from planner_outcome.residuals import EDGE
from planner_outcome.state import NODES, hermite

OPSET, IR_VERSION = 18, 9
ROOT2 = math.sqrt(2.0)
K, N_TRIES, M = len(CANDIDATES), len(TRIES), len(MINUTES)


def build_scorer(model: OutcomeModel, table: ActionTable) -> onnx.ModelProto:
    """``input`` float32 [batch, d_in] and ``job_type`` int64 [batch] to ``passed``, ``minutes``, ``cost_usd``."""
    g = _Graph()
    d_in = len(model.features.blocks["fixed"].column)
    heads = _heads(g, model)
    _outcomes(g, model, table, _curves(g, model, table, *heads[:2]), heads[2:])
    n = len(table.cell)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        g.nodes,
        "outcome",
        [value("input", TensorProto.FLOAT, ["batch", d_in]), value("job_type", TensorProto.INT64, ["batch"])],
        [value(name, TensorProto.FLOAT, ["batch", n]) for name in ("passed", "minutes", "cost_usd")],
        g.constants,
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="swarm-planner")


class _Graph:
    """Nodes and constants under construction; results are named by number."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def c(self, value: Any, dtype: Any = np.float32) -> str:
        """A constant."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def add(self, op: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        """A node with one result, whose name is returned."""
        name = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def split(self, source: str, sizes: list[int], axis: int) -> list[str]:
        """A tensor in pieces."""
        names = [f"t{len(self.nodes)}_{i}" for i in range(len(sizes))]
        self.nodes.append(helper.make_node("Split", [source, self.c(sizes, np.int64)], names, axis=axis))
        return names

    def reshape(self, source: str, *shape: int) -> str:
        """A tensor in another shape."""
        return self.add("Reshape", source, self.c(shape, np.int64))

    def by_job(self, values: Any, dtype: Any = np.float32) -> str:
        """The row of ``values`` [job types, ...] of each row's job type."""
        return self.add("Gather", self.c(values, dtype), "job_type", axis=0)


def _heads(g: _Graph, model: OutcomeModel) -> list[str]:
    """The four heads, each [n, 1], and those of the additive model where it has a say: one product with everything that
    reads the input."""
    features, slices = model.features, model.features.slices
    weights, biases = model.weights, model.biases
    if model.additive.share > 0.0:
        weights = np.concatenate([weights, model.additive.weights], axis=1)
        biases = np.concatenate([biases, model.additive.biases])
    blocks, units, width = features.blocks, features.units, len(biases)
    of_features = _feature_weights(features, weights)
    n = of_features.shape[1]
    fixed = blocks["fixed"].matrix(of_features[slices["fixed"]])
    tops = [blocks[name].matrix(of_features[slices[name]]) for name in RATIOS]
    # Each denominator stands once a head, so that numerators and denominators divide as they are.
    below = [np.repeat(blocks[name].weight[:, None], n, axis=1) for name in RATIOS]
    bases = np.repeat([blocks[name].base for name in RATIOS], n)
    wide = np.zeros((len(fixed), len(units.bias)))
    wide[units.positions] = units.weight
    parts = [fixed, *tops, *below, wide]
    bias = [biases, np.zeros(n - width), np.zeros(len(bases)), bases, units.bias]
    sizes = [n, len(bases), len(bases), len(units.bias)]
    if features.expected is not None:
        of_log = features.expected.shape[1]
        figures = np.zeros((len(fixed), KNOWN + width))
        figures[-of_log - KNOWN : -of_log, :KNOWN] = np.eye(KNOWN)
        figures[-of_log:, KNOWN:] = weights[slices["log"]]
        parts, bias, sizes = [*parts, figures], [*bias, np.zeros(figures.shape[1])], [*sizes, figures.shape[1]]
    z = g.add("Gemm", "input", g.c(np.concatenate(parts, axis=1)), g.c(np.concatenate(bias)))
    own, top, under, hidden, *figure_part = g.split(z, sizes, 1)
    ratios = g.add("Div", top, g.add("Max", under, g.c(np.float32(1.0))))
    both = g.add("Concat", ratios, g.add("Relu", hidden), axis=1)
    stops = [slices[name] for name in units.widths]
    of_units = units.sums @ of_features[stops[0].start : stops[-1].stop]
    mixed = g.add("MatMul", both, g.c(np.concatenate([np.tile(np.eye(n), (len(RATIOS), 1)), of_units])))
    job = g.by_job(weights[slices["job"]])
    if not figure_part:
        heads = g.add("Sum", own, mixed, job)
    else:
        known, offsets = g.split(figure_part[0], [KNOWN, width], 1)
        usual, expected = g.split(g.add("Add", own, mixed), [width] * 2, 1)
        heads = g.add("Sum", usual, g.add("Mul", known, expected), offsets, job)
    return g.split(heads, [1] * width, 1)


def _feature_weights(features: FeatureMap, weights: np.ndarray) -> np.ndarray:
    """``weights`` float64 [features, heads] as the graph applies them.

    Where log figures are read they stand for what they let one expect of these too, and as many columns more say what
    of that goes again in proportion to how much is known.
    """
    if features.expected is None:
        return weights
    filled = np.zeros_like(weights)
    filled[: len(features.expected)] = features.expected @ weights[features.slices["log"]]
    return np.concatenate([weights + filled, -filled], axis=1)


def _curves(g: _Graph, model: OutcomeModel, table: ActionTable, a: str, b: str) -> str:
    """[n, (S_k, S_k - A_k, busy_j) x tries, integrals to each budget then values there]."""
    p, grid = model.physics, time_grid()
    u, weights = hermite()
    logit = g.add("Add", g.reshape(a, -1, 1, 1, 1), g.c((p.rho * u[:, None] + p.quality)[None, :, :, None]))
    # q and 1 - q both from the logit: 1 - q would lose its digits where q is nearly 1.
    q, fail = g.add("Sigmoid", logit), g.add("Sigmoid", g.add("Neg", logit))
    each = g.add("Mul", q, g.add("Pow", fail, g.c(np.arange(MOST_TRIES))))  # n u j l
    masks = try_masks(table.iterates)
    shares = g.add("Mul", g.reshape(each, -1, NODES, K, 1, MOST_TRIES), g.by_job(masks[:, None, None]))
    flat = g.reshape(shares, -1, NODES, K * N_TRIES, MOST_TRIES)
    stretch = np.log1p(p.retry * np.arange(MOST_TRIES))
    log_t = (grid.log_t - p.fill * grid.log_budget - p.kappa * u[:, None])[:, None]  # u 1 t
    b4 = g.reshape(b, -1, 1, 1, 1)
    ended = _cdf(g, g.c((log_t - stretch[:, None])[None] / p.sigma / ROOT2), b4, p.sigma)
    points = len(grid.log_t)
    passed = g.reshape(g.add("MatMul", flat, ended), -1, NODES, K, N_TRIES * points)
    none = g.split(g.add("Sub", g.c(np.float32(1.0)), passed), [1] * K, 2)
    without = _products(g, none)
    working, busy = without, none
    if p.psi > 0.0:
        last = (masks.sum(axis=2) - 1).astype(np.int64)
        late_at = log_t - p.give_up - stretch[last][:, None, :, None]  # job u i t
        late = _cdf(g, g.by_job(late_at / p.give_up_sigma / ROOT2), b4, p.give_up_sigma)
        spent = g.add("ReduceSum", shares, g.c([4], np.int64), keepdims=1)
        never = g.add("Mul", g.add("Sub", g.c(np.float32(1.0)), spent), g.c(np.float32(p.psi)))
        gone = g.add("Mul", never, g.reshape(late, -1, NODES, 1, N_TRIES, points))
        parts = g.split(g.reshape(gone, -1, NODES, K, N_TRIES * points), [1] * K, 2)
        working = [g.add("Sub", s, h) for s, h in zip(without, _products(g, parts), strict=True)]
        busy = [g.add("Sub", n, h) for n, h in zip(none, parts, strict=True)]
    distinct = list(dict.fromkeys([*without, *working, *busy]))
    stacked = g.reshape(g.add("Concat", *distinct, axis=2), -1, NODES, len(distinct) * N_TRIES * points)
    mean = g.reshape(g.add("MatMul", g.c(weights[None, None]), stacked), -1, len(distinct) * N_TRIES, points)
    values = np.zeros((points, M))
    values[grid.ends] = np.eye(M)
    both = g.add("MatMul", mean, g.c(np.concatenate([grid.integral, values], axis=1)))
    flat_all = g.reshape(both, -1, len(distinct) * N_TRIES * 2 * M)
    order = [distinct.index(name) for name in (*without, *working, *busy)]
    # Position of (which of the nine, tries, integral or value, budget) in the flattened array.
    place = np.arange(len(distinct) * N_TRIES * 2 * M).reshape(len(distinct), N_TRIES, 2, M)[order]
    wanted = np.concatenate([place[:K, :, 1].ravel(), place[K : 2 * K, :, 0].ravel(), place[2 * K :, :, 0].ravel()])
    cells = np.concatenate([wanted[:CELLS][table.cell], wanted[CELLS : 2 * CELLS][table.cell], wanted[2 * CELLS :]])
    return g.add("Gather", flat_all, g.c(cells, np.int64), axis=1)


def _cdf(g: _Graph, at: str, b: str, sigma: float) -> str:
    """Normal distribution function of (at - b / sigma / root 2), ``at`` being scaled alike."""
    x = g.add("Erf", g.add("Sub", at, g.add("Mul", b, g.c(np.float32(1 / sigma / ROOT2)))))
    half = g.c(np.float32(0.5))
    return g.add("Add", g.add("Mul", x, half), half)


def _products(g: _Graph, parts: list[str]) -> list[str]:
    """The products of the first one, two, ... ``parts``."""
    out = [parts[0]]
    for part in parts[1:]:
        out.append(g.add("Mul", out[-1], part))
    return out


def _outcomes(g: _Graph, model: OutcomeModel, table: ActionTable, mean: str, heads: list[str]) -> None:
    """The three outputs from S_k at the budgets, minutes [n, actions] each, and busy minutes [n, cells]."""
    p, effects, n = model.physics, model.effects, len(table.cell)
    fixed, rate, *additive = heads
    none, minutes, busy = g.split(mean, [n, n, CELLS], 1)
    v = np.where(table.vote, p.vote_accuracy, 1.0)[None]
    passed = g.add("Mul", g.add("Sub", g.c(np.float32(1.0)), none), g.c(v))
    minutes = g.add("Add", minutes, g.c(np.where(table.vote, p.vote_minutes, 0.0)[None]))
    # sum over the first k candidates of e^(c_j) (c0 + e^c busy_j)
    lower = np.tril(np.ones((K, K))) * np.exp(p.cost)
    summed = g.reshape(g.add("MatMul", g.c(lower[None]), g.reshape(busy, -1, K, N_TRIES * M)), -1, CELLS)
    fixed_sums = np.repeat(lower.sum(axis=1), N_TRIES * M)[None]
    cost = g.add(
        "Add",
        g.add("Mul", summed, g.add("Exp", rate)),
        g.add("Mul", g.c(fixed_sums), g.add("Exp", fixed)),
    )
    cost = g.add("Gather", cost, g.c(table.cell, np.int64), axis=1)
    corrected = [_passed(g, passed, effects.passed)]
    for source, values in ((minutes, effects.minutes), (cost, effects.cost_usd)):
        corrected.append(g.add("Mul", source, g.by_job(np.exp(values))) if values.any() else source)
    _blend(g, model.additive, corrected, additive)


def _blend(g: _Graph, additive: Additive, corrected: list[str], heads: list[str]) -> None:
    """The outputs: what the form expects, and the additive model's share where it has a say."""
    for i, name in enumerate(Expected._fields):
        if additive.share == 0.0:
            g.add("Identity", corrected[i], out=name)
            continue
        own = g.add("Add", heads[i], g.by_job(additive.effects[i]))
        ends = (0.0, 1.0) if name == "passed" else (0.0,)
        own = g.add("Clip", own, *(g.c(np.float32(end)) for end in ends))
        scaled = [
            g.add("Mul", source, g.c(np.float32(share)))
            for source, share in ((corrected[i], 1 - additive.share), (own, additive.share))
        ]
        g.add("Add", *scaled, out=name)


def _passed(g: _Graph, passed: str, effects: np.ndarray) -> str:
    """The composed probability of passing, its logit corrected by the effects."""
    clipped = g.add("Clip", passed, g.c(np.float32(EDGE)), g.c(np.float32(1 - EDGE)))
    if not effects.any():
        return clipped
    odds = g.add("Log", g.add("Div", clipped, g.add("Sub", g.c(np.float32(1.0)), clipped)))
    return g.add("Sigmoid", g.add("Add", odds, g.by_job(effects)))
