"""A bundle's graph as a decider, for evaluating it on many examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from planner_core.action_space import HEADS
from planner_core.decision import Decision, Scores, decide, row_weights, temperatures_for
from planner_core.features import Batch, SparseFeatures
from planner_core.harness.evaluate import Decider
from planner_core.runtime.bundle import Bundle
from planner_core.utility import weight_table


class _DenseRows:
    """Dense rows in one buffer that is cleared bit by bit: zeroing 15 MB a batch costs more than setting its ones."""

    def __init__(self, d_in: int) -> None:
        self._rows: NDArray[np.float32] = np.zeros((0, d_in), np.float32)

    @contextmanager
    def of(self, features: SparseFeatures) -> Iterator[NDArray[np.float32]]:
        """``features`` as float32 [n, d_in]; good within the block only, which must not be entered twice at a time."""
        n, d_in = len(features), features.d_in
        if len(self._rows) < n:
            self._rows = np.zeros((n, d_in), np.float32)
        flat = self._rows.reshape(-1)
        on = np.repeat(np.arange(n) * d_in, np.diff(features.starts)) + features.indices
        flat[on] = 1.0
        if features.figures is not None:
            self._rows[:n, d_in - features.figures.shape[1] :] = features.figures
        try:
            yield self._rows[:n]
        finally:
            flat[on] = 0.0


def bundle_decider(bundle: Bundle) -> Decider:
    """Decide by a bundle's graph. The decisions before temperature scaling are recovered by undoing it.

    The decider is for one thread at a time.
    """
    from planner_core.runtime.session import (
        EXPECTED,
        FEATURES,
        JOB_TYPE,
        PROBABILITIES,
        check_interface,
        graph_outputs,
        open_session,
    )

    session = open_session(bundle.model)
    kind, space = bundle.score_kind, bundle.action_space
    check_interface(session, bundle.encoder.d_in, space, kind=kind)
    names = list(graph_outputs(kind, space))
    dense = _DenseRows(bundle.encoder.d_in)
    temperatures = bundle.calibration["temperatures"]
    worth = weight_table(bundle.calibration.get("utility"), str(bundle.path))
    calibrated = bundle.calibration.get("method") != "none"

    def run(batch: Batch) -> tuple[Decision, Decision | None]:
        with dense.of(batch.features) as rows:
            outputs = dict(zip(names, session.run(names, {FEATURES: rows, JOB_TYPE: batch.job_type}), strict=True))
        heads, expected = {name: outputs[name] for name in HEADS}, None
        if kind == "outcomes":
            expected = {name: outputs[output] for name, output in EXPECTED.items()}
        after = Decision(heads, outputs[PROBABILITIES], outputs["action"], outputs["confidence"], expected)
        if not calibrated:
            return after, None
        scores: Scores
        if kind == "outcomes":
            scores = {name: outputs[output] for name, output in EXPECTED.items()}
        elif kind == "joint":
            # Logits are known up to a constant a row: log-probabilities times the temperature.
            probs = np.maximum(after.action_probs, np.finfo(np.float32).tiny)
            scores = {"joint": np.log(probs) * np.float32(temperatures["joint"])}
        else:
            scores = {name: heads[name] * np.float32(temperatures[name]) for name in HEADS}
        return after, decide(scores, batch.job_type, temperatures_for(kind), space, row_weights(batch.features, worth))

    return run
