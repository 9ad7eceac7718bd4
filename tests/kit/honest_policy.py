"""A small honest policy without a framework: how often each action was the label, by job type, risk and size."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np

from planner_core import (
    HEADS,
    JOB_TYPES,
    RISKS,
    SIZES,
    Batch,
    DataError,
    EpochReport,
    FitReport,
    PolicyContext,
    PolicySpec,
)

RISK_OFFSET, SIZE_OFFSET = 4, 8
CELLS = len(JOB_TYPES) * len(RISKS) * len(SIZES)


class TableConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``strength`` of the job type's own frequencies, in examples a cell; smoothing of the loss that is reported."""

    strength: float = 4.0
    label_smoothing: float = 0.0


def column(batch, offset, values):
    """Which of ``values`` is on in each row, 0 where none is."""
    out = np.zeros(len(batch), np.int64)
    rows = np.repeat(np.arange(len(batch)), np.diff(batch.features.starts))
    on = (batch.features.indices >= offset) & (batch.features.indices < offset + len(values))
    out[rows[on]] = batch.features.indices[on].astype(np.int64) - offset
    return out


class Table:
    """Scores are the logarithms of frequencies, float32 [cells, actions]."""

    score_kind: ClassVar[str] = "joint"

    def __init__(self, config: TableConfig, context: PolicyContext) -> None:
        self.config, self.context = config, context
        self.tables = self.as_scores(np.ones((CELLS, len(context.action_space.actions))))

    def as_scores(self, frequencies):
        return {"joint": np.log(frequencies / frequencies.sum(axis=1, keepdims=True)).astype(np.float32)}

    def cells(self, batch: Batch):
        risk, size = column(batch, RISK_OFFSET, RISKS), column(batch, SIZE_OFFSET, SIZES)
        return (batch.job_type * len(RISKS) + risk) * len(SIZES) + size

    def count(self, examples):
        """Frequencies float64 [cells, actions]: the cell's own, then its job type's, then anything."""
        actions = len(self.context.action_space.actions)
        counts = np.zeros((CELLS, actions))
        np.add.at(counts, (self.cells(examples.batch()), examples.action), 1.0)
        by_job = counts.reshape(len(JOB_TYPES), -1, actions).sum(axis=1) + 1e-3
        by_job /= by_job.sum(axis=1, keepdims=True)
        return counts + self.config.strength * np.repeat(by_job, CELLS // len(JOB_TYPES), axis=0)

    def loss(self, examples):
        log = self.tables["joint"][self.cells(examples.batch())].astype(np.float64)
        return float(-log[np.arange(len(examples)), examples.action].mean())

    def learn(self, examples):
        """The tables."""
        return self.as_scores(self.count(examples))

    def fit(self, session):
        self.tables = self.learn(session.train)
        report = EpochReport(1, 1, train_loss=self.reported_loss(session.train), best=True)
        session.on_epoch(report)
        return FitReport([report], best_epoch=1)

    def reported_loss(self, examples):
        return self.loss(examples)

    def predict(self, batch):
        cells = self.cells(batch)
        return {name: table[cells] for name, table in self.tables.items()}

    def save(self, directory: Path) -> None:
        for name, table in self.tables.items():
            np.save(directory / f"{name}.npy", table, allow_pickle=False)

    def load(self, directory: Path) -> None:
        for name in self.tables:
            path = directory / f"{name}.npy"
            try:
                self.tables[name] = np.load(path, allow_pickle=False)
            except (OSError, ValueError, EOFError) as problem:
                raise DataError(str(path), expected=f"a table ({problem})") from None

    def export_scorer(self):
        return self.model(self.nodes())

    def nodes(self):
        from onnx import TensorProto, helper

        return [
            helper.make_node("MatMul", ["input", "weights"], ["cell_column"]),
            helper.make_node("Squeeze", ["cell_column", "last_axis"], ["cell_float"]),
            helper.make_node("Cast", ["cell_float"], ["cell_in_job"], to=TensorProto.INT64),
            helper.make_node("Mul", ["job_type", "cells_per_job"], ["job_cell"]),
            helper.make_node("Add", ["job_cell", "cell_in_job"], ["cell"]),
            *(helper.make_node("Gather", [f"table_{name}", "cell"], [name], axis=0) for name in self.tables),
        ]

    def constants(self):
        weights = np.zeros((self.context.encoder.d_in, 1), np.float32)
        weights[RISK_OFFSET : RISK_OFFSET + len(RISKS), 0] = np.arange(len(RISKS)) * len(SIZES)
        weights[SIZE_OFFSET : SIZE_OFFSET + len(SIZES), 0] = np.arange(len(SIZES))
        return {
            "weights": weights,
            "last_axis": np.array([1], np.int64),
            "cells_per_job": np.array(CELLS // len(JOB_TYPES), np.int64),
            **{f"table_{name}": table for name, table in self.tables.items()},
        }

    def outputs(self):
        return {name: table.shape[1] for name, table in self.tables.items()}

    def model(self, nodes, opset=18):
        from onnx import TensorProto, helper, numpy_helper

        given = {"input": (TensorProto.FLOAT, ["batch", self.context.encoder.d_in])}
        given["job_type"] = (TensorProto.INT64, ["batch"])
        graph = helper.make_graph(
            nodes,
            "table",
            [helper.make_tensor_value_info(name, *what) for name, what in given.items()],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
                for name, size in self.outputs().items()
            ],
            [numpy_helper.from_array(value, name) for name, value in self.constants().items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


class HeadTable(Table):
    """The same with a score a head: the marginals of the frequencies."""

    score_kind: ClassVar[str] = "heads"

    def as_scores(self, frequencies):
        space = self.context.action_space
        marginals = (frequencies / frequencies.sum(axis=1, keepdims=True)) @ space.incidence.T.astype(np.float64)
        bounds = np.cumsum((0, *space.head_sizes))
        logs = np.log(np.maximum(marginals, 1e-9)).astype(np.float32)
        return {name: np.ascontiguousarray(logs[:, bounds[i] : bounds[i + 1]]) for i, name in enumerate(HEADS)}

    def loss(self, examples):
        rows = self.cells(examples.batch())
        return float(
            -sum(self.tables[n][rows, examples.labels[:, i]].mean(dtype=np.float64) for i, n in enumerate(HEADS))
        )


def spec_of(policy, name="table", config=TableConfig, load=None, **fields):
    """A :class:`PolicySpec` around a class, as a plugin would register it."""

    def load_policy():
        return load() if load else policy

    return PolicySpec(name, "How often each action was the label.", config, load_policy, True, **fields)
